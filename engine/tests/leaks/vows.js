// work 50 x 50
// Vows, flows and answers that nobody waits for.
import { E, Far } from '@endo/far';
export default function () {
  const far = Far('far', { m(x) { return x; }, fail() { throw Error('no'); } });
  return {
    async work(count) {
      for (let i = 0; i < count; i += 1) {
        const flow = new Flow();
        flow.makeVow(resolve => resolve(far)).e.m(i).then(() => {});
        Vow.resolve(far).e.m([i]).then(x => x);
        E(far).fail().catch(() => {});
        E.sendOnly(far).m(i);
        await E(E(far).m(far)).m(i);
      }
      return count;
    },
  };
}
