// Runs the tests that Endo's packages bring with them, in vats, and says how many pass: see README.md.
// usage: node endo.mjs CHECKOUT [--inlined] [--node] [PACKAGE]...
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { copy, fail, here, install, printed, read, table, vatTest, workFolder, write } from './lib.mjs';

const PACKAGES = ['common', 'errors', 'eventual-send', 'exo', 'far', 'marshal', 'nat', 'pass-style', 'patterns', 'promise-kit', 'captp', 'stream', 'ses'];
const FUEL = 100_000_000_000;
const MEMORY_MB = 512;

const [checkout, ...options] = process.argv.slice(2);
const inlined = options.includes('--inlined');
const compared = options.includes('--node');
const chosen = options.filter(option => !option.startsWith('--'));
if (checkout === undefined || !existsSync(join(checkout, 'packages/pass-style'))) fail('endo.mjs: name a checkout of https://github.com/endojs/endo');
const packages = chosen.length > 0 ? chosen : PACKAGES;
const work = workFolder('endo');

// The packages as they are, where a vat's bundler finds them as a project does; ava and what is around it are stand-ins.
const prepare = () => {
  const shims = join(work, 'node_modules');
  install(work, ['fast-check', '@fast-check/ava', 'core-js', ...(inlined ? ['esbuild'] : [])]);
  const folders = readdirSync(join(checkout, 'packages'));
  for (const name of folders) {
    const from = join(checkout, 'packages', name);
    const manifest = join(from, 'package.json');
    if (!existsSync(manifest)) continue;
    const to = join(work, 'packages', name);
    if (!existsSync(to)) copy(from, to);
    const link = join(shims, JSON.parse(read(manifest)).name);
    if (existsSync(link)) rmSync(link, { recursive: true });
    mkdirSync(join(link, '..'), { recursive: true });
    symlinkSync(relative(join(link, '..'), to), link);
  }
  rmSync(join(shims, 'ava'), { recursive: true, force: true });
  write(join(shims, 'ava/package.json'), '{ "name": "ava", "type": "module", "main": "index.js" }\n');
  write(join(shims, 'ava/index.js'), read(join(here, 'shims/ava.js')));
  const wrapper = join(shims, '@endo/ses-ava');
  rmSync(wrapper, { recursive: true, force: true });
  write(join(wrapper, 'package.json'), '{ "name": "@endo/ses-ava", "type": "module", "main": "index.js" }\n');
  for (const file of ['index', 'test', 'prepare-endo', 'exported']) write(join(wrapper, `${file}.js`), "export { default, test } from 'ava';\nexport const wrapTest = test => test;\n");
};

const filesOf = folder =>
  readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name.startsWith('_') || entry.name === 'fixtures' || entry.name === 'node_modules' ? [] : filesOf(path);
    return /(^test-.*|\.test)\.m?js$/.test(entry.name) ? [path] : [];
  });

const entryOf = (name, file) => {
  const key = `${name}__${relative(join(work, 'packages', name, 'test'), file).replaceAll(/[/.]/g, '_')}`;
  const entry = join(work, 'entries', `${key}.js`);
  for (const shim of ['globals.js', 'fast-check.js']) write(join(work, 'entries', shim), read(join(here, 'shims', shim)));
  const tests = relative(join(entry, '..'), file);
  const { devDependencies = {}, dependencies = {} } = JSON.parse(read(join(work, 'packages', name, 'package.json')));
  const seed = 'fast-check' in { ...dependencies, ...devDependencies } || '@fast-check/ava' in devDependencies ? "import './fast-check.js';\n" : '';
  write(entry, read(join(here, 'shims/entry.js')).replace("import 'the-tests';", `${seed}import '${tests}';`));
  return { key, file: relative(work, file), entry: relative(work, entry) };
};

// One file for each entry, in which nothing takes the place of a package: what does lockdown is left out, as it is done.
const inline = async entries => {
  const { build } = await import(join(work, 'node_modules/esbuild/lib/main.js'));
  const done = /^(ses|@endo\/init|@endo\/lockdown)(\/.*)?$/;
  const ofSes = join(work, 'packages/ses');
  const stub = {
    name: 'lockdown is done',
    setup(on) {
      on.onResolve({ filter: done }, () => ({ path: 'done', namespace: 'done' }));
      on.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
        const target = join(resolveDir, path);
        const inRoot = relative(ofSes, target);
        return /^(index|lockdown|assert-shim|compartment-shim|console-shim|lockdown-shim)\.js$/.test(inRoot) ? { path: 'done', namespace: 'done' } : undefined;
      });
      on.onLoad({ filter: /.*/, namespace: 'done' }, () => ({ contents: '' }));
    },
  };
  for (const entry of entries) {
    const outfile = join(work, 'inlined', `${entry.key}.js`);
    try {
      await build({
        entryPoints: [join(work, entry.entry)], outfile, bundle: true, format: 'esm', platform: 'neutral', mainFields: ['module', 'main'],
        conditions: ['endo', 'import', 'module', 'default'], plugins: [stub], logLevel: 'silent', legalComments: 'none', charset: 'utf8',
      });
      entry.entry = relative(work, outfile);
    } catch (error) {
      entry.mistake = error.errors?.map(({ text }) => text).join('; ') ?? error.message;
    }
  }
};

// What comes of the same tests in Node.js, by their titles.
const inNode = entry => {
  write(join(work, 'baseline.mjs'), read(join(here, 'shims/baseline.mjs')));
  const done = spawnSync('node', ['baseline.mjs', entry], { cwd: work, encoding: 'utf8', timeout: 600_000, env: { ...process.env, LOCKDOWN_ERROR_TAMING: 'safe' } });
  const lines = done.stdout.split('\n').filter(line => line.startsWith('ran '));
  return new Map(lines.map(line => JSON.parse(line.slice(4))));
};

const driver = entries => `
const ENTRIES = ${JSON.stringify(entries)};
export default ({ test }) => {
  for (const { key, entry } of ENTRIES) {
    test(key, async t => {
      const suite = await t.vat('../' + entry, {}, { fuelPerDelivery: ${FUEL}, memoryMb: ${MEMORY_MB} });
      const titles = await E(suite).titles();
      for (let index = 0; index < titles.length; index += 1) {
        const [title, skipped] = titles[index];
        const ran = skipped ? 'skipped' : E(suite).run(index).catch(error => error.name + ': ' + error.message);
        const outcome = await Promise.race([ran, t.settle().then(() => 'it waits for what does not come')]);
        console.log('ran ' + JSON.stringify([title, String(outcome).slice(0, 400)]));
      }
      t.pass();
    });
  }
};
`;

prepare();
const rows = [['package', 'files', 'load', 'tests', 'pass', ...(compared ? ['pass in Node', 'only there'] : [])]];
const failures = [];
let totals = rows[0].slice(1).map(() => 0);
for (const name of packages) {
  const folder = join(work, 'packages', name, 'test');
  if (!existsSync(folder)) continue;
  const entries = filesOf(folder).sort().map(file => entryOf(name, file));
  if (inlined) await inline(entries);
  const counts = [entries.length, ...totals.slice(1).map(() => 0)];
  const passed = new Set();
  const ready = entries.filter(({ mistake }) => mistake === undefined);
  for (const { file, mistake } of entries.filter(entry => entry.mistake !== undefined)) failures.push([name, file, 'does not load', mistake]);
  const run = join(work, 'runs', `${name}.test.js`);
  write(run, driver(ready));
  const { reports } = vatTest(work, [relative(work, run)]);
  for (const report of reports) {
    const { file } = ready.find(({ key }) => key === report.test);
    const ran = printed(report, 'ran');
    if (ran.length === 0 && report.outcome === 'failed') {
      failures.push([name, file, 'does not load', report.failure.message.split('\n').slice(0, 3).join(' ')]);
      continue;
    }
    counts[1] += 1;
    for (const [title, outcome] of ran.filter(([, outcome]) => outcome !== 'skipped')) {
      counts[2] += 1;
      if (outcome === 'passed') {
        counts[3] += 1;
        passed.add(`${file}\t${title}`);
      } else failures.push([name, file, title, outcome]);
    }
    if (report.outcome === 'failed') failures.push([name, file, 'stopped', report.failure.message]);
  }
  for (const { file, entry } of compared ? ready : []) {
    for (const [title, outcome] of inNode(entry)) {
      if (outcome !== 'passed') continue;
      counts[4] += 1;
      if (passed.has(`${file}\t${title}`)) continue;
      counts[5] += 1;
      const known = failures.find(failure => failure[1] === file && (failure[2] === title || failure[2] === 'does not load'));
      if (known !== undefined) known[4] = 'passes in Node.js';
    }
  }
  rows.push([name, ...counts]);
  totals = totals.map((sum, at) => sum + counts[at]);
  console.error(`${name}: ${counts.join(' ')}`);
}
rows.push(['sum', ...totals]);
table(rows);
const list = join(work, inlined ? 'failures-inlined.txt' : 'failures.txt');
write(list, failures.map(([name, file, title, why, more = '']) => `${name}\t${file}\t${title}\t${why.replaceAll('\n', ' ')}\t${more}\n`).join(''));
console.log(`${failures.length} failures: ${list}`);
