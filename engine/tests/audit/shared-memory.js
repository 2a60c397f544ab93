// tries: to use shared memory as a clock
// defence: SharedArrayBuffer and Atomics are removed before lockdown
import { trying } from './lib.js';

export const attempt = () => trying({
  buffer: () => typeof SharedArrayBuffer !== 'undefined',
  atomics: () => typeof Atomics !== 'undefined',
  compartment: () => new Compartment().evaluate('typeof SharedArrayBuffer + typeof Atomics') !== 'undefinedundefined',
  wasm: () => typeof WebAssembly !== 'undefined',
});
