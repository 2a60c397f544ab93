// work 20 x 60
// A compartment for each text, with a tagged template in it.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        SES.confineExpr(`(tag => tag\`text ${n} ${"y".repeat(2000)}\`)(strings => strings.raw.length)`);
      }
      return n;
    },
  };
}
