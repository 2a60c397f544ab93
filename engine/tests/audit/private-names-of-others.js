// tries: to read private names without the class
// defence: private names belong to the class that declares them, and proxies do not pass them on
import { trying } from './lib.js';

class Purse { #n = 1; static read(p) { return p.#n; } }
const purse = harden(new Purse());
export const attempt = (argv) => trying({
  other: () => { class Other { #n = 2; static read(p) { return p.#n; } } return Other.read(purse) === 1; },
  proxy: () => Purse.read(new Proxy(purse, {})) === 1,
  inherit: () => Purse.read(Object.create(purse)) === 1,
  text: () => new Compartment({ globals: { purse }, __options__: true }).evaluate('(class { #n; static read(p) { return p.#n; } }).read(purse)') === 1,
  keys: () => Reflect.ownKeys(purse).length > 0,
  copy: () => Purse.read({ ...purse }) === 1,
  presence: () => { class Over { constructor(o) { return o; } } class Stamp extends Over { #s = 1; static has(o) { return #s in o; } } new Stamp(argv.target); return Stamp.has(Object.create(argv.target)); },
});
