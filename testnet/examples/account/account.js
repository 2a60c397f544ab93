// The account of a supplier and its buyer, kept together with their auditor: what was delivered, what was accepted, what is owed.
//
//   root      seat(role)               the seat of 'supplier', 'buyer' or 'auditor'; each is given out once
//   supplier  deliver(what, price)     announces a delivery; answers its number
//             paid(amount)             the buyer has paid so much; answers what is still owed
//   buyer     accept(number)           accepts a delivery, whose price is owed from then on; answers what is owed
//             refuse(number)           refuses it
//   auditor   journal()                the newest entries, oldest first
//             freeze(reason), thaw()   nothing changes in between
//
// Everybody can read what is owed: it is published as `owed`.
import { Far } from '@endo/far';

const MAX_OPEN = 100;       // deliveries that are neither accepted nor refused
const MAX_ENTRIES = 1000;   // entries of the journal that are kept
const MAX_TEXT = 200;       // letters

const checkAmount = amount => {
  if (!Number.isSafeInteger(amount) || amount <= 0) {
    throw RangeError(`an amount is a whole number over zero, not ${String(amount)}`);
  }
  return amount;
};

const checkText = text => {
  if (typeof text !== 'string' || text.length > MAX_TEXT) {
    throw TypeError(`a text of at most ${MAX_TEXT} letters is needed`);
  }
  return text;
};

export default function account({ limit, publisher }) {
  const open = new Map();   // by number: { what, price }
  const journal = [];
  let last = 0;
  let owed = 0;
  let frozen;

  const record = (...entry) => {
    journal.push(harden(entry));
    if (journal.length > MAX_ENTRIES) {
      journal.shift();
    }
    publisher.publish('owed', owed);
  };

  // Each method checks everything before it changes anything.
  const checkNotFrozen = () => {
    if (frozen !== undefined) {
      throw Error(`the auditor has frozen this account: ${frozen}`);
    }
  };
  const find = number => {
    const delivery = open.get(number);
    if (delivery === undefined) {
      throw RangeError(`no delivery ${String(number)} is open`);
    }
    return delivery;
  };

  const seats = {
    supplier: Far('supplier', {
      deliver(what, price) {
        checkNotFrozen();
        const delivery = harden({ what: checkText(what), price: checkAmount(price) });
        if (open.size >= MAX_OPEN) {
          throw RangeError(`${MAX_OPEN} deliveries are open already`);
        }
        last += 1;
        open.set(last, delivery);
        record('delivered', last, what, price);
        return last;
      },
      paid(amount) {
        checkNotFrozen();
        if (checkAmount(amount) > owed) {
          throw RangeError(`only ${owed} is owed`);
        }
        owed -= amount;
        record('paid', amount);
        return owed;
      },
    }),

    buyer: Far('buyer', {
      accept(number) {
        checkNotFrozen();
        const { price } = find(number);
        if (owed + price > limit) {
          throw RangeError(`with it ${owed + price} would be owed, and the limit is ${limit}`);
        }
        open.delete(number);
        owed += price;
        record('accepted', number);
        return owed;
      },
      refuse(number) {
        checkNotFrozen();
        find(number);
        open.delete(number);
        record('refused', number);
      },
    }),

    auditor: Far('auditor', {
      journal: () => harden([...journal]),
      freeze(reason) {
        frozen = checkText(reason);
        record('frozen', reason);
      },
      thaw() {
        frozen = undefined;
        record('thawed');
      },
    }),
  };

  publisher.publish('owed', owed);
  const given = new Set();
  return Far('account', {
    seat(role) {
      if (!Object.hasOwn(seats, role)) {
        throw TypeError('the roles are supplier, buyer and auditor');
      }
      if (given.has(role)) {
        throw Error(`the seat of the ${role} is taken`);
      }
      given.add(role);
      return seats[role];
    },
  });
}
