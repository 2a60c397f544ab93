// A covered call: until the deadline its holder may buy the goods at the strike price, and need not. The writer escrows the goods
// first, so that they are there.
//
//   terms    { goods, strike, deadline }: two of { issuer, amount }, and a time of the host's timer
//   seats    { writer, holder }
//     writer.cover(payment)      takes the goods out of the payment
//     holder.covered()           fulfilled when the goods are there
//     holder.exercise(payment)   takes the strike price out of the payment. What has not arrived by the deadline is too late
//     holder.waive()             gives the option up before the deadline
//     either.outcome()           'exercised' or 'expired', when it is decided
//     either.payout()            then: the purse with what the seat's holder has got, or has got back
//
// The token of the holder's seat is itself worth something, and can be sold: the buyer has the host describe it, and renews it.
({ terms: { goods, strike, deadline }, timer, makeEscrow }) => {
  if (timer === undefined) {
    throw Error('an option needs a host with a timer');
  }
  const covering = makeEscrow(goods);
  const paying = makeEscrow(strike);
  let covered = false;
  const { promise: outcome, resolve: decide } = makePromiseKit();
  const expire = () => decide('expired');

  covering.filled.then(() => {
    covered = true;
  });
  Promise.all([covering.filled, paying.filled]).then(() => decide('exercised'));
  E(timer).wakeAt(deadline).then(expire, expire);
  const closed = outcome.then(() => harden({ goods: covering.close(), strike: paying.close() }));

  const payout = async (ifExercised, ifExpired) => {
    const purses = await closed;
    return purses[(await outcome) === 'exercised' ? ifExercised : ifExpired];
  };

  return harden({
    writer: Far('seat of the writer', {
      cover: payment => covering.fill(payment),
      outcome: () => outcome,
      payout: () => payout('strike', 'goods'),
    }),
    holder: Far('seat of the holder', {
      covered: () => covering.filled,
      exercise(payment) {
        if (!covered) {
          throw Error('the option is not covered yet');
        }
        return paying.fill(payment);
      },
      waive() {
        expire();
        return outcome;
      },
      outcome: () => outcome,
      payout: () => payout('goods', 'strike'),
    }),
  });
}
