// The language's own objects, by the ways that lead to them: what has no name among the globals is reached through syntax. One expression: an
// array. Evaluated after lockdown and before anything of the runtime's own is a global.
(() => {
  const { getPrototypeOf, getOwnPropertyNames } = Object;
  const names = getOwnPropertyNames(globalThis).filter(
    name => !['globalThis', 'console', 'Compartment', 'ModuleSource', 'lockdown', 'harden', 'repairIntrinsics', 'hardenIntrinsics'].includes(name),
  );
  const syntax = [
    function* generator() {}, async function asynchronous() {}, async function* both() {},
    (function* generator() {})(), (async function* both() {})(),
    [][Symbol.iterator](), new Map().entries(), new Set().values(), ''[Symbol.iterator](), /./[Symbol.matchAll](''),
    Iterator.from({ next: () => ({ done: true }) }), [].values().map(x => x),
  ];
  return [...names.map(name => globalThis[name]), ...syntax.map(getPrototypeOf)];
})()
