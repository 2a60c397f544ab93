// Getters of a subclass of `Uint8Array` are not run when it is passed.
// call give => ok
// call ran => ok false
import { Far, passStyleOf } from '@endo/far';
export default function (argv) {
  let ran = false;
  class B extends Uint8Array { get length() { ran = true; return 1; } }
  const b = new B(4);
  let style; try { style = passStyleOf(b); } catch (e) { style = e.message; }
  console.log(ran ? 'BAD getter ran' : 'OK', style);
  return Far('root', { give() { return b; }, ran() { return ran; } });
}
