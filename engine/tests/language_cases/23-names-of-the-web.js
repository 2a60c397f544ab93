// What packages expect of a web-like host: texts and bytes, base64, copies, microtasks; and what they do to plain prototypes.
const bytes = list => Uint8Array.from(list);
const encoder = new TextEncoder();
const decode = (list, options, label) => new TextDecoder(label, options).decode(bytes(list));
const streamed = (chunks, options) => {
  const decoder = new TextDecoder('utf-8', options);
  return [...chunks.map(chunk => decoder.decode(bytes(chunk), { stream: true })), decoder.decode()];
};

const cases = [
  ['texts as bytes', () => [[...encoder.encode('aé€😀')], [...encoder.encode()], encoder.encoding], [[97, 195, 169, 226, 130, 172, 240, 159, 152, 128], [], 'utf-8']],
  ['a lone surrogate as bytes', () => [[...encoder.encode('\ud800x')], [...encoder.encode('x\udc00')]], [[239, 191, 189, 120], [120, 239, 191, 189]]],
  ['a text into bytes that are there', () => {
    const into = new Uint8Array(5);
    return [encoder.encodeInto('a€😀', into), [...into]];
  }, [{ read: 2, written: 4 }, [97, 226, 130, 172, 0]]],
  ['bytes are new and can be written', () => { const b = encoder.encode('a'); b[0] = 98; return [...b]; }, [98]],
  ['bytes as texts', () => [decode([97, 195, 169, 226, 130, 172, 240, 159, 152, 128]), new TextDecoder().decode(), new TextDecoder('UTF8').encoding], ['aé€😀', '', 'utf-8']],
  ['a buffer, a part of one, and a view as texts', () => {
    const buffer = bytes([97, 98, 99, 100]).buffer;
    return [new TextDecoder().decode(buffer), new TextDecoder().decode(new Uint8Array(buffer, 1, 2)), new TextDecoder().decode(new DataView(buffer, 3))];
  }, ['abcd', 'bc', 'd']],
  ['wrong bytes become marks', () => [decode([0xff]), decode([97, 0xc3]), decode([0xe2, 0x82, 97]), decode([0xf0, 0x9f, 0x98]), decode([0xed, 0xa0, 0x80]), decode([0xc0, 0xaf])],
    ['\ufffd', 'a\ufffd', '\ufffda', '\ufffd', '\ufffd\ufffd\ufffd', '\ufffd\ufffd']],
  ['wrong bytes are fatal if that is asked for', () => decode([0xff], { fatal: true }), '!TypeError'],
  ['a cut letter at the end is fatal', () => decode([97, 0xc3], { fatal: true }), '!TypeError'],
  ['a byte order mark is left out, once', () => [decode([0xef, 0xbb, 0xbf, 97]), decode([0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf]).length, decode([0xef, 0xbb, 0xbf, 97], { ignoreBOM: true }).length], ['a', 1, 2]],
  ['a text in pieces', () => streamed([[0xe2], [0x82], [0xac, 0xf0, 0x9f], [0x98, 0x80, 97]]), ['', '', '€', '😀a', '']],
  ['a text in pieces that ends too early', () => streamed([[97, 0xe2, 0x82]]), ['a', '\ufffd']],
  ['a byte order mark in pieces', () => streamed([[0xef], [0xbb], [0xbf, 97], [0xef, 0xbb, 0xbf]]).map(text => text.length), [0, 0, 1, 1, 0]],
  ['another encoding', () => new TextDecoder('utf-16be'), '!RangeError'],
  ['no bytes', () => new TextDecoder().decode('text'), '!TypeError'],
  ['flags of a decoder', () => { const d = new TextDecoder('utf-8', { fatal: true }); return [d.fatal, d.ignoreBOM, `${d}`]; }, [true, false, '[object TextDecoder]']],

  ['base64 of bytes', () => ['', 'a', 'ab', 'abc', '\xff\x00\xfe'].map(text => btoa(text)), ['', 'YQ==', 'YWI=', 'YWJj', '/wD+']],
  ['base64 of what is no byte', () => btoa('€'), '!InvalidCharacterError'],
  ['base64 back', () => ['', 'YQ==', 'YQ', 'YWI=', ' Y W J\nj ', '/wD+'].map(text => atob(text)), ['', 'a', 'a', 'ab', 'abc', '\xff\x00\xfe']],
  ['base64 and back, all bytes', () => { const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i)); return atob(btoa(all)) === all; }, true],
  ...['a', 'YQ=', 'Y===', 'YWJj=', 'Y*Jj', '=YQ='].map(text => [`no base64: ${text}`, () => atob(text), '!InvalidCharacterError']),

  ['copies of data', () => {
    const original = { a: [1, , 'x'], b: { c: null, d: undefined, e: 5n }, f: -0 };
    const copy = structuredClone(original);
    return [copy, copy !== original, copy.b !== original.b];
  }, [{ a: [1, , 'x'], b: { c: null, d: undefined, e: 5n }, f: -0 }, true, true]],
  ['copies of circles and of what is there twice', () => {
    const shared = {};
    const o = { shared, again: shared };
    o.self = o;
    const copy = structuredClone(o);
    return [copy.self === copy, copy.shared === copy.again, copy.shared !== shared];
  }, [true, true, true]],
  ['copies of maps, sets, dates, patterns', () => {
    const [m, s, d, r] = structuredClone([new Map([[{ k: 1 }, 2]]), new Set([1, 'a']), new Date(5), /a\/b/gi]);
    return [m instanceof Map, [...m], [...s], d.getTime(), r.source, r.flags, r.lastIndex];
  }, [true, [[{ k: 1 }, 2]], [1, 'a'], 5, 'a\\/b', 'gi', 0]],
  ['copies of bytes share a buffer as their originals do', () => {
    const one = bytes([1, 2, 3, 4]);
    const [a, b, view] = structuredClone([one, new Uint16Array(one.buffer, 2), new DataView(one.buffer, 1)]);
    a[2] = 9;
    return [[...a], b.length, b.buffer === a.buffer, view.getUint8(1), one[2]];
  }, [[1, 2, 9, 4], 1, true, 9, 3]],
  ['copies of errors and of boxed values', () => {
    const e = structuredClone(new RangeError('far', { cause: { why: 1 } }));
    const n = structuredClone(Object(7));
    return [e instanceof RangeError, e.message, e.cause, typeof n, n + 1];
  }, [true, 'far', { why: 1 }, 'object', 8]],
  ['copies of instances are plain', () => { class A { x = 1; get y() { return 2; } } const c = structuredClone(new A()); return [c, c instanceof A]; }, [{ x: 1 }, false]],
  ['what is transferred is the copy itself', () => {
    const buffer = bytes([1, 2]).buffer;
    const copy = structuredClone({ buffer }, { transfer: [buffer] });
    return [buffer.byteLength, copy.buffer.byteLength];
  }, [0, 2]],
  ...[['a function', () => {}], ['a symbol', Symbol('s')], ['a promise', Promise.resolve()], ['a weak map', new WeakMap()], ['a proxy', new Proxy({}, {})], ['a method', { m() {} }], ['E', E({})]]
    .map(([name, value]) => [`no copy of ${name}`, () => structuredClone({ value }), '!DataCloneError']),
  ['a getter is read once', () => { let n = 0; const c = structuredClone({ get a() { n += 1; return n; } }); return [c, n]; }, [{ a: 1 }, 1]],

  ['a microtask runs in a turn of its own', async () => {
    const seen = [];
    queueMicrotask(() => seen.push('micro'));
    Promise.resolve().then(() => seen.push('then'));
    seen.push('now');
    await null;
    await null;
    return seen;
  }, ['now', 'micro', 'then']],
  ['a microtask of no function', () => queueMicrotask(1), '!TypeError'],

  ['constructor of a plain prototype can be set', () => {
    const P = { abs() { return 'abs'; } };
    function Big() {}
    P.constructor = Big;
    Big.prototype = P;
    return [new Big().constructor === Big, new Big().abs(), Object.keys(P), ({}).constructor === Object, Object.hasOwn({}, 'constructor')];
  }, [true, 'abs', ['abs', 'constructor'], true, false]],
  ['constructor of the prototype of all stays', () => { Object.prototype.constructor = Array; }, '!TypeError'],
  ['Math.random after the start', () => Math.random(), '!TypeError'],
  ['Math is what it was', () => [Math.max(1, 2), `${Math}`, Object.keys(Math), Object.isFrozen(Math)], [2, '[object Math]', [], true]],
  ['all of it is frozen', () => [TextEncoder, TextDecoder.prototype, btoa, atob, structuredClone, queueMicrotask, HandledPromise].every(Object.isFrozen), true],
];

export default cases;
