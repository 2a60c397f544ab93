// tries: to change a method of what was passed
// defence: what passes by reference is hardened all through
import { trying } from './lib.js';

export const attempt = (argv) => trying({
  far: () => { const o = Far('x', { m() {} }); o.m.x = 1; return o.m.x === 1; },
  deep: () => { const inner = { y: {} }; const o = Far('x', { m: Object.assign(() => {}, { inner: () => inner }) }); o.m.inner.z = 1; return o.m.inner.z === 1; },
  prototype: () => { class A { m() {} } const a = Far('a', new A()); A.prototype.m = 1; return typeof a.m !== 'function'; },
  soft: async () => { let said; E(argv.target).take(Object.freeze({ m() {} })).then(undefined, e => { said = e.message; }); for (let turn = 0; turn < 50; turn += 1) await null; return !/must be hardened/.test(said); },
});
