// Walks all that a program can reach without being given anything: from the names of the global object, and from what syntax makes. The same
// function runs as part of a module and, from its own text, in a Compartment.
import * as far from '@endo/far';
import * as eventualSend from '@endo/eventual-send';
import * as nat from '@endo/nat';
import * as kit from '@endo/promise-kit';
import * as marshal from '@endo/marshal';
import * as passStyle from '@endo/pass-style';
import * as hardens from '@endo/harden';

function walk(further) {
  const { getPrototypeOf, getOwnPropertyNames, getOwnPropertyDescriptor, isFrozen } = Object;
  const seen = new Map();
  const queue = [];
  const wrong = [];
  const add = (value, path) => {
    if (Object(value) === value && !seen.has(value)) {
      seen.set(value, path);
      queue.push(value);
    }
  };
  for (const name of getOwnPropertyNames(globalThis)) add(globalThis[name], name);
  const tag = strings => strings;
  const thrown = f => { try { f(); } catch (error) { return error; } return undefined; };
  // Objects of these kinds are the program's own; what hangs above them is the language's.
  const made = {
    generatorFunction: function* g() {}, asyncGeneratorFunction: async function* g() {}, asyncFunction: async () => {}, arrow: () => {}, method: { m() {} }.m,
    getter: getOwnPropertyDescriptor({ get x() { return 1; } }, 'x').get, classes: class {}, bound: (() => {}).bind(null),
    arguments: (function f() { return arguments; })(), promise: (async () => {})(), kit: Promise.withResolvers?.().resolve,
    arrayIterator: [][Symbol.iterator](), mapIterator: new Map().entries(), setIterator: new Set().values(), stringIterator: ''[Symbol.iterator](),
    regExpIterator: 'a'.matchAll(/a/g), helper: [].values().map(x => x), wrapped: Iterator.from({ next: () => ({ done: true }) }), array: [], object: {}, regExp: /./,
    match: /(?<a>.)/.exec('x'), number: Object(1), text: Object('x'), flag: Object(true), symbol: Object(Symbol('x')), big: Object(1n), date: new Date(0),
    map: new Map(), set: new Set(), weakMap: new WeakMap(), weakSet: new WeakSet(), buffer: new ArrayBuffer(1), view: new DataView(new ArrayBuffer(1)), bytes: new Uint8Array(1),
    typeError: thrown(() => null.x), aggregate: thrown(() => { throw new AggregateError([1]); }), syntax: thrown(() => (0, eval)('let let')),
    reference: thrown(() => (0, eval)('(() => { const a = b; const b = 1; })()')), proxy: new Proxy({}, {}), compartment: new Compartment(), entries: Object.groupBy?.([1], x => x), json: JSON.parse('{"a":[]}'),
  };
  for (const [name, value] of Object.entries(made)) {
    if (Object(value) === value) add(getPrototypeOf(value), `prototype of ${name}`);
  }
  for (const f of [made.generatorFunction, made.asyncGeneratorFunction]) add(getPrototypeOf(f.prototype), 'prototype of a generator');
  add(tag`x`, 'template');
  for (const [name, value] of Object.entries(further)) add(value, name);
  while (queue.length > 0) {
    const value = queue.pop();
    const path = seen.get(value);
    const own = value === globalThis;
    if (!own && !isFrozen(value)) wrong.push(`${path} is not frozen`);
    for (const key of Reflect.ownKeys(value)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(value, key);
      for (const part of ['value', 'get', 'set']) add(descriptor[part], `${path}.${String(key)}${part === 'value' ? '' : `:${part}`}`);
      if (!own && descriptor.configurable) wrong.push(`${path}.${String(key)} can be configured`);
    }
    add(getPrototypeOf(value), `prototype of ${path}`);
  }
  // Nothing among all of these tells the time, gives what is not determined, or tells of the collector or the stack.
  const forbidden = /^(now|random|stack|captureStackTrace|stackTraceLimit|prepareStackTrace|caller|deref|gc|performance|getRandomValues|WeakRef|FinalizationRegistry|Atomics|SharedArrayBuffer|setTimeout|time|timeEnd|memory|evaluateSync)$/;
  let asked = 0;
  for (const [value, path] of seen) {
    for (const key of Reflect.ownKeys(value)) {
      if (typeof key !== 'string' || !forbidden.test(key)) continue;
      asked += 1;
      const error = Error('x');
      const attempts = key === 'stack' ? [() => error.stack] : [() => value[key], () => value[key](), () => new value[key]()];
      for (const attempt of attempts) {
        let found;
        try { found = attempt(); } catch { continue; }
        const silent = found === undefined || (typeof found === 'function' && found === value[key]) || Number.isNaN(found) || (key === 'stack' && (found === '' || !/\d/.test(found)));
        if (!silent) wrong.push(`${path}.${key} gives ${String(found)}`);
      }
    }
  }
  return { objects: seen.size, asked, wrong };
}

const inCompartment = new Compartment().evaluate(`(${walk})`);
const inConfined = SES.confineExpr(`${walk}`);
const further = {
  ...far, ...eventualSend, ...nat, ...kit, ...marshal, ...passStyle, ...hardens, vow: Vow.resolve(1), flow: new Flow(), promiseKit: makePromiseKit(), presence: undefined,
};

export default argv => Far('root', {
  module() { return walk({ ...further, presence: argv.target, exit: argv.exit }); },
  compartment() { return inCompartment({}); },
  confined() { return inConfined({}); },
  // What the walk must find: the test of the test.
  planted() { return walk({ soft: { deep: [] }, clock: harden({ now: () => 12 }) }).wrong; },
});
