// Which of the tests that fail in the image also fail in Node under the same lockdown?
//
//   node baseline.mjs CHECKOUT < paths > the paths of those that fail here too
//
// Such a test fails because primordials and the global object are frozen, or because a module is not the script that the test
// wants to be; the interpreter has no part in it. The list of failures has a section for them.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const guest = join(here, '../../guest');
const [checkout, isChild] = process.argv.slice(2);

const DONE = `
let t262End;
export const t262 = new Promise((fulfil, reject) => { t262End = { fulfil, reject }; });
function $DONE(error) { if (error === undefined || error === null) t262End.fulfil(); else t262End.reject(error); }
`;

const listed = (front, name) => {
  const inline = new RegExp(`^\\s*${name}:\\s*\\[([^\\]]*)\\]`, 'm').exec(front);
  if (inline) return inline[1].split(',').map(one => one.trim()).filter(Boolean);
  const lines = new RegExp(`^\\s*${name}:\\s*\\n((?:\\s*- .*\\n?)+)`, 'm').exec(front);
  return lines ? lines[1].split('\n').map(line => line.replace(/^\s*- /, '').trim()).filter(Boolean) : [];
};

/** As the runner does it. */
const fitted = text => text
  .replace('!Object.prototype.hasOwnProperty.call(globalThis, "$DONE")', 'false')
  .replace('if (ArrayBuffer.prototype.transferToImmutable) {', 'if (false) {');

/** Runs one test in this process, and says how it failed. */
const failureOf = async (path, folder) => {
  const text = readFileSync(join(checkout, path), 'utf8');
  const front = (/\/\*---([\s\S]*?)---\*\//.exec(text)?.[1] ?? '').replace(/\r\n?/g, '\n');
  const harness = ['assert.js', 'sta.js', ...listed(front, 'includes')].map(name => readFileSync(join(checkout, 'harness', name), 'utf8'));
  const isAsync = listed(front, 'flags').includes('async');
  const negative = /negative:[\s\S]*?type:\s*(\w+)/.exec(front)?.[1];
  const file = join(folder, `${path.replaceAll('/', '+')}.mjs`);
  writeFileSync(file, `${DONE}${fitted(harness.join('\n'))}\n${text}${isAsync ? '' : '\n$DONE();\n'}`);
  try {
    const { t262 } = await import(pathToFileURL(file).href);
    await t262;
    return negative ? 'ended well' : '';
  } catch (error) {
    return negative && error?.constructor?.name === negative ? '' : 'failed';
  }
};

/** Runs tests one after another under lockdown; says of each how it failed. */
const runHere = async paths => {
  process.on('unhandledRejection', () => {});
  createRequire(import.meta.url)(join(guest, 'js/node_modules/ses/dist/ses.umd.js'));
  (0, eval)(readFileSync(join(guest, 'src/boot/js/lockdown.js'), 'utf8'));
  Object.freeze(globalThis);
  const folder = mkdtempSync(join(tmpdir(), 'test262-'));
  // Tests with fixtures import them from their own folder, which is not there: they count as failed.
  for (const path of paths) writeSync(1, `${JSON.stringify([path, await failureOf(path, folder)])}\n`);
  rmSync(folder, { recursive: true });
  process.exit(0);
};

let paths = readFileSync(0, 'utf8').split('\n').filter(Boolean);
if (isChild) {
  await runHere(paths);
} else {
  // A test may not end: what was under way when the time was over has failed, and a new process goes on after it.
  while (paths.length > 0) {
    const some = paths.slice(0, 200);
    const options = { encoding: 'utf8', timeout: 60000, input: some.join('\n') };
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), checkout, 'here'], options);
    const done = run.stdout.split('\n').filter(line => line.endsWith(']')).map(line => JSON.parse(line));
    for (const [path, failure] of done) if (failure !== '') process.stdout.write(`${path}\n`);
    if (done.length < some.length) process.stdout.write(`${some[done.length]}\n`);
    paths = paths.slice(done.length < some.length ? done.length + 1 : done.length);
  }
}
