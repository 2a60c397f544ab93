// tries: to learn more from a function than its text
// defence: native functions show no address
import { trying } from './lib.js';

export const attempt = () => trying({
  native: () => /0x|\d{4}/.test(`${Array.prototype.map} ${E} ${Far} ${harden}`),
  bound: () => /secret/.test(`${(() => 'secret').bind()}`),
  sender: () => /tell/.test(`${(() => { try { return String(Object.getPrototypeOf(E(Far('s', { tell() {} })))); } catch { return ''; } })()}`),
});
