// No error says where it was thrown: no file, line or depth.
// call nothing => no has no method
import { Far } from '@endo/far';
export default async function (argv) {
  const show = (n, e) => {
    const get = Object.getOwnPropertyDescriptor(Error.prototype, 'stack')?.get;
    let direct; try { direct = get && get.call(e); } catch (x) { direct = x.message; }
    const all = `${e.stack} | ${direct} | ${Object.getOwnPropertyNames(e)}`;
    console.log(/\.js|main|:\d+/.test(all) ? 'BAD' : 'OK', n, all);
  };
  try { null.x; } catch (e) { show('vm', e); }
  try { [].reduce((a, b) => a); } catch (e) { show('native', e); }
  try { await (async () => { throw new Error('a'); })(); } catch (e) { show('async', e); }
  try { undefined(); } catch (e) { show('call', e); }
  try { (0, eval)('let let'); } catch (e) { show('syntax', e); }
  try { new (class extends Error { constructor() { super('s'); } })(); throw new TypeError('t'); } catch (e) { show('class', e); }
  try { JSON.parse('{'); } catch (e) { show('json', e); }
  try { structuredClone; } catch (e) { show('ref', e); }
  return Far('root', {});
}
