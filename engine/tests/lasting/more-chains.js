// call build "sets" 20000
// call build "weakSets" 20000
// call build "weakMaps" 20000
// call build "suspended" 10000
// call build "asyncGenerators" 10000
// call build "helpers" 10000
// call build "wrapped" 10000
// call build "bound" 3000
// call build "accessors" 20000
// call build "arguments" 20000
// call build "aggregates" 20000
// call build "tagged" 8000
// call build "references" 20000
// call build "senders" 20000
// call build "vows" 5000
// call build "pipelines" 3000
// call build "private" 20000
// call build "symbols" 20000
// call build "patterns" 20000
// call build "handlers" 20000
// call build "when" 10000
// call build "environments" 20000
// call build "homes" 4000
// call build "thenables" 10000
// call build "iterators" 10000
// call build "bytes" 20000
// call build "evaluated" 200
// call letGo
// What of the language can refer to its own kind beside `long-chains.js`: held objects of the runtime, suspended code, and hidden slots.
import { E, Far } from '@endo/far';
import { makeTagged } from '@endo/pass-style';
class Link { #before; constructor(before) { this.#before = before; } }
const links = {
  sets: before => new Set([before]),
  weakSets: before => Object.assign(new WeakSet(before ? [before] : []), { before }),
  weakMaps: before => { const map = new WeakMap(); if (before) map.set(before, map); map.before = before; return map; },
  suspended: before => { const held = {}; (async () => { await new Promise(resolve => { held.resolve = resolve; }); return before; })(); return held; },
  asyncGenerators: before => { const g = (async function* g() { yield before; })(); g.next(); return g; },
  helpers: before => (before ?? [].values()).map(x => x),
  wrapped: before => Iterator.from({ next() { return before ? before.next() : { done: true }; } }),
  bound: before => (before ?? ((...all) => all.length)).bind(null, 1),
  accessors: before => ({ get before() { return before; } }),
  arguments: before => (function all() { return arguments; })(before),
  aggregates: before => new AggregateError([before]),
  tagged: before => makeTagged('t', before ? [before] : []),
  references: before => Far('x', { before() { return before; } }),
  senders: before => E(before ?? {}),
  vows: before => Vow.resolve(before ?? 1).then(() => 1),
  pipelines: before => E(before ?? new Promise(() => {})).next(),
  private: before => new Link(before),
  symbols: before => ({ [Symbol('k')]: before }),
  patterns: before => Object.assign(/x/g, { before }),
  handlers: before => new Proxy({}, before ?? {}),
  when: before => E.when(before ?? new Promise(() => {}), () => 1),
  environments: before => { let held = before; const f = () => { held = f; return before; }; return f; },
  homes: before => ({ __proto__: before ?? {}, m() { return super.m(); } }),
  thenables: before => ({ before, promise: new Promise(resolve => { resolve({ then() { return before; } }); }) }),
  iterators: before => { const entries = new Map([[1, before]]).entries(); entries.next(); return entries; },
  bytes: before => Object.assign(new Uint8Array(8), { before }),
  evaluated: before => (0, eval)('before => () => before')(before),
};
export default function () {
  const held = {};
  return {
    build(kind, count) {
      let last;
      for (let i = 0; i < count; i += 1) last = links[kind](last);
      held[kind] = last;
      delete held[Object.keys(held).at(-3)];
      return count;
    },
    letGo() { for (const kind of Object.keys(held)) delete held[kind]; return 'gone'; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length; },
  };
}
