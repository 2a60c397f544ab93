// call step 15000
// call step 15000
// call undo
// Each state knows the one before it by a WeakMap, the newest first: the order in which a collector may need a pass for each link.
export default function () {
  const before = new WeakMap();
  let now = { n: 0 };
  return {
    step(count) { for (let i = 0; i < count; i += 1) { const next = { n: now.n + 1 }; before.set(next, now); now = next; } return now.n; },
    undo() { now = before.get(now); return now.n; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length + now.n; },
  };
}
