// tries: to change tagged data
// defence: makeTagged hardens the payload
import { trying } from './lib.js';
import { makeTagged } from '@endo/pass-style';

export const attempt = () => trying({
  payload: () => { const list = [1]; makeTagged('t', list); list.push(2); return list.length > 1; },
  set: () => { const t = makeTagged('t', 1); t.payload = 2; return t.payload === 2; },
  tag: () => { const t = makeTagged('t', 1); Object.defineProperty(t, Symbol.toStringTag, { value: 'u' }); return `${t}` !== '[object t]'; },
  bad: () => { makeTagged('t', new Map()); return true; },
});
