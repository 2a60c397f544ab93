// tries: to see the contract's names from text that is evaluated by another spelling
// defence: lockdown: every evaluator sees a global object, and no scope
import { trying } from './lib.js';

const secret = 'secret';
const mine = secret;
const seen = x => x !== 'undefined' && x !== undefined;
export const attempt = () => trying({
  escaped: () => seen(\u0065val('typeof secret')),
  optional: () => seen(eval?.('typeof secret')),
  list: () => seen([eval][0]('typeof secret')),
  property: () => seen(globalThis.eval('typeof secret')),
  applied: () => seen(Reflect.apply(eval, null, ['typeof secret'])),
  bound: () => seen(eval.bind(null)('typeof secret')),
  shadowed: () => { const f = eval; return seen(f('typeof secret')); },
  nested: () => seen(eval('eval("typeof secret")')),
  parameter: () => ((x = eval('typeof secret')) => seen(x))(),
  inClass: () => seen(new (class { x = eval('typeof secret'); })().x),
  inGenerator: () => seen((function* g() { yield eval('typeof secret'); })().next().value),
  afterAwait: async () => { await null; return seen(eval('typeof secret')); },
  argument: () => seen(((...all) => eval('typeof all'))(1)),
  self: () => { const named = () => eval('typeof named'); return seen(named()); },
  superclass: () => seen(new (class extends Object { m() { return eval('typeof super.m'); } })().m()),
  confined: () => seen(SES.confine("\\u0065val('typeof secret')")),
  confinedFunction: () => seen(SES.confine("(0, Function)('return typeof secret')()")),
  breaksOut: () => seen(SES.confine("new Function('/*', '*/){ return typeof secret } + (function(')()")),
  body: () => { new Function('}), (function () { return 1; }(), {'); return true; },
  parameters: () => { new Function('a) { return 7; }, function (b', 'return b'); return true; },
  module: () => mine !== secret || seen(SES.confineExpr('typeof mine')),
});
