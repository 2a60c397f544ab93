// What E(x) is: it answers to every name wherever it is read, is nothing but that, and cannot be changed, passed or confused with a function.
// call cached => ok [true,true,true]
// call functions => ok [true,1,1,"function"]
// call text => ok "function () { [native code] }"
// call inherited => ok 1
// call forwarded => ok 1
// call numbered => ok ["0","1"]
// call shape => ok [true,false,true,0,[],0,false,false]
// call changed => ok ["TypeError","TypeError","TypeError","TypeError","TypeError"]
// call constructed => no not a constructor
// call readCalled => no E.get(x) is not a function: write E.get(x).name
// call far => no can be passed by reference
// call inside => no in place of E(x)
// call inheritedFrom => no that inherits from a Proxy or from E(x) cannot be passed
// call applied => ok 3
import { E, Far } from '@endo/far';
export default function () {
  const x = Far('x', { m() { return 1; }, 0() { return '0'; }, 1() { return '1'; } });
  const add = Far('add', (a, b) => a + b);
  // One place in the code each, that has read the same name from functions before.
  const readCall = f => f.call;
  const readName = f => f.name;
  const has = f => 'length' in f;
  const thrown = act => { try { act(); return 'nothing'; } catch (error) { return error.name; } };
  return Far('root', {
    cached() {
      const plain = Object.create(Function.prototype);
      for (let i = 0; i < 50; i += 1) { readCall(plain); readName(plain); has(plain); readCall(() => i); readName(() => i); }
      const answers = readCall(E(x)) !== Function.prototype.call && readName(E(x)) !== '' && has(E(x));
      return [answers, readCall(plain) === Function.prototype.call, readCall(E(x)) !== readCall(E(x))];
    },
    async functions() {
      const { m } = E(x);
      return [m.call === Function.prototype.call, await m.call(undefined), await m.bind(null)(), typeof m];
    },
    text() { return Function.prototype.toString.call(E(x)); },
    inherited() { return Object.create(E(x)).m(); },
    forwarded() { return E(E(x)).m(); },
    numbered() { return Promise.all([E(x)[0](), E(x)['1']()]); },
    shape() {
      const e = E(x);
      return [
        Object.getPrototypeOf(e) === Function.prototype, Array.isArray(e), e instanceof Function, Reflect.ownKeys(e).length,
        Object.entries({ ...e }), Object.keys(e).length, Object.hasOwn(e, 'm'), Reflect.setPrototypeOf(e, null),
      ];
    },
    changed() {
      return [
        thrown(() => { E(x).y = 1; }), thrown(() => { delete E(x).m; }), thrown(() => Object.freeze(E(x))),
        thrown(() => Object.defineProperty(E(x), 'y', { value: 1 })), thrown(() => harden(E(x))),
      ];
    },
    constructed() { return new (E(x))(); },
    readCalled() { return E.get(x)(); },
    far() { return Far('f', E(x)); },
    inside() { return { list: [E(x)] }; },
    inheritedFrom() { return [Object.create(E(x))]; },
    applied() { return E(add)(1, 2); },
  });
}
