// tries: to run traps or getters while something is passed or judged
// defence: the judge reads own data only; proxies are refused unseen
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

let ran = false;
const handler = new Proxy({}, { get() { ran = true; return undefined; } });
const noisy = () => new Proxy({ a: 1 }, handler);
const quiet = x => x && 1;
export const attempt = () => trying({
  style: () => { try { passStyleOf(noisy()); } catch { /* refused */ } return ran; },
  inside: () => { try { passStyleOf(harden({ x: 1, p: quiet(noisy()) })); } catch { /* refused */ } return ran; },
  far: () => { try { Far('x', noisy()); } catch { /* refused */ } return ran; },
  prototype: () => { try { passStyleOf(Object.create(noisy())); } catch { /* refused */ } return ran; },
  getter: () => { try { passStyleOf({ get x() { ran = true; return 1; } }); } catch { /* refused */ } return ran; },
  toString: () => { try { passStyleOf({ x: 1, get [Symbol.toStringTag]() { ran = true; return 'x'; } }); } catch { /* refused */ } return ran; },
  console: () => { console.debug(noisy(), { get x() { ran = true; return 1; } }, Object.create(noisy())); return ran; },
  error: () => { console.debug(Object.defineProperty(Error('x'), 'message', { get() { ran = true; return 'y'; } })); return ran; },
});
