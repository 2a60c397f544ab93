// tries: to change what several confined texts are given
// defence: endowments are hardened by the contract, and intrinsics are
import { trying } from './lib.js';

export const attempt = () => trying({
  list: () => { const shared = harden({ list: [1] }); try { SES.confine('shared.list.push(2)', { shared }); } catch { /* right */ } return shared.list.length > 1; },
  fn: () => { const f = harden(() => 1); try { SES.confine('f.x = 1', { f }); } catch { /* right */ } return f.x === 1; },
  prototype: () => { try { SES.confine('Object.getPrototypeOf(f).poison = 1', { f: () => 1 }); } catch { /* right */ } return (() => {}).poison === 1; },
  console: () => { try { SES.confine('console.log = () => {}'); } catch { /* right */ } return console.log.name !== 'log'; },
  global: () => { SES.confine('globalThis.left = 1'); return SES.confine('typeof left') !== 'undefined'; },
});
