// work 5 x 200
// Compartments, each with names and functions of its own.
export default function () {
  let n = 0;
  return { work(count) { for (let i = 0; i < count; i += 1) { n += 1; new Compartment({ [`name${n}`]: n }).evaluate(`globalThis.f${n} = () => name${n}; f${n}()`); } return n; } };
}
