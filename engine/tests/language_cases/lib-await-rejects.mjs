export const before = 1;
for await (const item of [1]) throw new RangeError('in a loop');
