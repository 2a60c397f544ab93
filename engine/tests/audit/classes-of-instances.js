// tries: to make a new instance from one that is held
// defence: an inherited constructor is not on offer
import { trying } from './lib.js';

class Purse { #n = 1; balance() { return this.#n; } }
const purse = Far('purse', new Purse());
export const attempt = () => trying({
  call: async () => { await E(purse).constructor(1000); return true; },
  get: async () => await E.get(purse).constructor !== undefined,
  proto: async () => await E.get(purse).__proto__ !== undefined,
  define: async () => { await E(purse).__defineGetter__('balance', () => 1); return true; },
  apply: async () => { await E(purse).toString(); return true; },
});
