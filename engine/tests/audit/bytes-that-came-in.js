// tries: to change or detach bytes that were passed on
// defence: bytes come in immutable (patch 062)
import { trying } from './lib.js';

const frozen = () => harden(new Uint8Array(new Uint8Array([0, 2]).buffer.transferToImmutable()));
export const attempt = () => trying({
  own: () => { const b = frozen(); b[0] = 1; return b[0] === 1; },
  fill: () => { const b = frozen(); b.fill(1); return b[0] === 1; },
  view: () => { const b = frozen(); new DataView(b.buffer).setInt8(0, 1); return b[0] === 1; },
  other: () => { const b = frozen(); new Uint16Array(b.buffer)[0] = 1; return b[0] === 1; },
  transfer: () => { const b = frozen(); b.buffer.transfer(); return b.length === 0; },
  define: () => { const b = frozen(); Object.defineProperty(b, '0', { value: 1 }); return b[0] === 1; },
  set: () => { const b = frozen(); Reflect.set(b, 0, 1); return b[0] === 1; },
  iterate: () => { const b = frozen(); [b[0]] = [1]; return b[0] === 1; },
});
