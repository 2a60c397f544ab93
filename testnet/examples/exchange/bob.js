// Bob has goods and wants money. He got a token from Alice, whom he does not trust; so he asks the host what it is.
import { E, Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

export default function bob({ host, escrow }) {
  let purses;
  let least;
  let acted;

  const bank = async (from, to) => E(to).deposit(await E(from).getBalance(), from);

  // Throws unless the host says that the token is for the contract that Bob knows, on terms that he likes.
  const check = async token => {
    const { source, role, terms } = await E(host).describe(token);
    const [money, goods] = await Promise.all([E(purses.money).getIssuer(), E(purses.goods).getIssuer()]);
    if (source !== escrow || role !== 'seller') {
      throw Error('this is not the contract that I know');
    }
    const { buyer, seller } = terms;
    // Wait before you compare: a reference may have come as a promise.
    if ((await buyer.issuer) !== money || (await seller.issuer) !== goods) {
      throw Error('these are not the currencies that I know');
    }
    if (buyer.amount < least * seller.amount) {
      throw Error('too cheap');
    }
    return seller.amount;
  };

  const sell = async token => {
    const amount = await check(token);
    const seat = E(host).redeem(token, escrow, 'seller');
    const payment = E(E(purses.goods).getIssuer()).makeEmptyPurse();
    await E(payment).deposit(amount, purses.goods);
    const banked = E(seat)
      .outcome()
      .then(outcome => bank(E(seat).payout(), outcome === 'traded' ? purses.money : purses.goods));
    try {
      await E(seat).offer(payment);
    } catch (reason) {
      await bank(payment, purses.goods);
      throw reason;
    }
    return { banked };
  };

  return Far('bob', {
    // What he owns: { money, goods }, two purses; and the least price of one of his goods.
    open(owned, price) {
      purses = harden({ ...owned });
      least = price;
    },

    // From Alice. Answers when Bob has paid.
    async invite(token) {
      const selling = sell(token);
      acted?.(selling);
      await selling;
    },

    // What comes of the next invitation: { offered, banked }, two promises. For tests.
    next() {
      const { promise, resolve } = makePromiseKit();
      acted = resolve;
      const offered = promise.then(() => 'offered', reason => `refused: ${reason.message}`);
      const banked = promise.then(selling => selling.banked).catch(() => {});
      return harden({ offered, banked });
    },
    notAsked() {
      acted?.(Promise.reject(Error('not asked')));
    },
  });
}
