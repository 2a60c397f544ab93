// Two parties exchange what they agreed on, or each gets back what it gave.
//
//   terms    { buyer, seller, deadline? }: what each gives, as { issuer, amount }; a deadline is a time of the host's timer
//   seats    { buyer, seller }, of equal rights
//     offer(payment)   takes the agreed amount out of the payment
//     cancel()         ends it, unless both have paid; answers with the outcome
//     outcome()        'traded' or 'cancelled', when it is decided
//     payout()         then: the purse with what the seat's holder has got, or has got back
({ terms, timer, makeEscrow }) => {
  const escrows = { buyer: makeEscrow(terms.buyer), seller: makeEscrow(terms.seller) };
  // Whatever decides first decides for both.
  const { promise: outcome, resolve: decide } = makePromiseKit();
  const cancel = () => decide('cancelled');

  Promise.all([escrows.buyer.filled, escrows.seller.filled]).then(() => decide('traded'));
  if (terms.deadline !== undefined) {
    // A timer that fails must not keep anybody's money.
    E(timer).wakeAt(terms.deadline).then(cancel, cancel);
  }
  const closed = outcome.then(() => harden({ buyer: escrows.buyer.close(), seller: escrows.seller.close() }));

  const makeSeat = (own, other) =>
    Far(`seat of the ${own}`, {
      offer: payment => escrows[own].fill(payment),
      cancel: () => {
        cancel();
        return outcome;
      },
      outcome: () => outcome,
      payout: async () => {
        const purses = await closed;
        return (await outcome) === 'traded' ? purses[other] : purses[own];
      },
    });

  return harden({ buyer: makeSeat('buyer', 'seller'), seller: makeSeat('seller', 'buyer') });
}
