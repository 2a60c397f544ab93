// Proxies cannot lie about frozen targets.
// call nothing => no has no method
import { Far, passStyleOf } from '@endo/far';
export default function (argv) {
  const ok = (n, c, d) => console.log(c ? 'OK' : 'BAD', n, d ?? '');
  const t = f => { try { return f(); } catch (e) { return `${e.name}: ${e.message}`; } };
  const target = Object.freeze({ a: 1 });
  ok('get lies', /TypeError/.test(t(() => new Proxy(target, { get: () => 2 }).a)));
  ok('has lies', /TypeError/.test(t(() => 'a' in new Proxy(target, { has: () => false }))));
  ok('keys lie', /TypeError/.test(t(() => Reflect.ownKeys(new Proxy(target, { ownKeys: () => [] })))));
  ok('desc lies', /TypeError/.test(t(() => Object.getOwnPropertyDescriptor(new Proxy(target, { getOwnPropertyDescriptor: () => ({ value: 2, configurable: false, enumerable: true, writable: false }) }), 'a'))));
  ok('far', /Error/.test(t(() => Far('x', new Proxy({ m() {} }, {})))));
  ok('revoked', /Error/.test(t(() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return passStyleOf(proxy); })));
  ok('proxy as prototype of Far', t(() => { let ran = 0; const p = new Proxy({}, { get() { ran += 1; }, getPrototypeOf() { ran += 1; return null; } }); const o = { __proto__: p, m() {} }; Far('x', o); return ran; }), 'traps that ran: read by hand');
  return Far('root', {});
}
