// call build 300000
// call letGo
// A chain of slices hangs in the heap and becomes garbage: every later collection drops it.
export default function () {
  let held = { text: 'x'.repeat(500000) };
  return {
    build(count) { for (let i = 0; i < count; i += 1) held = { text: held.text.slice(1) }; return held.text.length; },
    letGo() { held = undefined; return 'gone'; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length; },
  };
}
