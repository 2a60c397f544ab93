// work 50 x 40
// Sixteen characters of each of 100 KB, the last hundred of which are kept.
export default function () {
  let n = 0;
  const kept = []; const names = new Map(); const first = [];
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const text = `${n},`.padEnd(100000, "x");
        kept.push(text.slice(0, 16), text.substring(5, 30), text.split(",")[0], text.match(/^\d+/)[0], text.at(1), text.trim().slice(-9), `${text.slice(0, 20)}`);
        if (kept.length > 700) kept.splice(0, 7);
        names.set(text.slice(0, 16), text.slice(0, 40)); if (names.size > 100) names.delete(names.keys().next().value);
        first.push({ [text.slice(0, 8)]: 1 }); if (first.length > 100) first.shift();
      }
      return n;
    },
  };
}
