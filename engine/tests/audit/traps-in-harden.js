// tries: to keep something soft in what harden goes over, by code that runs while it does
// defence: harden freezes all that it found at the end, or throws; passing asks again
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

const soft = x => { try { x.poison = 1; return x.poison === 1; } catch { return false; } };
const styled = x => { try { return passStyleOf(x); } catch { return 'refused'; } };
// What leaves waits for an answer; what does not pass is refused at once.
const passes = async (target, object) => { let refused = false; E(target).take(object).then(undefined, () => { refused = true; }); for (let turn = 0; turn < 50; turn += 1) await null; return !refused; };
export const attempt = ({ target }) => trying({
  addsToSibling: () => { const later = {}; const o = { p: new Proxy({}, { ownKeys(t) { try { later.extra = { soft: 1 }; } catch { /* frozen */ } return Reflect.ownKeys(t); } }), later };
    try { harden(o); } catch { return false; } return later.extra !== undefined && soft(later.extra) && styled(later) === 'copyRecord'; },
  addsToEarlier: () => { const early = {}; const o = { early, p: new Proxy({}, { preventExtensions(t) { try { early.extra = {}; } catch { /* frozen */ } return Reflect.preventExtensions(t); } }) };
    try { harden(o); } catch { return false; } return early.extra !== undefined && soft(early.extra) && styled(early) === 'copyRecord'; },
  hidesProperty: () => { const hidden = {}; const p = new Proxy({ hidden }, { ownKeys: () => [] }); try { harden(p); } catch { return false; } return soft(hidden) && styled(hidden) !== 'refused'; },
  otherPrototype: () => { const proto = {}; const p = new Proxy({}, { getPrototypeOf: () => Object.prototype, ownKeys: () => [] }); Object.setPrototypeOf(p, proto); try { harden(p); } catch { return false; } return styled(p) !== 'refused'; },
  claimsFrozen: () => { const target = { a: 1 }; const p = new Proxy(target, { preventExtensions: () => true, isExtensible: () => false }); try { harden(p); } catch { return false; } return soft(target); },
  getterRuns: () => { let ran = false; harden({ get x() { ran = true; return {}; } }); return ran; },
  reenters: () => { let inner; const o = { a: {}, p: new Proxy({}, { ownKeys(t) { inner = harden({ a: o.a }); return Reflect.ownKeys(t); } }) };
    try { harden(o); } catch { /* thrown */ } return inner !== undefined && soft(inner.a); },
  softInside: () => { let early = false; const o = { a: {}, p: new Proxy({}, { ownKeys(t) { try { early = soft(harden({ a: o.a }).a); } catch { /* refused */ } return Reflect.ownKeys(t); } }) };
    try { harden(o); } catch { /* thrown */ } return early; },
  throwsAfter: async () => { const o = { m() {} }; const bad = { p: new Proxy({}, { ownKeys() { throw Error('no'); } }), o, more: Object.freeze({ o }) }; try { harden(bad); } catch { /* thrown */ } return passes(target, bad.more.o); },
  throwsInside: async () => { const o = { m() {} }; const bad = { o, p: new Proxy({}, { ownKeys() { throw Error('no'); } }) }; try { harden(bad); } catch { /* thrown */ } return passes(target, o); },
  throwsLast: async () => { const o = { m() {} }; const bad = { o, p: new Proxy({}, { getPrototypeOf() { throw Error('no'); } }) }; try { harden(bad); } catch { /* thrown */ } return passes(target, o); },
  arrayLength: () => { const a = [{}]; const p = new Proxy({}, { ownKeys(t) { try { a.push({ soft: 1 }); } catch { /* frozen */ } return Reflect.ownKeys(t); } }); try { harden([p, a]); } catch { return false; } return a.length > 1 && soft(a[1]) && styled(a) === 'copyArray'; },
});
