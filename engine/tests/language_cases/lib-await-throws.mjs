// Throws without an await of its own, after a module that it waits for.
import { order } from './lib-await-slow.mjs';
order.push('throws');
throw new RangeError('after waiting');
