// Rejections that are handled later cost what they are many.
// call go 32000 => ok 32000
import { Far } from '@endo/far';
export default function (argv) {
  return Far('root', { go(n) { const ps = []; for (let i = 0; i < n; i += 1) ps.push(Promise.reject(i)); for (const p of ps) p.catch(() => {}); return n; } });
}
