// A file of tests in TypeScript, for the compiler to check.
import { E } from '@endo/far';

interface Ledger {
  enter(name: string, amount: bigint): bigint;
}

export default ({ test }: VatTests): void => {
  test('enters', async t => {
    const ledger: Ledger = await t.vat('./ledger.ts', { limit: 3 }, { endowments: ['timer'], memoryMb: 64 });
    t.is(await E(ledger).enter('ann', 5n), 5n);
    // expect an error: a bigint is compared with a bigint
    // @ts-expect-error
    t.is(await E(ledger).enter('ann', 5n), 'five');
    await t.rejects(E(ledger).enter('ann', -1n), RangeError);
    await t.rejects(E(ledger).enter('ann', -1n), { name: 'RangeError', message: /not/ });
    await t.settle();
    await t.advance(1_000);
    t.true(t.now() > 0, await t.text('./notes.txt'));
  });
  test.skip('waits', t => t.pass());
};
