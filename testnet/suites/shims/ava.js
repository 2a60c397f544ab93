// What tests written for ava ask of it, in a vat and in Node.js alike: they are noted, and each is run when that is asked for.

const tests = [];
const hooks = { before: [], beforeEach: [], afterEach: [], after: [] };
const { getPrototypeOf, is: same } = Object;
const { ownKeys } = Reflect;

// ---- values

const isObject = value => value !== null && (typeof value === 'object' || typeof value === 'function');
const nameOf = value => getPrototypeOf(value)?.constructor?.name;

// Whether two values hold the same. Functions and promises only if they are the same one.
const equal = (one, other, known = new Map()) => {
  if (same(one, other)) return true;
  if (!isObject(one) || !isObject(other) || typeof one !== typeof other || typeof one === 'function') return false;
  if (one instanceof Promise || nameOf(one) !== nameOf(other) || Array.isArray(one) !== Array.isArray(other)) return false;
  if (known.get(one) === other) return true;
  known.set(one, other);
  if (one instanceof Error && (one.name !== other.name || one.message !== other.message)) return false;
  if (one instanceof Date && +one !== +other) return false;
  if (one instanceof RegExp && String(one) !== String(other)) return false;
  if (one instanceof Map || one instanceof Set) return equal([...one], [...other], known);
  if (one instanceof ArrayBuffer) return equal([...new Uint8Array(one)], [...new Uint8Array(other)], known);
  if (ArrayBuffer.isView(one) && !(one instanceof DataView)) return equal([...one], [...other], known);
  const shown = object => ownKeys(object).filter(key => Object.prototype.propertyIsEnumerable.call(object, key));
  const [keys, others] = [shown(one), shown(other)];
  return keys.length === others.length && keys.every(key => others.includes(key) && equal(one[key], other[key], known));
};

// Whether `value` has what `part` has.
const like = (value, part) =>
  isObject(part) ? isObject(value) && ownKeys(part).every(key => like(value[key], part[key])) : same(value, part);

const shown = value => {
  try {
    if (typeof value === 'string') return JSON.stringify(value);
    if (typeof value === 'bigint') return `${value}n`;
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (isObject(value) && typeof value !== 'function') {
      return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}n` : typeof part === 'symbol' ? String(part) : part)) ?? String(value);
    }
    return String(value);
  } catch {
    return 'a value that cannot be shown';
  }
};

// ---- what a test is given

const makeT = (title, context) => {
  const state = { asserted: 0, failure: undefined, planned: undefined, ends: [] };
  const note = (holds, text, message) => {
    state.asserted += 1;
    if (!holds) {
      const error = Error(`${message === undefined ? '' : `${message}: `}${text}`.slice(0, 600));
      state.failure ??= error;
    }
    return holds;
  };
  const differs = (reason, expected) => {
    if (expected === undefined || expected === null) return undefined;
    const { message, name, code, instanceOf, is: exactly, any } = typeof expected === 'function' ? { instanceOf: expected } : expected;
    if (any !== true && !(reason instanceof Error)) return 'no error was thrown';
    if (instanceOf !== undefined && !(reason instanceof instanceOf)) return `it is no ${instanceOf.name}`;
    if (exactly !== undefined && !same(reason, exactly)) return 'it is another one';
    if (name !== undefined && reason.name !== name) return `its name is ${reason.name}, not ${name}`;
    if (code !== undefined && reason.code !== code) return `its code is ${reason.code}, not ${code}`;
    if (message !== undefined) {
      const fits = typeof message === 'string' ? reason.message === message : typeof message === 'function' ? message(reason.message) : message.test(reason.message);
      if (!fits) return `message ${shown(reason.message)} is not as ${shown(String(message))}`;
    }
    return undefined;
  };
  const thrown = (reason, expected, message) => {
    const why = differs(reason, expected);
    note(why === undefined, `threw ${shown(reason)}: ${why}`, message);
    return why === undefined ? reason : undefined;
  };
  const t = {
    title,
    context,
    is: (one, other, message) => note(same(one, other), `${shown(one)} is not ${shown(other)}`, message),
    not: (one, other, message) => note(!same(one, other), `it is ${shown(one)}`, message),
    deepEqual: (one, other, message) => note(equal(one, other), `${shown(one)} differs from ${shown(other)}`, message),
    notDeepEqual: (one, other, message) => note(!equal(one, other), `it equals ${shown(one)}`, message),
    like: (one, part, message) => note(like(one, part), `${shown(one)} is not like ${shown(part)}`, message),
    true: (one, message) => note(one === true, `${shown(one)} is not true`, message),
    false: (one, message) => note(one === false, `${shown(one)} is not false`, message),
    truthy: (one, message) => note(Boolean(one), `${shown(one)} is not truthy`, message),
    falsy: (one, message) => note(!one, `${shown(one)} is not falsy`, message),
    assert: (one, message) => note(Boolean(one), `${shown(one)} is not truthy`, message),
    regex: (text, wanted, message) => note(wanted.test(text), `${shown(text)} is not as ${wanted}`, message),
    notRegex: (text, wanted, message) => note(!wanted.test(text), `${shown(text)} is as ${wanted}`, message),
    pass: () => note(true),
    fail: message => note(false, 'it failed', message),
    throws(run, expected, message) {
      try {
        run();
      } catch (reason) {
        return thrown(reason, expected, message);
      }
      note(false, 'nothing was thrown', message);
      return undefined;
    },
    async throwsAsync(given, expected, message) {
      try {
        await (typeof given === 'function' ? given() : given);
      } catch (reason) {
        return thrown(reason, expected, message);
      }
      note(false, 'nothing was thrown', message);
      return undefined;
    },
    notThrows(run, message) {
      try {
        run();
        note(true);
      } catch (reason) {
        note(false, `threw ${shown(reason)}`, message);
      }
    },
    async notThrowsAsync(given, message) {
      try {
        await (typeof given === 'function' ? given() : given);
        note(true);
      } catch (reason) {
        note(false, `threw ${shown(reason)}`, message);
      }
    },
    snapshot: () => note(false, 'snapshots are files of ava'),
    plan(count) { state.planned = count; },
    log() {},
    timeout() {},
    teardown(end) { state.ends.unshift(end); },
  };
  t.throws.skip = t.is.skip = t.deepEqual.skip = t.true.skip = t.snapshot.skip = () => {};
  return [t, state];
};

// ---- what tests call

const declare = options => (...args) => {
  let title = typeof args[0] === 'string' ? args.shift() : undefined;
  const [body, ...rest] = args;
  const run = typeof body === 'function' ? body : body?.exec;
  const titleOf = body?.title;
  if (titleOf !== undefined) title = titleOf(title, ...rest);
  tests.push({ title: title ?? `test ${tests.length + 1}`, run, args: rest, ...options });
};

const hook = list => (...args) => { list.push(args.find(arg => typeof arg === 'function')); };

const test = declare({});
const modes = {
  serial: {}, failing: { failing: true }, skip: { skipped: true }, todo: { skipped: true }, only: {},
};
for (const [name, options] of Object.entries(modes)) test[name] = declare(options);
test.serial.failing = test.failing;
test.serial.skip = test.skip;
test.serial.only = test.only;
test.failing.skip = test.skip;
test.macro = given => (typeof given === 'function' ? { exec: given } : given);
for (const [name, list] of Object.entries(hooks)) {
  test[name] = hook(list);
  test[name].always = hook(list);
  test.serial[name] = test[name];
}
test.meta = { file: 'file:///suite', snapshotDirectory: '' };

// ---- what runs them

const shared = {};
let begun;

export const titles = () => tests.map(({ title, skipped = false }) => [title, skipped]);

/** Runs a test, by its place in the list: `passed`, or why it failed. */
export const run = async index => {
  const { title, run: body, args, failing = false } = tests[index];
  const [t, state] = makeT(title, shared);
  let failure;
  try {
    begun ??= (async () => {
      for (const before of hooks.before) await before(makeT('before', shared)[0]);
    })();
    await begun;
    for (const before of hooks.beforeEach) await before(t);
    await body(t, ...args);
    if (state.planned !== undefined && state.planned !== state.asserted) state.failure ??= Error(`${state.asserted} assertions, not ${state.planned}`);
    if (state.asserted === 0 && state.planned !== 0) state.failure ??= Error('it asserted nothing');
  } catch (reason) {
    failure = reason instanceof Error ? reason : Error(`threw ${shown(reason)}`);
  }
  try {
    for (const end of [...state.ends, ...hooks.afterEach.map(after => () => after(t))]) await end();
  } catch (reason) {
    failure ??= reason;
  }
  failure ??= state.failure;
  if (failing) return failure === undefined ? 'it was expected to fail' : 'passed';
  return failure === undefined ? 'passed' : `${failure.name}: ${failure.message}`;
};

export default test;
export { test };
