// A chain of slices that became garbage must not end every later collection.
// call build 100000 => ok 400000
// call let_go => ok "gone"
// call work => ok 20000
// call work => ok 20000
import { Far } from '@endo/far';
export default function (argv) {
  let held = { s: 'x'.repeat(500000) };
  return Far('root', {
    build(n) { for (let i = 0; i < n; i += 1) held = { s: held.s.slice(1) }; return held.s.length; },
    let_go() { held = undefined; return 'gone'; },
    work() { const a = []; for (let i = 0; i < 20000; i += 1) a.push({ i }); return a.length; },
  });
}
