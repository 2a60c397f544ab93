// tries: to read what others matched
// defence: the interpreter has no statics of RegExp
import { trying } from './lib.js';

export const attempt = () => trying({
  one: () => { /(secret)/.exec('secret'); return RegExp.$1 !== undefined; },
  last: () => RegExp.lastMatch !== undefined || RegExp['$&'] !== undefined,
  compile: () => { const r = harden(/a/); r.compile('b'); return r.test('b'); },
  input: () => RegExp.input !== undefined || RegExp.leftContext !== undefined,
});
