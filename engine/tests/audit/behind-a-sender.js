// tries: to get at what was given to E
// defence: senders show nothing: traps of the proxy that E makes
import { trying } from './lib.js';

const secret = Far('Secret', { tell() { return 'told'; } });
const senders = [E(secret), E.get(secret), E.sendOnly(secret), Vow.resolve(secret).e];
export const attempt = () => trying({
  keys: () => senders.some(s => Reflect.ownKeys(s).length > 0),
  described: () => senders.some(s => Object.getOwnPropertyDescriptor(s, 'vow') !== undefined),
  symbols: () => senders.some(s => Object.getOwnPropertySymbols(s).length > 0),
  prototype: () => senders.some(s => Object.getPrototypeOf(s) === secret),
  callable: () => senders.some(s => { try { return s.call === Function.prototype.call; } catch { return false; } }),
  set: () => senders.some(s => { try { s.x = 1; return true; } catch { return false; } }),
  subject: () => senders.some(s => { for (const x of Object.values(Object.assign({}, s))) if (x === secret) return true; return false; }),
});
