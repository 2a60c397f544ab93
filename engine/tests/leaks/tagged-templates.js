// work 500 x 40
// The strings of a tagged template belong to its code.
export default function () {
  let n = 0;
  const compartment = new Compartment();
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        compartment.evaluate(`(tag => tag\`${"y".repeat(300)} ${n} \${1}\`)(strings => strings.length)`);
      }
      return n;
    },
  };
}
