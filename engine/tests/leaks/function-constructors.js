// work 500 x 40
// The Function constructor.
export default function () {
  let n = 0;
  const compartment = new Compartment();
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        compartment.evaluate(`new Function("a${n}", "return a${n} + \\"${"y".repeat(200)}\\"")(1)`);
      }
      return n;
    },
  };
}
