import { Context } from './context.mjs';
import { statements } from './statements.mjs';

export const HEAD = `import { asyncIter, attempt, clip, fail, iter, log, ob, old, plain, show, spy, t, thenable, tick } from './lib.js';
import { left } from './SELF';
import * as self from './SELF';
export { remaining as left };
let remaining = 0;
const live = { reset(n) { remaining = n; }, take() { remaining -= 1; } };
let rounds = 0;
const clipped = () => { rounds += 1; return rounds > 300; };
const toBig = v => { try { return BigInt(v); } catch { return 11n; } };
`;

const render = (lines, indent) => lines.map(line => (Array.isArray(line) ? render(line, `${indent}  `) : `${indent}${line}`)).filter(text => text !== '').join('\n');

/** Encloses what declares nothing, mostly, so that the rest of the program still runs after a throw. */
const guarded = (c, lines) => {
  const declares = lines.some(line => typeof line === 'string' && /^(?:let|const|class|function|async function)\b/.test(line));
  return declares || c.chance(10) ? lines : ['try {', lines, `} catch (e) {`, [`log('main', e);`], '}'];
};

/** The program of a seed: the text of a module called `name`. */
export const program = (seed, name) => {
  const c = new Context(seed);
  const parts = [HEAD.replaceAll('SELF', name).trimEnd()];
  for (const [type, value] of [['num', '3'], ['str', `'str'`], ['any', 'undefined'], ['arr', '[5, 6]'], ['obj', '({ a: 1, b: { c: 2 } })']]) {
    if (c.chance(70)) parts.push(`${c.pick(['let', 'var'])} ${c.declare(c.fresh('g'), type, true)} = ${value};`);
  }
  if (c.chance(20)) {
    c.frame = { ...c.frame, awaits: true };
    parts.push('try {', render(c.block(() => statements(c, 2, 2)), '  '), '} catch (e) {', `  log('top', e);`, '}');
    c.frame = { ...c.frame, awaits: false };
  }
  const isAsync = c.chance(50);
  const inner = c.inFunction({ awaits: isAsync }, () => {
    const all = [];
    for (const type of ['num', 'num', 'str', 'any']) {
      all.push(`let ${c.fresh()} = ${{ num: '2', str: `'w'`, any: 'null' }[type]};`);
      c.declare(`v${c.names}`, type, true);
    }
    for (let i = c.random.between(3, 9); i > 0; i -= 1) {
      all.push(...guarded(c, statements(c, 3, 1)));
    }
    all.push(`return [${c.visible().filter(one => ['num', 'str', 'any', 'bool', 'big'].includes(one.type)).slice(-10).map(one => one.name).join(', ')}];`);
    return all;
  });
  parts.push(`export default ${isAsync ? 'async ' : ''}function main() {`, render(inner, '  '), '}');
  return `${parts.join('\n')}\n`;
};
