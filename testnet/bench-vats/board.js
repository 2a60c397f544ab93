// Publishes a number among others, and counts how often it is told one.
import { Far } from '@endo/far';

const OTHERS = 100;

export default ({ publisher }) => {
  for (let number = 0; number < OTHERS; number += 1) publisher.publish(`other-${number}`, number);
  let price = 0;
  publisher.publish('price', price);
  return Far('board', {
    set(next) {
      price = next;
      publisher.publish('price', price);
      return price;
    },
    price: () => price,
  });
};
