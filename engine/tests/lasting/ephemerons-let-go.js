// call build 30000
// call letGo
// A chain that becomes garbage at once, and one through many maps.
export default function () {
  let map = new WeakMap();
  let newest = {};
  return {
    build(count) {
      for (let i = 0; i < count; i += 1) {
        const key = {};
        map.set(key, newest);
        newest = key;
        if (i % 1000 === 0) { const next = new WeakMap(); next.set(newest, map); map = next; }
      }
      return count;
    },
    letGo() { newest = {}; return 'gone'; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length + Number(map.has(newest)); },
  };
}
