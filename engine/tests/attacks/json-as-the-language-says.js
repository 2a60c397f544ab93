// JSON texts are judged as the language says.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const t = (n, s, ok) => { let r; try { const v = JSON.parse(s); r = ok(v); } catch (e) { r = e.message; } console.log(r === true ? 'OK' : 'BAD', n, r === true ? '' : r); };
  t('1e999', '1e999', v => v === Infinity); t('-0', '-0', v => Object.is(v, -0)); t('deep', '['.repeat(200) + ']'.repeat(200), v => Array.isArray(v));
  t('surrogate', '"\\ud800"', v => v.length === 1); t('raw surrogate', `"${'\ud800'}"`, v => v.length === 1); t('dup', '{"a":1,"a":2}', v => v.a === 2);
  t('__proto__', '{"__proto__":{"x":1}}', v => v.x === undefined && Object.keys(v)[0] === '__proto__'); t('order', '{"b":1,"1":2,"a":3}', v => Object.keys(v).join() === '1,b,a');
  t('big', '123456789012345678901234567890', v => v === 123456789012345678901234567890); 
  return Far('root', {});
}
