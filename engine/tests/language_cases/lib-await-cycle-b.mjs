import { a } from './lib-await-cycle-a.mjs';
import { d } from './lib-await-cycle-d.mjs';
import { order } from './lib-await-cycle-log.mjs';
export const b = 'b';
export const later = () => a();
order.push(`b after ${d}`);
