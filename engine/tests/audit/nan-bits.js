// tries: to tell machines apart by the bits of NaN
// defence: a value of the interpreter holds one NaN only; the sandbox makes canonical what the machine computes
import { trying } from './lib.js';

const bits = x => String(new Uint8Array(new Float64Array([x]).buffer));
export const attempt = () => trying({
  payload: () => bits(new Float64Array(new Uint8Array([1, 2, 3, 0, 0, 0, 0xf8, 0x7f]).buffer)[0]) !== bits(NaN),
  view: () => { const view = new DataView(new ArrayBuffer(8)); view.setBigUint64(0, 0xfff8000000000001n); return bits(view.getFloat64(0)) !== bits(NaN); },
  float64: () => new Set([NaN, 0 / 0, -NaN, Math.sqrt(-1), Infinity - Infinity].map(x => String(new Uint8Array(new Float64Array([x]).buffer)))).size !== 1,
  float32: () => new Set([NaN, 0 / 0, -NaN].map(x => String(new Uint8Array(new Float32Array([x]).buffer)))).size !== 1,
});
