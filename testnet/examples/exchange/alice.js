// Alice has money and wants goods. She trusts the contract host and the mint, and nobody else. In particular she does not trust Bob.
import { E, Far } from '@endo/far';

export default function alice({ host, escrow }) {
  let purses;
  let cancel = () => {};

  // Moves all that is in `from` into `to`.
  const bank = async (from, to) => E(to).deposit(await E(from).getBalance(), from);

  return Far('alice', {
    // What she owns: { money, goods }, two purses.
    open(owned) {
      purses = harden({ ...owned });
    },

    // Buys `amount` of goods from Bob. `first` says who pays first: 'alice' or 'bob'.
    async buy(bob, price, amount, first) {
      const [money, goods] = [E(purses.money).getIssuer(), E(purses.goods).getIssuer()];
      const terms = harden({ buyer: { issuer: money, amount: price }, seller: { issuer: goods, amount } });
      const tokens = E(host).setup(escrow, terms);
      const seat = E(host).redeem(E.get(tokens).buyer, escrow, 'buyer');
      cancel = () => E.sendOnly(seat).cancel();

      let decided = false;
      let paying;
      const pay = async () => {
        if (decided) {
          return;
        }
        // She hands over a purse with the price in it, not her own.
        const payment = E(money).makeEmptyPurse();
        await E(payment).deposit(price, purses.money);
        try {
          await E(seat).offer(payment);
        } catch (reason) {
          await bank(payment, purses.money);
          throw reason;
        }
      };
      const invite = () => E(bob).invite(E.get(tokens).seller);
      const trade = async () => {
        if (first === 'bob') {
          await invite();
          await (paying = pay());
        } else {
          await (paying = pay());
          await invite();
        }
      };
      // Whoever refuses ends the trade. If Bob says nothing at all, Alice waits until her patience is at an end.
      trade().catch(cancel);

      const outcome = await E(seat).outcome();
      decided = true;
      await bank(E(seat).payout(), outcome === 'traded' ? purses.goods : purses.money);
      await Promise.allSettled([paying]);
      return outcome;
    },

    giveUp() {
      cancel();
    },
  });
}
