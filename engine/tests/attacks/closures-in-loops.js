// Bindings of loops and of parameters are separate.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const ok = (n, c) => console.log(c ? 'OK' : 'BAD', n);
  const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i); ok('let', fs.map(f => f()).join() === '0,1,2');
  const gs = []; for (let i = 0; i < 3; i++) { gs.push(() => i); i += 0; } ok('let body', gs.map(f => f()).join() === '0,1,2');
  const hs = []; for (const x of [1, 2]) hs.push(() => x); ok('of', hs.map(f => f()).join() === '1,2');
  const ks = []; for (const k in { a: 1, b: 2 }) ks.push(() => k); ok('in', ks.map(f => f()).join() === 'a,b');
  let tdz; try { y; let y = 1; } catch (e) { tdz = e.name; } ok('tdz', tdz === 'ReferenceError');
  const f = (a, b = () => a) => { var a = 2; return b(); }; ok('param scope', f(1) === 1);
  const make = secret => { const inner = () => secret; return { inner, set: s => { secret = s; } }; };
  const one = make('s1'), two = make('s2'); one.set('t1'); ok('separate closures', one.inner() === 't1' && two.inner() === 's2');
  const lbl = []; outer: for (let i = 0; i < 2; i++) { for (let j = 0; j < 2; j++) { if (j) continue outer; lbl.push(() => `${i}${j}`); } } ok('continue', lbl.map(f => f()).join() === '00,10');
  const tr = []; for (let i = 0; i < 2; i++) { try { throw i; } catch (e) { tr.push(() => e); } finally { tr.push(() => i); } } ok('catch', tr.map(f => f()).join() === '0,0,1,1');
  return Far('root', {});
}
