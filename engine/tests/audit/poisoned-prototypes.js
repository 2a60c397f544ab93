// tries: to change the prototypes that all share
// defence: lockdown: every intrinsic is frozen
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries([Object, Array, Function, Promise, Map, Set, WeakMap, RegExp, Date, String, Number, Symbol, Error, ArrayBuffer, Uint8Array, DataView, Iterator].map(C =>
    [C.name, () => { C.prototype.poison = 1; return C.prototype.poison === 1; }])),
  statics: () => { Array.from = () => ['poison']; return Array.from([])[0] === 'poison'; },
  json: () => { JSON.parse = () => 1; return JSON.parse('2') === 1; },
  reflect: () => { Reflect.apply = () => 1; return Reflect.apply(() => 2, null, []) === 1; },
  fromCompartment: () => { new Compartment().evaluate('Array.prototype.poison = 1'); return [].poison === 1; },
});
