// Symbols that messages bring are kept no longer than somebody holds them: one message cannot use them up for others.
// call self 50000 => ok 50000
// call ping {"@symbol":"new one"} => ok {"@symbol":"new one"}
import { Far } from '@endo/far';
export default function () {
  let n = 0;
  return Far('root', { take(list) { n += list.length; return n; }, ping(symbol) { return symbol; }, self(k) { for (let i = 0; i < k; i += 1) { n += 1; Symbol.for(`s${n}`); } return n; } });
}
