// What the benchmarks call: as little JavaScript as there can be, so that what is measured is everything else.
import { Far } from '@endo/far';

export default function counter() {
  let count = 0;
  return Far('counter', {
    increment() {
      count += 1;
      return count;
    },
    // For messages that nobody waits for.
    note() {
      count += 1;
    },
    nothing() {},
    read() {
      return count;
    },
  });
}
