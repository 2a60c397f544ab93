// Small integers of huge numbers, what constructors return, and when the target of a rest pattern is evaluated.
const names = f => { try { return f(); } catch (e) { return e.name; } };
const huge = [29.5e134, 2 ** 63, -(2 ** 63), 2 ** 64, 2 ** 53 + 2, 1e21, -1e21, 1e300, 2 ** 80 + 2 ** 30, Infinity, -Infinity, NaN, 2 ** 31 + 0.5, -129.9, 65537];
const view = new DataView(new ArrayBuffer(8));
class A { constructor() { this.a = 1; } }
export default [
  ["Int8Array", () => [...new Int8Array(huge)], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 127, 1]],
  ["Uint8Array", () => [...new Uint8Array(huge)], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 127, 1]],
  ["Int16Array", () => [...new Int16Array(huge)], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, -129, 1]],
  ["Uint16Array", () => [...new Uint16Array(huge)], [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 65407, 1]],
  ["Uint8ClampedArray", () => [...new Uint8ClampedArray(huge)], [255, 255, 0, 255, 255, 255, 0, 255, 255, 255, 0, 0, 255, 0, 255]],
  ["Int32Array", () => [...new Int32Array([29.5e134, 2 ** 63, 2 ** 53 + 2, 1e21, 2 ** 80 + 2 ** 30])], [0, 0, 2, -559939584, 1073741824]],
  ["DataView", () => { const out = []; for (const n of [29.5e134, 2 ** 63, 1e21, -1e21, 2 ** 53 + 2]) { view.setInt16(0, n); view.setInt8(2, n); view.setUint16(4, n); view.setUint8(6, n); out.push(view.getInt16(0), view.getInt8(2), view.getUint16(4), view.getUint8(6)); } return out; }, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2]],
  ["fill and set", () => { const a = new Int8Array(4).fill(2 ** 64 + 2 ** 12); a.set([2 ** 63, 300], 2); return [...a]; }, [0, 0, 0, 44]],
  ["a derived constructor returns a text", () => names(() => { class B extends A { constructor() { super(); return 's'; } } return new B().a; }), 'TypeError'],
  ["a derived constructor returns other primitives", () => [1, true, null, Symbol.iterator, 1n].map(v => names(() => { class B extends A { constructor() { super(); return v; } } return new B().a; })), ['TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError']],
  ["a derived constructor returns nothing, an object, a function", () => { class B extends A { constructor() { super(); return undefined; } } class C extends A { constructor() { super(); return { c: 2 }; } } class D extends A { constructor() { super(); return () => 3; } } class E extends A { constructor() { return { e: 4 }; } } return [new B().a, new C().c, new D()(), new E().e]; }, [1, 2, 3, 4]],
  ["a derived constructor that never calls super", () => [names(() => { class B extends A { constructor() {} } return new B(); }), names(() => { class B extends A { constructor() { return undefined; } } return new B(); }), names(() => { class B extends A { constructor() { return 5; } } return new B(); })], ['ReferenceError', 'ReferenceError', 'TypeError']],
  ["a base constructor returns a primitive", () => { class B { constructor() { this.b = 1; return 's'; } } function F() { this.f = 2; return 7; } return [new B().b, new F().f]; }, [1, 2]],
  ["a derived constructor returns in finally", () => [names(() => { class B extends A { constructor() { super(); try { return 's'; } finally { this.x = 1; } } } return new B(); }), (() => { class B extends A { constructor() { super(); try { return 's'; } finally { return; } } } return new B().a; })()], ['TypeError', 1]],
  ["Reflect.construct of such a class", () => names(() => { class B extends A { constructor() { super(); return 's'; } } return Reflect.construct(B, [], Object); }), 'TypeError'],
  ["the target of a rest pattern comes first", () => { const log = []; const o = {}; const target = () => { log.push('target'); return o; }; const source = new Proxy({ a: 1, b: 2 }, { ownKeys(t) { log.push('keys'); return Reflect.ownKeys(t); }, get(t, k) { log.push(`get ${String(k)}`); return t[k]; } }); ({ a: o.a, ...target().x } = source); return [log, o]; }, [['get a', 'target', 'keys', 'get b'], { a: 1, x: { b: 2 } }]],
  ["the key of a rest pattern's target too", () => { const log = []; const o = {}; const key = () => { log.push('key'); return 'k'; }; ({ ...o[key()] } = { get z() { log.push('z'); return 1; } }); return [log, o.k]; }, [['key', 'z'], { z: 1 }]],
];
