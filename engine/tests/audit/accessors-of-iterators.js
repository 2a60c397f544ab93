// tries: to change Iterator.prototype through the accessors that it has for compatibility
// defence: lockdown froze it; its setters make a property of the receiver and refuse the prototype itself
import { trying } from './lib.js';

const { prototype } = Iterator;
const setter = key => Object.getOwnPropertyDescriptor(prototype, key)?.set;
const changed = () => prototype.constructor !== Iterator || prototype[Symbol.toStringTag] !== 'Iterator';
export const attempt = () => trying({
  assigned: () => { try { prototype.constructor = 1; } catch { /* right */ } return changed(); },
  tag: () => { try { prototype[Symbol.toStringTag] = 'poison'; } catch { /* right */ } return changed(); },
  reflected: () => Reflect.set(prototype, 'constructor', 1) && changed(),
  called: () => { try { setter('constructor')?.call(prototype, 1); } catch { /* right */ } return changed(); },
  calledTag: () => { try { setter(Symbol.toStringTag)?.call(prototype, 'poison'); } catch { /* right */ } return changed(); },
  hardened: () => { const o = harden({ __proto__: prototype }); try { o.constructor = 1; } catch { /* right */ } return Object.hasOwn(o, 'constructor'); },
  primitive: () => { setter('constructor')?.call(1, 1); return true; },
  arrays: () => { const p = Object.getPrototypeOf([].values()); try { setter('constructor')?.call(p, 1); } catch { /* right */ } return Object.hasOwn(p, 'constructor'); },
  generators: () => { const p = Object.getPrototypeOf(function* g() {}.prototype); try { setter(Symbol.toStringTag)?.call(p, 'poison'); } catch { /* right */ } return (function* g() {})()[Symbol.toStringTag] !== 'Generator'; },
  helpers: () => { const p = Object.getPrototypeOf([].values().map(x => x)); p.next = () => ({ done: true }); return true; },
  next: () => { const p = Object.getPrototypeOf([].values()); p.next = () => ({ done: true }); return [...[1]].length === 0; },
});
