// tries: to reach the caller of a function
// defence: strict code: caller and arguments.callee throw
import { trying } from './lib.js';

export const attempt = () => trying({
  caller: () => { const f = function f() { return f.caller; }; return f(); },
  callee: () => (function () { return arguments.callee; })(),
  args: () => { const f = function f() { return f.arguments; }; return f(1); },
  confined: () => SES.confine('(function f() { return f.caller; })()'),
});
