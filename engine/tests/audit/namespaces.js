// tries: to change the exports of modules
// defence: namespaces cannot be written to, and built-in modules are hardened
import { trying } from './lib.js';
import * as far from '@endo/far';
import * as lib from './lib.js';

export const attempt = () => trying({
  own: () => { far.E = 1; return far.E === 1; },
  add: () => { far.more = 1; return far.more === 1; },
  lib: () => { lib.trying = 1; return lib.trying === 1; },
  value: () => { far.passStyleOf.x = 1; return far.passStyleOf.x === 1; },
  define: () => { Object.defineProperty(far, 'E', { value: 1 }); return far.E === 1; },
});
