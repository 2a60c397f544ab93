// A rest leaves out what the pattern took.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const src = () => ({ secret: { x: 1 }, open: 2 });
  const bad = (n, r) => console.log('secret' in r ? 'BAD' : 'OK', n);
  let x, rest, k = 'secret';
  ({ secret: { x }, ...rest } = src()); bad('assignment', rest);
  ({ [k]: { x }, ...rest } = src()); bad('assignment computed', rest);
  ({ secret: x, ...rest } = src()); bad('assignment plain', rest);
  ({ secret: x = 1, ...rest } = src()); bad('assignment default', rest);
  const o = {}; ({ secret: o.p, ...rest } = src()); bad('assignment member', rest);
  ({ secret: [...x], ...rest } = { secret: [1], open: 2 }); bad('assignment array', rest);
  for (const { secret: { x: y }, ...r } of [src()]) bad('for of', r);
  for ({ secret: { x }, ...rest } of [src()]) bad('for of assignment', rest);
  (({ secret: { x: y }, ...r }) => bad('parameter', r))(src());
  (({ secret: { x: y } = {}, ...r } = src()) => bad('parameter default', r))();
  try { throw src(); } catch ({ secret: { x: y }, ...r }) { bad('catch', r); }
  const { secret: { ...inner }, ...r2 } = src(); bad('rest in rest', r2);
  const { 'secret': { x: z }, ...r3 } = src(); bad('string key', r3);
  const { 1: { x: q }, ...r4 } = { 1: { x: 1 }, secret2: 1 }; console.log('1' in r4 ? 'BAD' : 'OK', 'number key');
  const { [`sec${'ret'}`]: { x: w }, ...r5 } = src(); bad('template key', r5);
  const s = Symbol('s'); const { [s]: { x: v }, ...r6 } = { [s]: { x: 1 } }; console.log(s in r6 ? 'BAD' : 'OK', 'symbol key');
  return Far('root', {});
}
