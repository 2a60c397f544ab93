// What a loop around a `for await` closes, it closes before the module is evaluated.
export const order = [];
const iterable = {
  [Symbol.iterator]: () => ({
    next: () => ({ value: 1, done: false }),
    return() { order.push('closed'); return {}; },
  }),
};
try {
  for (const outer of iterable) {
    for await (const inner of [outer]) throw inner;
  }
} catch (error) {
  order.push(error);
}
order.push('end');
