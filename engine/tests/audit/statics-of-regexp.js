// tries: to read what others matched
// defence: the interpreter has no statics of RegExp; lockdown removes compile
import { trying } from './lib.js';

export const attempt = () => trying({
  one: () => { /(secret)/.exec('secret'); return RegExp.$1 !== undefined; },
  last: () => RegExp.lastMatch !== undefined || RegExp['$&'] !== undefined,
  compile: () => { const r = harden(/a/); try { r.compile('b'); } catch { /* it may be changed all the same */ } return r.test('b'); },
  input: () => RegExp.input !== undefined || RegExp.leftContext !== undefined,
});
