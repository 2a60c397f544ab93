// What the attempts make of a world without defences: plain Node, with stand-ins for the runtime that do the obvious thing and no more. An attempt
// that cannot get through even here proves nothing.
//
//   node engine/tests/audit/undefended.mjs [FILE.js]…       prints for each attempt how many ways got through; exits 1 if none did, but for those in NOWHERE
//
// Each attempt runs in a process of its own, since it spoils what it can.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

// The runtime without care: promises are followed by their `then`, names are coerced, what looks like something is taken for it.
const RUNTIME = `
globalThis.Iterator ??= Object.assign(function Iterator() {}, { from: x => x });
if (!Object.hasOwn(Object.getPrototypeOf(Object.getPrototypeOf([].values())), 'constructor')) Iterator.prototype = Object.getPrototypeOf(Object.getPrototypeOf([].values()));
ArrayBuffer.prototype.transferToImmutable ??= function transferToImmutable() { return this.slice(0); };
const send = (x, f) => (typeof x?.then === 'function' ? x.then(f) : Promise.resolve(x).then(f));
const proxy = (x, make) => new Proxy(Object.assign(() => {}, { vow: x }), { get: (t, k) => (k === 'vow' ? x : make(k)), apply: (t, self, args) => send(x, o => o(...args)) });
let sent = 0;
globalThis.E = x => proxy(x, k => (...args) => { void x?.then; void args.map(y => \`\${y?.constructor?.name}\${y?.then}\`); return send(x, o => o[k](...args)); });
Object.assign(E, {
  get: x => new Proxy({}, { get: (t, k) => send(x, o => o[k]) }), sendOnly: x => { sent += 1; if (sent > 10_000) throw RangeError('too much'); return E(x); }, when: (x, f, g) => { try { \`\${x}\`; } catch {} return Promise.resolve(x).then(f, g); },
  resolve: x => { try { \`\${x}\`; } catch {} return Promise.resolve(x); }, cancel() {},
});
globalThis.harden = x => (ArrayBuffer.isView(x) ? x : Object.freeze(x));
globalThis.def = harden;
globalThis.Nat = x => Number(x);
globalThis.Far = (name, o = {}) => Object.assign(o, { [Symbol.toStringTag]: \`Alleged: \${name}\` });
globalThis.passStyleOf = x => {
  if (Object(x) !== x) return typeof x;
  if (Array.isArray(x)) { for (const y of x) if (Object(y) === y) passStyleOf(y); return 'copyArray'; }
  const tag = x[Symbol.for('passStyle')] ?? x[Symbol.toStringTag];
  if (tag === 'Promise' || typeof x.then === 'function') return 'promise';
  if (tag === 'tagged') return 'tagged';
  if (x instanceof Error) return 'error';
  if (x instanceof Uint8Array) return 'byteArray';
  if (x instanceof Array) return 'copyArray';
  let methods = typeof x === 'function' || String(tag).startsWith('Alleged');
  for (const key in x) { const value = x[key]; if (typeof value === 'function') methods = true; else if (Object(value) === value) passStyleOf(value); }
  return methods ? 'remotable' : 'copyRecord';
};
globalThis.Vow = class Vow { constructor(p) { this.p = p; this.e = E(p); } then(f, g) { return this.p.then(f, g); }
  static resolve(x) { return new Vow(Promise.resolve(x)); } static all(x) { void x.length?.valueOf?.(); return Promise.all(x); } static race(x) { return Promise.race(x); } static join(a) { return Vow.resolve(a); } static isVow(x) { return x instanceof Vow; } };
globalThis.asVow = x => Vow.resolve(x);
globalThis.Flow = class Flow {};
globalThis.makePromiseKit = () => { const kit = {}; kit.promise = new Promise((resolve, reject) => Object.assign(kit, { resolve, reject })); return kit; };
const evaluate = (text, names = {}) => { Object.assign(globalThis, names); return (0, eval)(String(text)); };
globalThis.Compartment = class Compartment { constructor(globals) { Object.assign(globalThis, globals?.__options__ ? globals.globals : globals); } get globalThis() { return globalThis; } evaluate(text, o) { return evaluate(text, o?.__moduleShimLexicals__); } import(name) { return import(name); } importNow() { return {}; } load(name) { return import(name); } };
globalThis.SES = { confine: (text, names) => evaluate(text, names), confineExpr: (text, names) => evaluate(\`(\${text})\`, names) };
`;
const MODULES = {
  far: 'export const { E, Far } = globalThis; export const passStyleOf = x => globalThis.passStyleOf(x); export const getInterfaceOf = x => x[Symbol.toStringTag];',
  'pass-style': "export const makeTagged = (tag, payload) => ({ [Symbol.for('passStyle')]: 'tagged', [Symbol.toStringTag]: `${tag}`, payload }); export const getTag = x => `${x[Symbol.toStringTag]}`; export const PASS_STYLE = Symbol.for('passStyle'); export const passStyleOf = x => globalThis.passStyleOf(x);",
  marshal: 'export const marshal = 1;', nat: 'export const Nat = globalThis.Nat; export const isNat = Number.isInteger;', harden: 'export default globalThis.harden;', 'promise-kit': 'export const { makePromiseKit } = globalThis;', 'eventual-send': 'export const { E } = globalThis;',
};
// A target in another vat that takes whatever comes, and answers with it.
const RUN = `
import { writeSync } from 'node:fs';
import './runtime.js';
process.on('unhandledRejection', () => {});
const { stringify } = JSON;
const end = process.reallyExit.bind(process);
const { attempt, endings = {} } = await import('./attempt.js');
const target = new Proxy({}, { get: (t, k) => (k === 'then' ? undefined : (...args) => args[0]) });
let found;
const argv = { target, exit() {}, timer: {}, name: 'a' };
try { found = await attempt(argv); } catch { found = { tried: 1, escaped: ['spoiled what runs it'] }; }
for (const name of Object.keys(endings)) {
  found = { tried: found.tried + 1, escaped: [...found.escaped] };
  try { await endings[name](argv); found.escaped.push(name); } catch { /* it did not come to its end */ }
}
writeSync(1, stringify(found));
end(0);
`;

// Attempts that get through nowhere: there is nothing to take out.
const LANGUAGE = 'the language itself holds it, in every engine';
const NOWHERE = {
  'callers.js': LANGUAGE, 'foreign-prototypes.js': LANGUAGE, 'private-names-of-others.js': LANGUAGE, 'templates.js': LANGUAGE,
  'text-of-functions.js': LANGUAGE, 'errors-from-promises.js': 'it needs an engine whose own code cannot take a throw, as that of earlier images',
};

const run = file => {
  const folder = mkdtempSync(join(tmpdir(), 'audit-'));
  try {
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    for (const [name, text] of Object.entries(MODULES)) {
      mkdirSync(join(folder, 'node_modules/@endo', name), { recursive: true });
      writeFileSync(join(folder, 'node_modules/@endo', name, 'package.json'), '{ "type": "module", "main": "index.js" }');
      writeFileSync(join(folder, 'node_modules/@endo', name, 'index.js'), text);
    }
    cpSync(join(here, file), join(folder, 'attempt.js'));
    cpSync(join(here, 'lib.js'), join(folder, 'lib.js'));
    writeFileSync(join(folder, 'runtime.js'), RUNTIME);
    writeFileSync(join(folder, 'run.js'), RUN);
    const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', 'run.js'], { cwd: folder, encoding: 'utf8', timeout: 20_000 });
    if (stdout === '') throw Error(`${file} does not run: ${stderr}`);
    return JSON.parse(stdout.slice(stdout.lastIndexOf('\n') + 1));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const named = process.argv.slice(2);
const files = named.length > 0 ? named : readdirSync(here).filter(name => name.endsWith('.js') && name !== 'lib.js' && name !== 'walk.js').sort();
let wrong = 0;
for (const file of files) {
  const { tried, escaped } = run(file);
  const through = escaped.length > 0;
  if (through === file in NOWHERE) wrong += 1;
  const why = through ? escaped.slice(0, 4).join(', ').slice(0, 120) : NOWHERE[file] ?? 'WRONG: nothing gets through';
  console.log(`${file}: ${escaped.length} of ${tried} get through: ${why}`);
}
console.log(`${files.length} attempts, ${wrong} not as expected`);
process.exit(wrong > 0 ? 1 : 0);
