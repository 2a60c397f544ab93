// Runs SwingSet's message patterns, with their own vats: see README.md.
// usage: node swingset.mjs CHECKOUT
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { copy, fail, install, printed, vatTest, workFolder, write } from './lib.mjs';

const [checkout] = process.argv.slice(2);
const tests = join(checkout ?? '', 'packages/SwingSet/test');
if (!existsSync(join(tests, 'message-patterns.js'))) fail('swingset.mjs: name a checkout of https://github.com/Agoric/agoric-sdk');
const work = workFolder('swingset');
install(work, ['@endo/errors', '@endo/far', '@endo/marshal', '@endo/promise-kit', '@endo/nat']);
for (const name of ['message-patterns.js', 'vat-util.js', 'basedir-message-patterns']) copy(join(tests, name), join(work, name));
copy(join(checkout, 'packages/kmarshal'), join(work, 'node_modules/@agoric/kmarshal'));

// In the place of SwingSet's bootstrap vat, whose references to b's and c's objects would reach a as promises of them: a asks b and c itself.
write(join(work, 'start-a.js'), `
import { buildRootObject as build } from './basedir-message-patterns/vat-a.js';
export const buildRootObject = (vatPowers, { b, c }, baggage) => {
  const root = build(vatPowers, {}, baggage);
  return Far('a', {
    async go(which) {
      const { bob, bert } = await E(b).init();
      const { carol } = await E(c).init();
      root.init(bob, bert, carol);
      await root.run(which);
    },
  });
};
`);
write(join(work, 'patterns.test.js'), `
import { buildPatterns } from './message-patterns.js';
const known = buildPatterns(() => {});
export default ({ test }) => {
  for (const name of [...known.patterns.keys()].sort()) {
    test(name, async t => {
      const [b, c] = [await t.vat('./basedir-message-patterns/vat-b.js', {}, { name: 'b' }), await t.vat('./basedir-message-patterns/vat-c.js', {}, { name: 'c' })];
      const a = await t.vat('./start-a.js', { b, c }, { name: 'a' });
      E(a).go(name).catch(error => console.log('failed ' + JSON.stringify([error.name, error.message])));
      await t.settle();
      console.log('expected ' + JSON.stringify([known.expected[name], known.expected_pipelined[name] ?? null]));
      t.pass();
    });
  }
};
`);
const { reports, stderr } = vatTest(work, ['patterns.test.js']);
if (reports.length === 0) fail(stderr);
let passed = 0;
for (const report of reports) {
  const [[expected, pipelined] = [undefined, null]] = printed(report, 'expected');
  const said = report.console.filter(({ vat, level }) => ['a', 'b', 'c'].includes(vat) && level === 'info').map(({ text }) => text);
  const is = wanted => wanted !== null && JSON.stringify(wanted) === JSON.stringify(said);
  if (report.outcome === 'passed' && (is(expected) || is(pipelined))) passed += 1;
  else console.log(`${report.test}: expected ${JSON.stringify(expected)}, and got ${JSON.stringify(said)} ${report.failure?.message ?? ''} ${JSON.stringify(printed(report, 'failed'))}`);
}
console.log(`${passed} of ${reports.length} message patterns`);
process.exit(passed === reports.length ? 0 : 1);
