// What the suites share: a folder to work in, the `vat` command, and tables.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = dirname(fileURLToPath(import.meta.url));

export const fail = message => {
  console.error(message);
  process.exit(2);
};

/** A folder to work in: that of `WORK`, which is kept, or a new one. */
export const workFolder = name => {
  const folder = process.env.WORK ?? mkdtempSync(join(tmpdir(), `quorate-${name}-`));
  mkdirSync(folder, { recursive: true });
  return folder;
};

export const write = (path, text) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
};

export const read = path => readFileSync(path, 'utf8');

export const copy = (from, to) => cpSync(from, to, { recursive: true, dereference: false });

/** Installs packages of npm there, unless they are there. */
export const install = (folder, packages) => {
  const missing = packages.filter(name => !existsSync(join(folder, 'node_modules', name.replace(/(.)@.*/, '$1'), 'package.json')));
  if (missing.length === 0) return;
  if (!existsSync(join(folder, 'package.json'))) write(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  const done = spawnSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--legacy-peer-deps', ...missing], { cwd: folder, encoding: 'utf8' });
  if (done.status !== 0) fail(`npm install ${missing.join(' ')}: ${done.stderr}`);
};

/** Runs `vat test` on files, and gives its reports. */
export const vatTest = (folder, files, { fuel = 1e14 } = {}) => {
  const vat = process.env.VAT ?? fail('VAT names the vat command: run this by make');
  const done = spawnSync(vat, ['test', '--json', '--fuel', String(fuel), ...files], { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 30 });
  const reports = done.stdout.split('\n').filter(Boolean).map(line => {
    try {
      return JSON.parse(line);
    } catch {
      return fail(`vat test says ${line}\n${done.stderr}`);
    }
  });
  const wrong = reports.find(report => report.error !== undefined && report.result === undefined && report.passed === undefined);
  if (reports.length === 0) fail(`vat test says nothing\n${done.stderr}`);
  return { reports: reports.filter(report => report.test !== undefined), wrong, stderr: done.stderr };
};

/** Lines that a driver printed as JSON behind this word. */
export const printed = (report, word) =>
  (report.console ?? [])
    .filter(({ vat, text }) => vat === 'test' && text.startsWith(`${word} `))
    .map(({ text }) => JSON.parse(text.slice(word.length + 1)));

export const table = rows => {
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => String(row[column]).length)));
  for (const row of rows) console.log(row.map((cell, column) => (column === 0 ? String(cell).padEnd(widths[0]) : String(cell).padStart(widths[column]))).join('  '));
};
