// A counter that counts for whoever holds it, and a view that can only look.
import { Far } from '@endo/far';

export default function start({ limit }) {
  let count = 0;

  const view = Far('view', {
    count: () => count,
  });

  return Far('counter', {
    increment(by = 1) {
      // Arguments are anything: check first, change afterwards.
      if (!Number.isSafeInteger(by) || by < 1) throw RangeError(`a counter counts whole numbers, not ${by}`);
      if (count + by > limit) throw RangeError(`the counter ends at ${limit}`);
      count += by;
      return count;
    },
    // Whoever gets the view cannot count.
    getView: () => view,
  });
}
