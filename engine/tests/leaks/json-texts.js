// work 10000 x 10
// A hundred thousand JSON texts with new keys and new strings.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const text = JSON.stringify({ [`key ${n}`]: `text ${n}`, list: [n, `${n}`] });
        if (JSON.parse(text)[`key ${n}`] !== `text ${n}`) throw Error(text);
      }
      return n;
    },
  };
}
