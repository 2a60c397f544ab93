// What passes by reference is hardened all through: frozen at the surface is not enough, since a holder could change its methods.
// call give => no must be hardened
// call fn => no must be hardened
// call instance => no must be hardened
// call nested => no must be hardened
// call hard => ok
// call later => ok
import { Far } from '@endo/far';
export default function () {
  const soft = Object.freeze({ m() { return soft.m.x ?? 'as made'; } });
  const f = Object.freeze(() => f.prototype);
  class Purse { #n = 1; n() { return this.#n; } }
  const instance = Object.freeze(new Purse());
  const nested = Object.freeze({ m() {}, n: Object.freeze(() => {}) });
  return Far('root', {
    give() { return soft; },
    fn() { return Object.freeze(function named() {}); },
    instance() { return instance; },
    nested() { return nested; },
    hard() { return harden({ m() {} }); },
    later() { return harden(instance); },
  });
}
