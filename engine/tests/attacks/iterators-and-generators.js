// Iterators are closed and generators are not entered twice.
// call nothing => no has no method
import { Far } from '@endo/far';
export default async function (argv) {
  const ok = (n, c) => console.log(c ? 'OK' : 'BAD', n);
  let it; let re; const gen = (function* () { try { it.next(); } catch (e) { re = e.name; } yield 1; })(); it = gen; gen.next(); ok('re-entry throws', re === 'TypeError');
  let closed = 0; const src = { [Symbol.iterator]() { return { next: () => ({ value: 1, done: false }), return() { closed += 1; return {}; } }; } };
  const [a] = src; ok('destructuring closes', closed === 1);
  try { for (const x of src) throw Error('x'); } catch (e) { /**/ } ok('throw closes', closed === 2);
  const log = []; async function* g() { try { yield 1; yield 2; } finally { log.push('f'); } }
  for await (const x of g()) { log.push(x); break; } ok('async close', log.join() === '1,f');
  ok('finally wins', (() => { try { return 1; } finally { return 2; } })() === 2); // eslint-disable-line
  return Far('root', {});
}
