// work 500 x 40
// New names of variables, properties, functions and classes, and private ones.
export default function () {
  let n = 0;
  const compartment = new Compartment();
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const name = `name_${n}_${"y".repeat(100)}`;
        compartment.evaluate(`(() => { let ${name} = 1; class C_${name} { #${name} = 2; get ${name}() { return this.#${name}; } } return new C_${name}().${name} + ${name}; })()`);
      }
      return n;
    },
  };
}
