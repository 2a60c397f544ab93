// What the benchmarks call: as little JavaScript as there can be, so that what is measured is everything else.
import { Far } from '@endo/far';

export default function counter() {
  let count = 0;
  return Far('counter', {
    increment() {
      count += 1;
      return count;
    },
    // Hardly anything, and nothing to answer.
    note() {
      count += 1;
    },
    read() {
      return count;
    },
    // A text of any length; what is answered is short.
    take(text) {
      count += 1;
      return text.length;
    },
  });
}
