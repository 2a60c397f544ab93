// tries: to observe the collector through what can be a key without being an object
// defence: registered symbols, which everybody can make again, are no keys
import { trying } from './lib.js';

export const attempt = () => trying({
  registered: () => { new WeakMap().set(Symbol.for('key'), 1); return true; },
  registeredInSet: () => { new WeakSet().add(Symbol.for('key')); return true; },
  constructed: () => { new WeakSet([Symbol.for('key')]); return true; },
  primitive: () => { new WeakMap().set('key', 1); return true; },
  again: () => { const m = new WeakMap(); try { m.set(Symbol.for('key'), 1); } catch { /* refused */ } return m.has(Symbol.for('key')); },
  size: () => ['size', 'forEach', 'keys', 'values', 'entries', Symbol.iterator].some(key => key in WeakMap.prototype || key in WeakSet.prototype),
  cleanup: () => Reflect.ownKeys(globalThis).some(key => /Weak(Ref)|Finali/.test(String(key))),
});
