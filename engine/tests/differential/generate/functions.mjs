import { expression, someType, wrapped } from './expressions.mjs';
import { binding } from './patterns.mjs';
import { statements } from './statements.mjs';

/** Parameters, declared in the current scope. */
export const parameters = (c, count) => {
  const parts = [];
  for (let i = 0; i < count; i += 1) {
    if (c.chance(12)) {
      const { text, names } = binding(c, 1);
      names.forEach(name => c.declare(name, 'any', true));
      parts.push(`${text}${c.chance(50) ? ` = ${expression(c, c.pick(['arr', 'obj']), 1)}` : ''}`);
    } else {
      const name = c.fresh('p');
      parts.push(`${name}${c.chance(30) ? ` = ${expression(c, someType(c), 1)}` : ''}`);
      c.declare(name, 'any', true);
    }
  }
  if (c.chance(15)) parts.push(`...${c.declare(c.fresh('r'), 'arr', true)}`);
  return parts.join(', ');
};

export const callArguments = (c, d) => {
  const parts = c.random.list(0, 3, () => (c.chance(10) ? `...${expression(c, 'arr', d - 1)}` : expression(c, someType(c), Math.max(0, d - 1))));
  return `(${parts.join(', ')})`;
};

/** An arrow function of one line. */
export const arrow = (c, arity, type, d) => c.inFunction({ supers: c.frame.supers }, () => {
  const list = parameters(c, arity);
  const body = expression(c, type, Math.max(0, d));
  const text = c.chance(80) ? wrapped(body) : `{ tick(); return ${body}; }`;
  return `((${list}) => ${text})`;
});

const KINDS = [
  [4, { head: 'function ', type: 'fn', frame: {} }],
  [3, { head: 'function* ', type: 'gen', frame: { yields: true } }],
  [3, { head: 'async function ', type: 'async', frame: { awaits: true } }],
  [2, { head: 'async function* ', type: 'agen', frame: { awaits: true, yields: true } }],
];

/** A function declaration of any kind; later statements may call it. */
export const functionDeclaration = (c, depth) => {
  const kind = c.random.weighted(KINDS);
  const name = c.fresh('f');
  const lines = c.inFunction(kind.frame, () => {
    // Parameters come first: yield and await are not allowed among them.
    const list = c.within({ yields: false, awaits: false, breaks: [] }, () => {
      const text = parameters(c, c.random.below(4));
      return { text, names: c.scopes.at(-1) };
    });
    c.scopes.at(-1).push(...list.names);
    return [`${kind.head}${name}(${list.text}) {`, ['tick();', ...statements(c, depth - 1, c.random.between(1, 4)), `return ${expression(c, 'any', 2)};`], '}'];
  });
  c.declare(name, kind.type, false);
  return lines;
};

/** Drives a generator by hand, and logs what comes. */
export const driveGenerator = c => {
  const maker = c.variable('gen');
  const other = c.variable('agen');
  if (c.frame.awaits && other && (!maker || c.chance(50))) return drive(c, other.name, 'await ');
  return maker ? drive(c, maker.name, '') : [];
};

const drive = (c, maker, wait) => {
  const name = c.fresh('g');
  const steps = c.random.list(2, 6, () => {
    const how = c.random.weighted([[7, 'next'], [1, 'return'], [2, 'throw']]);
    const value = expression(c, c.pick(['num', 'str', 'arr', 'obj']), 0);
    return `try { log(${wait}${name}.${how}(${value})); } catch (e) { log('caught', e); }`;
  });
  return [`const ${name} = ${maker}${callArguments(c, 1)};`, ...steps];
};

const memberName = c => c.pick(['m', 'n', `[t(${c.place()}, 'm')]`, '#p', '#q', 'static m', 'static #s', `static [t(${c.place()}, 'n')]`]);

/** The bodies of a class; private names are used only once each. */
const members = (c, derived, depth, used) => {
  const lines = [];
  const body = (frame, least = 1) => c.inFunction({ supers: true, ...frame }, () => {
    const list = c.within({ yields: false, awaits: false }, () => {
      const text = parameters(c, c.random.below(3));
      return { text, names: c.scopes.at(-1) };
    });
    c.scopes.at(-1).push(...list.names);
    const inner = statements(c, depth - 1, c.random.between(least, 3));
    return [list.text, [...inner, `return ${expression(c, 'any', 2)};`]];
  });
  for (let i = c.random.between(1, 5); i > 0; i -= 1) {
    const name = memberName(c);
    const key = name.replace('static ', '');
    if (key.startsWith('#')) {
      if (used.has(key)) continue;
      used.add(key);
    }
    const value = () => c.inFunction({ supers: true, returns: false }, () => expression(c, someType(c), 2));
    c.random.weighted([
      [4, () => lines.push(`${name} = ${value()};`)],
      [2, () => lines.push(`${name} = (${c.fresh('p')}) => ${wrapped(value())};`)],
      [3, () => { const [list, inner] = body({}); lines.push(`${name}(${list}) {`, inner, '}'); }],
      [2, () => { const [, inner] = body({}); lines.push(`${name.replace(key, `get ${key}`)}() {`, inner, '}'); }],
      [1, () => { const [list, inner] = body({ yields: true }); lines.push(`${name.replace(key, `*${key}`)}(${list}) {`, inner, '}'); }],
      [1, () => { const [list, inner] = body({ awaits: true }); lines.push(`${name.replace(key, `async ${key}`)}(${list}) {`, inner, '}'); }],
      [1, () => {
        if (key.startsWith('#')) used.delete(key);
        const inner = c.inFunction({ supers: true, returns: false, statics: true }, () => statements(c, depth - 1, 2));
        lines.push('static {', inner, '}');
      }],
    ])();
  }
  const uses = [...used].filter(name => name.startsWith('#'));
  const see = name => `log('${name}', attempt(() => ${c.pick([`show(this.${name})`, `'${name}' && ${name} in this`, `typeof this.${name}`])}));`;
  lines.push('see() {', [...uses.map(see), `log(new.target, Object.keys(this));`], '}');
  return lines;
};

/** A class, mostly derived from one before it, and uses of it. */
export const classDeclaration = (c, depth) => {
  const name = c.fresh('C');
  const parent = c.variable('class');
  const heritage = parent && c.chance(60) ? ` extends ${c.pick([parent.name, `t(${c.place()}, ${parent.name})`])}` : c.chance(8) ? ' extends Map' : c.chance(5) ? ' extends null' : '';
  const used = new Set();
  const lines = [`class ${name}${heritage} {`];
  if (c.chance(50)) {
    const inner = c.inFunction({ supers: true, constructs: true }, () => {
      const list = parameters(c, c.random.below(3));
      const before = heritage ? [c.pick([`super(${expression(c, 'num', 1)});`, 'super();', '(() => super())();', `try { log(this); } catch (e) { log(e); } super(${heritage.includes('Map') ? '' : '1'});`])] : [];
      const field = `this.own = ${expression(c, someType(c), 2)};`;
      return [`constructor(${list}) {`, [...before, field, ...c.random.list(0, 2, () => `log(${expression(c, 'any', 1)}, new.target === ${name});`), ...(c.chance(15) ? [`return ${expression(c, c.pick(['obj', 'any']), 1)};`] : [])], '}'];
    });
    lines.push(inner);
  }
  lines.push(members(c, heritage !== '', depth, used), '}');
  const made = c.fresh('o');
  const use = [
    ...lines.flatMap(line => [line]),
    `let ${made} = {};`,
    `try { ${made} = new ${name}${callArguments(c, 1)}; log(${made}); } catch (e) { log('new', e); }`,
    `log(attempt(() => ${made}.see()));`,
    `log(attempt(() => show(${made}.${c.pick(['m', 'n', 'own', 'constructor'])})), attempt(() => show(${c.pick([made, name])}.${c.pick(['m', 'n'])}${c.inFunction({}, () => callArguments(c, 1))})));`,
  ];
  c.declare(name, 'class', false);
  c.declare(made, 'obj', true);
  return use;
};
