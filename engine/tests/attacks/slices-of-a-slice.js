// The commonest loop of a parser leaves no chain.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  let s = 'x'.repeat(400000), n = 0;
  while (s.length > 0) { s = s.slice(1); n += 1; }
  s = '';
  console.log('OK', n);
  return Far('root', {});
}
