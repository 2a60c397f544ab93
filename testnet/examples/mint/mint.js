// Mints: money, shares, tickets, anything that is counted.
//
//   mint     makes purses that are full. Its holder decides how much there is.
//   issuer   makes purses that are empty. Anybody may have it: it says which currency is meant.
//   purse    holds an amount. Its holder can spend it.
//   receiver takes deposits into one purse, and does nothing else. This is what to print on an invoice.
import { Far } from '@endo/far';
import { Nat } from '@endo/nat';

const MAX_NAME_LENGTH = 100;

export const makeMint = name => {
  // A purse's account. Nothing but a purse of this very mint is a key here, so nothing else can be deposited.
  const accounts = new WeakMap();
  let issued = 0n;

  const accountOf = purse => {
    const account = accounts.get(purse);
    if (account === undefined) {
      throw TypeError(`this is no purse of ${name}`);
    }
    return account;
  };

  const makePurse = balance => {
    const account = { balance };

    const deposit = async (amount, source) => {
      const moved = Nat(amount);
      const from = accountOf(await source);
      // Nothing is awaited from here on: what is checked is what is changed.
      if (moved > from.balance) {
        throw RangeError(`${moved} of ${name} are more than this purse holds`);
      }
      from.balance -= moved;
      account.balance += moved;
    };

    const receiver = Far('receiver', { deposit });
    const purse = Far('purse', {
      deposit,
      getBalance: () => account.balance,
      getIssuer: () => issuer,
      getReceiver: () => receiver,
    });
    accounts.set(purse, account);
    return purse;
  };

  const issuer = Far('issuer', {
    getName: () => name,
    makeEmptyPurse: () => makePurse(0n),
  });

  return Far('mint', {
    getIssuer: () => issuer,
    // All that was ever made. Deposits move amounts and neither make nor destroy any.
    getIssued: () => issued,
    makePurse(amount) {
      const made = Nat(amount);
      const purse = makePurse(made);
      issued += made;
      return purse;
    },
  });
};
harden(makeMint);

// A vat whose root makes mints. Names are for people: two mints of one name are two currencies.
export default function mints() {
  return Far('mints', {
    makeMint(name) {
      if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH) {
        throw TypeError(`the name of a currency is a text of at most ${MAX_NAME_LENGTH} letters`);
      }
      return makeMint(name);
    },
  });
}
