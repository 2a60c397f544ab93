// tries: to change what harden has gone over
// defence: harden freezes all that is reachable
import { trying } from './lib.js';

export const attempt = () => trying({
  nested: () => { const o = harden({ a: { b: [1] } }); o.a.b.push(2); return o.a.b.length > 1; },
  prototype: () => { class A { x() {} } harden(new A()); A.prototype.x = 1; return A.prototype.x === 1; },
  getter: () => { const get = () => 1; harden(Object.defineProperty({}, 'x', { get })); get.y = 1; return get.y === 1; },
  symbol: () => { const o = { [Symbol.for('s')]: {} }; harden(o); o[Symbol.for('s')].x = 1; return o[Symbol.for('s')].x === 1; },
  typed: () => { const t = new Uint8Array(1); t.foo = 1; harden(t); t.foo = 2; return t.foo === 2; },
  array: () => { const l = harden([1, 2, 3]); l.length = 0; return l.length === 0; },
  again: () => { const inner = {}; const o = { inner }; harden(inner); harden(o); o.x = 1; return o.x === 1; },
  proxy: () => { harden(new Proxy({}, { preventExtensions: () => true })); return true; },
});
