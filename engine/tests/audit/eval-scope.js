// tries: to see the bindings of the module from evaluated text
// defence: lockdown: eval is a safe evaluator without the scope of its caller
import { trying } from './lib.js';

const secret = 'secret';
export const attempt = () => trying({
  direct: () => eval('typeof secret') !== 'undefined',
  indirect: () => (0, eval)('typeof secret') !== 'undefined',
  function: () => new Function('return typeof secret')() !== 'undefined',
  compartment: () => new Compartment().evaluate('typeof secret') !== 'undefined',
  declares: () => { (0, eval)('var declared = 1'); return typeof declared !== 'undefined'; },
});
