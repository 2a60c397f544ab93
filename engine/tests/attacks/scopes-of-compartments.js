// Text in a Compartment sees none of the names of the contract, in whatever place it asks.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const names = ['E', 'Far', 'Vow', 'Flow', 'console', 'SES', 'makePromiseKit', 'argv', 'names'];
  const forms = n => [
    `typeof ${n}`, `(() => typeof ${n})()`, `(function(){ return (() => typeof ${n})() })()`, `(function(a = typeof ${n}){ return a })()`,
    `(class { static x = typeof ${n}; }).x`, `(class { static { this.x = typeof ${n}; } }).x`, `({ get x(){ return typeof ${n} } }).x`, `({ [typeof ${n}]: 1 })['undefined'] ? 'undefined' : 'found'`,
    `[...(function*(){ yield typeof ${n} })()][0]`, `eval('typeof ${n}')`, `(0,eval)('typeof ${n}')`, `new Function('return typeof ${n}')()`, `((x) => x)(typeof ${n})`,
    `(() => { try { throw 1 } catch { return typeof ${n} } })()`, `(() => { for (const x of [typeof ${n}]) return x })()`, `\`\${typeof ${n}}\``, `(() => { let {x = typeof ${n}} = {}; return x })()`,
    `(function f(i){ return i ? f(i-1) : typeof ${n} })(3)`, `(() => { switch (1) { case 1: return typeof ${n} } })()`, `new (class { #p = typeof ${n}; get() { return this.#p } })().get()`,
    `(() => { label: { return typeof ${n} } })()`, `(function(){ return typeof this?.${n} })()`, `typeof globalThis.${n}`, `(() => { try { return ${n} && 'found' } catch (e) { return 'undefined' } })()`,
  ];
  let bad = 0;
  for (const n of names) for (const f of forms(n)) {
    let r; try { r = new Compartment().evaluate(f); } catch (e) { r = `undefined (${e.message})`; }
    if (!`${r}`.startsWith('undefined')) { bad += 1; console.log('BAD', n, f, r); }
  }
  // writes must not land on any global
  for (const f of ['leak = 1', 'var leak = 1', 'function leak(){}', '(function(){ leak = 1 })()', 'this.leak = 1', 'globalThis.leak = 1', "eval('var leak = 1')"]) {
    try { new Compartment().evaluate(f); } catch (e) { /* fine */ }
    if ('leak' in globalThis) { bad += 1; console.log('BAD', f); }
  }
  console.log(bad ? 'BAD' : 'OK', bad);
  return Far('root', {});
}
