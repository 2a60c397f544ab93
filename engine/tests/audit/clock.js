// tries: to read a clock
// defence: lockdown: Date is tame; the interpreter was given a clock that stands still
import { trying } from './lib.js';

export const attempt = () => trying({
  now: () => Date.now(),
  construct: () => new Date().getTime() >= 0,
  call: () => !/Invalid/.test(Date()),
  ofPrototype: () => new (new Date(0).constructor)().getTime() >= 0,
  compartment: () => new Compartment().evaluate('Date.now()'),
  confined: () => SES.confine('new Date().getTime()') >= 0,
  console: () => typeof console.time === 'function' || typeof console.timeStamp === 'function',
  performance: () => typeof performance !== 'undefined',
  temporal: () => typeof Temporal !== 'undefined',
});
