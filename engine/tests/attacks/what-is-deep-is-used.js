// Structures thousands of links deep stay in the vat. Whatever a later call does with one ends within a limit or with an error, and hurts nobody else.
// call build 4000 => ok 4000
// call look "harden" => ok
// call look "style" => ok "copyArray"
// call look "shown" => ok
// call look "json" => ok 23996
// call look "text" => limit
// call look "flat" => ok 1
// call look "answer" => no nested too deeply
// call look "reject" => no nested too deeply
// call look "thrown" => no e
// call look "chain" => ok "undefined"
// call look "written" => ok 1
// call look "names" => ok
// call look "instance" => ok false
// call look "proxy" => ok "undefined"
// call look "proxyHardened" => ok
// call look "proxyStyle" => no a Proxy cannot be passed
// call look "proxyShown" => ok
// call look "bound" => ok 1
// call look "closures" => limit recursion
// call look "helpers" => limit
// call look "sorted" => limit
// call look "sendTo" => ok 1
// call look "interface" => ok 1
// call look "aggregate" => no
// call look "primitive" => limit recursion
// call look "unwound" => limit recursion
// call look "delegating" => limit recursion
// call look "classes" => limit recursion
// call look "settled" => ok 1
// call look "vow" => ok 1
// call ping => ok 1
import { E, Far, passStyleOf } from '@endo/far';
export default function () {
  const d = {};
  const looks = {
    harden: () => { harden(d.arrays); return 'hard'; },
    style: () => passStyleOf(harden(d.arrays)),
    shown: () => { console.log(d.links, d.arrays, d.maps, d.causes); return 'shown'; },
    json: () => JSON.stringify(d.links).length,
    text: () => String(d.arrays).length,
    flat: () => d.arrays.flat(Infinity).length,
    answer: () => harden(d.arrays),
    reject: () => { throw harden(d.links); },
    thrown: () => { throw d.causes; },
    chain: () => String(d.prototypes.nothing),
    written: () => { d.prototypes.nothing = 1; return 1; },
    names: () => { let n = 0; for (const k in d.prototypes) n += 1; return n; },
    instance: () => d.prototypes instanceof Map,
    proxy: () => String(d.proxies.nothing),
    proxyHardened: () => { harden(d.proxies); return 'hard'; },
    proxyStyle: () => passStyleOf(d.proxies),
    proxyShown: () => { console.log(d.proxies); return Array.isArray(d.proxies); },
    bound: () => d.bound(),
    closures: () => d.closures(),
    helpers: () => [...d.helpers].length,
    sorted: () => [d.arrays, d.arrays].sort().length,
    sendTo: () => E(Far('x', { m() { return 1; } })).m(harden(d.arrays)),
    interface: () => { Far('x', { __proto__: d.prototypes }); return 1; },
    aggregate: () => { throw new AggregateError([d.causes, d.links]); },
    primitive: () => `${d.primitives}`,
    unwound: () => d.throwers(),
    delegating: () => [...d.delegating].length,
    classes: () => new d.classes() && 1,
    settled: () => E.when(d.promises, () => 1),
    vow: () => Vow.resolve(d.promises).then(() => 1),
  };
  return Far('root', {
    build(n) {
      const chain = (f, count = n) => { let x; for (let i = 0; i < count; i += 1) x = f(x); return x; };
      d.arrays = chain(x => [x]);
      d.links = chain(x => ({ x }));
      d.maps = chain(x => new Map([[x, x]]));
      d.causes = chain(x => Error('e', { cause: x }));
      d.prototypes = chain(x => Object.create(x ?? {}));
      d.proxies = chain(x => new Proxy(x ?? {}, {}));
      d.bound = chain(x => (x ?? (() => 1)).bind(null), 500);
      d.closures = chain(x => () => (x ? x() : 1));
      d.helpers = chain(x => (x ?? [1].values()).map(y => y));
      d.promises = chain(x => (x ?? Promise.resolve(1)).then(y => y));
      d.primitives = chain(x => ({ [Symbol.toPrimitive]() { return x ? `${x}` : 'p'; } }));
      d.throwers = chain(x => () => { try { return x ? x() : null.y; } finally { d.n = 1; } });
      d.delegating = chain(x => (function* g() { if (x) yield* x; yield 1; })(), 3000);
      d.classes = chain(x => (x ? class extends x {} : class {}), 3000);
      return n;
    },
    look(how) { return looks[how](); },
    ping() { return 1; },
  });
}
