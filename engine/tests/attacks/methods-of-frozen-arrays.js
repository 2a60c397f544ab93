// Array methods leave frozen arrays as they are.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const ops = {
    push: a => a.push(9), pop: a => a.pop(), shift: a => a.shift(), unshift: a => a.unshift(9), splice: a => a.splice(0, 1, 9), reverse: a => a.reverse(),
    sort: a => a.sort((x, y) => y - x), fill: a => a.fill(9), copyWithin: a => a.copyWithin(0, 1), length: a => { a.length = 0; }, index: a => { a[0] = 9; },
    past: a => { a[a.length] = 9; }, concatSpecies: a => a.concat([1]),
  };
  const makes = { ints: () => [3, 1, 2], doubles: () => [3.5, 1.5, 2.5], mixed: () => ['c', {}, 1] };
  const locks = {
    frozen: Object.freeze, sealed: Object.seal, fixed: Object.preventExtensions, len: a => Object.defineProperty(a, 'length', { writable: false }), hard: harden,
  };
  for (const [ln, lock] of Object.entries(locks)) for (const [mn, make] of Object.entries(makes)) for (const [on, op] of Object.entries(ops)) {
    const a = make(); const was = JSON.stringify(a); lock(a);
    let r; try { r = op(a); r = 'done'; } catch (e) { r = e.name; }
    const is = JSON.stringify(a);
    if ((ln === 'frozen' || ln === 'hard') && is !== was) console.log('BAD', ln, mn, on, was, is);
    else if (ln === 'len') console.log('compare', ln, mn, on, r, is, a.length); // node: shift on [3,1,2] with fixed length throws TypeError and leaves [1,2,2] or [1,2,<hole>]
  }
  console.log('end');
  return Far('root', {});
}
