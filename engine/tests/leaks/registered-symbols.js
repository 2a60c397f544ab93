// work 20000 x 20
// Symbols of the registry that nobody holds.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        if (Symbol.keyFor(Symbol.for(`key ${n}`)) !== `key ${n}`) throw Error(`${n}`);
      }
      return n;
    },
  };
}
