// work 50 x 40
// Prototypes that hold much, of objects that are let go.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        const prototype = { text: `${n}`.padEnd(100000, "x") };
        const object = Object.create(prototype); object.x = 1; const other = { __proto__: prototype, y: 2 }; Object.setPrototypeOf({ z: 1 }, prototype);
      }
      return n;
    },
  };
}
