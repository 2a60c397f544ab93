// tries: to pass a list whose class runs code, or builds what its methods give
// defence: what passes as a list has the prototype of all lists and nothing of its own but its elements
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

let ran = false;
class Evil extends Array { static get [Symbol.species]() { ran = true; return Array; } get length() { ran = true; return 1; } }
const shaped = more => harden(Object.defineProperties([1, 2], more));
const lists = {
  subclass: () => harden(Object.setPrototypeOf([1, 2], Evil.prototype)),
  nulled: () => harden(Object.setPrototypeOf([1], null)),
  named: () => harden(Object.setPrototypeOf([1], Object.create(Array.prototype))),
  constructs: () => shaped({ constructor: { value: Evil } }),
  iterates: () => shaped({ [Symbol.iterator]: { value: function* g() { ran = true; yield 'other'; } } }),
  getter: () => shaped({ 0: { get() { ran = true; return 1; } } }),
  spreads: () => shaped({ [Symbol.isConcatSpreadable]: { value: false } }),
  sparse: () => { const a = [1]; a[3] = 1; return harden(a); },
  arguments: () => harden((function all() { return arguments; })(1, 2)),
  typed: () => harden(Object.setPrototypeOf([1], Uint8Array.prototype)),
  proxied: () => new Proxy([1], { get(t, k) { ran = true; return t[k]; } }),
};
export const attempt = () => trying({
  ...Object.fromEntries(Object.entries(lists).map(([name, make]) => [name, () => { const list = make(); ran = false; let style; try { style = passStyleOf(list); } catch { style = 'refused'; } return ran || style !== 'refused'; }])),
  copies: async () => { const echo = Far('echo', { m: x => x }); const list = await E(echo).m(harden([1, 2])); return list.constructor !== Array || !Object.isFrozen(list); },
});
