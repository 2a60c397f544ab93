// tries: to make a global by every form that could
// defence: the global object is frozen, and text of others has one of its own
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries(['leak = 1', 'var leak = 1', 'function leak() {}', '(function () { leak = 1; })()', 'this.leak = 1', 'globalThis.leak = 1', "eval('var leak = 1')"].map(text =>
    [text, () => { try { new Compartment().evaluate(text); } catch { /* also right */ } return 'leak' in globalThis; }])),
  own: () => { globalThis.leak = 1; return 'leak' in globalThis; },
  define: () => { Object.defineProperty(globalThis, 'leak', { value: 1 }); return 'leak' in globalThis; },
  prototype: () => { Object.setPrototypeOf(globalThis, { leak: 1 }); return 'leak' in globalThis; },
});
