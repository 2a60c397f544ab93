// A promise that cannot be passed leaves nothing behind: the second attempt fares like the first.
// call first => no with properties of its own
// call second => no with properties of its own
import { Far } from '@endo/far';
export default function (argv) {
  let bad = true;
  const p = Promise.resolve('value');
  Object.defineProperty(p, 'constructor', { get() { if (bad) throw Error('no'); return Promise; } });
  return Far('root', { first() { return [p]; }, second() { bad = false; return [p]; } });
}
