// tries: to have the runtime turn an object into text, a number or a list at a moment of its own
// defence: names and tags are taken when they are text, and refused otherwise; text to confine is made once
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';
import { makeTagged, getTag } from '@endo/pass-style';

export const attempt = () => {
  let ran = false;
  const noisy = { toString() { ran = true; return 'x'; }, valueOf() { ran = true; return 1; }, [Symbol.toPrimitive]() { ran = true; return 'x'; }, [Symbol.iterator]() { ran = true; return [].values(); }, get length() { ran = true; return 1; } };
  const quiet = f => () => { ran = false; try { f(); } catch { /* refused */ } return ran; };
  return trying({
    interface: quiet(() => Far(noisy, {})),
    tag: quiet(() => makeTagged(noisy, 1)),
    ofTagged: quiet(() => getTag({ [Symbol.toStringTag]: noisy })),
    style: quiet(() => passStyleOf(harden({ a: noisy }))),
    passed: quiet(() => E(Far('x', { m() {} })).m(noisy)),
    called: quiet(() => { const f = Object.assign(() => 1, { call() { ran = true; }, apply() { ran = true; } }); E(f)(); E(Far('x', { m: f })).m(); }),
    when: quiet(() => E.when(noisy, noisy, noisy)),
    resolved: quiet(() => E.resolve(noisy)),
    all: quiet(() => Vow.all({ [Symbol.iterator]: 1, length: noisy })),
    rejected: quiet(() => E.when(Promise.reject(noisy), () => {}, () => {})),
    printed: quiet(() => console.debug(noisy, [noisy], { noisy })),
    confined: () => { let times = 0; const text = { toString() { times += 1; return times > 1 ? '2' : '1'; } }; return SES.confine(text) !== 1 || times > 1; },
    nat: quiet(() => Nat(noisy)),
  });
};
