import { arrow, callArguments } from './functions.mjs';
import { bigintText, numberText, regexpText, stringCall } from './library.mjs';

const NUMBERS = ['0', '1', '2', '3', '5', '7', '-1', '10', '0.5', '1.5', '100', '-0', '255', '2147483647', '4294967295', '-2147483648', '9007199254740991', '1e21', '1e-7', 'NaN', 'Infinity', '0.1', '123456789', '0x1F', '0b101', '1_000'];
const STRINGS = [`''`, `'a'`, `'b'`, `'abc'`, `'x y'`, `'10'`, `'0'`, `'é'`, `'😀!'`, `' 7 '`, `'aXbXc'`, `'length'`, `'Zz'`, `'1e3'`];
const BIGINTS = ['0n', '1n', '2n', '-1n', '10n', '255n', '-7n', '9007199254740993n', '123456789012345678901234567890n', '0xFFn'];
const KEYS = ['a', 'b', 'c', 'k', 'x'];
const TYPES = ['num', 'num', 'num', 'str', 'str', 'bool', 'big', 'arr', 'obj', 'any'];

export const someType = c => c.pick(TYPES);

/** An expression of the type, nested at most `d` deep. */
export const expression = (c, type, d = 3) => {
  if (c.chance(6)) return traced(c, type, d);
  if (c.chance(4) && d > 0) return control(c, type, d);
  return MAKERS[type](c, d);
};

const traced = (c, type, d) => `t(${c.place()}, ${expression(c, type, d - 1)})`;

/** What every type can be made of. */
const control = (c, type, d) => {
  const sub = () => expression(c, type, d - 1);
  const kinds = [
    [3, () => `(${expression(c, 'bool', d - 1)} ? ${sub()} : ${sub()})`],
    [2, () => `(${expression(c, someType(c), d - 1)}, ${sub()})`],
    [2, () => `(() => ${c.inFunction({ supers: c.frame.supers }, () => wrapped(sub()))})()`],
    [1, () => `(${sub()} ?? ${sub()})`],
    [1, () => `[${sub()}, ${sub()}][${c.random.below(2)}]`],
    [1, () => `({ k: ${sub()} }).k`],
    [1, () => `${arrowCall(c, type, d)}`],
  ];
  if (c.frame.awaits) kinds.push([8, () => `(await ${c.chance(30) ? `Promise.resolve(${sub()})` : sub()})`]);
  if (c.frame.yields) kinds.push([8, () => `((yield ${expression(c, 'any', d - 1)}), ${sub()})`]);
  return c.random.weighted(kinds)();
};

const arrowCall = (c, type, d) => {
  const name = c.fresh('p');
  const body = c.inFunction({ supers: c.frame.supers }, () => {
    c.declare(name, type, true);
    return wrapped(expression(c, type, d - 1));
  });
  return `((${name}) => ${body})(${expression(c, type, d - 1)})`;
};

/** An object literal as an arrow's body would be a block. */
export const wrapped = text => (text.startsWith('{') ? `(${text})` : text);

const variable = (c, type, otherwise) => c.variable(type)?.name ?? otherwise;

/** Assignments inside an operand, the tests' main aim. */
const assignment = (c, type, operators, d) => {
  const target = c.variable(type, true);
  if (!target || d < 1) return undefined;
  const value = expression(c, type, d - 1);
  const operator = c.pick(operators);
  const assigned = type === 'num' || type === 'bool' ? value : `clip(${value})`;
  return `(${target.name} ${operator} ${assigned})`;
};

const update = (c, type) => {
  const target = c.variable(type, true);
  if (!target) return undefined;
  return c.pick([`${target.name}++`, `${target.name}--`, `++${target.name}`, `--${target.name}`]);
};

const member = (c, d) => {
  const holder = c.variable('obj')?.name ?? expression(c, 'obj', d - 1);
  const key = c.pick(KEYS);
  return c.pick([`${holder}.${key}`, `${holder}['${key}']`, `${holder}?.${key}`, `${holder}[${expression(c, 'str', d - 1)}]`, `${holder}?.[t(${c.place()}, '${key}')]`]);
};

const num = (c, d) => {
  if (d <= 0) return c.chance(65) ? variable(c, 'num', '4') : c.pick(NUMBERS);
  const n = () => expression(c, 'num', d - 1);
  const kinds = [
    [4, () => c.pick(NUMBERS)],
    [12, () => variable(c, 'num', '6')],
    [16, () => `(${n()} ${c.pick(['+', '-', '*', '+', '-', '%', '/', '|', '&', '^', '<<', '>>', '>>>'])} ${n()})`],
    [10, () => assignment(c, 'num', ['=', '=', '=', '+=', '-=', '*=', '%=', '|=', '^=', '<<=', '>>>=', '??=', '||=', '&&=', '/='], d) ?? n()],
    [8, () => update(c, 'num') ?? n()],
    [2, () => `(${c.pick(['-', '+', '~', '+!'])} ${n()})`],
    [1, () => `((${c.random.between(-9, 9)}) ** ${c.random.below(8)})`],
    [2, () => `Math.${c.pick(['floor', 'abs', 'trunc', 'sign', 'clz32', 'fround', 'ceil', 'round', 'sqrt'])}(${n()})`],
    [2, () => `Math.${c.pick(['min', 'max', 'imul'])}(${n()}, ${n()})`],
    [2, () => `${expression(c, c.pick(['arr', 'str']), d - 1)}.length`],
    [2, () => `Number(${expression(c, c.pick(['str', 'bool', 'any', 'big']), d - 1)})`],
    [2, () => `(+ob(${c.place()}, ${n()}))`],
    [3, () => `(${c.pick(['ob', 'ob', 'old'])}(${c.place()}, ${n()}, 'text') ${c.pick(['*', '-', '<<', '**'])} ${c.pick([n(), `ob(${c.place()}, 2)`])})`],
    [2, () => `+${expression(c, 'str', d - 1)}.${c.pick(['indexOf', 'lastIndexOf', 'charCodeAt'])}(${c.pick(["'a'", '1', "'X'"])})`],
    [2, () => `${variable(c, 'fn', 'Number')}${callArguments(c, d - 1)}`.replace(/^/, '+').replace(/$/, '')],
    [2, () => `parse${c.pick(['Int', 'Float'])}(${expression(c, 'str', d - 1)})`],
    [2, () => `${expression(c, 'arr', d - 1)}.reduce((a, b) => a + (+b || 1), ${n()})`],
    [2, () => `(${memberAssignment(c, d)} | 0)`],
  ];
  const made = c.random.weighted(kinds)();
  return made.startsWith('+') ? `(${made} || 0)` : made;
};

/** Assignments to properties, with the order of evaluation traced. */
const memberAssignment = (c, d) => {
  const holder = c.variable('obj')?.name;
  if (!holder) return '3';
  const key = c.pick(KEYS);
  const target = c.pick([`${holder}.${key}`, `t(${c.place()}, ${holder}).${key}`, `t(${c.place()}, ${holder})[t(${c.place()}, '${key}')]`, `${holder}[${expression(c, 'str', 0)}]`]);
  if (c.chance(20)) return c.pick([`${target}++`, `--${target}`]);
  const operator = c.pick(['=', '=', '+=', '-=', '??=', '||=', '&&=', '*=']);
  return `${target} ${operator} ${expression(c, 'num', d - 1)}`;
};

const str = (c, d) => {
  if (d <= 0) return c.chance(60) ? variable(c, 'str', `'s'`) : c.pick(STRINGS);
  const s = () => expression(c, 'str', d - 1);
  const kinds = [
    [4, () => c.pick(STRINGS)],
    [10, () => variable(c, 'str', `'q'`)],
    [8, () => `(${s()} + ${expression(c, c.pick(['str', 'num', 'bool', 'big', 'any']), d - 1)})`.replace(/\(t\(/, '(t(')],
    [6, () => `\`${c.pick(['', '-', 'x'])}\${${s()}}:\${${expression(c, c.pick(['num', 'str', 'bool', 'big']), d - 1)}}\``],
    [8, () => assignment(c, 'str', ['=', '=', '+=', '??=', '||=', '&&='], d) ?? s()],
    [8, () => stringCall(c, s(), d)],
    [3, () => numberText(c, () => expression(c, 'num', d - 1))],
    [2, () => bigintText(c, () => expression(c, 'big', d - 1))],
    [2, () => `String(${expression(c, c.pick(['num', 'bool', 'big', 'arr']), d - 1)})`],
    [2, () => `(typeof (${expression(c, 'any', d - 1)}))`],
    [2, () => `${expression(c, 'arr', d - 1)}.join(${c.pick(["'-'", "''", ''])})`],
    [2, () => `show(${expression(c, 'any', d - 1)})`],
    [2, () => `String(JSON.stringify(${expression(c, c.pick(['arr', 'obj', 'str', 'num']), d - 1)}))`],
    [2, () => `\`\${${c.pick(['ob', 'old'])}(${c.place()}, ${s()}, ${s()})}\``],
    [1, () => `String.raw\`a\${${s()}}\\n\``],
  ];
  return c.random.weighted(kinds)();
};

const bool = (c, d) => {
  if (d <= 0) return c.chance(60) ? variable(c, 'bool', 'true') : c.pick(['true', 'false']);
  const b = () => expression(c, 'bool', d - 1);
  const n = () => expression(c, 'num', d - 1);
  const compare = ['<', '>', '<=', '>=', '===', '!==', '==', '!='];
  const kinds = [
    [8, () => `(${n()} ${c.pick(compare)} ${n()})`],
    [4, () => `(${expression(c, 'str', d - 1)} ${c.pick(compare)} ${expression(c, 'str', d - 1)})`],
    [2, () => `(${expression(c, 'any', d - 1)} ${c.pick(['==', '!=', '<', '>='])} ${expression(c, 'any', d - 1)})`],
    [2, () => `(${expression(c, 'big', d - 1)} ${c.pick(compare)} ${expression(c, c.pick(['num', 'big', 'str']), d - 1)})`],
    [4, () => `(${b()} ${c.pick(['&&', '||'])} ${b()})`],
    [3, () => `!${b()}`],
    [4, () => assignment(c, 'bool', ['=', '&&=', '||=', '??='], d) ?? b()],
    [2, () => `(${expression(c, 'str', d - 1)} in ${expression(c, 'obj', d - 1)})`],
    [2, () => `${regexpText(c)}.test(${expression(c, 'str', d - 1)})`],
    [2, () => `${expression(c, 'arr', d - 1)}.${c.pick(['includes', 'some', 'every'])}(${c.pick(['Boolean', 'x => x > 1', 'Number.isInteger'])})`],
    [1, () => `delete ${member(c, d)}`.replace(/delete .*\?.*/, 'true')],
    [1, () => `Object.is(${expression(c, 'any', d - 1)}, ${expression(c, 'any', d - 1)})`],
    [1, () => `Number.is${c.pick(['Integer', 'NaN', 'SafeInteger', 'Finite'])}(${n()})`],
    [1, () => `(${ `ob(${c.place()}, 1)`} ${c.pick(['<', '>', '<=', '>='])} ob(${c.place()}, ${n()}))`],
  ];
  return c.random.weighted(kinds)();
};

const big = (c, d) => {
  if (d <= 0) return c.chance(60) ? variable(c, 'big', '3n') : c.pick(BIGINTS);
  const b = () => expression(c, 'big', d - 1);
  const kinds = [
    [3, () => c.pick(BIGINTS)],
    [6, () => variable(c, 'big', '5n')],
    [8, () => `(${b()} ${c.pick(['+', '-', '*', '|', '&', '^', '/', '%'])} ${b()})`],
    [2, () => `(${b()} ${c.pick(['<<', '>>'])} ${c.pick(['0n', '1n', '7n', '64n', '-3n', '-65n'])})`],
    [1, () => `((${b()} % 1000n) ** ${c.random.below(6)}n)`],
    [6, () => assignment(c, 'big', ['=', '+=', '-=', '*=', '&=', '|=', '>>='], d) ?? b()],
    [4, () => update(c, 'big') ?? b()],
    [1, () => `(${c.pick(['-', '~'])} ${b()})`],
    [2, () => `BigInt.as${c.pick(['Int', 'Uint'])}N(${c.pick([0, 1, 7, 8, 32, 63, 64, 65, 128])}, ${b()})`],
    [1, () => `BigInt(Math.trunc(${expression(c, 'num', d - 1)}) || 0)`.replace('BigInt(', 'toBig(')],
    [1, () => `toBig(${expression(c, 'str', d - 1)})`],
  ];
  return c.random.weighted(kinds)();
};

const arr = (c, d) => {
  if (d <= 0) return c.chance(60) ? variable(c, 'arr', '[1, 2]') : c.pick(['[]', '[1, 2, 3]', `['b', 'a']`, '[[1], [2]]', '[3, , 1]']);
  const a = () => expression(c, 'arr', d - 1);
  const element = () => c.random.weighted([
    [6, () => expression(c, someType(c), d - 1)],
    [1, () => `...${a()}`],
    [1, () => `...${iterable(c, d - 1)}`],
    [1, () => ''],
  ])();
  const callback = () => c.pick(['x => x', `(x, i) => t('f' + i, x)`, `x => x + 1`, `(x, i, all) => all.length - i`, arrow(c, 1, 'any', d - 1)]);
  const kinds = [
    [6, () => `[${c.random.list(0, 4, element).join(', ')}${c.chance(10) ? ',' : ''}]`],
    [5, () => variable(c, 'arr', '[9, 8]')],
    [3, () => `${a()}.map(${callback()})`],
    [2, () => `${a()}.filter(${callback()})`],
    [2, () => `${a()}.flatMap(${callback()})`],
    [2, () => `[...${a()}].sort(${c.pick(['', '(x, y) => (x > y) - (x < y)', '(x, y) => String(x).length - String(y).length'])})`],
    [2, () => `${a()}.${c.pick(['slice', 'concat', 'flat'])}(${c.pick(['', '1', '2', '-1'])})`],
    [2, () => `[...${a()}].${c.pick(['splice(1, 1, 7)', 'splice(-1)', 'reverse()', 'fill(0, 1)', 'copyWithin(0, 1)'])}`],
    [1, () => `Array.from(${iterable(c, d - 1)}, ${callback()})`],
    [1, () => `Array.from({ length: ${c.random.below(4)} }, (_, i) => i * ${expression(c, 'num', 0)})`],
    [2, () => `Object.${c.pick(['keys', 'values', 'entries'])}(${expression(c, 'obj', d - 1)})`],
    [2, () => `${expression(c, 'str', d - 1)}.split(${c.pick(["''", "'X'", regexpText(c)])})`],
    [2, () => `[...${expression(c, 'str', d - 1)}]`],
    [3, () => assignment(c, 'arr', ['='], d) ?? a()],
    [1, () => `(${regexpText(c, 'd')}.exec(${expression(c, 'str', d - 1)}) ?? []).slice()`],
    [1, () => `[...${expression(c, 'str', d - 1)}.matchAll(${regexpText(c, 'g')})].map(m => [m.index, m[0], m.groups])`],
  ];
  return c.random.weighted(kinds)();
};

export const iterable = (c, d) => c.random.weighted([
  [6, () => `iter(${c.place()}, ${expression(c, 'arr', d - 1)}${c.chance(25) ? `, '${c.pick(['next throws', 'return throws', 'return primitive', 'no return', 'throw', 'getter'])}'` : ''})`],
  [3, () => expression(c, 'arr', d - 1)],
  [2, () => `new Set(${expression(c, 'arr', d - 1)})`],
  [1, () => `new Map(Object.entries(${expression(c, 'obj', d - 1)}))`],
  [2, () => expression(c, 'str', d - 1)],
  [3, () => (c.variable('gen') ? `${c.variable('gen').name}${callArguments(c, d - 1)}` : '[4, 5]')],
])();

const obj = (c, d) => {
  if (d <= 0) return c.chance(60) ? variable(c, 'obj', '({ a: 1 })') : c.pick(['({})', '({ a: 1, b: 2 })', `({ x: 'x', k: [1] })`]);
  const kinds = [
    [8, () => `({ ${c.random.list(0, 4, () => propertyDefinition(c, d - 1)).join(', ')} })`],
    [5, () => variable(c, 'obj', '({ b: 2, a: 1 })')],
    [2, () => `Object.assign({}, ${expression(c, 'obj', d - 1)}, ${expression(c, c.pick(['obj', 'arr', 'str']), d - 1)})`],
    [2, () => `spy(${c.place()}, ${expression(c, 'obj', d - 1)})`],
    [1, () => `Object.fromEntries(Object.entries(${expression(c, 'obj', d - 1)}).reverse())`],
    [1, () => `Object.create(${expression(c, 'obj', d - 1)}, { k: { value: ${expression(c, 'num', 0)}, enumerable: ${c.pick(['true', 'false'])} } })`],
    [1, () => `JSON.parse(JSON.stringify(${expression(c, 'obj', d - 1)}, (k, v) => typeof v === 'bigint' ? 'big' : v))`],
    [2, () => (c.variable('class') ? `new ${c.variable('class').name}${callArguments(c, d - 1)}` : `({ c: 3 })`)],
  ];
  return c.random.weighted(kinds)();
};

const propertyDefinition = (c, d) => {
  const key = c.pick(KEYS);
  const name = c.pick([key, key, `'${key}'`, `[t(${c.place()}, '${key}')]`, `[${expression(c, 'str', 0)}]`, String(c.random.below(3)), `[Symbol.for('s')]`]);
  const value = () => expression(c, someType(c), d);
  const body = (frame = {}) => c.inFunction({ supers: true, ...frame }, () => expression(c, someType(c), d));
  return c.random.weighted([
    [8, () => `${name}: ${value()}`],
    [1, () => c.variable('num')?.name ?? 'a: 2'],
    [1, () => `get ${name}() { return t(${c.place()}, ${body()}) }`],
    [1, () => `set ${name}(v) { log('set', v) }`],
    [1, () => `${name}(x) { return ${body()} }`],
    [1, () => `*${name}() { yield ${body({ yields: true })} }`],
    [1, () => `async ${name}() { return ${body({ awaits: true })} }`],
    [2, () => `...${expression(c, c.pick(['obj', 'arr', 'str']), d - 1)}`],
    [1, () => `__proto__: ${expression(c, 'obj', 0)}, zz: ${value()}`.replace(/^__proto__: (.*), zz/, (all, proto) => (c.chance(50) ? `[t(${c.place()}, 'zz')]` : 'zz'))],
  ])();
};

const any = (c, d) => {
  const kinds = [
    [4, () => expression(c, c.pick(['num', 'str', 'bool', 'big', 'arr', 'obj']), d)],
    [2, () => c.pick(['undefined', 'null', 'NaN', `Symbol.iterator`, '1', `'s'`])],
    [3, () => variable(c, 'any', 'null')],
    [2, () => assignment(c, 'any', ['=', '??=', '||=', '&&='], d) ?? 'undefined'],
    [2, () => member(c, d)],
    [2, () => arrow(c, c.random.below(3), 'any', d - 1)],
    [2, () => `${variable(c, 'fn', 'String')}${callArguments(c, d - 1)}`],
    [1, () => `fail(${c.place()}, ${expression(c, 'any', d - 1)})`],
    [1, () => `${expression(c, 'arr', d - 1)}[${expression(c, 'num', 0)}]`],
    [1, () => `${expression(c, 'arr', d - 1)}?.at(-1)?.[0]`],
    [1, () => (c.frame.supers ? `super.${c.pick(KEYS)}` : 'null')],
    [1, () => (c.frame.supers && c.functionDepth ? 'this' : 'null')],
  ];
  if (d <= 0) return c.chance(50) ? variable(c, 'any', 'undefined') : c.pick(['undefined', 'null', '1', `'s'`, '2n', 'true']);
  if (c.frame.yields) kinds.push([8, () => `(yield ${expression(c, 'any', d - 1)})`], [2, () => `(yield* ${iterable(c, d - 1)})`]);
  if (c.frame.awaits) kinds.push([5, () => `(await ${awaitable(c, d - 1)})`]);
  return c.random.weighted(kinds)();
};

export const awaitable = (c, d) => c.random.weighted([
  [3, () => expression(c, 'any', d)],
  [2, () => `Promise.resolve(${expression(c, 'any', d)})`],
  [1, () => `Promise.reject(${expression(c, 'any', d)})`],
  [1, () => `thenable(${c.place()}, ${expression(c, 'any', d)}${c.chance(30) ? ', true' : ''})`],
  [1, () => `Promise.${c.pick(['all', 'allSettled', 'race', 'any'])}([${c.random.list(1, 3, () => expression(c, 'any', d)).join(', ')}])`],
  [2, () => (c.variable('async') ? `${c.variable('async').name}${callArguments(c, d)}` : 'null')],
  [1, () => `(async () => ${c.inFunction({ awaits: true, supers: c.frame.supers }, () => wrapped(expression(c, 'any', d)))})()`],
])();

const MAKERS = { num, str, bool, big, arr, obj, any };
