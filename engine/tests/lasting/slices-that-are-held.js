// call build 100000
// The same chain, still held: each collection marks it, and it goes with the last delivery that needs it.
export default function () {
  let held = { text: 'x'.repeat(400000), before: undefined };
  return {
    build(count) { for (let i = 0; i < count; i += 1) held = { text: held.text.slice(1), before: held }; return held.text.length; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); held = { text: held.text.slice(1), before: held.before?.before }; return all.length; },
  };
}
