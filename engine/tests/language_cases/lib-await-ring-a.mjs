// A cycle whose members are all asked for while it is being evaluated.
import { ringB } from './lib-await-ring-b.mjs';
await null;
export const ringA = `a ${ringB}`;
