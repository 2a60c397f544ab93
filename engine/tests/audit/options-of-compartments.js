// tries: to get past the censor, or at modules of the contract, by what Compartment takes beside text
// defence: ses: options rewrite what the censor looks for, and a Compartment without an importHook of its own loads nothing
import { trying } from './lib.js';

const inside = text => () => SES.confine(text);
const load = "'imp' + 'ort(\"./lib.js\")'";
export const attempt = () => trying({
  evaded: inside(`new Compartment().evaluate(${load}, { __evadeImportExpressionTest__: true })`),
  evadedWithComment: inside("new Compartment().evaluate('imp' + 'ort/**/(\"./lib.js\")', { __evadeImportExpressionTest__: true })"),
  evadedWithLine: inside("new Compartment().evaluate('imp' + 'ort//\\\\n(\"./lib.js\")', { __evadeImportExpressionTest__: true })"),
  transformed: inside(`new Compartment({ __options__: true, transforms: [() => ${load}] }).evaluate('1')`),
  oldTransforms: inside(`new Compartment({}, {}, { transforms: [() => ${load}] }).evaluate('1')`),
  html: inside("new Compartment().evaluate('1 <' + '!-- 2', { __evadeHtmlCommentTest__: true }) === 1"),
  sloppy: () => { SES.confine("new Compartment().evaluate('leak = 1', { sloppyGlobalsMode: true })"); return typeof leak !== 'undefined'; },
  sloppyThis: inside("new Compartment().evaluate('(function () { return this; })()', { sloppyGlobalsMode: true }) !== undefined"),
  lexicals: inside("new Compartment().evaluate('typeof E + typeof SES', { __moduleShimLexicals__: {} }) !== 'undefinedundefined'"),
  imports: async () => (await SES.confine("new Compartment().import('./lib.js')")) !== undefined,
  importsNow: inside("new Compartment().importNow('./lib.js') !== undefined"),
  builtIn: async () => (await SES.confine("new Compartment().import('@endo/far')")) !== undefined,
  loads: async () => { await SES.confine("new Compartment().load('./lib.js')"); return true; },
  hook: async () => (await SES.confine("new Compartment({}, {}, { resolveHook: x => x, importHook: () => './lib.js' }).import('x')")) !== undefined,
  nested: inside("new Compartment().evaluate('new Compartment().evaluate(\"typeof E + typeof SES + typeof Far\")') !== 'undefinedundefinedundefined'"),
  shared: inside("new Compartment().globalThis === globalThis"),
  parent: inside("new Compartment({ Compartment }).evaluate('new Compartment().globalThis.Object !== Object')"),
  stolen: () => { SES.confine('globalThis.Compartment.prototype.evaluate = () => "stolen"'); return new Compartment().evaluate('1') === 'stolen'; },
});
