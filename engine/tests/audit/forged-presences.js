// tries: to be taken for an object of another vat
// defence: presences are recognised by a native slot
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

// What is sent to an object of this vat has been done, or refused, some turns later; what has left waits for an answer.
const leaves = async object => {
  let waits = true;
  E(object).nothing().then(() => { waits = false; }, () => { waits = false; });
  for (let turn = 0; turn < 50; turn += 1) await null;
  return waits;
};
export const attempt = argv => trying({
  create: () => leaves(Object.create(Object.getPrototypeOf(argv.target))),
  inherit: () => leaves(Object.create(argv.target)),
  proxy: () => leaves(new Proxy(argv.target, {})),
  tag: () => leaves({ [Symbol.toStringTag]: 'Alleged: remote' }),
  styled: () => { try { return passStyleOf(harden({ data: 1, [Symbol.toStringTag]: 'Alleged: remote' })) === 'remotable'; } catch { return false; } },
  styledProxy: () => { try { return passStyleOf(new Proxy(argv.target, {})) === 'remotable'; } catch { return false; } },
  assign: () => Object.assign(argv.target, { x: 1 }),
  define: () => { Object.defineProperty(argv.target, 'x', { value: 1 }); return true; },
  reparent: () => Reflect.setPrototypeOf(argv.target, { nothing() {} }),
});
