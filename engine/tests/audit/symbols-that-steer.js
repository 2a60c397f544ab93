// tries: to steer the language through well-known symbols
// defence: lockdown: what the symbols name is frozen
import { trying } from './lib.js';

export const attempt = () => trying({
  species: () => { Object.defineProperty(Array, Symbol.species, { get: () => Object }); return !Array.isArray([1].map(x => x)); },
  hasInstance: () => { Object.defineProperty(Array, Symbol.hasInstance, { value: () => true }); return {} instanceof Array; },
  iterator: () => { Array.prototype[Symbol.iterator] = function* g() { yield 'poison'; }; return [...[1]][0] === 'poison'; },
  primitive: () => { Date.prototype[Symbol.toPrimitive] = () => 'poison'; return `${new Date(0)}` === 'poison'; },
  asyncIterator: () => { Object.getPrototypeOf(Object.getPrototypeOf(async function* g() {}).prototype)[Symbol.asyncIterator] = () => 1; return true; },
  replace: () => { RegExp.prototype[Symbol.replace] = () => 'poison'; return 'a'.replace(/a/, 'b') === 'poison'; },
});
