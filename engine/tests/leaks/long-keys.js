// work 50 x 40
// Properties with long names, of objects that are let go: the interpreter remembers what follows on an object'\''s shape.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const text = `${n}`.padEnd(100000, "x");
        const object = {}; object[text] = n; const other = { a: 1, [text]: 2 }; const third = {}; third[Symbol(text)] = other;
      }
      return n;
    },
  };
}
