// Runs the tests of a file. One function expression: called once, with the services, the file's default export and its name; it returns the
// root, which the program calls. Evaluated as a text, so that the place of a failed assertion is the line of the test.
(({ services, define, file }) => {
  const MAX_SHOWN = 32;
  const tests = [];

  // ---- values as text

  const show = (value, depth = 0) => {
    switch (typeof value) {
      case 'string':
        return JSON.stringify(value);
      case 'bigint':
        return `${value}n`;
      case 'number':
        return Object.is(value, -0) ? '-0' : String(value);
      case 'function':
        return `[Function ${value.name}]`;
      case 'object':
        break;
      default:
        return String(value);
    }
    if (value === null) return 'null';
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (depth >= 4) return '[…]';
    const few = parts => (parts.length > MAX_SHOWN ? [...parts.slice(0, MAX_SHOWN), '…'] : parts).join(', ');
    if (Array.isArray(value)) return `[${few(value.slice(0, MAX_SHOWN + 1).map(item => show(item, depth + 1)))}]`;
    const tag = value[Symbol.toStringTag];
    if (tag !== undefined && value.payload === undefined) return `[${String(tag)}]`;
    const names = Object.keys(value);
    const fields = names.slice(0, MAX_SHOWN + 1).map(name => `${name}: ${show(value[name], depth + 1)}`);
    const body = names.length === 0 ? '{}' : `{ ${few(fields)} }`;
    return tag === undefined ? body : `${String(tag)} ${body}`;
  };

  // The path to the first difference of two values, or undefined. Objects that pass by reference are compared by identity.
  const difference = (one, other, path = '') => {
    if (Object.is(one, other)) return undefined;
    const differ = path === '' ? 'the value' : path.replace(/^\./, '');
    if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return differ;
    if (Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return differ;
    if (one instanceof Error) return one.name === other.name && one.message === other.message ? undefined : differ;
    if (one instanceof Map || one instanceof Set) return difference([...one], [...other], path);
    const tag = one[Symbol.toStringTag];
    const isBytes = ArrayBuffer.isView(one);
    if (tag !== undefined && !isBytes && one.payload === undefined) return differ;
    if (tag !== other[Symbol.toStringTag]) return differ;
    const [names, others] = [Object.keys(one), Object.keys(other)];
    const step = name => (Array.isArray(one) || isBytes ? `${path}[${name}]` : `${path}.${name}`);
    const extra = names.find(name => !Object.hasOwn(other, name)) ?? others.find(name => !Object.hasOwn(one, name));
    if (extra !== undefined) return step(extra).replace(/^\./, '');
    if (tag === undefined && names.length === 0 && !Array.isArray(one) && Object.getPrototypeOf(one) !== Object.prototype) return differ;
    for (const name of names) {
      const found = difference(one[name], other[name], step(name));
      if (found !== undefined) return found;
    }
    return undefined;
  };

  // ---- what a test is given

  const matches = (reason, expected) => {
    if (expected === undefined) return true;
    const message = reason instanceof Error ? reason.message : String(reason);
    if (typeof expected === 'string') return message.includes(expected);
    if (expected instanceof RegExp) return expected.test(message);
    // An error of another vat has the name of its kind.
    if (typeof expected === 'function') return reason instanceof expected || reason?.name === expected.name;
    const { name, message: wanted } = expected;
    return (name === undefined || reason?.name === name) && (wanted === undefined || matches(reason, wanted));
  };

  const wanted = expected =>
    typeof expected === 'function' ? expected.name : expected instanceof RegExp ? String(expected) : show(expected);

  const makeT = state => {
    const fail = (text, note) => {
      const error = Error(note === undefined ? text : `${note}: ${text}`);
      Object.defineProperty(error, 'name', { value: 'AssertionError' });
      state.failure = state.failure ?? error;
      throw error;
    };
    const check = (holds, text, note) => {
      state.assertions += 1;
      if (!holds) fail(text(), note);
    };
    const checkReason = (reason, expected, note) => {
      check(matches(reason, expected), () => `the reason is ${show(reason)}, not ${wanted(expected)}`, note);
      return reason;
    };
    const { vat, testnet, text, settle, advance, restart, now, timer } = services;
    return harden({
      pass: () => check(true),
      fail: note => check(false, () => 'the test says so', note),
      is: (actual, expected, note) =>
        check(Object.is(actual, expected), () => `${show(actual)} is not ${show(expected)}`, note),
      not: (actual, expected, note) => check(!Object.is(actual, expected), () => `it is ${show(actual)}`, note),
      deepEqual: (actual, expected, note) => {
        const where = difference(actual, expected);
        check(where === undefined, () => `${show(actual)} is not ${show(expected)}: ${where} differs`, note);
      },
      true: (actual, note) => check(actual === true, () => `${show(actual)} is not true`, note),
      false: (actual, note) => check(actual === false, () => `${show(actual)} is not false`, note),
      truthy: (actual, note) => check(actual, () => `${show(actual)} is not truthy`, note),
      throws: (run, expected, note) => {
        let reason;
        let value;
        let threw = false;
        try {
          value = run();
        } catch (thrown) {
          reason = thrown;
          threw = true;
        }
        check(threw, () => `it throws nothing, and returns ${show(value)}`, note);
        return checkReason(reason, expected, note);
      },
      rejects: async (promise, expected, note) => {
        const started = typeof promise === 'function' ? promise() : promise;
        const { status, value, reason } = (await Promise.allSettled([started]))[0];
        check(status === 'rejected', () => `it is not rejected, but fulfilled with ${show(value)}`, note);
        return checkReason(reason, expected, note);
      },
      log: (...values) => console.log(...values),
      vat,
      testnet,
      text,
      settle,
      advance,
      restart,
      now,
      timer,
    });
  };

  // ---- what the file is given

  const add = (name, body, skipped) => {
    if (typeof name !== 'string' || name === '') throw TypeError('test(name, body): a name is needed, a string');
    if (typeof body !== 'function') throw TypeError(`test(${JSON.stringify(name)}, body): a function is needed`);
    if (tests.some(test => test.name === name)) throw Error(`two tests are called ${JSON.stringify(name)}; rename one`);
    tests.push({ name, body, skipped });
  };
  const test = (name, body) => add(name, body, false);
  test.skip = (name, body) => add(name, body, true);

  if (typeof define !== 'function') {
    throw TypeError(`${file} has no function as its default export: export default ({ test }) => { test('…', async t => { … }); }`);
  }
  const registered = define(harden({ test }));

  const root = Far('tests', {
    list: () => harden(tests.map(({ name, skipped }) => ({ name, skipped }))),
    async run(index) {
      const state = { assertions: 0, failure: undefined };
      await tests[index].body(makeT(state));
      // One that the test itself has caught.
      if (state.failure !== undefined) throw state.failure;
      if (state.assertions === 0) throw Error('the test asserts nothing: t.pass() says that to come so far is enough');
      return state.assertions;
    },
    next: () => services.next(),
    done: (id, failure, value) => services.done(id, failure, value),
    argvOf: (id, names) => services.argvOf(id, names),
  });
  return Object(registered) === registered && typeof registered.then === 'function' ? registered.then(() => root) : root;
})
