// tries: to run within a statement of the contract that sends
// defence: the runtime looks at no property of a promise or thenable at once (patch 061, `promises::plain`)
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

const target = Far('t', { m() { return 1; } });
const own = (p, key, descriptor) => Object.defineProperty(p, key, descriptor);
const makes = {
  getter: note => own(new Promise(() => {}), 'constructor', { get() { note(); return Promise; } }),
  ownThen: note => own(Promise.resolve(1), 'then', { value(...args) { note(); return Promise.prototype.then.apply(this, args); } }),
  thenGetter: note => own(Promise.resolve(1), 'then', { get() { note(); return Promise.prototype.then; } }),
  species: note => new (class Evil extends Promise { static get [Symbol.species]() { note(); return Promise; } })(() => {}),
  subclass: note => new (class Evil extends Promise { then(...args) { note(); return super.then(...args); } })(() => {}),
  thenable: note => ({ get then() { note(); return undefined; } }),
  proxy: note => new Proxy({}, { get() { note(); return undefined; }, getPrototypeOf() { note(); return null; }, has() { note(); return false; } }),
};
export const attempt = () => trying({
  ...Object.fromEntries(Object.entries({
    send: p => E(p).m(), get: p => E.get(p).x, only: p => E.sendOnly(p).m(), when: p => E.when(p, () => {}), resolve: p => E.resolve(p), arg: p => E(target).m(p),
    vow: p => Vow.resolve(p).then(() => {}), vowE: p => Vow.resolve(p).e.m(), all: p => Vow.all([p]), race: p => Vow.race([p]), join: p => Vow.join(p, p), asVow: p => asVow(p), style: p => { try { passStyleOf(p); } catch { /* refused */ } },
  }).flatMap(([name, use]) => Object.entries(makes).map(([kind, make]) => [`${name} of ${kind}`, () => {
    let inside = false; let ran = false; const p = make(() => { if (inside) ran = true; });
    inside = true; try { const r = use(p); if (r && name !== 'style') { inside = false; E.when(r, () => {}, () => {}); } } finally { inside = false; } return ran;
  }]))),
});
