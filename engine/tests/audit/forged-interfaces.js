// tries: to pass data as a reference
// defence: the judge looks at all own and inherited properties
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

const proto = Object.getPrototypeOf(Far('X', {}));
const style = x => passStyleOf(harden(x)) === 'remotable';
export const attempt = () => trying({
  own: () => style(Object.create(proto, { secret: { value: 42 } })),
  inherited: () => style(Object.create(Object.create(proto, { secret: { value: 42 } }))),
  map: () => style(Object.setPrototypeOf(new Map(), proto)),
  fn: () => style(Object.assign(() => 1, { data: 1 })),
  far: () => { Far('x', Object.assign(() => 1, { data: 1 })); return true; },
  class: () => style(new (class { x = 1; })()),
});
