import './lib-await-ring-a.mjs';
import { order } from './lib-await-cycle-log.mjs';
order.push('ring');
for (let i = 0; i < 20; i += 1) await null;
export const ringB = 'b';
