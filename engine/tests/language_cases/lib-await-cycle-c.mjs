await null;
await null;
await null;
export const c = 'c';
