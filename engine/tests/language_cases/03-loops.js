// A loop's condition is evaluated anew each time.
import { limit, grow, queue, put, take, Item, swap } from './lib-loops.mjs';
const LATER = (f => f)(async f => { const r = []; for (let i = 0; i < 2; i += 1) { await null; r.push(f()); } return r; });
const early = (async () => { let n = 0; do { await null; n += 1; } while (n < LIMIT); return n; })();
const early2 = (async () => { let n = 0; await null; while (n < LIMIT) { n += 1; await null; } return n; })();
const early3 = (async () => { let n = 0; await null; for (; LIMIT > n; n += 1) await null; return n; })();
const tooEarly = (async () => { let n = 0; while (n < LIMIT) { n += 1; } return n; })().catch(e => e.name);
const LIMIT = 3;
const reset = () => { while (take() > 0); };
export default [
  ["live import, for", () => { let n = 0; for (let i = 0; i < limit; i += 1) { if (i === 0) grow(); n += 1; if (n > 50) break; } return n === limit; }, true],
  ["live import on the left", () => { let n = 0; grow(); for (let i = 0; limit > i; i += 1) { if (i === 0) grow(); n += 1; if (n > 50) break; } return n === limit; }, true],
  ["live import, while", () => { reset(); put(2); let d = 0; while (0 < queue && d < 9) { take(); d += 1; } return d; }, 2],
  ["live import, while 2", () => { reset(); put(2); let d = 0; while (0 < queue) { take(); d += 1; if (d > 9) break; } return d; }, 2],
  ["live import, do while", () => { reset(); put(3); let d = 0; do { take(); d += 1; if (d > 9) break; } while (queue > 0); return d; }, 3],
  ["live import, >=", () => { reset(); put(3); let d = 0; while (queue >= 1) { take(); d += 1; if (d > 9) break; } return d; }, 3],
  ["live import, <=", () => { reset(); put(3); let d = 0; while (1 <= queue) { take(); d += 1; if (d > 9) break; } return d; }, 3],
  ["live import, ternary in a loop", () => { reset(); put(2); const r = []; for (let i = 0; i < 4; i += 1) { r.push(queue > 0 ? take() : 'none'); } return r; }, [2, 1, 'none', 'none']],
  ["live imported class", () => { const r = [new Item().kind]; swap(); r.push(new Item().kind); swap(); return r; }, ['one', 'two']],
  ["const after the loop began", async () => early, 3],
  ["const after the loop began, while", async () => early2, 3],
  ["const after the loop began, for", async () => early3, 3],
  ["const not yet initialised", async () => tooEarly, 'ReferenceError'],
  ["const in TDZ in a condition", () => { const f = () => { let n = 0; while (n < K) { n += 1; } return n; }; let r; try { r = f(); } catch (e) { r = e.name; } const K = 2; return [r, f()]; }, ['ReferenceError', 2]],
  ["closure changes a let", () => { let end = 5; const shrink = () => { end -= 1; }; let n = 0; for (let i = 0; i < end; i += 1) { shrink(); n += 1; } return n; }, 3],
  ["closure changes the counter", () => { let i = 0; const skip = () => { i += 2; }; let n = 0; while (i < 7) { skip(); n += 1; } return n; }, 4],
  ["array grows", () => { const a = [1, 2, 3]; let n = 0; for (let i = 0; i < a.length; i += 1) { if (i < 2) a.push(0); n += 1; } return n; }, 5],
  ["property changes", () => { const o = { end: 5 }; let n = 0; for (let i = 0; i < o.end; i += 1) { o.end -= 1; n += 1; } return n; }, 3],
  ["getter as limit", () => { let k = 0; const o = { get end() { k += 1; return 4; } }; for (let i = 0; i < o.end; i += 1); return k; }, 5],
  ["parameter changes", () => { const f = (n, m) => { let c = 0; while (n < m) { m -= 1; c += 1; } return c; }; return f(0, 5); }, 5],
  ["object constant with valueOf", () => { let k = 0; const end = { valueOf() { k += 1; return 3; } }; let n = 0; for (let i = 0; i < end; i += 1) n += 1; return [n, k]; }, [3, 4]],
  ["date-like constant on the left", () => { const start = { valueOf: (() => { let k = 5; return () => k -= 1; })() }; let n = 0; while (start > 0) n += 1; return n; }, 4],
  ["outer const in a closure", () => { const end = 3; const f = () => { let n = 0; for (let i = 0; i < end; i += 1) n += 1; return n; }; return [f(), f()]; }, [3, 3]],
  ["const of the loop itself", () => { const r = []; for (const n of [1, 2, 3]) { let i = 0; while (i < n) i += 1; r.push(i); } return r; }, [1, 2, 3]],
  ["const of the outer body", () => { const r = []; for (let k = 0; k < 3; k += 1) { const end = k * 2; const f = () => end; let i = 0; while (i < end) { i += 1; } r.push(i, f()); } return r; }, [0, 0, 2, 2, 4, 4]],
  ["literals", () => { let n = 0; for (let i = 0; i < 3; i += 1) n += 1; for (let i = 3; i > 0; i -= 1) n += 1; while (n < 10) n += 1; do n += 1; while (20 > n); return n; }, 20],
  ["literal strings", () => { let s = 'a'; while (s < 'aaaa') s += 'a'; return s; }, 'aaaa'],
  ["literal bigint", () => { let b = 0n; while (b < 3n) b += 1n; return b; }, 3n],
  ["continue in do while", () => { let n = 0; do { n += 1; if (n < 3) continue; } while (n < 5); return n; }, 5],
  ["labels", () => { let n = 0; out: for (let i = 0; i < 3; i += 1) { for (let j = 0; j < 3; j += 1) { if (j === 1) continue out; if (i === 2) break out; n += 1; } } return n; }, 2],
  ["generator loop", () => { function* g(n) { for (let i = 0; i < n; i += 1) { const more = yield i; if (more) n += more; } } const it = g(2); const r = [it.next().value]; r.push(it.next(2).value, it.next().value, it.next().value, it.next().done); return r; }, [0, 1, 2, 3, true]],
  ["async loop with a changing limit", async () => { let end = 2; let n = 0; for (let i = 0; i < end; i += 1) { await null; if (n === 0) end += 2; n += 1; } return n; }, 4],
  ["TDZ of a let in its own loop head", () => { try { for (let i = i; i < 1; i += 1); return 'no'; } catch (e) { return e.name; } }, 'ReferenceError'],
  ["TDZ of a later binding in a loop head", () => { try { for (let i = j, j = 1; i < 1; i += 1); return 'no'; } catch (e) { return e.name; } }, 'ReferenceError'],
  ["TDZ in for of", () => { try { for (let x of x); return 'no'; } catch (e) { return e.name; } }, 'ReferenceError'],
  ["TDZ in for of, closure", () => { try { for (const x of [() => x][0]()) ; return 'no'; } catch (e) { return e.name; } }, 'ReferenceError'],
  ["TDZ in for in", () => { try { for (const k in { k: k }); return 'no'; } catch (e) { return e.name; } }, 'ReferenceError'],
  ["per iteration closures", () => { const fs = []; for (let i = 0; i < 3; i += 1) { fs.push(() => i, () => { i += 10; return i; }); if (i > 20) break; } return fs.map(f => f()); }, [0, 10, 1, 11, 2, 12]],
  ["closure in the head", () => { const fs = []; for (let i = 0, f = () => i; i < 2; i += 1) fs.push(f); return fs.map(f => f()); }, [0, 0]],
  ["closure in the condition", () => { const fs = []; for (let i = 0; fs.push(() => i), i < 2; i += 1); return fs.map(f => f()); }, [0, 1, 2]],
  ["closure in the update", () => { const fs = []; for (let i = 0; i < 2; fs.push(() => i), i += 1); return fs.map(f => f()); }, [1, 2]],
];
