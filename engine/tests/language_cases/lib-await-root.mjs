import { part } from './lib-await-part.mjs';
await null;
export const root = `root of ${part}`;
