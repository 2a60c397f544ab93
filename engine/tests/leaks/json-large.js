// work 40 x 25
// JSON texts of 100 KB.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const text = `${n} `.repeat(20000).slice(0, 100000);
        if (JSON.parse(JSON.stringify({ n, text })).text !== text) throw Error(`${n}`);
      }
      return n;
    },
  };
}
