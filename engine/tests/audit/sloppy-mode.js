// tries: to run in sloppy mode
// defence: all code is strict
import { trying } from './lib.js';

export const attempt = () => trying({
  with: () => new Compartment().evaluate('with ({}) { 1 }'),
  octal: () => new Compartment().evaluate('010'),
  deletes: () => new Compartment().evaluate('var x = 1; delete x'),
  arguments: () => (function f(x) { arguments[0] = 2; return x; })(1) === 2,
  undeclared: () => { (0, eval)('undeclared = 1'); return typeof globalThis.undeclared !== 'undefined'; },
});
