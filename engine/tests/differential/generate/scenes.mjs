import { awaitable, expression, someType, wrapped } from './expressions.mjs';

/** Small scenes around one part of the language each, as lines that declare nothing. */
export const scene = (c, depth) => c.random.weighted([
  [3, () => chains(c)],
  [2, () => tagged(c)],
  [4, () => accessors(c)],
  [4, () => privates(c)],
  [3, () => supers(c)],
  [3, () => elements(c)],
  [2, () => species(c)],
  [3, () => typed(c)],
  [3, () => lies(c)],
  [2, () => sorting(c)],
  [2, () => dates(c)],
  [2, () => json(c)],
  [2, () => construction(c)],
  [2, () => namespace(c)],
  [3, () => entries(c)],
  [c.frame.awaits ? 5 : 0, () => queue(c)],
  [c.frame.awaits ? 3 : 0, () => rejections(c)],
])(depth);

/** Expressions inside a function of their own. */
const inside = (c, type, d = 1, frame = {}) => c.inFunction({ supers: false, ...frame }, () => expression(c, type, d));
const traced = (c, text) => `t(${c.place()}, ${text})`;
const key = c => c.pick(['a', 'b', 'k', 'x']);
const literal = c => `{ a: ${inside(c, someType(c))}, get b() { return ${traced(c, inside(c, 'any', 0))}; }, k: { x: ${inside(c, 'num')} }, x(...all) { log('x', all.length); return ${c.pick(['this', 'all', 'null', 'undefined'])}; } }`;

/** Optional chains, called, deleted and passed by. */
const chains = c => {
  const o = c.fresh('o');
  const link = () => c.pick([`.${key(c)}`, `?.${key(c)}`, `?.[${traced(c, `'${key(c)}'`)}]`, `[${traced(c, `'${key(c)}'`)}]`, `?.(${inside(c, 'num', 0)})`, `.x(${inside(c, 'any', 0)})`, `?.x?.(...${inside(c, 'arr', 0)})`]);
  const chain = () => `${c.pick([o, traced(c, o), `(${o}, ${o})`, 'null', 'undefined'])}?.${key(c)}${c.random.list(0, 4, link).join('')}`;
  const use = () => c.pick([`show(${chain()})`, `delete ${chain()}?.${key(c)}`, `typeof ${chain()}`, `show((${chain()})?.x)`, `show(${chain()} ?? ${traced(c, '1')})`, `show((${chain()}).x?.(1))`]);
  return ['{', [`const ${o} = ${literal(c)};`, `log(${c.random.list(1, 4, () => `attempt(() => ${use()})`).join(', ')});`], '}'];
};

/** Tagged templates: one array for each place, cooked and raw texts. */
const tagged = c => {
  const tag = c.fresh('f');
  const seen = c.fresh('s');
  const parts = () => c.random.list(0, 3, () => `${c.pick(['', 'a', '\\n', '\\u0041', '\\x', '\\u{', ' '])}\${${c.inFunction({}, () => expression(c, someType(c), 1))}}`).join('');
  return [
    '{',
    [
      `const ${seen} = [];`,
      `const ${tag} = (texts, ...all) => { ${seen}.push(texts); return [[...texts], [...texts.raw], all.length, Object.isFrozen(texts)]; };`,
      `for (let i = 0; i < 2; i += 1) log(attempt(() => ${tag}\`${parts()}${c.pick(['', 'end', '\\7'])}\`));`,
      `log(attempt(() => ({ f: ${tag} }).f\`${parts()}\`), ${seen}[0] === ${seen}[1]);`,
    ],
    '}',
  ];
};

const OPERATORS = ['=', '+=', '-=', '*=', '**=', '??=', '||=', '&&=', '<<=', '%='];

/** Compound assignments and updates of properties that trace their reading and writing. */
const accessors = c => {
  const o = c.fresh('o');
  const start = c.pick(['0', '2', 'null', `'s'`, '3n', 'undefined']);
  const made = c.pick([
    `{ v: ${start}, get x() { return ${traced(c, 'this.v')}; }, set x(v) { log('set', v); this.v = ${c.pick(['v', 'null', `${o}.v`])}; } }`,
    `spy(${c.place()}, { x: ${start}, v: 1 })`,
    `Object.${c.pick(['freeze', 'seal', 'preventExtensions'])}({ x: ${start} })`,
    `Object.create({ get x() { log('inherited', this === ${o}); return ${start}; }, set x(v) { log('set', v); } })`,
    `Object.defineProperty({}, 'x', { value: ${start}, writable: ${c.pick(['true', 'false'])}, configurable: true })`,
  ]);
  const place = () => c.pick([`${o}.x`, `${traced(c, o)}.x`, `${o}[${traced(c, `'x'`)}]`, `${o}[ob(${c.place()}, 'x')]`, `${o}['x']`]);
  const change = () => c.pick([`${place()} = ${traced(c, inside(c, 'any', 0))}`, `${o}.x ${c.pick(OPERATORS)} ${traced(c, inside(c, 'num', 0))}`, `${c.pick([`${o}.x`, `${traced(c, o)}.x`, `${o}['x']`])}${c.pick(['++', '--'])}`, `--${o}.x`, `[${place()}] = [${inside(c, 'num', 0)}]`, `({ q: ${place()} = ${traced(c, '7')} } = {})`, `delete ${place()}`]);
  return ['{', [`const ${o} = ${made};`, ...c.random.list(1, 4, () => `log(attempt(() => ${wrapped(change())}), attempt(() => ${o}.x));`)], '}'];
};

/** Private fields, methods and accessors, of right and wrong objects. */
const privates = c => {
  const C = c.fresh('C');
  const name = () => c.pick(['f', 'm', 'g', 's', 'b']);
  const use = () => {
    const one = `this.#${name()}`;
    // Node does not read what has no setter before it throws.
    const both = `this.#${c.pick(['f', 'b', 's'])}`;
    return c.pick([`${both} ${c.pick(OPERATORS)} ${traced(c, inside(c, 'num', 0))}`, `${both}++`, `--${both}`, `${one}`, `${one}(${inside(c, 'any', 0)})`, `${one}?.(1)`, `this?.#${name()}`, `[${one}] = [1]`, `({ q: ${one} } = { q: 2 })`, `#${name()} in this`, `${one}\`t\``, `(() => ${one})()`, `delete this.f, ${one}`]);
  };
  const methods = c.random.list(2, 5, () => `${c.fresh('u')}() { return ${wrapped(use())}; }`);
  const names = methods.map(text => text.slice(0, text.indexOf('(')));
  const right = c.fresh('o');
  return [
    '{',
    [
      `class ${C} {`,
      [
        `#f = ${inside(c, someType(c), 1)};`,
        `#m(v) { log('m', v, this.#f); return v; }`,
        `get #g() { return ${traced(c, 'this.#f')}; }`,
        `set #s(v) { log('s', v); }`,
        `get #b() { return ${traced(c, 'this.#f')}; } set #b(v) { log('b', v); this.#f = v; }`,
        c.chance(40) ? `static #p = ${traced(c, '1')}; static { log(#p in this, this.#p++, this.#p); }` : '',
        ...methods,
      ],
      '}',
      `const ${right} = new ${C}();`,
      ...names.map(one => `log(attempt(() => ${right}.${one}()), attempt(() => ${C}.prototype.${one}.call(${c.pick(['{}', 'null', '1', `spy(${c.place()}, ${right})`, `Object.create(${right})`])})));`),
    ],
    '}',
  ];
};

/** `super` in objects and classes, also from arrow functions, with accessors and assignments. */
const supers = c => {
  const base = c.fresh('o');
  const made = c.fresh('o');
  const one = () => c.pick([`super.a`, `super['k']`, `super[${traced(c, `'a'`)}]`, `super.x(${inside(c, 'num', 0)})`, `super.x\`t\``, `super.a = ${traced(c, '3')}`, `super.v = 5`, `super.a ${c.pick(OPERATORS)} 2`, `super.a++`, `(() => super.a)()`, `[super.v] = [6]`, `super.no?.()`, `super.no()`, `delete super.a`, `typeof super.no`]);
  const heads = [['m()', ''], ['get m()', ''], ['*m()', ''], ['async m()', '']];
  const [head] = c.pick(heads);
  const methods = c.random.list(1, 3, () => `{ ${head} { return [${wrapped(one())}, ${wrapped(one())}]; } }`.slice(2, -2));
  const read = head.startsWith('get') ? 'm' : 'm()';
  const result = head.startsWith('*') ? `[...${made}.m()]` : `${made}.${read}`;
  return [
    '{',
    [
      `const ${base} = { get a() { log('get', this === ${base}); return 1; }, set a(v) { log('set', v, this === ${base}); }, k: 2, x(v) { log('x', this.own); return v; } };`,
      `const ${made} = { __proto__: ${base}, own: 'own', ${methods[0]} };`,
      `log(attempt(() => show(${result})), Reflect.ownKeys(${made}), ${base}.v);`,
      c.frame.awaits && head.startsWith('async') ? `try { log(await ${made}.m()); } catch (e) { log(e); }` : head.startsWith('async') ? `${made}.m().catch(() => {});` : '',
    ],
    '}',
  ];
};

const CALLBACK = c => c.pick(['x => x', `(x, i) => ${traced(c, 'i')}`, `x => x > 1`, `(x, i, all) => { if (i === 1) all.${c.pick(['length = 2', 'push(9)', 'shift()', 'pop()', 'reverse()', 'fill(0)'])}; return x; }`, `x => { if (x === 2) throw 'two'; return x; }`]);
const METHODS = ['map', 'filter', 'forEach', 'some', 'every', 'find', 'findIndex', 'findLast', 'findLastIndex', 'flatMap'];

/** Arrays with holes, accessors and odd lengths, or what only looks like one, under their methods. */
const elements = c => {
  const a = c.fresh('a');
  const made = c.pick(['[1, 2, 3]', '[1, , 3, 2]', `['b', 'a', 'c', 'b']`, '[undefined, 3, , 1]', '[[1, [2]], [], 3]', `{ length: 3, 0: 'x', 2: 'z' }`, `{ length: '2', 0: 1, 1: 2 }`, `spy(${c.place()}, [3, 1])`, 'Object.freeze([2, 1])', 'Object.seal([1, 2, 3])']);
  const odd = c.pick(['', '', `Object.defineProperty(${a}, 1, { get() { return ${traced(c, '5')}; }, set(v) { log('set', v); }, enumerable: true, configurable: true });`, `Object.defineProperty(${a}, 1, { value: 4, writable: false });`, `${a}.length = ${c.pick(['1', '5', `'3'`, '2.5', '-1'])};`, `${a}[${c.pick(['5', '-1', `'01'`, '1.5', '4294967295'])}] = 7;`]);
  const index = () => c.pick(['0', '1', '-1', '-2', '7', 'undefined', 'NaN', `'1'`, `ob(${c.place()}, 1)`]);
  const on = (method, args) => (c.chance(60) ? `Array.prototype.${method}.call(${a}${args ? `, ${args}` : ''})` : `${a}.${method}(${args})`);
  const use = () => c.random.weighted([
    [4, () => on(c.pick(METHODS), CALLBACK(c))],
    [2, () => on(c.pick(['reduce', 'reduceRight']), `(x, y) => x + ':' + y${c.pick(['', `, 'start'`])}`)],
    [2, () => on(c.pick(['slice', 'fill', 'splice', 'toSpliced', 'copyWithin']), c.random.list(1, 3, index).join(', '))],
    [2, () => on(c.pick(['push', 'unshift', 'concat', 'toSpliced']), c.random.list(0, 2, () => inside(c, someType(c), 0)).join(', '))],
    [2, () => on(c.pick(['pop', 'shift', 'reverse', 'sort', 'toReversed', 'toSorted', 'flat', 'join', 'keys', 'entries', 'toString']), '')],
    [2, () => on(c.pick(['at', 'includes', 'indexOf', 'lastIndexOf', 'flat']), index())],
    [1, () => on('with', `${index()}, 8`)],
    [1, () => `[...${a}]`],
    [1, () => `Object.entries(${a})`],
  ])();
  return ['{', [`const ${a} = ${made};`, odd ? `log(attempt(() => { ${odd} }));` : '', ...c.random.list(1, 4, () => `log(attempt(() => show(${use()})), ${a});`)], '}'];
};

/** Derived arrays and promises, with constructors and species that tell when they are used. */
const species = c => {
  const C = c.fresh('C');
  const kind = c.pick(['Array', 'Array', 'Uint8Array']);
  const own = c.pick(['', `static get [Symbol.species]() { return ${traced(c, c.pick([kind, 'undefined', 'null', C, 'Object']))}; }`, `get ['constructor']() { return ${traced(c, c.pick([kind, 'undefined', 'null', '1', C]))}; }`]);
  const use = c.pick(['map(x => x * 2)', 'filter(x => x > 1)', 'slice(1)', ...(kind === 'Array' ? ['concat([9])', 'splice(0, 1)', 'flat()', 'flatMap(x => [x, x])', 'toSorted()'] : ['subarray(1)', 'toReversed()'])]);
  return ['{', [`class ${C} extends ${kind} { constructor(...all) { super(...all); log('made', all.length); } ${own} }`, `log(attempt(() => { const made = ${C}.${c.pick(['of(3, 1, 2)', `from(${c.pick(['[1, 2]', `'12'`, '{ length: 2, 0: 5 }'])})`])}; const r = made.${use}; return show([r instanceof ${C}, [...r], made.length]); }));`], '}'];
};

const TYPED = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array'];

/** Typed arrays over buffers that change, with odd indices and values. */
const typed = c => {
  const [b, u] = [c.fresh('b'), c.fresh('u')];
  const kind = c.pick(TYPED);
  const big = kind.startsWith('Big');
  const value = () => c.pick(big ? ['1n', '-1n', '300n', '2n ** 64n', `'7'`, 'true', '1'] : ['1', '-1', '1.5', '300', '-0', 'NaN', '2 ** 33', `'7'`, 'null', '1n', `ob(${c.place()}, 2)`]);
  const index = () => c.pick(['0', '1', '-1', '99', `'1'`, `'-0'`, `'1.5'`, `'x'`, 'NaN']);
  const step = () => c.random.weighted([
    [3, () => `${u}[${index()}] = ${value()}`],
    [2, () => `${u}.${c.pick(['map', 'filter', 'find', 'some', 'every', 'forEach'])}((x, i) => { if (i === 1) ${b}.resize(${c.pick([0, 4, 8, 16])}); return x; })`],
    [2, () => `${b}.resize(${c.pick([0, 3, 8, 12, 16, 24])})`],
    [2, () => `${u}.${c.pick(['fill', 'indexOf', 'includes', 'lastIndexOf', 'set'])}(${c.pick([value(), value(), `[${value()}]`])})`],
    [2, () => `${u}.${c.pick(['subarray', 'slice', 'copyWithin', 'fill'])}(${index()}, ${c.pick(['1', '-1', '2'])})`],
    [1, () => `${u}.${c.pick(['reverse', 'sort', 'join', 'toReversed', 'toSorted', 'keys', 'entries'])}()`],
    [1, () => `Object.getOwnPropertyDescriptor(${u}, ${index()})`],
    [1, () => `[${index()} in ${u}, delete ${u}[${index()}]]`],
    [1, () => `Reflect.${c.pick(['set', 'defineProperty'])}(${u}, '1', ${c.pick([value(), '{ value: 1 }'])})`],
    [1, () => `new ${c.pick(TYPED)}(${u})`],
    [1, () => `new ${kind}(${b}, ${c.pick(['0', '8', '3', '16', '-1'])}${c.pick(['', ', 1', ', 2'])})`],
    [1, () => `new DataView(${b}, ${c.pick(['0', '4'])}).${c.pick(['getInt16', 'getFloat32', 'getBigUint64'])}(${c.pick(['0', '3', '7', '-1'])}${c.pick(['', ', true'])})`],
  ])();
  return ['{', [`const ${b} = new ArrayBuffer(8${c.chance(70) ? ', { maxByteLength: 16 }' : ''});`, `const ${u} = new ${kind}(${b}${c.chance(20) ? ', 0, 1' : ''});`, ...c.random.list(2, 5, () => `log(attempt(() => show(${step()}, 1)), ${u}.length, ${u}.byteLength, ${u}.byteOffset);`)], '}'];
};

/** Proxies whose traps lie: the invariants are checked. */
const lies = c => {
  const p = c.fresh('o');
  const target = c.pick(['{ a: 1, b: 2 }', 'Object.freeze({ a: 1 })', 'Object.preventExtensions({ a: 1 })', `Object.defineProperty({}, 'a', { value: 1 })`, `Object.defineProperty({}, 'a', { set: undefined, get: undefined })`, '[1, 2]', 'function f() {}']);
  const results = ['true', 'false', 'undefined', 'null', '1', `['a']`, `['a', 'a']`, `['a', 'b', 'length']`, '{ value: 1, configurable: true }', '{ value: 2 }', '{}', 'Reflect.ownKeys(target)', 'Object.prototype'];
  const traps = c.random.list(1, 4, () => c.pick(['get', 'set', 'has', 'deleteProperty', 'ownKeys', 'getOwnPropertyDescriptor', 'defineProperty', 'getPrototypeOf', 'setPrototypeOf', 'isExtensible', 'preventExtensions', 'apply', 'construct']));
  const uses = [`${p}.a`, `${p}.a = 3`, `'a' in ${p}`, `delete ${p}.a`, `Reflect.ownKeys(${p})`, `Object.keys(${p})`, `Object.entries(${p})`, `Object.getOwnPropertyDescriptor(${p}, 'a')`, `Reflect.defineProperty(${p}, 'a', { value: 5 })`, `Object.getPrototypeOf(${p}) === null`, `Reflect.setPrototypeOf(${p}, null)`, `Object.isExtensible(${p})`, `Reflect.preventExtensions(${p})`, `Object.isFrozen(${p})`, `Object.freeze(${p}) === ${p}`, `({ ...${p} })`, `JSON.stringify(${p})`, `Object.assign({}, ${p})`, `${p}()`, `new ${p}()`, `Object.hasOwn(${p}, 'a')`, `${p} instanceof Object`, `Array.isArray(${p})`, `((o => { const { a, ...rest } = o; return rest; })(${p}))`];
  return ['{', [`const ${p} = new Proxy(${target}, { ${traps.map(one => `${one}(target) { ${traced(c, `'${one}'`)}; return ${c.pick(results)}; }`).join(', ')} });`, ...c.random.list(2, 5, () => `log(attempt(() => show(${c.pick(uses)})));`)], '}'];
};

/** Sorting: stable, and with comparisons that throw, lie or change the array. */
const sorting = c => {
  const a = c.fresh('a');
  const n = c.random.between(3, 40);
  const compare = c.pick(['(x, y) => x.k - y.k', '(x, y) => y.k - x.k', '(x, y) => (x.k > y.k) - (x.k < y.k)', '() => 0', '() => NaN', '(x, y) => `${x.k}` < `${y.k}` ? -1 : 1', `(x, y) => { if (y.i === 2) throw 'compare'; return x.k - y.k; }`]);
  return ['{', [`const ${a} = Array.from({ length: ${n} }, (_, i) => ({ i, k: (i * ${c.random.between(3, 97)}) % ${c.random.between(2, 12)} }));`, `log(attempt(() => ${a}.${c.pick(['sort', 'toSorted'])}(${compare}).map(one => one.i).join()), ${a}.map(one => one.i).join());`], '}'];
};

const dates = c => {
  const d = c.fresh('d');
  const set = () => `${d}.setUTC${c.pick(['FullYear', 'Month', 'Date', 'Hours', 'Minutes', 'Seconds', 'Milliseconds'])}(${c.random.list(1, 3, () => c.pick(['0', '1', '-1', '31', '60', '1e3', 'NaN', '29.9', `'5'`, '-400'])).join(', ')})`;
  return ['{', [`const ${d} = new Date(Date.UTC(${c.random.between(1890, 2110)}, ${c.random.below(14)}, ${c.random.below(34)}, ${c.random.below(25)}));`, ...c.random.list(1, 4, () => `log(attempt(() => ${set()}), attempt(() => ${d}.toISOString()), ${d}.getUTCDay());`), `log(JSON.stringify(${d}), ${d} - 1, typeof (${d} + 1), !(${d}.getUTCFullYear() > 999) || Date.parse(${d}.toUTCString()) === Math.floor(${d} / 1000) * 1000);`], '}'];
};

const json = c => {
  const o = c.fresh('o');
  const value = d => c.random.weighted([
    [4, () => inside(c, someType(c), 0)],
    [1, () => `{ toJSON(k) { return [k, typeof this]; } }`],
    [1, () => c.pick(['new Number(3)', `new String('s')`, 'Object(false)', '() => 1', 'Symbol()', 'undefined', 'new Map([[1, 2]])', 'new Date(0)', `'\\ud800'`, `'\\u2028"'`, 'Object(1n)'])],
    [d > 0 ? 3 : 0, () => `[${c.random.list(0, 3, () => value(d - 1)).join(', ')}]`],
    [d > 0 ? 3 : 0, () => `{ ${c.random.list(0, 3, () => `${c.pick(['a', 'b', `'x y'`, '1'])}: ${value(d - 1)}`).join(', ')} }`],
    [d > 0 ? 1 : 0, () => `spy(${c.place()}, { a: 1, b: [2] })`],
  ])();
  const more = c.pick(['', `, ['a', 'b', 1, 'a']`, `, (k, v) => (log(k), typeof v === 'bigint' ? String(v) : v)`, `, function (k, v) { return k === 'a' ? undefined : Array.isArray(this) ? [v] : v; }`, ', null, 2', `, null, '-->-->-->-->'`, `, null, new Number(1)`]);
  const looped = more.includes('function') ? ', null' : more;
  return ['{', [`const ${o} = ${value(2)};`, `log(attempt(() => String(JSON.stringify(${o}${looped}))));`, `log(attempt(() => show(JSON.parse(JSON.stringify({ w: ${o} }), function (k, v) { log(k, Object.keys(this).length); return v; }))));`], '}'];
};

/** How things are constructed: new.target, returned values, bound functions, Reflect.construct. */
const construction = c => {
  const [A, B] = [c.fresh('C'), c.fresh('C')];
  const result = c.pick(['', 'return { other: 1 };', 'return 1;', 'return undefined;', 'return () => 1;', `throw 'built';`]);
  const before = c.pick(['', 'log(new.target.name);', `log(attempt(() => this));`]);
  return [
    '{',
    [
      `class ${A} { constructor(v = ${traced(c, '1')}) { log(new.target.name, v); this.v = v; ${c.chance(30) ? result : ''} } static made = new this(0).v; }`,
      `class ${B} extends ${A} { f = ${traced(c, 'this.v')}; ${c.chance(60) ? `constructor(...all) { ${before} ${c.pick(['super(...all);', '(() => super(2))();', '', `if (all.length) super(); else log('none');`, 'super(); super();'])} ${result} }` : ''} }`,
      `log(attempt(() => show(new ${B}(${c.pick(['', '5'])}))), attempt(() => show(Reflect.construct(${c.pick([A, B])}, [7], ${c.pick([A, B, 'Object', 'function () {}', '() => 1'])}))), attempt(() => show(new (${B}.bind(null, 8))())), attempt(() => ${B}()), attempt(() => show(Object.create(${B}.prototype) instanceof ${A})));`,
    ],
    '}',
  ];
};

/** The module's own namespace, and live exports seen from a function that was made before. */
const namespace = c => [
  `log(attempt(() => Reflect.ownKeys(self).map(String)), attempt(() => { self.left = 1; }), attempt(() => show(Object.getOwnPropertyDescriptor(self, 'left'))), attempt(() => delete self.${c.pick(['left', 'none'])}), attempt(() => Reflect.${c.pick(['set', 'has', 'get'])}(self, '${c.pick(['left', 'default', 'none'])}', 1) === undefined), attempt(() => Object.isFrozen(self)), attempt(() => Object.keys({ ...self })));`,
];

/** Maps and sets that change while they are walked, with several walks at once. */
const entries = c => {
  const m = c.fresh('m');
  const isMap = c.chance(50);
  const made = isMap ? `new Map([[1, 'a'], [2, 'b'], [NaN, 'c'], ['1', 'd']])` : `new Set([1, 2, NaN, '1', -0])`;
  const change = () => c.pick([`${m}.delete(${c.pick(['k', '1', '2', 'NaN', '0'])})`, isMap ? `${m}.set(${c.pick(['9', '1', '-0', 'k'])}, n)` : `${m}.add(${c.pick(['9', '1', '-0', 'n'])})`, `${m}.clear()`, `[...${m}]`, `${m}.has(k)`, 'other.next()', `${m}.size`]);
  const walk = c.pick([`for (const ${isMap ? '[k]' : 'k'} of ${m}) {`, `for (const k of ${m}.keys()) {`, `${m}.forEach((v, k) => {`]);
  const end = walk.startsWith('for') ? '}' : '});';
  const leave = walk.startsWith('for') ? 'break;' : 'return;';
  return ['{', [`const ${m} = ${made};`, `const other = ${m}.${c.pick(['values', 'entries', 'keys'])}();`, 'let n = 0;', walk, ['n += 1;', `if (n > 12) ${leave}`, `log(k, attempt(() => show(${change()})));`, `if (n === ${c.random.between(1, 3)}) log(attempt(() => show(${change()})));`], end, `log([...${m}], other.next(), other.next());`], '}'];
};

/** An async generator whose requests queue up. */
const queue = c => {
  const g = c.fresh('g');
  const part = () => c.pick([`log('r', yield ${inside(c, 'num', 0)});`, `yield ${c.pick(['Promise.resolve(1)', 'Promise.reject(2)', `thenable(${c.place()}, 3)`])};`, `await ${c.pick(['null', 'Promise.reject(4)'])};`, `yield* ${c.pick([`asyncIter(${c.place()}, [1, 2])`, '[7]', 'null'])};`, `if (n++ === ${c.random.below(3)}) return ${c.pick(['5', 'Promise.reject(6)', 'Promise.resolve(7)'])};`]);
  const body = () => c.random.list(1, 3, part).join(' ');
  const ask = () => `${c.pick(['i.next', 'i.next', 'i.return', 'i.throw'])}(${c.pick(['1', '', 'Promise.resolve(8)', `'v'`])})`;
  return ['{', ['let n = 0;', `const ${g} = async function* () { try { ${body()} } catch (e) { log('caught', e); ${c.chance(40) ? body() : ''} } finally { log('finally'); ${c.chance(30) ? c.pick(['await null;', 'yield 9;', 'return 10;', 'throw 11;']) : ''} } };`, `const i = ${g}();`, `const asked = [${c.random.list(2, 5, ask).join(', ')}];`, 'for (const one of asked) { try { log(await one); } catch (e) { log("rejected", e); } }'], '}'];
};

/** Combinators and chains of promises that are rejected in odd ways. */
const rejections = c => [
  `log(await Promise.allSettled([${c.random.list(1, 4, () => c.pick([`(async () => ${wrapped(inside(c, 'any', 1, { awaits: true }))})()`, `new Promise((f, r) => { ${c.pick(['f(1); r(2);', 'r(1); f(2);', `throw 'thrown';`, `f(thenable(${c.place()}, 1, true));`, 'f(Promise.reject(3));'])} })`, `Promise.resolve(${inside(c, 'any', 0)}).${c.pick(['then(null)', `then(() => fail(${c.place()}, 1))`, `catch(e => e)`, `finally(() => ${c.pick(['1', `fail(${c.place()}, 2)`, 'Promise.reject(3)'])})`])}`, awaitable(c, 1)])).join(', ')}]));`,
];
