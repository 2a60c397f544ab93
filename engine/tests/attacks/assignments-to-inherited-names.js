// Assigning what a frozen prototype has works where the guide says so, and throws where it says so.
// call can => ok ["toString","valueOf","constructor","of errors","of functions","of arrays","in a class","by definition"]
// call cannot => ok ["hasOwnProperty","toLocaleString","then","get","of a hardened class"]
import { Far } from '@endo/far';
export default function () {
  const outcome = (ways, wanted) => Object.keys(ways).filter(name => { let threw = false; try { ways[name](); } catch (error) { threw = error instanceof TypeError; } return threw === wanted; });
  const can = {
    toString: () => { const o = {}; o.toString = () => ''; },
    valueOf: () => { const o = {}; o.valueOf = 1; },
    constructor: () => { const o = {}; o.constructor = 1; },
    'of errors': () => { const e = Error('x'); e.name = 'N'; e.message = 'm'; },
    'of functions': () => { function A() {} A.prototype = { constructor: A }; A.prototype.toString = () => 'x'; },
    'of arrays': () => { const a = []; a.concat = 1; a.push = 2; },
    'in a class': () => { class A { toString = 1; constructor2 = 2; } new A(); },
    'by definition': () => { class P extends Promise { then() {} } return [P, { hasOwnProperty: 1, constructor: 1 }]; },
  };
  const cannot = {
    hasOwnProperty: () => { const o = {}; o.hasOwnProperty = 1; },
    toLocaleString: () => { const o = {}; o.toLocaleString = 1; },
    then: () => { class P extends Promise {} P.prototype.then = () => {}; },
    get: () => { class M extends Map {} M.prototype.get = () => {}; },
    'of a hardened class': () => { class A { m() {} } harden(A); const a = new A(); a.m = 1; },
  };
  return Far('root', { can: () => outcome(can, false), cannot: () => outcome(cannot, true) });
}
