// Elements that are inserted and removed among others: at once where nothing can tell, and step by step where something can.
// A case is what runs and what it comes to, as JSON.
const cases = [
  ['unshift', () => { const a = [3, 4]; const l = a.unshift(1, 2); return [l, a, a.length]; }, "[4,[1,2,3,4],4]"],
  ['mixed', () => { const a = [1, 2]; a.unshift('x'); a.unshift(1.5); return a; }, "[1.5,\"x\",1,2]"],
  ['f64', () => { const a = [1.5, 2.5]; a.unshift(1); a.splice(1, 1, 'q'); return a; }, "[1,\"q\",2.5]"],
  ['splice', () => { const a = [0, 1, 2, 3, 4, 5]; const r = a.splice(1, 2, 'a', 'b', 'c'); return [r, a, r.length, a.length]; }, "[[1,2],[0,\"a\",\"b\",\"c\",3,4,5],2,7]"],
  ['splice end', () => { const a = [0, 1, 2]; const r = a.splice(-1); return [r, a]; }, "[[2],[0,1]]"],
  ['splice 0', () => { const a = [0, 1, 2]; const r = a.splice(1, 0); return [r, a, r.length]; }, "[[],[0,1,2],0]"],
  ['splice none', () => { const a = [0, 1]; const r = a.splice(); return [r, a]; }, "[[],[0,1]]"],
  ['holes', () => { const a = [0, , 2]; const r = a.splice(0, 2, 9); return [r, 1 in r, a]; }, "[[0,null],false,[9,2]]"],
  ['long', () => { const a = [0, 1]; a.length = 4; const r = a.splice(0, 1); return [r, a, a.length]; }, "[[0],[1,null,null],3]"],
  ['frozen', () => { const a = Object.freeze([1, 2]); try { a.splice(0, 1); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[1,2]]"],
  ['frozen unshift', () => { const a = Object.freeze([1, 2]); try { a.unshift(0); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[1,2]]"],
  ['sealed', () => { const a = Object.seal([1, 2]); try { a.splice(0, 1); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[2,2]]"],
  ['noext', () => { const a = Object.preventExtensions([1, 2]); try { a.unshift(0); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[1,2]]"],
  ['noext splice', () => { const a = Object.preventExtensions([1, 2, 3]); const r = a.splice(0, 1); return [r, a]; }, "[[1],[2,3]]"],
  ['nowrite', () => { const a = [1, 2, 3]; Object.defineProperty(a, 'length', { writable: false }); try { a.splice(0, 1); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[2,3,null]]"],
  ['nowrite unshift', () => { const a = [1, 2, 3]; Object.defineProperty(a, 'length', { writable: false }); try { a.unshift(0); } catch (e) { return [e.name, a]; } }, "[\"TypeError\",[1,2,3]]"],
  ['species', () => { class A extends Array {} const a = A.from([1, 2, 3]); const r = a.splice(0, 2, 7); return [r instanceof A, r, a]; }, "[true,[1,2],[7,3]]"],
  ['species own', () => { const a = [1, 2, 3]; const o = {}; Object.defineProperty(a, 'constructor', { value: { [Symbol.species]: function () { return o; } } }); const r = a.splice(0, 2); return [r === o, o, a]; }, "[true,{\"0\":1,\"1\":2,\"length\":2},[3]]"],
  ['species shrinks', () => { const a = [1, 2, 3, 4]; Object.defineProperty(a, 'constructor', { value: { [Symbol.species]: function () { a.length = 1; return []; } } }); const r = a.splice(0, 2); return [r, a, a.length]; }, "[[1,null],[null,null],2]"],
  ['species self', () => { const a = [1, 2, 3, 4]; Object.defineProperty(a, 'constructor', { value: { [Symbol.species]: function () { return a; } } }); const r = a.splice(1, 2); return [r, a, a.length]; }, "[[2,null],[2,null],2]"],
  ['accessor', () => { const a = [1, 2, 3]; Object.defineProperty(a, 1, { get: () => 'g', set: () => {}, configurable: true }); const r = a.splice(0, 1); return [r, a]; }, "[[1],[\"g\",\"g\"]]"],
  ['arraylike', () => { const o = { length: 2, 0: 'a', 1: 'b' }; Array.prototype.unshift.call(o, 'z'); const r = Array.prototype.splice.call(o, 0, 1); return [o, r]; }, "[{\"0\":\"a\",\"1\":\"b\",\"length\":2},[\"z\"]]"],
  ['objects', () => { const x = {}; const a = [x, 1, 'b', null, undefined]; const r = a.splice(0, 1, ...'xyz'); return [r[0] === x, a]; }, "[true,[\"x\",\"y\",\"z\",1,\"b\",null,null]]"],
  ['nan', () => { const a = [1, 2]; a.unshift(NaN, -0); return [a.map(v => Object.is(v, -0) ? '-0' : String(v))]; }, "[[\"NaN\",\"-0\",\"1\",\"2\"]]"],
  ['big', () => { const a = []; for (let i = 0; i < 2000; i++) a.unshift(i); while (a.length > 5) a.splice(0, 1); return a; }, "[4,3,2,1,0]"],
  ['a map as a queue', () => { const m = new Map(); for (let i = 0; i < 300; i += 1) m.set(i, i); const walk = m.keys(); walk.next(); let n = 0; while (m.size) { const k = m.keys().next().value; m.delete(k); n += 1; if (n % 3 === 0 && n < 200) m.set('x' + n, 1); } return [n, walk.next().done]; }, '[366,true]'],
  ['a set as a queue', () => { const s = new Set([1, 2, 3]); const seen = []; for (const x of s) { seen.push(x); s.delete(x); if (x < 20) s.add(x + 3); } return [seen.length, s.size]; }, '[22,0]'],
  ['entries that come back', () => { const s = new Set([1, 2, 3]); s.delete(1); s.delete(2); s.add(1); const first = [...s]; s.clear(); s.add(9); s.delete(9); s.add(8); return [first, [...s], s.values().next().value]; }, '[[3,1],[8],8]'],
  ['a walk that began before', () => { const m = new Map([[1, 1], [2, 2], [3, 3], [4, 4]]); const walk = m.keys(); const seen = [walk.next().value]; m.delete(1); m.delete(2); seen.push(walk.next().value); m.set(5, 5); m.delete(4); seen.push(...walk); return seen; }, '[1,3,5]'],
];

export default [
  ...cases.map(([name, body, expected]) => [name, () => JSON.stringify(body()), expected]),
];
