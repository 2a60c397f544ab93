// A counter that counts for whoever holds it, and a view that can only look.
import { Far } from '@endo/far';

interface Argv {
  limit: number;
}

export default function start({ limit }: Argv): object {
  let count = 0;

  const view = Far('view', {
    count: (): number => count,
  });

  return Far('counter', {
    increment(by: unknown = 1): number {
      // Arguments are anything, whatever their types say: check first, change afterwards.
      if (typeof by !== 'number' || !Number.isSafeInteger(by) || by < 1) {
        throw RangeError(`a counter counts whole numbers, not ${by}`);
      }
      if (count + by > limit) throw RangeError(`the counter ends at ${limit}`);
      count += by;
      return count;
    },
    // Whoever gets the view cannot count.
    getView: (): object => view,
  });
}
