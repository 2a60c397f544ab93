// What the interpreter remembers for speed must not be seen: texts that share memory, shapes of literals, caches of properties, and
// places of variables.
const long = 'x'.repeat(300);
const literal = (a, b) => ({ first: a, second: b });
const read = o => o.first;
const inherits = o => o.method();

export default [
  ['two texts that grow from one', () => {
    let s = long; s += 'a'; s += 'b';
    const one = s + '1', two = s + '2', three = one + '3', four = one + '4';
    return [s.length, s.slice(-2), one.slice(-2), two.slice(-2), three.slice(-3), four.slice(-3), one === s + '1', two === s + '2'];
  }, [302, 'ab', 'b1', 'b2', 'b13', 'b14', true, true]],
  ['a text that has grown stays as it was', () => {
    const all = []; let s = long;
    for (let i = 0; i < 50; i += 1) { s += String.fromCharCode(97 + i % 26); all.push(s); }
    return all.every((t, i) => t.length === 301 + i && t === long + s.slice(300, 301 + i));
  }, true],
  ['a text grows by wider characters', () => {
    let s = long; s += 'é'; s += '\u1234'; s += 'b'; s += '\ud83d'; s += '\ude00'; s += 'ÿ';
    return [s.length, [...s].length, s.slice(300), s.codePointAt(303), s.indexOf('\u1234b')];
  }, [306, 305, 'é\u1234b\ud83d\ude00ÿ', 128512, 301]],
  ['a text grows by itself and by nothing', () => {
    let s = long + 'y'; s += s; const t = s; s += ''; s += s; return [t.length, s.length, s === t + t, s[300], s[601]];
  }, [602, 1204, true, 'y', 'y']],
  ['slices of a text that grows', () => {
    let s = long + 'abc'; const tail = s.slice(100); s += 'def'; const more = tail + 'ghi'; s += 'jkl';
    return [tail.slice(-3), more.slice(-6), s.slice(-9), s.slice(0, 303) === long + 'abc', more.length];
  }, ['abc', 'abcghi', 'abcdefjkl', true, 206]],
  ['numbers, symbols and objects are appended', () => {
    let s = long; s += 1; s += null; s += undefined; s += true; s += 1.5; s += 3n; s += [1, 2]; s += { toString: () => 'o' };
    let error; try { s += Symbol('s'); } catch (e) { error = e.name; }
    return [s.slice(300), error];
  }, ['1nullundefinedtrue1.531,2o', 'TypeError']],
  ['texts that have grown are keys', () => {
    const k = long + 'k'; let s = long; s += 'k';
    const o = { [k]: 1 }; const m = new Map([[k, 2]]); const wide = ('\u1234' + s).slice(1);
    return [o[s], m.get(s), s === k, o[wide], m.get(wide), new Set([k, s, wide]).size];
  }, [1, 2, true, 1, 2, 1]],
  ['short keys in both encodings', () => {
    const names = ['', 'a', 'abc', 'abcd', 'abcde', 'abcdefgh', 'é', 'abcé', 'ÿÿÿÿÿ'];
    const wide = names.map(name => ('\u1234' + name).slice(1));
    const m = new Map(names.map((name, i) => [name, i])); const o = Object.fromEntries(names.map((name, i) => [name, i]));
    return [wide.map(name => m.get(name)), wide.map(name => o[name])];
  }, [[0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8]]],
  ['a literal with other names of the same text', () => {
    const make = n => n === 0 ? { a: 1, b: 2 } : n === 1 ? { b: 1, a: 2 } : n === 2 ? { a: 1, get b() { return 9; } } : { a: 1, a: 2, b: 3, __proto__: null };
    return [0, 1, 2, 3, 0, 1, 2, 3].map(n => { const o = make(n); return [Object.keys(o).join(), o.a, o.b]; });
  }, [['a,b', 1, 2], ['b,a', 2, 1], ['a,b', 1, 9], ['a,b', 2, 3], ['a,b', 1, 2], ['b,a', 2, 1], ['a,b', 1, 9], ['a,b', 2, 3]]],
  ['a literal whose property was changed', () => {
    const make = () => ({ p: 1, q: 2 });
    const one = make(); Object.defineProperty(one, 'q', { enumerable: false, writable: false });
    const two = make(); delete two.p; const three = make(); three.q = 5; const four = make(); Object.freeze(four);
    const five = make();
    return [Object.keys(one), Object.keys(two), three.q, Object.isFrozen(four), Object.keys(five), Object.getOwnPropertyDescriptor(five, 'q')];
  }, [['p'], ['q'], 5, true, ['p', 'q'], { value: 2, writable: true, enumerable: true, configurable: true }]],
  ['a literal that names a property twice, again and again', () => {
    const make = i => ({ a: i, b: i, a: -i, ['b']: -i });
    return [make(1), make(2), make(3)].map(o => [Object.keys(o), o.a, o.b]);
  }, [[['a', 'b'], -1, -1], [['a', 'b'], -2, -2], [['a', 'b'], -3, -3]]],
  ['a literal with numbers as names', () => {
    const make = i => ({ b: i, 1: i, 0: -i, '-0': 3, '01': 4 });
    return [make(1), make(2)].map(o => JSON.stringify(o));
  }, ['{"0":-1,"1":1,"b":1,"-0":3,"01":4}', '{"0":-2,"1":2,"b":2,"-0":3,"01":4}']],
  ['one place reads objects of many shapes', () => {
    const shapes = [literal(1, 2), { second: 0, first: 3 }, { get first() { return 4; } }, Object.create({ first: 5 }), { other: 1 }, Object.create(null), { x: 1, first: 6 }];
    return [...shapes, ...shapes].map(read);
  }, [1, 3, 4, 5, undefined, undefined, 6, 1, 3, 4, 5, undefined, undefined, 6]],
  ['a prototype changes under a cache', () => {
    const p = { method() { return 1; } }; const o = Object.create(p); const seen = [inherits(o), inherits(o)];
    p.method = () => 2; seen.push(inherits(o));
    delete p.method; p.other = 0; p.method = () => 3; seen.push(inherits(o));
    Object.defineProperty(p, 'method', { get: () => () => 4, configurable: true }); seen.push(inherits(o));
    Object.defineProperty(o, 'method', { value: () => 5, configurable: true }); seen.push(inherits(o)); delete o.method; seen.push(inherits(o));
    Object.setPrototypeOf(o, { method: () => 6 }); seen.push(inherits(o));
    return seen;
  }, [1, 1, 2, 3, 4, 5, 4, 6]],
  ['an object gets a property of its own under a cache', () => {
    const p = { method: () => 'p' }; const make = () => Object.create(p); const a = make(), b = make();
    const seen = [inherits(a), inherits(b)]; a.method = () => 'a'; seen.push(inherits(a), inherits(b), inherits(make()));
    return seen;
  }, ['p', 'p', 'a', 'p', 'p']],
  ['variables of enclosing functions', () => {
    const all = []; let n = 0;
    for (let i = 0; i < 3; i += 1) { let own = i * 10; all.push(() => { own += 1; n += 1; return [i, own, n]; }); }
    return [all[0](), all[2](), all[0](), all[1]()];
  }, [[0, 1, 1], [2, 21, 2], [0, 2, 3], [1, 11, 4]]],
  ['a variable before its declaration', () => {
    const get = () => later; let error; try { get(); } catch (e) { error = e.name; }
    let later = 1; return [error, get()];
  }, ['ReferenceError', 1]],
  ['a global that does not exist, and one that is an accessor', () => {
    const missing = () => typeof nowhere === 'undefined' ? 'none' : nowhere; let error;
    try { nowhere; } catch (e) { error = e.name; }
    return [missing(), missing(), error, typeof Math.max, Math === globalThis.Math];
  }, ['none', 'none', 'ReferenceError', 'function', true]],
];
