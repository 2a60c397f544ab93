// Every function constructor that syntax reaches throws.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const protos = [function () {}, () => {}, async () => {}, function* () {}, async function* () {}, class {}, { m() {} }.m, { get x() { return 1; } }];
  for (const f of protos) {
    for (const g of [f, Object.getPrototypeOf(f)]) {
      let r; try { r = g.constructor('return globalThis')(); } catch (e) { r = e; }
      console.log(r instanceof TypeError ? 'OK' : 'BAD', typeof r, `${r}`.slice(0, 60));
    }
  }
  try { const r = Reflect.construct(Object.getPrototypeOf(async () => {}).constructor, ['return 1']); console.log('BAD', typeof r); } catch (e) { console.log('OK', e.message); }
  return Far('root', {});
}
