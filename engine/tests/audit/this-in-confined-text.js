// tries: to get the global object of the contract as `this`
// defence: Compartment: `this` is its own global object; functions are strict
import { trying } from './lib.js';

export const attempt = () => trying({
  top: () => new Compartment().evaluate('this') === globalThis,
  plain: () => new Compartment().evaluate('(function () { return this; })()') !== undefined,
  arrow: () => new Compartment().evaluate('(() => this)()') === globalThis,
  confined: () => SES.confine('(function () { return this; })()') !== undefined,
  module: () => (function () { return this; })() !== undefined,
});
