export const order = [];
await null;
await null;
order.push('slow');
