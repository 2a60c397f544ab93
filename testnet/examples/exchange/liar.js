// In the place of Bob: he takes the token and cheats, in one way or another.
//
//   silent     says nothing, and does nothing
//   forger     pays with a purse that he made himself, and says that he has paid
//   other mint pays with goods of a mint of his own that has the same name
//   poor       pays with a purse that holds one less than he promised
//   thief      tries to be the buyer, too
//   canceller  pays, and takes back at once
import { E, Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

export default function liar({ mint, host, escrow }) {
  let purses;
  let lie;
  let acted;

  const forged = amount =>
    Far('purse', {
      getBalance: () => amount,
      getIssuer: () => E(purses.goods).getIssuer(),
      deposit: () => undefined,
    });

  const payment = async amount => {
    switch (lie) {
      case 'forger':
        return forged(amount);
      case 'other mint':
        return E(E(mint).makeMint('goods')).makePurse(amount);
      default: {
        const purse = E(E(purses.goods).getIssuer()).makeEmptyPurse();
        await E(purse).deposit(lie === 'poor' ? amount - 1n : amount, purses.goods);
        return purse;
      }
    }
  };

  // What he tries, and how it ends for him.
  const attempts = async token => {
    const { terms } = await E(host).describe(token);
    if (lie === 'silent') {
      return 'did nothing';
    }
    if (lie === 'thief') {
      await E(host).redeem(token, escrow, 'buyer');
      return 'is the buyer';
    }
    const seat = E(host).redeem(token, escrow, 'seller');
    const purse = payment(terms.seller.amount);
    const bankBack = async () => {
      // What is his he may have back.
      if (lie === 'poor') await E(purses.goods).deposit(terms.seller.amount - 1n, purse);
    };
    try {
      await E(seat).offer(purse);
    } catch (reason) {
      await bankBack();
      throw reason;
    }
    if (lie === 'canceller') {
      // Too late if Alice had paid: then it is a trade.
      const outcome = await E(seat).cancel();
      const payout = E(seat).payout();
      await E(outcome === 'traded' ? purses.money : purses.goods).deposit(await E(payout).getBalance(), payout);
      return outcome;
    }
    return 'paid with nothing';
  };

  return Far('bob', {
    open(owned) {
      purses = harden({ ...owned });
    },
    behave(as) {
      lie = as;
    },
    // Whatever he does, he says that all is well; but for the silent one.
    invite(token) {
      const trying = attempts(token).then(end => end, reason => `refused: ${reason.message}`);
      acted?.(trying);
      return lie === 'silent' ? new Promise(() => {}) : trying.then(() => undefined);
    },
    next() {
      const { promise, resolve } = makePromiseKit();
      acted = resolve;
      return harden({ offered: promise, banked: promise.then(() => undefined) });
    },
    notAsked() {
      acted?.('not asked');
    },
  });
}
