// tries: to write through super
// defence: the receiver is written to (patch 017), and frozen objects refuse
import { trying } from './lib.js';

export const attempt = () => trying({
  index: () => { const base = ['shared']; ({ __proto__: base, m() { super[0] = 'mine'; } }).m(); return base[0] !== 'shared'; },
  variable: () => { const base = ['shared'], i = 0; ({ __proto__: base, m() { super[i] = 'mine'; } }).m(); return base[0] !== 'shared'; },
  add: () => { const base = [1]; ({ __proto__: base, m() { super[0] += 1; } }).m(); return base[0] !== 1; },
  intrinsic: () => { ({ m() { super.poison = 1; } }).m.call(Object.prototype); return 'poison' in {}; },
  frozen: () => { const base = harden({ a: 1 }); const o = { __proto__: base, m() { super.a = 2; } }; try { o.m(); } catch { /* right */ } return base.a !== 1; },
});
