// The smallest vat that is worth calling, for DEPLOY.md: a balance.
import { Far } from '@endo/far';

export default function purse() {
  let balance = 0;
  return Far('purse', {
    deposit(amount) {
      if (!(amount > 0)) throw RangeError('deposit more than nothing');
      balance += amount;
      return balance;
    },
    balance() {
      return balance;
    },
  });
}
