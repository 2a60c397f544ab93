// Texts of numbers, bigints, strings, regular expressions and JSON: where the built-ins have their own algorithms.

/** Inside a closure there is no yield and no await of the function around it. */
const inClosure = (c, make) => c.inFunction({ supers: c.frame.supers }, make);

const double = c => {
  const mantissa = c.random.pick([
    () => `${c.random.below(1000)}.${c.random.below(100000)}`,
    () => `${c.random.next()}${c.random.next()}`,
    () => `${c.random.below(10)}.${c.random.next()}${c.random.next()}`,
    () => `${c.random.below(100)}.5`,
  ])();
  return c.pick([mantissa, `${mantissa}e${c.random.between(-30, 30)}`, `${mantissa}e${c.random.between(-320, 300)}`, `-${mantissa}`]);
};

/** A number as a text. */
export const numberText = (c, make) => {
  const number = c.chance(60) ? `(${double(c)})` : `(${inClosure(c, make)})`;
  return c.random.weighted([
    [3, () => `attempt(() => ${number}.toFixed(${c.random.below(22)}))`],
    [3, () => `attempt(() => ${number}.toPrecision(${c.random.between(1, 30)}))`],
    [3, () => `attempt(() => ${number}.toExponential(${c.chance(20) ? '' : c.random.below(25)}))`],
    [2, () => `String(${number})`],
    [1, () => `Math.trunc(${number} % 9007199254740992).toString(${c.random.between(2, 36)})`],
    [1, () => `String(Number('${double(c)}'))`],
    [1, () => `String(parseFloat('${double(c)}xyz'))`],
    [1, () => `String(parseInt('${c.random.next()}${c.random.next()}', ${c.pick(['', '10', '8', '2', '16', '4'])}))`.replace(', )', ')')],
    [1, () => `String((${c.random.between(-12, 12)}) ** ${c.random.below(25)})`],
    [1, () => `[${number}].toString()`],
  ])();
};

/** A bigint as a text. */
export const bigintText = (c, make) => c.random.weighted([
  [3, () => `String(${make()})`],
  [2, () => `(${make()}).toString(${c.random.between(2, 36)})`],
  [1, () => `String(Number(${make()}))`],
  [1, () => `attempt(() => String(BigInt('${c.pick(['', ' ', '-', '+', '0x', '0b1', '1_0', '  12  ', '-0x1', '0o17', '1n', '1e3', '1.0', '٣'])}${c.chance(50) ? c.random.next() : ''}')))`],
  [1, () => `attempt(() => String(BigInt(${double(c)})))`],
  [1, () => `attempt(() => String((${inClosure(c, make)}) ${c.pick(['<', '<=', '==', '>'])} ${c.pick([double(c), `'${c.random.next()}'`, `'x'`])}))`],
  [1, () => `attempt(() => String((${inClosure(c, make)}) ${c.pick(['<<', '>>', '/', '%', '**'])} ${c.pick(['0n', '-1n', '3n', '70n'])}))`],
])();

/** A regular expression over a small alphabet. */
export const regexpText = (c, needed = '') => {
  let groups = 0;
  const names = [];
  const atom = d => c.random.weighted([
    [10, () => c.pick(['a', 'b', 'X', 'c', '1', ' ', 'é', '.', '\\d', '\\w', '\\s', '\\W', '\\b', '\\/'])],
    [4, () => c.pick(['[ab]', '[^a]', '[a-c]', '[\\d-]', '[^\\s\\d]', '[A-Z]', '[/]'])],
    [d > 0 ? 4 : 0, () => {
      groups += 1;
      return `(${alternatives(d - 1)})`;
    }],
    [d > 0 ? 3 : 0, () => `(?:${alternatives(d - 1)})`],
    [d > 0 ? 2 : 0, () => {
      const name = `n${names.length}`;
      names.push(name);
      groups += 1;
      return `(?<${name}>${alternatives(d - 1)})`;
    }],
    [d > 0 ? 2 : 0, () => `(?${c.pick(['=', '!', '<=', '<!'])}${alternatives(d - 1)})`],
    [groups > 0 ? 2 : 0, () => `(?:\\${c.random.between(1, groups)})`],
    [names.length > 0 ? 1 : 0, () => `\\k<${c.pick(names)}>`],
  ])();
  const term = d => {
    const one = atom(d);
    const fixed = /^\(\?[=!<][^n]/.test(one) || one === '\\b';
    return !fixed && c.chance(35) ? one + c.pick(['*', '+', '?', '*?', '+?', '??', '{2}', '{1,2}', '{0,3}?']) : one;
  };
  const sequence = d => c.random.list(1, 3, () => term(d)).join('');
  const alternatives = d => c.random.list(1, c.chance(25) ? 3 : 1, () => sequence(d)).join('|');
  const body = `${c.chance(15) ? '^' : ''}${alternatives(2)}${c.chance(15) ? '$' : ''}`;
  const flags = new Set([...needed, ...['i', 'g', 'm', 's', 'u', 'y', 'd'].filter(() => c.chance(12))]);
  return `/${body}/${[...flags].join('')}`;
};

const text = c => `'${c.random.list(1, 10, () => c.pick(['a', 'b', 'X', 'c', '1', ' ', 'é', 'A', '-', '/', '\\n', '😀'])).join('')}'`;

/** A method of a string. */
export const stringCall = (c, receiver, d) => {
  const subject = c.chance(40) ? text(c) : receiver;
  const small = () => c.pick(['0', '1', '2', '-1', '-2', '5', 'NaN', '1.7', '', 'undefined', 'Infinity', '-Infinity']);
  return c.random.weighted([
    [4, () => `${subject}.${c.pick(['slice', 'substring', 'at', 'charAt', 'codePointAt', 'substr'])}(${small()})`.replace(/^(.*\.(at|codePointAt)\(.*)$/s, 'String($1)')],
    [3, () => `${subject}.${c.pick(['slice', 'substring', 'substr'])}(${small() || 0}, ${small()})`.replace(', )', ')')],
    [2, () => `${subject}.${c.pick(['padStart', 'padEnd'])}(${c.random.below(9)}, ${c.pick([`'ab'`, `''`, `' '`])})`],
    [2, () => `${subject}.${c.pick(['trim', 'trimStart', 'trimEnd', 'toUpperCase', 'toLowerCase', 'normalize'])}()`],
    [4, () => `${subject}.replace(${regexpText(c)}, ${replacement(c)})`],
    [3, () => `${subject}.replaceAll(${c.pick([`'a'`, `''`, `'X'`, regexpText(c, 'g')])}, ${replacement(c)})`],
    [2, () => `show(${subject}.match(${regexpText(c)}))`],
    [2, () => `show(${regexpText(c)}.exec(${subject}))`],
    [1, () => `show((r => [r.test(${subject}), r.lastIndex, r.test(${subject}), r.lastIndex])(${regexpText(c, c.pick(['g', 'y']))}))`],
    [1, () => `String(${regexpText(c)})`],
    [1, () => `new RegExp(${regexpText(c)}.source).source`],
    [1, () => `show(${subject}.split(${regexpText(c)}, ${c.pick(['undefined', '2', '0', '-1'])}))`],
    [1, () => `String(${subject}.search(${regexpText(c)}))`],
    [1, () => `${subject}.repeat(${c.random.below(3)})`],
    [1, () => `String(${subject}.${c.pick(['localeCompare', 'startsWith', 'endsWith', 'includes', 'indexOf', 'lastIndexOf'])}(${text(c)}))`.replace('localeCompare', 'includes')],
    [1, () => `attempt(() => JSON.stringify(JSON.parse(${json(c, d)})${c.pick(['', ', null, 1', `, ['a', 'b']`, `, (k, v) => v === 1 ? undefined : v, '--'`])}))`],
    [1, () => `attempt(() => show(JSON.parse(${json(c, d)}, function (k, v) { log(k, v); return k === 'b' ? undefined : v })))`],
    [1, () => `attempt(() => ${c.pick(['encodeURIComponent', 'encodeURI', 'decodeURIComponent', 'escape', 'unescape'])}(${c.pick([text(c), `'%41%'`, `'%C3%A9'`, `'%u0041'`, `'\\ud800'`])}))`],
    [1, () => `attempt(() => new Date(${c.pick([c.random.next(), c.random.next() * 1000, `'2020-02-30'`, `'2024-02-29T12:00:00Z'`, `'2024-01-01T00:00:00.5+05:30'`, 'NaN', `Date.UTC(2020, ${c.random.below(30)}, ${c.random.between(-40, 40)}, ${c.random.below(50)})`])}).toISOString())`],
    [1, () => typedArray(c)],
  ])();
};

const replacement = c => c.pick([`'[$&]'`, `'$1-$2'`, `'$<n0>'`, `'$\`'`, `"$'"`, `'$$'`, `'$0$10$01'`, `(...all) => show(all)`, `m => m.length`, `undefined`]);

const json = (c, d) => {
  const value = depth => c.random.weighted([
    [3, () => c.pick(['1', '-0', '1e3', '0.5', '1E-2', '123456789012345678901', '01', '1.', '-'])],
    [3, () => c.pick(['"a"', '"\\\\u0041"', '"\\\\n"', '""', '"\\\\x"', '"😀"', '"\\\\ud83d"'])],
    [3, () => c.pick(['true', 'null', 'false', 'undefined', ''])],
    [depth > 0 ? 4 : 0, () => `[${c.random.list(0, 3, () => value(depth - 1)).join(c.pick([',', ' , ', ',']))}]`],
    [depth > 0 ? 4 : 0, () => `{${c.random.list(0, 3, () => `"${c.pick(['a', 'b', '__proto__', '1', 'a'])}":${value(depth - 1)}`).join(',')}}`],
  ])();
  return `'${value(Math.min(3, d + 1))}'`;
};

const TYPED = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'Float32Array', 'Float64Array'];

const typedArray = c => {
  const values = c.random.list(1, 4, () => double(c)).join(', ');
  const kind = c.pick(TYPED);
  return c.pick([
    `show([...new ${kind}([${values}])])`,
    `show([...new Uint8Array(new ${kind}([${values}]).buffer)])`,
    `show([...new ${kind}([${values}]).map(x => x * 2).subarray(1)])`,
    `show([...new ${kind}([${values}]).sort()])`,
    `show((v => (v.setFloat64(1, ${double(c)}${c.pick(['', ', true'])}), v.setInt16(0, ${double(c)}), [v.getUint32(2), v.getFloat32(4), v.getBigInt64(1)]))(new DataView(new ArrayBuffer(12))))`,
    `attempt(() => show(new ${kind}(new ArrayBuffer(${c.random.below(20)}), ${c.random.below(9)}).length))`,
    `show([...new Big${c.pick(['Int', 'Uint'])}64Array([${c.random.next()}n ** 3n, -${c.random.next()}n])])`,
  ]);
};
