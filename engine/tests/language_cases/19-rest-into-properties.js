// The rest of an object pattern that goes into a property leaves out what was taken, computed keys too.
// A case is what runs and what it comes to: its value, then what it passed to `t`.
const cases = [
  [async t => { let a = { a: 1, b: 2, c: 3 }; const o = {}; const k = 'a'; let x; ({ [k]: x, ...o.rest } = a); return [x, o]; }, [[1, { rest: { b: 2, c: 3 } }]]],
  [async t => { const o = []; let x; ({ a: x, ...o[0] } = { a: 1, b: 2 }); return [x, o]; }, [[1, [{ b: 2 }]]]],
  [async t => { class A { #r; m(s) { let x; ({ ['a']: x, ...this.#r } = s); return [x, this.#r]; } } return new A().m({ a: 1, b: 2 }); }, [[1, { b: 2 }]]],
  [async t => { const p = { set rest(v) { t(v); } }; const o = { __proto__: p, m() { let x; ({ a: x, ...super.rest } = { a: 1, b: 2 }); } }; o.m(); return 1; }, [1, { b: 2 }]],
  [async t => { const o = {}; let x, y; ({ [t('k')]: x = 5, b: y, ...o[t('r')] } = { k: undefined, b: 2, c: 3 }); return [x, y, o]; }, [[5, 2, { r: { c: 3 } }], 'k', 'r']],
  [async t => { const o = {}; for ({ [1 + 1]: o.two, ...o.rest } of [{ 2: 'a', 3: 'b' }, { 2: 'c' }]) t(o.two, { ...o.rest }); return o; }, [{ two: 'c', rest: {  } }, ['a', { 3: 'b' }], ['c', {  }]]],
  [async t => { const s = Symbol('s'); const o = {}; let x; ({ [s]: x, ...o.rest } = { [s]: 1, [Symbol.for('q')]: 2, z: 3 }); return [x, Reflect.ownKeys(o.rest).length]; }, [[1, 2]]],
  [async t => { const o = {}; const [{ a: x, ...o2 }] = [{ a: 1, b: 2 }]; [{ a: o.x, ...o.rest }] = [{ a: 1, b: 2 }]; return [x, o2, o]; }, [[1, { b: 2 }, { x: 1, rest: { b: 2 } }]]],
  [async t => { const o = {}; let x; ({ n: { [`${'a'}`]: x, ...o.inner }, ...o.outer } = { n: { a: 1, b: 2 }, m: 3 }); return [x, o]; }, [[1, { inner: { b: 2 }, outer: { m: 3 } }]]],
  [async t => { const f = ({ ['a']: x, ...rest }, o = {}) => { ({ ['a']: x, ...o.rest } = rest); return [x, rest, o.rest]; }; return f({ a: 1, b: 2 }); }, [[undefined, { b: 2 }, { b: 2 }]]],
  [async t => { const o = {}; const k = { toString() { return t('a'); } }; let x; ({ [k]: x, ...o.rest } = { a: 1, b: 2 }); return [x, o.rest]; }, [[1, { b: 2 }], 'a']],
];

const traced = async body => {
  const seen = [];
  const t = (...values) => {
    seen.push(values.length === 1 ? values[0] : values);
    return values[0];
  };
  try {
    return [await body(t), ...seen];
  } catch (error) {
    return [`throws ${error.name}`, ...seen];
  }
};

export default [
  ...cases.map(([body, expected]) => [String(body), () => traced(body), expected]),
];
