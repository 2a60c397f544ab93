// Private names keep to instances.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const t = (n, f) => { let r; try { r = f(); } catch (e) { r = e.name; } return r; };
  class Purse { #b = 1; static read(p) { return p.#b; } has(o) { return #b in o; } take() { this.#b -= 1; return this.#b; } }
  const ok = (n, c) => console.log(c ? 'OK' : 'BAD', n);
  ok('proxy', t('', () => Purse.read(new Proxy(new Purse(), {}))) === 'TypeError');
  ok('create', t('', () => Purse.read(Object.create(new Purse()))) === 'TypeError');
  ok('in', new Purse().has({}) === false);
  const h = harden(new Purse()); ok('hardened private is state', h.take() === 0);
  class Over { constructor(o) { return o; } } class Stamp extends Over { #s = 'stamped'; static of(o) { return o.#s; } }
  const victim = harden({ a: 1 }); new Stamp(victim);
  ok('a frozen object can be marked, as a WeakMap could', Stamp.of(victim) === 'stamped');
  ok('twice', t('', () => new Stamp(victim)) === 'TypeError');
  return Far('root', {});
}
