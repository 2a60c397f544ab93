// An own `constructor` getter on a promise would run in the midst of a statement of the contract. It is never run, and such a promise does not pass.
// call give => no with properties of its own
// call sink => ok
import { E, Far } from '@endo/far';
export default function (argv) {
  let inside = false; let reentered = false;
  const p = new Promise(() => {});
  Object.defineProperty(p, 'constructor', { get() { if (inside) reentered = true; return Promise; } });
  const sink = Far('sink', { take() {} });
  inside = true;
  E.when(p, () => {});
  E(p).anything();           // local: send_later -> promise.then
  inside = false;
  console.log(reentered ? 'BAD' : 'OK', 'guest code ran inside E()');
  // exported: marshal::promise -> observe -> then
  return Far('root', { give() { return [p]; }, sink() { return sink; } });
}
