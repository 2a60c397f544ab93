// A cycle: each half waits for a module of its own.
import { b } from './lib-await-cycle-b.mjs';
import { c } from './lib-await-cycle-c.mjs';
import { order } from './lib-await-cycle-log.mjs';
export const a = () => 'a';
order.push(`a after ${b} and ${c}`);
