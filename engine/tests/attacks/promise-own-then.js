// An own `then` of a promise is never called in the same turn.
// call nothing => no has no method
import { E, Far } from '@endo/far';
export default function (argv) {
  let sync = false; let ran = false;
  const p = Promise.resolve(1);
  Object.defineProperty(p, 'then', { value: function (f) { if (sync) ran = true; return Promise.prototype.then.call(p, f); } });
  sync = true; E.when(p, () => {}); Vow.resolve(p).then(() => {}); sync = false;
  console.log(ran ? 'BAD' : 'OK', 'own then ran inside E.when');
  return Far('root', {});
}
