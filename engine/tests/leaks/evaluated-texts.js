// work 500 x 40
// Texts that are evaluated once, in the vat'\''s own scope and in a compartment.
export default function () {
  let n = 0;
  const compartment = new Compartment();
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const text = `"text ${n} ${"y".repeat(300)}".length`;
        if ((0, eval)(text) !== compartment.evaluate(text)) throw Error(text);
      }
      return n;
    },
  };
}
