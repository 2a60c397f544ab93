// Groups in lookbehinds, groups that refer to themselves, and classes with the flag `v`.
// A case is what runs and what it comes to: its value, then what it passed to `t`.
const cases = [
  [async t => { return ['ab'.match(/(?<=[\q{ab}])x?/v)?.index, 'ab'.match(/(?<=[\q{ab}])x?/vi)?.index, 'AB'.match(/(?<=[\q{ab}])x?/vi)?.index, 'abc'.match(/(?<=[\q{abc}])$/v)?.index, 'ab'.match(/(?<=[\q{ab|c}])$/v)?.index, 'ab'.match(/(?<=\q{ab})$/)?.index]; }, [[2, 2, 2, 3, 2, undefined]]],
  [async t => { return ['1️⃣'.match(/(?<=[\p{Emoji_Keycap_Sequence}])x?/v)?.index, '1️⃣'.match(/(?<=[\p{Emoji_Keycap_Sequence}])x?/vi)?.index, '1️⃣'.match(/(?<=\p{Emoji_Keycap_Sequence})x?/v)?.index]; }, [[3, 3, 3]]],
  [async t => { return ['1️⃣'.match(/(?<=[[\p{Emoji_Keycap_Sequence}]--\d])x?/v)?.index, '1️⃣'.match(/[\p{Emoji_Keycap_Sequence}--\d]/v)?.index, '1️⃣'.match(/[[\p{Emoji_Keycap_Sequence}]--\d]/v)?.index,'1️⃣'.match(/[[\p{Emoji_Keycap_Sequence}]]/v)?.index]; }, [[3, 0, 0, 0]]],
  [async t => { return ['a\u0000b'.match(/[\q{a\u0000b}]/v)?.[0], 'kK'.match(/[\q{KK}]/vi)?.[0], 'ſs'.match(/[\q{SS}]/vi)?.[0], 'xKs'.match(/(?<=[\q{kS}])$/vi)?.index]; }, [['a\u0000b', 'kK', 'ſs', 3]]],
  [async t => { return ['[^\\q{ab}]', '[^\\q{}]', '[^\\q{ab|c}--\\q{ab}]', '[^[\\q{ab}]]', '[^a--\\q{ab}]', '[^a&&\\q{ab}]', '[^\\p{RGI_Emoji}]', '[^\\p{RGI_Emoji}&&a]', '[!!]', '[a-\\d]', '[a--b&&c]', '[a&&&b]', '[\\q{(}]', '[a-]', '[|]', '[\\q]', '[\\-]', '[ab&&c]', '[a&&b--c]', '[a&&]', '[&&a]', '[a--]', '[--a]'].map(s => { try { new RegExp(s, 'v'); return 'ok'; } catch (e) { return e.name; } }); }, [['SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'ok', 'ok', 'SyntaxError', 'ok', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'ok', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError']]],
  [async t => { const r = []; for (const re of [/(?<=(?<a>x)(?<b>y))/, /(?<b>x){0}(?<a>y)/, /(?<=(?<a>x)(?<b>y)(?<c>z)?)q?/, /(?:(?<a>x)|(?<b>y)){0}(?<c>.)/, /(?<!(?<n>q))(?<m>.)/, /(?<=(?<a>.)(?<b>.)\k<a>)$/, /(?<a>(?<=(?<b>x)(?<c>.)))./, /(?:(?<a>x){0,0})*(?<b>.)/, /(?<=(?<a>.)(?<b>(?<c>.)(?<d>.)))z?/]) for (const s of ['xyz', 'yx', 'xyx']) { const m = re.exec(s); r.push(m && [m.index, { ...m.groups }, Object.keys(m.groups), [...m]]); } return r; }, [[[2, { a: 'x', b: 'y' }, ['a', 'b'], ['', 'x', 'y']], null, [2, { a: 'x', b: 'y' }, ['a', 'b'], ['', 'x', 'y']], [1, { b: undefined, a: 'y' }, ['b', 'a'], ['y', undefined, 'y']], [0, { b: undefined, a: 'y' }, ['b', 'a'], ['y', undefined, 'y']], [1, { b: undefined, a: 'y' }, ['b', 'a'], ['y', undefined, 'y']], [2, { a: 'x', b: 'y', c: undefined }, ['a', 'b', 'c'], ['', 'x', 'y', undefined]], null, [2, { a: 'x', b: 'y', c: undefined }, ['a', 'b', 'c'], ['', 'x', 'y', undefined]], [0, { a: undefined, b: undefined, c: 'x' }, ['a', 'b', 'c'], ['x', undefined, undefined, 'x']], [0, { a: undefined, b: undefined, c: 'y' }, ['a', 'b', 'c'], ['y', undefined, undefined, 'y']], [0, { a: undefined, b: undefined, c: 'x' }, ['a', 'b', 'c'], ['x', undefined, undefined, 'x']], [0, { n: undefined, m: 'x' }, ['n', 'm'], ['x', undefined, 'x']], [0, { n: undefined, m: 'y' }, ['n', 'm'], ['y', undefined, 'y']], [0, { n: undefined, m: 'x' }, ['n', 'm'], ['x', undefined, 'x']], [3, { a: 'y', b: 'z' }, ['a', 'b'], ['', 'y', 'z']], [2, { a: 'y', b: 'x' }, ['a', 'b'], ['', 'y', 'x']], [3, { a: 'y', b: 'x' }, ['a', 'b'], ['', 'y', 'x']], [2, { a: '', b: 'x', c: 'y' }, ['a', 'b', 'c'], ['z', '', 'x', 'y']], null, [2, { a: '', b: 'x', c: 'y' }, ['a', 'b', 'c'], ['x', '', 'x', 'y']], [0, { a: undefined, b: 'x' }, ['a', 'b'], ['x', undefined, 'x']], [0, { a: undefined, b: 'y' }, ['a', 'b'], ['y', undefined, 'y']], [0, { a: undefined, b: 'x' }, ['a', 'b'], ['x', undefined, 'x']], [3, { a: 'x', b: 'yz', c: 'y', d: 'z' }, ['a', 'b', 'c', 'd'], ['', 'x', 'yz', 'y', 'z']], null, [3, { a: 'x', b: 'yx', c: 'y', d: 'x' }, ['a', 'b', 'c', 'd'], ['', 'x', 'yx', 'y', 'x']]]]],
  [async t => { return ['xy'.replace(/(?<=(?<a>x)(?<b>y))/, '[$<a>$<b>$1$2]'), [...'aXbX'.matchAll(/(?<=(?<l>.)(?<x>X))/g)].map(m => [m.groups.l, m.groups.x]), /(?<=(?<a>x)(?<b>y))/d.exec('xy').indices.groups]; }, [['xy[xyxy]', [['a', 'X'], ['b', 'X']], { a: [0, 1], b: [1, 2] }]]],
  [async t => { return [/^(a|\1ab)$/.exec('ab'), /c((()))|(?<=A(A|(\4)))/.exec('aA bB'), /^(?<n>x|\k<n>xy)$/.exec('xy'), /^(?:(a|\1ab)c)+$/.exec('acabc'), /(?<=^(b|ab\1))c/.exec('abc'), /^(a\1?){4}$/.exec('aaaaaa')?.slice(), /^(?:(a)|\1b)*$/.exec('abab')]; }, [[['ab', 'ab'], ['', undefined, undefined, undefined, '', ''], ['xy', 'xy'], ['acabc', 'ab'], ['c', 'ab'], undefined, ['abab', undefined]]]],
  [async t => { return [/(a*)*b\1/.exec('aab'), /(?=(a+))a*b\1/.exec('baaabac'), /^(?=(\w+))\1:/.exec('abc:')?.slice(), /(.*?)a(?!(a+)b\2c)\2(.*)/.exec('baaabaac')?.slice(), /((a|b)\2?)+c/.exec('aabbc')?.slice(), /(?:(a)|(b)|(c))+/.exec('abc')?.slice()]; }, [[['b', undefined], ['aba', 'a'], ['abc:', 'abc'], ['baaabaac', 'ba', undefined, 'abaac'], ['aabbc', 'bb', 'b'], ['abc', undefined, undefined, 'c']]]],
];

// What must not compile, as the body of a strict function.
const refused = [
  "return [/[\\b]/v.test('\\b'), /[\\b]/v.test('b'), /[a&b]/v.test('a'), /[a&b]/v.test('b'), /[!#]/v.test('!'), /[^\\q{a|b}]/v.exec('abc')[0], /^[\\q{|a}]$/v.test(''), /^[\\q{}]$/v.test(''), /[\\q{ab|a|}]/v.exec('abc')[0], /[a--A]/vi.test('a'), /[\\q{ab}--\\q{AB}]/vi.test('ab'), /[a-z--[K]]/vi.test('k')];",
];

const compiles = text => {
  try {
    new Function(`'use strict'; return async () => { ${text}\n };`);
    return 'compiles';
  } catch (error) {
    return error.name;
  }
};

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
  ...refused.map(text => [`refused: ${text}`, () => compiles(text), 'SyntaxError']),
];
