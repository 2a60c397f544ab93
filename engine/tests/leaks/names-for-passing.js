// work 300 x 50
// Interface names, tags, error names and keys that each occur once.
import { E, Far, passStyleOf } from '@endo/far';
import { makeTagged } from '@endo/pass-style';
export default function () {
  let n = 0;
  return {
    async work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const far = Far(`Interface ${n}`, { [`method${n}`]() { throw Object.assign(Error(`message ${n}`), { name: `Name${n}` }); } });
        await E(far)[`method${n}`]().catch(error => passStyleOf(harden(error)));
        await E(far)[`none${n}`]().catch(() => makeTagged(`tag ${n}`, harden({ [`key${n}`]: n })));
      }
      return n;
    },
  };
}
