// Mends of the interpreter that lockdown() of `ses` needs, and the removal of what must not be there afterwards.
// A script: runs in the global scope before `ses` is evaluated.
(() => {
  const { getOwnPropertyNames } = Object;
  // Boa 0.22 gives RegExp.prototype an own lastIndex, as if it were an instance.
  delete RegExp.prototype.lastIndex;
  // Typed array constructors inherit @@species; Boa gives each one its own, which lockdown() would complain of.
  for (const name of getOwnPropertyNames(globalThis)) {
    if (/^(Int|Uint|BigInt|BigUint|Float)[0-9]+(Clamped)?Array$/.test(name)) {
      delete globalThis[name][Symbol.species];
    }
  }
  // What could observe time, other threads or the garbage collector.
  for (const name of ['WeakRef', 'FinalizationRegistry', 'SharedArrayBuffer', 'Atomics']) {
    delete globalThis[name];
  }
})();
