import './lib-await-throws.mjs';
export const never = true;
