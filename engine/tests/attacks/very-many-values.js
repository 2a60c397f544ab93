// A message has at most 32,768 values and fields, whichever way it goes.
// call lists 32767 => ok
// call lists 32768 => no at most 32768 values
// call numbers 32767 => ok
// call numbers 250000 => no at most 32768 values
// call fields 16000 => ok
// call fields 16384 => no at most 32768 values
// call send 40000 => no at most 32768 values
// call deep 100 => ok
// call deep 129 => no nested too deeply
// call shared 40 => no at most 32768 values
// call count [1,2,3] => ok 3
import { E, Far } from '@endo/far';
export default function (argv) {
  const of = (n, make) => Array.from({ length: n }, (_, i) => make(i));
  return Far('root', {
    lists(n) { return of(n, () => []); },
    numbers(n) { return of(n, i => i); },
    fields(n) { return Object.fromEntries(of(n, i => [`k${i}`, i])); },
    send(n) { return E(argv.target).take(of(n, () => [])); },
    deep(n) { let a = 1; for (let i = 0; i < n; i += 1) a = [a]; return a; },
    shared(n) { let a = [1]; for (let i = 0; i < n; i += 1) a = [a, a]; return a; },
    count(list) { return list.length; },
  });
}
