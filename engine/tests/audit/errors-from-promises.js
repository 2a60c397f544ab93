// tries: to end the delivery, uncatchably, with a promise
// defence: a throw of a getter is an error that can be caught
import { trying } from './lib.js';

const target = Far('t', { m() { return 1; } });
export const attempt = () => trying({
  ...Object.fromEntries(Object.entries({ send: p => E(p).m(), get: p => E.get(p).x, only: p => E.sendOnly(p).m(), when: p => E.when(p), arg: p => E(target).m(p) }).flatMap(([name, use]) =>
    [['throws', { get() { throw Error('x'); } }], ['number', { value: 5 }], ['object', { value: {} }]].map(([kind, descriptor]) =>
      [`${name} ${kind}`, () => { const p = Object.defineProperty(new Promise(() => {}), 'constructor', descriptor); const r = use(p); if (r) E.when(r, () => {}, () => {}); return false; }]))),
});
