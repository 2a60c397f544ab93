// The five vats of testnet.toml and of lying.toml, in one process: vat test testnet/examples/exchange --seeds 20
import { E } from '@endo/far';

const START = harden({ alice: [1000, 0], bob: [0, 300] });

export default ({ test }) => {
  for (const first of ['alice', 'bob']) {
    test(`they trade, and ${first} pays first`, async t => {
      const { driver } = await t.testnet('./testnet.toml');
      t.deepEqual(await E(driver).balances(), START);
      const { outcome, balances } = await E(driver).trade(first, 30, 10);
      t.is(outcome, 'traded');
      t.deepEqual(balances, { alice: [970, 10], bob: [30, 290] });
    });
  }

  for (const lie of ['silent', 'forger', 'other mint', 'poor', 'thief', 'canceller']) {
    test(`a liar (${lie}) gets nothing`, async t => {
      const { driver } = await t.testnet('./lying.toml');
      const { outcome, balances } = await E(driver).cheat(lie === 'canceller' ? 'bob' : 'alice', lie);
      t.is(outcome, 'cancelled');
      t.deepEqual(balances, START);
    });
  }
};
