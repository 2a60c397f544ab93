// tries: to evaluate text through the constructors that syntax reaches
// defence: lockdown: constructors of functions throw
import { trying } from './lib.js';

export const attempt = () => trying({
  f: () => (() => {}).constructor('return 1')() === 1,
  async: () => (async () => {}).constructor('return 1'),
  generator: () => (function* g() {}).constructor('return 1'),
  asyncGenerator: () => (async function* g() {}).constructor('return 1'),
  reflect: () => Reflect.construct(Object.getPrototypeOf(async () => {}).constructor, ['return 1']),
  classes: () => (class {}).constructor('return 1')() === 1,
  bound: () => (() => {}).bind().constructor('return 1')() === 1,
});
