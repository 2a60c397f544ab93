// Maps may change while they are walked through.
// call churn 20000 => ok 0
import { Far } from '@endo/far';
export default function (argv) {
  const m = new Map([[1, 1], [2, 2], [3, 3]]); const seen = [];
  for (const [k] of m) { seen.push(k); if (k === 1) { m.delete(2); m.set(4, 4); } if (k === 4 && seen.length < 6) { m.delete(1); m.set(1, 1); } }
  console.log(seen.join() === '1,3,4,1' ? 'OK' : 'BAD', seen.join());
  const keep = m.entries(); keep.next(); // an iterator that is never finished holds the lock: do deleted entries ever go?
  const big = new Map(); const hang = big.keys(); hang.next();
  return Far('root', { churn(n) { for (let i = 0; i < n; i += 1) { big.set(i, i); big.delete(i); } return big.size; } });
}
