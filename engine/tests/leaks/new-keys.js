// work 5000 x 40
// Records with new keys.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const object = {}; object[`k${n}`] = n; const other = { [`p${n}`]: object };
      }
      return n;
    },
  };
}
