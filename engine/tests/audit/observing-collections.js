// tries: to observe the collector
// defence: WeakRef and FinalizationRegistry are removed before lockdown
import { trying } from './lib.js';

export const attempt = () => trying({
  weakRef: () => typeof WeakRef !== 'undefined',
  registry: () => typeof FinalizationRegistry !== 'undefined',
  gc: () => typeof gc !== 'undefined',
  inCompartment: () => new Compartment().evaluate('typeof WeakRef + typeof FinalizationRegistry') !== 'undefinedundefined',
  keys: () => Reflect.ownKeys(WeakMap.prototype).some(key => /size|forEach|entries|keys/.test(String(key))),
});
