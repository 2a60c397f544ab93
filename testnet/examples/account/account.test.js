// vat test testnet/examples/account
import { E } from '@endo/far';

const seats = async t => {
  const { account } = await t.testnet('./testnet.toml');
  const [supplier, buyer, auditor] = ['supplier', 'buyer', 'auditor'].map(role => E(account).seat(role));
  return { account, supplier, buyer, auditor };
};

export default ({ test }) => {
  test('owes what was delivered and accepted, and not yet paid', async t => {
    const { supplier, buyer } = await seats(t);
    t.is(await E(supplier).deliver('20 t of wheat', 9000), 1);
    t.is(await E(supplier).deliver('5 t of rye', 2000), 2);
    t.is(await E(buyer).accept(1), 9000);
    await E(buyer).refuse(2);
    t.is(await E(supplier).paid(4000), 5000);
    await t.rejects(E(supplier).paid(5001), /only 5000 is owed/);
    await t.rejects(E(buyer).accept(2), /no delivery 2 is open/);
  });

  test('never owes more than the limit', async t => {
    const { supplier, buyer } = await seats(t);
    await E(supplier).deliver('wheat', 50_000);
    await E(supplier).deliver('rye', 1);
    t.is(await E(buyer).accept(1), 50_000);
    await t.rejects(E(buyer).accept(2), /the limit is 50000/);
    await E(supplier).paid(1);
    t.is(await E(buyer).accept(2), 50_000);
  });

  test('gives each seat once, and a seat does what its role may do', async t => {
    const { account, supplier, buyer, auditor } = await seats(t);
    await t.rejects(E(account).seat('buyer'), /taken/);
    await t.rejects(E(account).seat('owner'), /roles are/);
    await t.rejects(E(supplier).accept(1), /accept/);
    await t.rejects(E(buyer).paid(1), /paid/);
    await t.rejects(E(auditor).deliver('wheat', 1), /deliver/);
  });

  test('stands still while it is frozen, and the journal says why', async t => {
    const { supplier, auditor } = await seats(t);
    await E(auditor).freeze('stocktaking');
    await t.rejects(E(supplier).deliver('wheat', 1), /frozen this account: stocktaking/);
    await E(auditor).thaw();
    t.is(await E(supplier).deliver('wheat', 1), 1);
    t.deepEqual(await E(auditor).journal(), [['frozen', 'stocktaking'], ['thawed'], ['delivered', 1, 'wheat', 1]]);
  });
};
