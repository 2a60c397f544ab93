// tries: to get at the promise of a vow
// defence: the promise is in a native slot
import { trying } from './lib.js';

const vow = Vow.resolve(Promise.resolve(1));
export const attempt = () => trying({
  keys: () => Reflect.ownKeys(vow).length > 0,
  json: () => JSON.stringify(vow) !== '{}' && JSON.stringify(vow) !== undefined,
  prototype: () => Reflect.ownKeys(Object.getPrototypeOf(vow)).some(k => { try { return vow[k] instanceof Promise; } catch { return false; } }),
  forged: () => { const f = Object.create(Object.getPrototypeOf(vow)); f.then(() => {}); return true; },
  method: () => { Vow.prototype.then.call(Promise.resolve(1), () => {}); return true; },
});
