// Nothing crosses between confined texts but what they are given.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const shared = harden({ list: [1], f() { return 1; } });
  const t = (src, e = {}) => { try { return SES.confine(src, e); } catch (x) { return `threw ${x.message}`; } };
  t('Array.prototype.zap = 1; Object.prototype.zap = 1; globalThis.zap = 1', {});
  console.log([].zap === undefined && globalThis.zap === undefined ? 'OK' : 'BAD', 'prototypes');
  t('shared.list.push(2); shared.f.x = 1', { shared });
  console.log(shared.list.length === 1 && shared.f.x === undefined ? 'OK' : 'BAD', 'endowment');
  console.log(t('Symbol.for("s").description', {}), t('Object.getOwnPropertyNames(globalThis).join()', {}));
  // a channel: does one confine see what another left in a registered symbol, a template object, a WeakMap, RegExp statics?
  t('/(secret)/.exec("secret")'); console.log(t('RegExp.$1 === undefined') === true ? 'OK' : 'BAD', 'RegExp statics');
  const tag = s => s;
  const a = t('tag`same`', { tag }); const b = t('tag`same`', { tag });
  console.log(a !== b && Object.isFrozen(a) && Object.isFrozen(a.raw) ? 'OK' : 'BAD', 'template objects of two texts differ and are frozen');
  return Far('root', {});
}
