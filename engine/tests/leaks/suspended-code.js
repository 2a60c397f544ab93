// work 1000 x 50
// Generators, iterators and async functions that stand still for ever, held by nobody.
import { E } from '@endo/far';
export default function () {
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        const never = new Promise(() => {});
        (async () => { await never; return i; })();
        const generator = (function* g() { yield i; yield never; })();
        generator.next();
        (async function* g() { yield never; })().next();
        new Map([[i, never]]).entries().next();
        [i].values().map(x => [x, never]).next();
        E(never).method(i);
        E.when(never, () => generator);
      }
      return count;
    },
  };
}
