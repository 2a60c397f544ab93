// tries: to use what the language gives to lists and maps
// defence: the methods of the language are on nobody's offer
import { trying } from './lib.js';

export const attempt = () => trying({
  push: async () => { const list = [1]; try { await E(list).push(2); } catch { /* right */ } return list.length > 1; },
  map: async () => { const map = new Map(); try { await E(map).set(1, 1); } catch { /* right */ } return map.size > 0; },
  set: async () => { const s = new Set(); try { await E(s).add(1); } catch { /* right */ } return s.size > 0; },
  weak: async () => { const w = new WeakMap(); const k = {}; try { await E(w).set(k, 1); } catch { /* right */ } return w.has(k); },
  call: async () => { await E(() => 1).call(); return true; },
  bytes: async () => { const b = new Uint8Array(1); try { await E(b).fill(7); } catch { /* right */ } return b[0] === 7; },
});
