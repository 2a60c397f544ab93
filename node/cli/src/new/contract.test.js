// Each test starts vats of its own, in this process: vat test
import { E } from '@endo/far';

export default ({ test }) => {
  test('counts up to its limit', async t => {
    const counter = await t.vat('./CONTRACT', { limit: 3 });
    t.is(await E(counter).increment(), 1);
    t.is(await E(counter).increment(2), 3);
    await t.rejects(E(counter).increment(), 'the counter ends at 3');
  });

  test('takes whole numbers only', async t => {
    const counter = await t.vat('./CONTRACT', { limit: 3 });
    for (const wrong of [0, -1, 0.5, '1', null]) {
      await t.rejects(E(counter).increment(wrong), RangeError);
    }
    t.is(await E(E(counter).getView()).count(), 0);
  });

  test('the view cannot count', async t => {
    const counter = await t.vat('./CONTRACT', { limit: 3 });
    await t.rejects(E(E(counter).getView()).increment());
  });
};
