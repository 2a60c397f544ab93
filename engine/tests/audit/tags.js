// tries: to be taken for something by a tag
// defence: what a thing is, is asked of its native slot
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

export const attempt = () => trying({
  promise: () => passStyleOf(harden({ [Symbol.toStringTag]: 'Promise', then: 1 })) === 'promise',
  error: () => passStyleOf(harden({ __proto__: Error.prototype, message: 'x' })) === 'error',
  array: () => passStyleOf(harden({ __proto__: Array.prototype, length: 0 })) === 'copyArray',
  vow: () => Vow.isVow(Object.create(Vow.prototype)),
  bytes: () => passStyleOf(harden({ __proto__: Uint8Array.prototype })) === 'byteArray',
  tagged: () => passStyleOf(harden({ [Symbol.for('passStyle')]: 'tagged', [Symbol.toStringTag]: 't', payload: 1, more: 2 })) === 'tagged',
});
