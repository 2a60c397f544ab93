// A message has at most 1,024 references; the guest says so itself.
// call answer 1024 => ok
// call answer 1025 => no at most 1024 references
// call answer 50000 => no at most 1024 references
// call same 5000 => ok
// call promises 1025 => no at most 1024 references
// call send 1025 => no at most 1024 references
import { E, Far } from '@endo/far';
export default function (argv) {
  const list = (n, make) => { const all = []; for (let i = 0; i < n; i += 1) all.push(make(i)); return harden(all); };
  return Far('root', {
    answer(n) { return list(n, () => Far('x', { m() {} })); },
    same(n) { const one = Far('x', {}); return list(n, () => one); },
    promises(n) { return list(n, i => Promise.resolve(i)); },
    send(n) { return E(argv.target).take(list(n, () => Far('x', {}))); },
  });
}
