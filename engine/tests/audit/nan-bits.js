// tries: to tell machines apart by the bits of NaN
// defence: NaN is made canonical by the sandbox
import { trying } from './lib.js';

export const attempt = () => trying({
  float64: () => new Set([NaN, 0 / 0, -NaN, Math.sqrt(-1), Infinity - Infinity].map(x => String(new Uint8Array(new Float64Array([x]).buffer)))).size !== 1,
  float32: () => new Set([NaN, 0 / 0, -NaN].map(x => String(new Uint8Array(new Float32Array([x]).buffer)))).size !== 1,
});
