// Symbols that nobody holds are not kept.
// call reg 200000 => ok 200000
// call reg 200000 => ok 400000
// call reg 200000 => ok 600000
import { Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  return Far('root', { reg(k) { for (let i = 0; i < k; i += 1) { n += 1; Symbol.for(`key ${n}`); } return n; } });
}
