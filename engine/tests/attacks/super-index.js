// `super[i] = x` makes a property of the receiver.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const base = ['shared'];
  const make = () => ({ __proto__: base, m() { super[0] = 'mine'; return this; } });
  const o = make().m();
  console.log(base[0] === 'shared' && Object.prototype.hasOwnProperty.call(o, 0) ? 'OK' : 'BAD', base[0]);
  return Far('root', {});
}
