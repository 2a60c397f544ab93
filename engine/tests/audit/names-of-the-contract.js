// tries: to reach the runtime from a Compartment without endowments
// defence: Compartment: a global object of its own
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries(['E', 'Far', 'Vow', 'Flow', 'console', 'SES', 'makePromiseKit', 'log', 'argv', 'secret'].map(name =>
    [name, () => new Compartment().evaluate(`typeof ${name}`) !== 'undefined'])),
  through_global: () => new Compartment().evaluate('Object.getOwnPropertyNames(globalThis).some(n => ["E", "Far", "SES"].includes(n))'),
});
