// JSON at random: texts and values of many kinds, among them objects whose code changes what is being written. Each case is a hundred of
// them by a seed, and what came out as one number: what Node gave for the same seed.
const KEYS = ['a', 'b', 'id', 'name', 'x', 'toJSON', '__proto__', 'constructor', 'length', '0', '1', '42', '4294967295', '01', '-1', 'k\u0100', '\ud800',
  'é', 'q"', '\\', '\n', '', 'a b', 'a key that is longer than the others'];
const TEXTS = ['', 'a', 'hello', 'é\xff', '\u0100\u2028', '\ud800', '\udc00\ud800', '\ud83d\ude00', '"', '\\', '12345678', '1234567"', '12345678\n',
  '\x00\x1f\x7f\x80', 'tab\there, and some more text', 'x'.repeat(30) + '"' + 'y'.repeat(9)];
const NUMBERS = [0, -0, 1, -1, 42, 123456789, 1234567890, 2147483647, -2147483648, 4294967296, 0.1, 1.5, -3.25, 1e21, 1e-7, 123.456, NaN, Infinity,
  -Infinity, 5e-324, 1.7976931348623157e308, 99999.99, 0.30000000000000004];
const WORDS = ['true', 'false', 'null', '0', '-0', '-', '01', '1.', '1e5', '1E-3', '-0.0', '1.0', '123456789012345', '1234567890123456', '0.000001',
  '12345678.9012345', '1e', '.5', '+1', 'tru', '"abc', '"\\u12', '"\\x"', '"\\ud800"', '"\\u00e9\\u0041"', '"\\b\\f\\n\\r\\t\\/\\\\\\""', '"\t"', '', 'nul'];

const set = (object, key, value) => Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
class Plain { constructor(id) { this.id = id; this.name = 'c'; } get inherited() { return 1; } }
class Own extends Plain { toJSON(key) { return { own: this.id, key }; } }
class Several extends Array {}

const generator = seed => {
  const below = n => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed >>> 8) % n;
  };
  const one = list => list[below(list.length)];
  const key = () => (below(3) === 0 ? one(KEYS) : ['a', 'b', 'id', 'name', 'x'][below(5)]);
  const leaf = () => [
    () => one(TEXTS), () => one(NUMBERS), () => below(1000), () => below(2) === 0, () => null, () => (below(4) ? below(77) : undefined),
    () => (below(6) ? `s${below(4)}` : Symbol('s')), () => (below(12) ? below(100) / 4 : below(3) ? () => {} : 10n),
  ][below(8)]();
  const several = (n, make) => Array.from({ length: below(n) }, make);
  // An object whose value `v` changes it while it is being written.
  const changing = () => {
    const object = { id: 1, name: 'n', v: { w: 1 }, last: 2 };
    const changes = [
      () => delete object.last, () => { object.last = 'changed'; }, () => { object.added = 1; }, () => { object[0] = 'index'; },
      () => Object.defineProperty(object, 'last', { get: () => 'accessor' }), () => Object.setPrototypeOf(object, { toJSON: () => 'late' }),
    ];
    object.v.toJSON = () => { one(changes)(); return 7; };
    return below(2) ? object : [object, [1], { id: 2, name: 'n', v: 3 }];
  };
  const shrinking = () => {
    const list = [1, { toJSON() { if (below(2)) list.length = below(3); else list[2] = 'set'; return 0; } }, [5], 3];
    return list;
  };
  const value = depth => {
    if (depth <= 0) return leaf();
    const random = () => {
      const object = {};
      for (let n = below(6); n > 0; n -= 1) {
        const name = key();
        const inner = value(depth - 1);
        set(object, name, name === 'toJSON' && below(2) ? argument => (below(2) ? inner : argument) : inner);
      }
      return object;
    };
    const holes = () => {
      const list = [1, 2, 3];
      list[below(9)] = value(depth - 1);
      if (below(2)) list.name = 1;
      return list;
    };
    const made = () => set(set(Object.create(below(2) ? null : { inherited: 1, toJSON: below(3) ? undefined : () => 'inherited' }), 'own', value(depth - 1)), key(), 1);
    const proxy = () => {
      const target = { p: value(depth - 1), q: 1 };
      return new Proxy(below(2) ? target : [target, 2], below(2) ? {} : { get: (object, name, receiver) => Reflect.get(object, name, receiver) });
    };
    const accessors = () => Object.defineProperty({ id: 1, get name() { return below(2) ? 'got' : { deep: 1 }; }, v: 2 }, 'hidden', { value: 1 });
    const frozen = () => {
      const object = Object.freeze({ z: 1, y: value(depth - 1) });
      return below(2) ? object : Object.freeze([1, object]);
    };
    return [
      leaf, leaf, leaf, random, random, random, () => ({ id: below(9), name: `n${below(3)}`, v: value(depth - 1) }),
      () => several(6, () => value(depth - 1)), () => several(6, () => ({ id: below(9), name: 'n' })), holes, () => new (one([Plain, Own]))(below(9)), frozen,
      accessors, () => one([new Number(below(5)), new String('wrapped'), new Boolean(below(2))]), proxy, made, changing, shrinking,
      () => one([new Date(86400000 * below(9)), new Map([[1, 2]]), Several.of(1, 2, 3)]),
    ][below(19)]();
  };
  // So deep, and perhaps within itself.
  const nested = depth => {
    const outermost = { id: 1 };
    let innermost = outermost;
    const put = item => (Array.isArray(innermost) ? innermost.push(item) : set(innermost, 'next', item));
    for (let i = 0; i < depth; i += 1) {
      const next = below(2) ? { id: i, name: 'n' } : [i];
      put(next);
      innermost = next;
    }
    if (below(2)) put(below(2) ? outermost : innermost);
    return outermost;
  };
  const text = depth => {
    const space = below(9) ? '' : one([' ', '\n', '\t\r']);
    if (depth <= 0 || below(3) === 0) {
      return [() => space + JSON.stringify(one(TEXTS)) + space, () => String(below(100000) / 100), () => `"k${below(5)}"`, () => JSON.stringify(one(NUMBERS)),
        () => (below(20) ? 'null' : one(WORDS))][below(5)]();
    }
    const end = mark => (below(60) ? mark : `,${mark}`);
    if (below(4) === 0) return `[${several(5, () => text(depth - 1)).join()}${end(']')}`;
    return `${space}{${several(6, () => `${space}${JSON.stringify(key())}${space}:${text(depth - 1)}`).join()}${end('}')}${space}`;
  };
  return { below, value, nested, text };
};

// All that a value has, down to attributes and the order of keys.
const show = value => {
  if (value === null || typeof value !== 'object') return `${typeof value} ${Object.is(value, -0) ? '-0' : String(value)}`;
  const part = name => {
    const { value: inner, writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(value, name);
    return `${JSON.stringify(name)} ${[writable, enumerable, configurable].map(Number).join('')} ${show(inner)}`;
  };
  const expected = Array.isArray(value) ? Array.prototype : Object.prototype;
  return `${Object.getPrototypeOf(value) === expected}{${Reflect.ownKeys(value).map(part).join()}}`;
};

const tried = ({ below, value, nested, text }) => {
  let calls = 0;
  const replacer = (name, inner) => { calls += 1; return below(9) ? inner : below(2) ? undefined : calls; };
  const reviver = (name, inner) => (below(7) ? inner : below(2) ? undefined : name);
  const kinds = [
    () => JSON.stringify(value(4)), () => JSON.stringify(value(4)), () => JSON.stringify(value(4)), () => JSON.stringify(value(4), null, below(5)),
    () => JSON.stringify(value(4), ['a', 'id', 'name', 1, 'x', new String('v')], below(2)), () => JSON.stringify(value(4), replacer),
    () => JSON.stringify(nested(below(2) ? below(4) : 14 + below(9))), () => show(JSON.parse(text(5))),
    () => show(JSON.parse(`[${text(3)},${text(3)},${text(4)}]`)), () => show(JSON.parse(text(4), reviver)),
  ];
  try {
    return String(kinds[below(10)]());
  } catch (error) {
    return error.name;
  }
};

const hundred = seed => {
  const random = generator(seed);
  let hash = 2166136261;
  for (let i = 0; i < 100; i += 1) {
    const text = tried(random);
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619) >>> 0;
  }
  return hash;
};

const WANT = [
  3428083853, 3001844187, 3211058548, 3747549195, 1921131605, 2996785378, 3305467048, 1972592650, 1926531782, 121913879,
  598675766, 703043982, 2722988515, 1539108662, 783811376, 4205836209, 1401781891, 2983335825, 952831041, 4078562942,
  487385471, 3083478958, 830800990, 180732220, 1596508381, 214449089, 80601529, 1276591182, 991176895, 2191829117,
  2830330356, 1786145058, 3877559350, 1186896277, 818491680, 21977427, 4283903227, 3551217613, 1993097136, 2280600065,
];

export { generator, tried };
export default WANT.map((want, index) => [`a hundred of seed ${index + 1}`, () => hundred(index + 1), want]);
