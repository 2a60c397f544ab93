// Shapes of records with ever new keys are given back.
// call keys 50000 => ok 50000
// call keys 50000 => ok 100000
import { Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  return Far('root', { keys(k) { for (let i = 0; i < k; i += 1) { n += 1; const o = {}; o[`k${n}`] = n; const p = { [`p${n}`]: o }; } return n; } });
}
