import { done } from './lib-await-loop.mjs';
export const seen = done;
