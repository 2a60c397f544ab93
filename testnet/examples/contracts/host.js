// A contract host: a vat that runs contracts for parties who do not trust each other, and who all trust this vat.
//
// A contract is the source of one function. The host runs it with the terms on which the parties agreed, and it answers with one
// seat for each role. The host gives a token for each seat. Who holds a token looks first: what is the source, what are the terms,
// which role is it? Then the holder redeems it, once, for the seat.
//
//   host.setup(source, terms)          -> a record of tokens, by role
//   host.describe(token)               -> { source, terms, role }
//   host.redeem(token, source, role)   -> the seat
//   host.renew(token)                  -> another token for the same seat; the old one is void
import { E, Far } from '@endo/far';
import { deeplyFulfilled } from '@endo/marshal';
import { Nat } from '@endo/nat';
import { makePromiseKit } from '@endo/promise-kit';

const MAX_SOURCE_LENGTH = 100_000;

// Takes an agreed amount out of a payment, and keeps it in a purse that nobody else holds. If the payment is no good, another one
// can be tried.
const makeEscrow = ({ issuer, amount }) => {
  const purse = E(issuer).makeEmptyPurse();
  const filled = makePromiseKit();
  let attempt; // the deposit that is under way, or that was made
  let closed = false;

  return harden({
    // The purse. A contract gives it away when it is decided whose it is.
    purse,
    // Fulfilled when the amount is in the purse.
    filled: filled.promise,
    fill(payment) {
      if (closed) {
        throw Error('this contract takes nothing more');
      }
      if (attempt !== undefined) {
        throw Error('the amount is escrowed already, or is about to be');
      }
      attempt = E(purse).deposit(amount, payment);
      return attempt.then(
        () => filled.resolve(),
        reason => {
          attempt = undefined;
          throw reason;
        },
      );
    },
    // No payment is taken from now on. Answers with the purse when nothing is under way into it any more.
    close() {
      closed = true;
      return Promise.resolve(attempt).then(() => purse, () => purse);
    },
  });
};

// The source's function, in a compartment of its own: it has the language and what is named here, and no way to this module.
const evaluate = source => {
  if (typeof source !== 'string' || source.length > MAX_SOURCE_LENGTH) {
    throw TypeError(`the source of a contract is a text of at most ${MAX_SOURCE_LENGTH} letters`);
  }
  const globals = { E, Far, harden, makePromiseKit, Nat };
  const contract = new Compartment({ globals, __options__: true }).evaluate(`(${source}\n)`);
  if (typeof contract !== 'function') {
    throw TypeError('the source of a contract is the source of one function');
  }
  return contract;
};

// `timer` is for contracts with a deadline. A host without one refuses these.
export default function contractHost({ timer }) {
  // What each token is for. A token that was redeemed is in here no more, and a token of another host never was.
  const seats = new WeakMap();

  const look = token => {
    const seat = seats.get(token);
    if (seat === undefined) {
      throw TypeError('this is no token of this host, or it was used already');
    }
    return seat;
  };

  const tokenFor = seat => {
    const token = Far('token', {});
    seats.set(token, seat);
    return token;
  };

  return Far('contract host', {
    async setup(source, terms) {
      const contract = evaluate(source);
      // References in the terms may be promises still. The contract and all who look get the objects.
      const agreed = harden(await deeplyFulfilled(harden(terms)));
      const invite = (role, seat) => tokenFor(harden({ source, terms: agreed, role, seat }));
      const made = await contract(harden({ terms: agreed, timer, makeEscrow, invite }));
      const tokens = Object.entries(made).map(([role, seat]) => [role, invite(role, seat)]);
      return harden(Object.fromEntries(tokens));
    },

    async describe(token) {
      const { source, terms, role } = look(await token);
      return harden({ source, terms, role });
    },

    async redeem(token, source, role) {
      const key = await token;
      // Looking and voiding happen in one turn: two who redeem the same token at once do not both get the seat.
      const seat = look(key);
      if (seat.source !== source || seat.role !== role) {
        throw Error('this token is for another contract or for another role; it was not used');
      }
      seats.delete(key);
      return seat.seat;
    },

    // For who got a token from somebody that may have kept it.
    async renew(token) {
      const key = await token;
      const seat = look(key);
      seats.delete(key);
      return tokenFor(seat);
    },
  });
}
