// work 5000 x 40
// Objects, maps and sets to which as much is added as is taken away.
export default function () {
  let n = 0;
  const object = {}; const map = new Map(); const set = new Set(); const weak = new WeakMap(); const list = [];
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        object[`k${n}`] = n; delete object[`k${n - 10}`];
        map.set(`k${n}`, n); map.delete(`k${n - 10}`);
        set.add(`k${n}`); set.delete(`k${n - 10}`);
        weak.set({}, n); list.push(n); if (list.length > 10) list.shift();
      }
      return n;
    },
  };
}
