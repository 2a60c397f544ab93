// call build "links" 50000
// call build "closures" 50000
// call build "fulfilled" 50000
// call build "pending" 50000
// call build "followed" 50000
// call build "prototypes" 50000
// call build "proxies" 50000
// call build "bound" 500
// call build "causes" 50000
// call build "generators" 20000
// call build "arrays" 50000
// call build "maps" 20000
// call build "classes" 20000
// call letGo
// Chains of everything that can refer to its own kind: neither marking nor dropping them may nest calls.
const links = {
  links: before => ({ before }),
  closures: before => () => before,
  fulfilled: before => (before ?? Promise.resolve()).then(() => 1),
  pending: before => (before ?? new Promise(() => {})).then(() => 1),
  followed: before => new Promise(resolve => resolve(before ?? new Promise(() => {}))),
  prototypes: before => Object.create(before ?? {}),
  proxies: before => new Proxy(before ?? {}, {}),
  bound: before => (before ?? (() => 0)).bind(null),
  causes: before => Error('x', { cause: before }),
  generators: before => { const g = (function* g() { yield before; })(); g.next(); return g; },
  arrays: before => [before],
  maps: before => new Map([[before, 1]]),
  classes: before => (before ? class extends before {} : class {}),
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
