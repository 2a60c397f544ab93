// tries: to pass a list that has code of its own beside its elements
// defence: what passes as a list has nothing of its own but its elements, and they are data
import { trying } from './lib.js';

export const attempt = ({ target }) => {
  let ran = false;
  const evil = () => { ran = true; return 'other'; };
  const shaped = more => harden(Object.defineProperties([1, 2], more));
  const lists = {
    constructs: () => shaped({ constructor: { value: class extends Array {} } }),
    iterates: () => shaped({ [Symbol.iterator]: { value: function* g() { yield evil(); } } }),
    maps: () => shaped({ map: { value: evil, enumerable: true } }),
    converts: () => shaped({ toJSON: { value: evil } }),
    getter: () => shaped({ 0: { get: evil } }),
    length: () => harden(Object.setPrototypeOf([() => 1], { get length() { return evil(); } })) && shaped({ more: { get: evil } }),
    spreads: () => shaped({ [Symbol.isConcatSpreadable]: { value: false } }),
    sparse: () => { const list = [1]; list[3] = 1; return harden(list); },
    arguments: () => harden((function all() { return arguments; })(1, 2)),
    proxied: () => new Proxy([1], { get(list, key) { ran = true; return list[key]; } }),
    revoked: () => { const { proxy, revoke } = Proxy.revocable([1], {}); revoke(); return proxy; },
  };
  return trying({
    ...Object.fromEntries(Object.entries(lists).map(([name, make]) => [name, async () => {
      const list = make();
      ran = false;
      try { await E(target).take(list); } catch { return ran; }
      return true;
    }])),
    copies: async () => { const list = await E(Far('echo', { m: x => x })).m(harden([1, 2])); return list.constructor !== Array || !Object.isFrozen(list); },
  });
};
