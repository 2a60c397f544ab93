// Hardened objects stay as they are under every kind of write, each at a place in the code that is warm.
// call nothing => no has no method
import { Far } from '@endo/far';
export default function (argv) {
  const kinds = {
    literal: () => ({ a: 1, b: 2 }), nul: () => Object.assign(Object.create(null), { a: 1 }), entries: () => Object.fromEntries([['a', 1]]),
    cls: () => new (class { a = 1; })(), arr: () => { const x = [1, 2, 3]; x.a = 1; return x; }, fn: () => { const f = () => {}; f.a = 1; return f; },
    big: () => { const o = {}; for (let i = 0; i < 1500; i++) o['k' + i] = i; o.a = 1; return o; }, err: () => Object.assign(new Error('x'), { a: 1 }),
    map: () => Object.assign(new Map(), { a: 1 }), acc: () => Object.defineProperty({}, 'a', { value: 1, writable: true, configurable: true, enumerable: true }),
  };
  const writes = {
    assign: o => { o.a = 9; }, plus: o => { o.a += 8; }, inc: o => { o.a++; }, and: o => { o.a &&= 9; }, nn: o => { o.a ??= 9; }, or: o => { o.a ||= 9; },
    byValue: o => { const k = 'a'; o[k] = 9; }, destr: o => { [o.a] = [9]; }, destrObj: o => { ({ x: o.a } = { x: 9 }); }, forOf: o => { for (o.a of [9]); },
    forIn: o => { for (o.a in { z: 1 }); }, reflect: o => { Reflect.set(o, 'a', 9); }, recv: o => { Reflect.set({ a: 0 }, 'a', 9, o); },
    def: o => { Object.defineProperty(o, 'a', { value: 9 }); }, objAssign: o => { Object.assign(o, { a: 9 }); }, del: o => { delete o.a; },
    del2: o => { Reflect.deleteProperty(o, 'a'); }, proto: o => { Object.setPrototypeOf(o, { a: 9 }); }, add: o => { o.zz = 1; },
    supr: o => { ({ __proto__: o, m() { super.a = 9; } }).m(); }, suprv: o => { const k = 'a'; ({ __proto__: o, m() { super[k] = 9; } }).m(); },
    inherit: o => { const c = Object.create(o); try { c.a = 9; } catch (e) { /* override mistake */ } },
  };
  let bad = 0;
  for (const [kn, make] of Object.entries(kinds)) {
    for (const [wn, write] of Object.entries(writes)) {
      const place = o => { try { write(o); } catch (e) { /* right */ } };
      for (let i = 0; i < 4; i++) place(make());              // warm
      const o = harden(make()); const before = Reflect.ownKeys(o).length; const proto = Object.getPrototypeOf(o);
      for (let i = 0; i < 4; i++) place(o);
      if (o.a !== 1 || Reflect.ownKeys(o).length !== before || Object.getPrototypeOf(o) !== proto) { bad += 1; console.log('BAD', kn, wn, o.a); }
    }
  }
  console.log(bad ? 'BAD' : 'OK', `${bad} of ${Object.keys(kinds).length * Object.keys(writes).length}`);
  return Far('root', {});
}
