// vat test testnet/examples/counter
import { E } from '@endo/far';

export default ({ test }) => {
  test('counts from where it starts', async t => {
    const counter = await t.vat('./counter.js', { start: 3 });
    t.is(await E(counter).increment(), 4);
    t.is(await E(counter).increment(5), 9);
    t.is(await E(counter).read(), 9);
  });

  test('takes whole numbers only, and stays as it was', async t => {
    const counter = await t.vat('./counter.js');
    for (const wrong of [0.5, '1', null, Number.MAX_SAFE_INTEGER + 1]) {
      await t.rejects(E(counter).increment(wrong), /counts whole numbers/);
    }
    t.is(await E(counter).read(), 0);
  });

  test('counts a key once, also after a restart', async t => {
    const counter = await t.vat('./counter.js');
    t.is(await E(counter).once('k1', 5), 5);
    await t.restart();
    t.is(await E(counter).once('k1', 5), 5);
    t.is(await E(counter).once('k2', 1), 6);
  });
};
