// A getter that throws must be nothing that ends the delivery.
// call nothing => no has no method
import { E, Far } from '@endo/far';
export default function (argv) {
  const p = new Promise(() => {});
  Object.defineProperty(p, 'constructor', { get() { throw Error('from the getter'); } });
  try { const r = E(p).m(); Promise.prototype.catch.call(r, () => {}); console.log('OK survived'); }
  catch (e) { console.log('OK survived with', e.message); }
  return Far('root', {});
}
