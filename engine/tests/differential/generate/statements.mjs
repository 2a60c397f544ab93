import { awaitable, expression, iterable, someType } from './expressions.mjs';
import { callArguments, classDeclaration, driveGenerator, functionDeclaration } from './functions.mjs';
import { assignmentPattern, binding, source } from './patterns.mjs';
import { scene } from './scenes.mjs';

/** Statements, as lines and nested lists of lines. */
export const statements = (c, depth, count) => {
  const all = [];
  for (let i = 0; i < count; i += 1) all.push(...statement(c, depth));
  return all;
};

const block = (c, depth, most = 3) => c.within({}, () => statements(c, depth - 1, c.random.between(1, most)));

const statement = (c, depth) => {
  const kinds = [
    [10, () => declaration(c)],
    [8, () => [`log(${c.random.list(1, 3, () => expression(c, someType(c), 3)).join(', ')});`]],
    [8, () => [`${expressionStatement(c)};`]],
    [4, () => destructuring(c)],
    [3, () => [`(${assignmentPattern(c)} = ${source(c)});`]],
    [3, () => driveGenerator(c)],
    [3, () => collectionLoop(c, depth)],
    [9, () => scene(c, depth)],
    [2, () => thrown(c)],
    [exits(c) ? 5 : 0, () => exit(c)],
    [c.frame.yields ? 6 : 0, () => [`${expression(c, 'any', 0)}; yield ${expression(c, 'any', 2)};`]],
    [c.frame.yields ? 2 : 0, () => [`log(yield* ${iterable(c, 2)});`]],
    [c.frame.awaits ? 5 : 0, () => [`log(await ${awaitable(c, 2)});`]],
  ];
  if (depth > 0) {
    kinds.push(
      [6, () => conditional(c, depth)],
      [10, () => loop(c, depth)],
      [10, () => tryStatement(c, depth)],
      [5, () => switchStatement(c, depth)],
      [3, () => labelled(c, depth)],
      [3, () => deadZone(c, depth)],
      [c.functionDepth < 3 ? 5 : 0, () => functionDeclaration(c, depth)],
      [c.functionDepth < 3 ? 4 : 0, () => classDeclaration(c, depth)],
      [3, () => closures(c)],
      [c.frame.awaits ? 3 : 0, () => concurrent(c)],
    );
  }
  return c.random.weighted(kinds)();
};

const declaration = c => {
  const type = someType(c);
  const name = c.fresh();
  const keyword = c.random.weighted([[6, 'let'], [2, 'const'], [2, 'var']]);
  const value = expression(c, type, 3);
  if (keyword === 'const' && c.chance(25)) {
    // Mutable as far as the generator knows: assignments to it throw.
    c.declare(name, type, c.chance(10));
  } else {
    c.declare(name, type, keyword !== 'const');
  }
  return [`${keyword} ${name} = ${value};`];
};

const expressionStatement = c => {
  const text = expression(c, someType(c), 3);
  return /^(?:\{|function|class|async|let|\[|`|\/|\()/.test(text) ? `void ${text}` : text;
};

const destructuring = c => {
  const { text, names } = binding(c, 2);
  const keyword = c.pick(['let', 'const', 'let', 'var']);
  const line = `${keyword} ${text} = ${source(c)};`;
  names.forEach(name => c.declare(name, 'any', keyword !== 'const'));
  return [line];
};

const thrown = c => {
  const value = c.pick([`new Error('${c.place()}')`, expression(c, 'any', 1), `'thrown ${c.place()}'`]);
  return [`if (${expression(c, 'bool', 1)}) throw ${value};`];
};

const exits = c => c.frame.returns || c.frame.breaks.length > 0;

/** Leaves a loop, a block or the function; half of the time under a condition. */
const exit = c => {
  const kinds = c.frame.breaks.map(label => `break ${label}`.trim()).concat(c.frame.continues.map(label => `continue ${label}`.trim()));
  if (c.frame.returns) kinds.push(`return ${expression(c, 'any', 2)}`);
  const text = `${c.pick(kinds)};`;
  return [c.chance(70) ? `if (${expression(c, 'bool', 1)}) ${text}` : text];
};

const conditional = (c, depth) => {
  const lines = [`if (${expression(c, 'bool', 2)}) {`, block(c, depth)];
  if (c.chance(50)) lines.push('} else {', block(c, depth));
  return [...lines, '}'];
};

const body = (c, depth, label = '', more = () => []) => c.within(
  { breaks: [...c.frame.breaks, '', ...(label ? [label] : [])], continues: [...c.frame.continues, '', ...(label ? [label] : [])] },
  () => [...more(), ...statements(c, depth - 1, c.random.between(1, 3))],
);

/** A loop of any kind. Every one ends, whatever its body does: nothing else assigns to its counter. */
const loop = (c, depth, label = '') => {
  const head = label ? `${label}: ` : '';
  const i = c.fresh('i');
  const count = c.random.between(1, 4);
  const bound = c.random.weighted([[5, () => String(count)], [2, () => `t(${c.place()}, ${count})`], [2, () => `ob(${c.place()}, ${count})`], [1, () => (c.variable('str') ? `Math.min(${c.variable('str').name}.length, 4)` : '2')]])();
  const inside = more => body(c, depth, label, () => {
    c.declare(i, 'num', false);
    return more ? more() : [];
  });
  return c.random.weighted([
    [5, () => [`${head}for (let ${i} = 0; ${i} < ${bound}; ${i}${c.pick(['++', ' += 1'])}) {`, inside(), '}']],
    [2, () => [`${head}for (let ${i} = 0, ${i}b = ${expression(c, 'num', 1)}; ${i} < ${bound} && ${expression(c, 'bool', 1)}; ${i} += 1, t(${c.place()})) {`, inside(), '}']],
    [3, () => [`let ${i} = 0;`, `${head}while (${i}++ < ${bound}) {`, inside(), '}']],
    [2, () => [`let ${i} = 0;`, `${head}do {`, inside(), `} while (++${i} < ${bound}${c.chance(30) ? ` && ${expression(c, 'bool', 1)}` : ''});`]],
    [2, () => [`let ${i} = 0;`, `${head}for (;;) {`, inside(() => [`if (${i}++ >= ${count}) break;`]), '}']],
    [5, () => forOf(c, depth, head, label)],
    [2, () => [`${head}for (${c.pick(['const', 'let', 'var'])} ${i} in plain(${expression(c, c.pick(['obj', 'arr', 'str', 'any']), 2)})) {`, body(c, depth, label, () => [`log('in', ${i});`]), '}']],
    [2, () => liveLoop(c, depth, head, label)],
  ])();
};

const forOf = (c, depth, head, label) => {
  const items = c.frame.awaits && c.chance(30)
    ? c.random.weighted([[2, () => `asyncIter(${c.place()}, ${expression(c, 'arr', 1)})`], [1, () => `[${awaitable(c, 1)}, ${expression(c, 'any', 1)}]`], [2, () => (c.variable('agen') ? `${c.variable('agen').name}${callArguments(c, 1)}` : '[1]')]])()
    : undefined;
  const of = items ?? iterable(c, 2);
  const keyword = c.pick(['const', 'let', 'var']);
  let left;
  let names = [];
  if (c.chance(20)) {
    const made = binding(c, 1);
    left = `${keyword} ${made.text}`;
    names = made.names;
  } else if (c.chance(12)) {
    left = assignmentPattern(c, 0);
  } else {
    names = [c.fresh('x')];
    left = `${keyword} ${names[0]}`;
  }
  const inside = body(c, depth, label, () => {
    names.forEach(name => c.declare(name, 'any', keyword !== 'const'));
    return ['if (clipped()) break;'];
  });
  return [`${head}for ${items ? 'await ' : ''}(${left} of ${of}) {`, inside, '}'];
};

/** A loop whose condition is a live import that its body changes. */
const liveLoop = (c, depth, head, label) => {
  const count = c.random.between(1, 4);
  return [
    `live.reset(${count});`,
    `${head}${c.pick([`while (left > 0) {`, `for (; 0 < left;) {`, `for (const end = 0; left !== end; t(${c.place()})) {`])}`,
    body(c, depth, label, () => ['live.take();']),
    '}',
    'log(left);',
  ];
};

/** Closures made in a loop, called after it. */
const closures = c => {
  const list = c.fresh('c');
  const i = c.fresh('i');
  const kind = c.random.below(3);
  const heads = [`for (let ${i} = 0; ${i} < 3; ${i}++) {`, `for (const ${i} of ${iterable(c, 1)}) {`, `for (let ${i} in { a: 1, b: 2 }) {`];
  const inside = c.inFunction({ supers: c.frame.supers }, () => {
    c.declare(i, kind === 0 ? 'num' : 'any', kind === 2);
    return [`${list}.push(() => ${kind === 0 ? `[${i}, ${expression(c, 'num', 1)}]` : `[${i}, ${expression(c, 'any', 1)}]`});`];
  });
  return [`const ${list} = [];`, heads[kind], inside, '}', `log(${list}.map(f => attempt(f)));`];
};

const completion = (c, depth) => c.within({}, () => {
  const lines = statements(c, depth - 1, c.random.below(3));
  if (c.chance(50) && exits(c)) lines.push(...exit(c));
  if (c.chance(25)) lines.push(...thrown(c));
  return lines.length > 0 ? lines : [`t(${c.place()});`];
});

const tryStatement = (c, depth) => {
  const lines = ['try {', completion(c, depth)];
  const form = c.random.below(3);
  if (form !== 1) {
    const how = c.random.below(3);
    if (how === 0) {
      lines.push('} catch {', completion(c, depth));
    } else if (how === 1) {
      const { text, names } = binding(c, 0);
      lines.push(`} catch (${text}) {`, c.within({}, () => { names.forEach(name => c.declare(name, 'any', true)); return completion(c, depth); }));
    } else {
      const name = c.fresh('e');
      lines.push(`} catch (${name}) {`, [`log('caught', ${name});`, ...c.within({}, () => { c.declare(name, 'any', true); return completion(c, depth); })]);
    }
  }
  if (form !== 0) lines.push('} finally {', [`t(${c.place()});`, ...completion(c, depth)]);
  return [...lines, '}'];
};

const switchStatement = (c, depth) => {
  const type = c.pick(['num', 'str', 'any']);
  const lines = [];
  c.within({ breaks: [...c.frame.breaks, ''] }, () => {
    const at = c.random.below(4);
    for (let i = 0; i < 3; i += 1) {
      if (i === at) lines.push('default:', statements(c, depth - 1, c.random.below(3)));
      lines.push(`case ${expression(c, type, 1)}:`, statements(c, depth - 1, c.random.below(3)));
      if (c.chance(50)) lines.push('break;');
    }
  });
  return [`switch (${expression(c, type, 2)}) {`, lines, '}'];
};

const labelled = (c, depth) => {
  const label = c.fresh('L');
  if (c.chance(65)) return loop(c, depth, label).flat(0);
  const inside = c.within({ breaks: [...c.frame.breaks, label] }, () => [...statements(c, depth - 1, 2), ...(c.chance(60) ? [`if (${expression(c, 'bool', 1)}) break ${label};`] : []), ...statements(c, depth - 1, 1)]);
  return [`${label}: {`, inside, '}'];
};

/** Reads a binding before its declaration, directly and through closures. */
const deadZone = (c, depth) => {
  const name = c.fresh('z');
  const keyword = c.pick(['let', 'const', 'class']);
  const value = keyword === 'class' ? '{}' : `= ${c.chance(30) ? `${name} + ` : ''}${expression(c, 'num', 1)}`;
  const uses = [`log(attempt(() => ${name}));`, `log(attempt(() => typeof ${name}));`, `log(attempt(() => (${name} = 1)));`, `log(attempt(() => ${name}++));`, `try { log(${name}); } catch (e) { log(e); }`, `try { ${name} = 3; } catch (e) { log(e); }`];
  const inner = c.within({}, () => statements(c, depth - 1, 1));
  const lines = ['try {', [...c.random.shuffled(uses).slice(0, c.random.between(1, 3)), ...inner, `${keyword} ${name} ${value};`, `log(attempt(() => (${name} = 5)), attempt(() => show(${name})));`], '} catch (e) {', [`log('dead', e);`], '}'];
  return lines;
};

/** Maps and sets that change while they are iterated. */
const collectionLoop = (c, depth) => {
  const name = c.fresh('m');
  const isMap = c.chance(50);
  const keys = () => c.pick(['1', '2', '3', `'a'`, `'b'`, 'NaN', '-0', expression(c, 'num', 1)]);
  const put = () => (isMap ? `${name}.set(${keys()}, ${expression(c, 'any', 1)})` : `${name}.add(${keys()})`);
  const change = () => c.random.weighted([[3, () => `${name}.delete(${keys()})`], [2, () => `${name}.clear()`], [4, put]])();
  const fill = isMap ? `new Map([[1, 'x'], [2, 'y'], ['a', ${expression(c, 'any', 1)}]])` : `new Set([1, 2, 'a', ${expression(c, 'any', 1)}])`;
  const item = c.fresh('x');
  const changes = () => c.inFunction({ supers: c.frame.supers }, () => c.random.list(1, 3, () => (c.chance(50) ? `if (${name}.size < 6) ${change()};` : `if (${c.pick(['1', '2', `'a'`])} === ${item}) ${change()};`)));
  const limit = c.fresh('n');
  return c.chance(70)
    ? [`const ${name} = ${fill};`, `let ${limit} = 0;`, `for (const ${item} of ${name}.${c.pick(['keys', 'values'])}()) {`, [`log(${item});`, `if (${limit}++ > 8) break;`, ...changes(), ...c.within({}, () => statements(c, Math.min(1, depth - 1), c.random.below(2)))], '}', `log(${name}, ${name}.size);`]
    : [`const ${name} = ${fill};`, `let ${limit} = 0;`, `${name}.forEach((_, ${item}) => {`, [`log(${item});`, `if (${limit}++ > 8) return;`, ...changes()], '});', `log([...${name}]);`];
};

/** Several async functions under way at once. */
const concurrent = c => {
  const all = c.random.list(2, 3, () => `(async () => { ${c.inFunction({ awaits: true, supers: c.frame.supers }, () => c.random.list(1, 3, () => `log(${c.place()}, await ${awaitable(c, 1)});`).join(' '))} return ${c.place()}; })()`);
  return [`log(await Promise.${c.pick(['allSettled', 'allSettled', 'all', 'race'])}([${all.join(', ')}]).catch(e => ['rejected', e]));`];
};
