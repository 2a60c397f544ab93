// A counter to call from outside:
//
//   vat call counter increment        one more; answers the new count
//   vat call counter increment 5      five more
//   vat call counter once '"k1"' 5    five more, but only the first time that "k1" is said
//   vat call counter read             the count
import { Far } from '@endo/far';

// Keys of `once` that are remembered; the oldest are forgotten first, because a vat that only ever remembers fills up.
const REMEMBERED = 10_000;

const checked = number => {
  if (!Number.isSafeInteger(number)) {
    throw RangeError(`a counter counts whole numbers, not ${String(number)}`);
  }
  return number;
};

export default function counter({ start = 0 }) {
  let count = checked(start);
  const answers = new Map();

  const increment = (by = 1) => {
    // Nothing changes unless all of it can: the check comes before the assignment.
    count = checked(count + checked(by));
    return count;
  };

  return Far('counter', {
    increment,

    // For callers that may have to ask again because an answer was lost: the same key counts once and answers the same.
    once(key, by = 1) {
      if (typeof key !== 'string') {
        throw TypeError('the key of once() is a string');
      }
      if (!answers.has(key)) {
        answers.set(key, increment(by));
        if (answers.size > REMEMBERED) {
          answers.delete(answers.keys().next().value);
        }
      }
      return answers.get(key);
    },

    read() {
      return count;
    },
  });
}
