// tries: to get hold of the resolving functions of what E gives
// defence: the runtime follows promises without their species (patch 061)
import { trying } from './lib.js';

const bank = Far('bank', { balance() { return 'true'; } });
export const attempt = () => trying({
  subclass: async () => { let stolen; class Evil extends Promise { constructor(x) { super((res, rej) => { stolen = res; x(res, rej); }); } }
    const p = Evil.resolve(bank); stolen = undefined; const r = E(p).balance(); stolen?.('forged'); return await r !== 'true' || Object.getPrototypeOf(r) !== Promise.prototype; },
  own: async () => { let take; function C(x) { return new Promise((res, rej) => { take = res; x(res, rej); }); } C[Symbol.species] = C;
    const p = Promise.resolve(bank); Object.defineProperty(p, 'constructor', { value: C }); const r = E(p).balance(); take?.('forged'); return await r !== 'true'; },
  get: async () => { let stolen; class Evil extends Promise { constructor(x) { super((res, rej) => { stolen = res; x(res, rej); }); } }
    const p = Evil.resolve(harden({ x: 'true' })); stolen = undefined; const r = E.get(p).x; stolen?.('forged'); return await r !== 'true'; },
  when: async () => { let stolen; class Evil extends Promise { constructor(x) { super((res, rej) => { stolen = res; x(res, rej); }); } }
    const p = Evil.resolve('true'); stolen = undefined; const r = E.when(p); stolen?.('forged'); return await r !== 'true'; },
});
