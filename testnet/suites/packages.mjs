// Bundles popular packages, calls them in vats, and compares with what they give in Node.js: see README.md.
// usage: node packages.mjs [NAME]...
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { install, printed, vatTest, workFolder, write } from './lib.mjs';

// What is imported, and the value that is compared.
const CASES = {
  'lodash-es': ["import { chunk, groupBy, merge, camelCase, debounce } from 'lodash-es'", "[chunk([1, 2, 3, 4, 5], 2), groupBy(['a', 'bb', 'cc'], 'length'), merge({ a: { b: 1 } }, { a: { c: 2 } }), camelCase('foo bar-baz'), typeof debounce]"],
  zod: ["import { z } from 'zod'", "[z.object({ n: z.number().int(), s: z.string().min(2).optional() }).safeParse({ n: 1 }).success, z.array(z.email()).safeParse(['a@b.cd', 'x']).error.issues.map(({ path, code }) => [path, code])]"],
  valibot: ["import * as v from 'valibot'", "[v.safeParse(v.object({ a: v.pipe(v.string(), v.minLength(3)) }), { a: 'ab' }).issues.map(issue => issue.message), v.parse(v.number(), 3)]"],
  superstruct: ["import { object, string, number, is, create, defaulted } from 'superstruct'", "[is({ a: 'x', b: 1 }, object({ a: string(), b: number() })), create({}, object({ a: defaulted(string(), 'd') }))]"],
  ajv: ["import { Ajv } from 'ajv'", "(() => { const check = new Ajv().compile({ type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }); return [check({ n: 1 }), check({ n: 1.5 }), check.errors[0].keyword, check({})]; })()"],
  'date-fns': ["import { addDays, format, differenceInDays } from 'date-fns'", "[addDays(new Date(0), 40).toISOString(), format(new Date(2020, 1, 29), 'yyyy-MM-dd EEEE'), differenceInDays(new Date(2e10), new Date(0))]"],
  'big.js': ["import Big from 'big.js'", "[new Big('0.1').plus('0.2').toString(), Big(2).sqrt().toFixed(20), Big('1e21').toString()]"],
  'decimal.js': ["import Decimal from 'decimal.js'", "[new Decimal('0.1').plus('0.2').toString(), Decimal.sqrt(2).toString(), new Decimal(2).pow('0.5').toString(), Decimal.ln(10).toString()]"],
  'bignumber.js': ["import BigNumber from 'bignumber.js'", "[new BigNumber('0.1').plus('0.2').toString(), new BigNumber(2).sqrt().toString(), new BigNumber('ff', 16).toString(), new BigNumber('123456789.123').toFormat(2)]"],
  immutable: ["import { Map, List, Set, fromJS, Record } from 'immutable'", "[Map({ a: 1 }).set('b', 2).toJS(), List([3, 1, 2]).sort().toJS(), Set([1, 1, 2]).size, fromJS({ a: [1, { b: 2 }] }).getIn(['a', 1, 'b']), Record({ x: 1 })().set('x', 5).x]"],
  immer: ["import { produce } from 'immer'", "(() => { const one = { a: [1, { b: 2 }] }; const two = produce(one, draft => { draft.a[1].b = 3; draft.a.push(4); }); return [one, two, one.a[0] === two.a[0], Object.isFrozen(two.a)]; })()"],
  ramda: ["import { pipe, map, filter, groupBy, path, mergeDeepRight } from 'ramda'", "[pipe(filter(n => n % 2), map(n => n * n))([1, 2, 3]), groupBy(n => (n > 1 ? 'big' : 'small'), [1, 2, 3]), path(['a', 'b'], { a: { b: 7 } }), mergeDeepRight({ a: { x: 1 } }, { a: { y: 2 } })]"],
  remeda: ["import { pipe, sortBy, groupBy, uniqueBy } from 'remeda'", "[pipe([3, 1, 2], sortBy(n => n)), groupBy([1, 2, 3], n => (n % 2 ? 'odd' : 'even')), uniqueBy([1, 2, 3, 4], n => n % 2)]"],
  yaml: ["import { parse, stringify } from 'yaml'", "[parse('a: [1, 2, {b: c}]\\nd: |\\n  two\\n  lines\\ne: 2020-01-01\\nf: &x 1\\ng: *x'), stringify({ a: [1, { b: null }], 'c d': 'e: f' })]"],
  marked: ["import { marked } from 'marked'", "marked.parse('# A\\n\\n*b* `c` https://example.com\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |\\n')"],
  semver: ["import semver from 'semver'", "[semver.satisfies('1.2.3', '^1.1.0 || >3'), semver.inc('1.2.3', 'minor'), semver.sort(['2.0.0', '1.0.0-a', '1.0.0']), semver.coerce('v2.3').version]"],
  uuid: ["import { v5, validate, NIL, parse } from 'uuid'", "[v5('https://example.com', v5.URL), validate('x'), NIL, [...parse('6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b')]]"],
  ulid: ["import { decodeTime, encodeTime } from 'ulid'", "[encodeTime(1469918176385, 10), decodeTime('01ARYZ6S41TSV4RRFFQ69G5FAV')]"],
  nanostores: ["import { atom, map, computed } from 'nanostores'", "(() => { const n = atom(1); const twice = computed(n, value => value * 2); const seen = []; twice.subscribe(value => seen.push(value)); n.set(5); const m = map({ a: 1 }); m.setKey('b', 2); return [seen, m.get()]; })()"],
  eventemitter3: ["import EventEmitter from 'eventemitter3'", "(() => { const seen = []; const e = new EventEmitter(); e.on('x', v => seen.push(v)); e.once('x', v => seen.push(-v)); e.emit('x', 1); e.emit('x', 2); return [seen, e.listenerCount('x')]; })()"],
  'p-queue': ["import PQueue from 'p-queue'", "(async () => { const queue = new PQueue({ concurrency: 1 }); const seen = []; const all = [3, 1, 2].map(n => queue.add(async () => { await null; seen.push(n); return n * n; })); return [await Promise.all(all), seen, queue.size]; })()"],
  xstate: ["import { createMachine, createActor, assign } from 'xstate'", "(() => { const machine = createMachine({ id: 'm', initial: 'a', context: { n: 0 }, states: { a: { on: { GO: { target: 'b', actions: assign({ n: ({ context }) => context.n + 1 }) } } }, b: {} } }); const actor = createActor(machine).start(); actor.send({ type: 'GO' }); const { value, context } = actor.getSnapshot(); return [value, context]; })()"],
  '@noble/hashes': ["import { sha256, sha512 } from '@noble/hashes/sha2.js'; import { blake3 } from '@noble/hashes/blake3.js'; import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'", "[sha256, sha512, blake3].map(hash => bytesToHex(hash(utf8ToBytes('abc'))))"],
  '@noble/curves': ["import { ed25519 } from '@noble/curves/ed25519.js'; import { bytesToHex } from '@noble/curves/utils.js'", "(() => { const secret = new Uint8Array(32).fill(7); const text = new Uint8Array([1, 2, 3]); const signed = ed25519.sign(text, secret); const open = ed25519.getPublicKey(secret); return [bytesToHex(open), bytesToHex(signed), ed25519.verify(signed, text, open)]; })()"],
  '@scure/base': ["import { base58, base64, bech32 } from '@scure/base'", "[base58.encode(new Uint8Array([1, 2, 3])), base64.encode(new Uint8Array([250, 251])), bech32.encode('bc', bech32.toWords(new Uint8Array([1, 2, 3])))]"],
  cborg: ["import { encode, decode } from 'cborg'", "[[...encode({ a: [1, 'b', null, true, 1.5] })], decode(encode([1, { x: new Uint8Array([1, 2]) }]))[1].x.length]"],
};

// What is known to fail, and why.
const REASONS = { 'p-queue': 'it asks for the time, Date.now(), whenever something is added; a vat has it only while it starts' };

const chosen = process.argv.slice(2);
const names = Object.keys(CASES).filter(name => chosen.length === 0 || chosen.includes(name));
const work = workFolder('packages');
install(work, names);
const expected = {};
for (const name of names) {
  const [imports, value] = CASES[name];
  const file = join(work, `case-${name.replaceAll('/', '_')}.js`);
  write(file, `${imports};\nexport const main = async () => JSON.stringify(await (${value}));\nexport default () => Far('root', { main });\n`);
  globalThis.Far ??= (_, object) => object;
  expected[name] = await (await import(pathToFileURL(file))).main();
}
write(join(work, 'packages.test.js'), `
export default ({ test }) => {
  for (const [name, wanted] of ${JSON.stringify(Object.entries(expected))}) {
    test(name, async t => {
      const root = await t.vat('./case-' + name.replaceAll('/', '_') + '.js', {}, { fuelPerDelivery: 25_000_000_000, memoryMb: 128 });
      const given = await E(root).main();
      if (given !== wanted) console.log('given ' + JSON.stringify(given));
      t.is(given === wanted, true, 'it gives something else than in Node.js');
    });
  }
};
`);
const { reports } = vatTest(work, ['packages.test.js']);
for (const report of reports) {
  const [given] = printed(report, 'given');
  const reason = report.outcome === 'passed' || REASONS[report.test] === undefined ? '' : ` (${REASONS[report.test]})`;
  console.log(`${report.outcome === 'passed' ? 'ok    ' : 'FAILED'}  ${report.test}${report.outcome === 'passed' ? '' : `: ${report.failure.message.split('\n')[0]}${reason}${given === undefined ? '' : `\n    ${given}\n    ${expected[report.test]}`}`}`);
}
const passed = reports.filter(report => report.outcome === 'passed').length;
console.log(`${passed} of ${reports.length} packages`);
process.exit(passed === reports.length ? 0 : 1);
