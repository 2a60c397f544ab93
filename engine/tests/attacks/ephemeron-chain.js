// A chain of WeakMap entries costs a collection no more than its length.
// call build 15000 => ok 15000
// call work => ok 20000
// call work => ok 20000
import { Far } from '@endo/far';
export default function (argv) {
  const map = new WeakMap(); let newest = {}; let n = 0;
  return Far('root', {
    build(count) { for (let i = 0; i < count; i += 1) { const key = {}; map.set(key, newest); newest = key; n += 1; } return n; },
    work() { const a = []; for (let i = 0; i < 20000; i += 1) a.push({ i }); return a.length; },
  });
}
