import { expression, iterable, someType } from './expressions.mjs';

const KEYS = ['a', 'b', 'c', 'k', 'x'];

const initialiser = (c, d) => (c.chance(40) ? ` = ${expression(c, someType(c), d)}` : '');

/**
 * A binding or assignment pattern, `d` deep. `leaf` gives a name that is bound or a target that is assigned.
 * The names that a declaration binds are declared by the caller afterwards, so that initialisers may meet them unready.
 */
const pattern = (c, d, leaf) => (c.chance(50) ? arrayPattern(c, d, leaf) : objectPattern(c, d, leaf));

const arrayPattern = (c, d, leaf) => {
  const parts = c.random.list(1, 4, () => (c.chance(12) ? '' : target(c, d, leaf) + initialiser(c, d - 1)));
  if (c.chance(30)) parts.push(`...${c.chance(70) ? leaf() : target(c, d, leaf)}`);
  return `[${parts.join(', ')}${parts.at(-1) === '' ? ',' : ''}]`;
};

const objectPattern = (c, d, leaf) => {
  const key = () => c.pick([c.pick(KEYS), `[t(${c.place()}, '${c.pick(KEYS)}')]`, `'${c.pick(KEYS)}'`, `[${expression(c, 'str', 0)}]`, 'length']);
  const parts = c.random.list(1, 3, () => `${key()}: ${target(c, d, leaf)}${initialiser(c, d - 1)}`);
  if (c.chance(30)) parts.push(`...${leaf()}`);
  // Node evaluates the first target before it finds that it matches null or undefined; the standard says that this comes first.
  if (leaf.assigns) parts.unshift(`${c.pick(KEYS)}: ${c.variable('any', true)?.name ?? '({}).a'}`);
  return `{ ${parts.join(', ')} }`;
};

const target = (c, d, leaf) => (d > 0 && c.chance(20) ? pattern(c, d - 1, leaf) : leaf());

/** What a pattern is matched against. */
export const source = (c, d = 2) => c.random.weighted([
  [3, () => iterable(c, d)],
  [3, () => expression(c, 'obj', d)],
  [2, () => expression(c, 'arr', d)],
  [1, () => expression(c, 'any', d)],
  [1, () => `spy(${c.place()}, ${expression(c, c.pick(['obj', 'arr']), d)})`],
])();

/** A pattern for a declaration, and the names that it binds. */
export const binding = (c, d = 1) => {
  const names = [];
  const text = pattern(c, d, () => {
    const name = c.fresh('d');
    names.push(name);
    return name;
  });
  return { text, names };
};

/** A pattern for an assignment to what there is. */
export const assignmentPattern = (c, d = 1) => {
  const leaf = () => {
    const name = c.variable('any', true)?.name;
    const holder = c.variable('obj')?.name ?? '({})';
    const key = c.pick(KEYS);
    if (name && c.chance(50)) return name;
    return c.pick([`${holder}.${key}`, `t(${c.place()}, ${holder})[t(${c.place()}, '${key}')]`, `t(${c.place()}, ${holder}).${key}`]);
  };
  leaf.assigns = true;
  return pattern(c, d, leaf);
};
