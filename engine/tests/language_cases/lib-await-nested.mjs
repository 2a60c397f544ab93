export const order = [];
outer: {
  switch (1) {
    default:
      if (order.length === 0) {
        try {
          for await (const item of [Promise.resolve('a')]) { order.push(item); break outer; }
        } finally {
          order.push('finally');
        }
      }
  }
}
order.push('end');
