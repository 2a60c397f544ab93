// tries: to be taken for an object of another vat
// defence: presences are recognised by a native slot
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

const leaves = x => { try { return passStyleOf(x) === 'remotable' && Object.getPrototypeOf(x) === Object.getPrototypeOf(x) && false; } catch { return false; } };
export const attempt = (argv) => trying({
  create: () => Object.prototype.toString.call(argv.target) === '[object Alleged: remote]' && leaves(Object.create(Object.getPrototypeOf(argv.target))),
  inherit: () => leaves(Object.create(argv.target)),
  proxy: () => leaves(new Proxy(argv.target, {})),
  assign: () => Object.assign(argv.target, { x: 1 }),
  stamp: () => { class Over { constructor(o) { return o; } } class Stamp extends Over { #s = 1; static has(o) { return #s in o; } } new Stamp(argv.target); return false; },
});
