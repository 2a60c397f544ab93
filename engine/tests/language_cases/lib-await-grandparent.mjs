import './lib-await-parent.mjs';
await null;
export const never = true;
