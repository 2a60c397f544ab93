// A sealed auction: the highest bid wins, at the price of the second highest (or the reserve, if that is higher). Each bid is
// escrowed whole, and nobody learns of a bid but by the price.
//
//   terms    { goods, currency, reserve, deadline? }: the goods as { issuer, amount }, an issuer, the least price as a bigint, and a
//            time of the host's timer. Without a deadline the seller closes the auction
//   seats    { seller }, and one for each bidder whom the seller invites
//     seller.offer(payment)         takes the goods out of the payment
//     seller.invite()               a token for a bidder
//     seller.close()                if there is no deadline
//     bidder.bid(amount, payment)   one bid, taken out of the payment. What has not arrived by the end is too late
//     each.outcome()                { sold, price }, when it is decided
//     each.payout()                 then: a record of purses. The seller gets { money } or { goods }; the winner { goods, money }, the
//                                   money being what the bid was above the price; other bidders { money }
({ terms: { goods, currency, reserve, deadline }, timer, makeEscrow, invite }) => {
  const MAX_BIDDERS = 1000;
  const least = Nat(reserve);
  const lot = makeEscrow(goods);
  // Escrowed bids, in the order of their arrival.
  const bids = [];
  let bidders = 0;
  let offered = false;
  const { promise: ending, resolve: end } = makePromiseKit();
  let ended = false;

  lot.filled.then(() => {
    offered = true;
  });
  if (deadline !== undefined) {
    E(timer).wakeAt(deadline).then(end, end);
  }

  const settle = async () => {
    ended = true;
    // A seller whose payment hangs keeps nobody but himself waiting.
    const goodsPurse = offered ? lot.purse : lot.close();
    // Sorting is stable: of equal bids the earliest is first.
    const ranking = offered ? [...bids].sort((a, b) => (a.amount === b.amount ? 0 : a.amount > b.amount ? -1 : 1)) : [];
    const [winner, second] = ranking;
    if (winner === undefined) {
      return harden({ sold: false, goodsPurse });
    }
    const price = second === undefined ? least : second.amount;
    const proceeds = E(currency).makeEmptyPurse();
    try {
      await E(proceeds).deposit(price, winner.escrow.purse);
    } catch {
      // Nothing has changed hands, so everybody gets back what he gave.
      return harden({ sold: false, goodsPurse });
    }
    return harden({ sold: true, price, winner, proceeds, goodsPurse });
  };
  const result = ending.then(settle);
  const outcome = () => result.then(({ sold, price }) => harden({ sold, price }));

  const makeBidder = () => {
    let bid;
    return Far('seat of a bidder', {
      async bid(amount, payment) {
        if (ended) {
          throw Error('the auction is over');
        }
        if (bid !== undefined) {
          throw Error('one bid for each seat');
        }
        const offer = Nat(amount);
        if (offer < least) {
          throw RangeError(`the least bid is ${least}`);
        }
        const escrow = makeEscrow({ issuer: currency, amount: offer });
        bid = harden({ amount: offer, escrow });
        const own = bid;
        try {
          await escrow.fill(payment);
        } catch (reason) {
          // Nothing was taken: the bidder may try again.
          bid = undefined;
          throw reason;
        }
        if (ended) {
          throw Error('too late: the payout is what was bid');
        }
        bids.push(own);
      },
      outcome,
      async payout() {
        const { winner, goodsPurse } = await result;
        if (bid === undefined) {
          return harden({});
        }
        const money = bid.escrow.close();
        return harden(bid === winner ? { goods: goodsPurse, money } : { money });
      },
    });
  };

  return harden({
    seller: Far('seat of the seller', {
      offer: payment => lot.fill(payment),
      invite() {
        if (bidders >= MAX_BIDDERS) {
          throw RangeError(`at most ${MAX_BIDDERS} bidders`);
        }
        bidders += 1;
        return invite('bidder', makeBidder());
      },
      close() {
        if (deadline !== undefined) {
          throw Error('this auction ends at its deadline');
        }
        end();
        return outcome();
      },
      outcome,
      async payout() {
        const { sold, proceeds, goodsPurse } = await result;
        return harden(sold ? { money: proceeds } : { goods: goodsPurse });
      },
    }),
  });
}
