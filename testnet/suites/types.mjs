// Compiles the projects that `vat new` makes, and a contract that uses what vats give, with the TypeScript compiler: see README.md.
// usage: node types.mjs
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fail, here, install, read, workFolder, write } from './lib.mjs';

const work = workFolder('types');
const vat = process.env.VAT ?? fail('VAT names the vat command: run this by make');
install(work, ['typescript@5']);
for (const [name, flags] of [['plain', []], ['typed', ['--typescript']]]) {
  const project = join(work, name);
  if (existsSync(project)) rmSync(project, { recursive: true });
  const made = spawnSync(vat, ['new', name, ...flags], { cwd: work, encoding: 'utf8' });
  if (made.status !== 0) fail(`vat new: ${made.stderr}`);
  if (name === 'typed') for (const file of ['ledger.ts', 'ledger.test.ts', 'swingset.ts']) write(join(project, file), read(join(here, 'types', file)));
  const strict = name === 'typed' ? ['--strict'] : [];
  const checked = spawnSync(join(work, 'node_modules/.bin/tsc'), ['--noEmit', ...strict, '-p', project], { encoding: 'utf8' });
  if (checked.status !== 0) fail(`${name}: ${checked.stdout}`);
  for (const file of name === 'typed' ? ['ledger.ts', 'swingset.ts'] : []) {
    const bundled = spawnSync(vat, ['check', join(name, file)], { cwd: work, encoding: 'utf8' });
    if (bundled.status !== 0) fail(`vat check ${file}: ${bundled.stderr}`);
  }
  console.log(`${name}: tsc ${strict.join(' ')} finds nothing`);
}
