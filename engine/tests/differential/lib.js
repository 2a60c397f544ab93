// What generated programs import: a trace, values that trace what is done to them, and one text for every value.
// Runs in Node and in a vat, so it uses nothing that only one of them has.

const MAX_LINES = 300;
const MAX_TEXT = 160;
const MAX_CALLS = 4000;

let lines = [];
let calls = 0;

const quoted = text => {
  let out = '';
  for (let i = 0; i < text.length && i < MAX_TEXT; i += 1) {
    const unit = text.charCodeAt(i);
    out += unit >= 32 && unit < 127 && unit !== 92 && unit !== 34 ? text[i] : `\\u${unit.toString(16)}`;
  }
  return `"${out}${text.length > MAX_TEXT ? `…${text.length}` : ''}"`;
};

const property = (value, key, depth) => {
  const name = typeof key === 'symbol' ? `[${String(key)}]` : key;
  const found = Reflect.getOwnPropertyDescriptor(value, key);
  if (!found) return `${name}:gone`;
  const flags = `${found.enumerable ? '' : '~'}${found.configurable ? '' : '!'}`;
  if ('value' in found) return `${flags}${found.writable ? '' : '='}${name}:${show(found.value, depth - 1)}`;
  return `${flags}${name}:${found.get ? 'get' : ''}${found.set ? 'set' : ''}`;
};

const object = (value, depth) => {
  if (value instanceof Error) return `${value.name}!`;
  if (value instanceof Promise) return 'Promise';
  if (depth === 0) return '…';
  if (value instanceof Map) return `Map{${[...value].slice(0, 12).map(([k, v]) => `${show(k, depth - 1)}=>${show(v, depth - 1)}`).join()}}`;
  if (value instanceof Set) return `Set{${[...value].slice(0, 12).map(v => show(v, depth - 1)).join()}}`;
  const keys = Reflect.ownKeys(value).slice(0, 24);
  if (Array.isArray(value)) {
    const rest = keys.filter(key => key !== 'length').map(key => property(value, key, depth));
    return `[${value.length};${rest.join()}]`;
  }
  return `{${keys.map(key => property(value, key, depth)).join()}}`;
};

/** The one text of any value. */
export const show = (value, depth = 3) => {
  switch (typeof value) {
    case 'string':
      return quoted(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : `${value}`;
    case 'bigint':
      return `${value}n`;
    case 'symbol':
      return String(value);
    case 'function':
      return `function ${value.name}/${value.length}`;
    case 'object':
      return value === null ? 'null' : object(value, depth);
    default:
      return `${value}`;
  }
};

/** Adds a line to the trace. */
export const log = (...values) => {
  if (lines.length < MAX_LINES) lines.push(values.map(value => show(value)).join(' '));
};

/** Traces that this place was reached, and gives the value back. */
export const t = (place, value) => {
  if (lines.length < MAX_LINES) lines.push(`${place}`);
  return value;
};

/** Ends programs that call too much. */
export const tick = () => {
  calls += 1;
  if (calls > MAX_CALLS) throw new RangeError('too many calls');
};

/** An object whose conversion to a primitive is traced. */
export const ob = (place, value) => ({
  [Symbol.toPrimitive](hint) {
    t(`${place}:${hint}`);
    return value;
  },
});

/** The same with valueOf and toString. */
export const old = (place, value, text) => ({
  valueOf() {
    return t(`${place}:valueOf`, value);
  },
  toString() {
    return t(`${place}:toString`, text);
  },
});

/** Throws: an expression, for places where no statement can be. */
export const fail = (place, what) => {
  t(place);
  throw what;
};

/** An iterable over `values` whose every use is traced. `odd` names a fault that it has. */
export const iter = (place, values, odd = '') => ({
  [Symbol.iterator]() {
    t(`${place}:iterator`);
    let at = 0;
    const all = {
      next(value) {
        t(`${place}:next${value === undefined ? '' : ` ${show(value)}`}`);
        if (odd === 'next throws' && at === 1) throw new RangeError('next');
        at += 1;
        if (odd === 'getter' && at === 2) return { done: false, get value() { throw new EvalError('value'); } };
        return at > values.length ? { value: undefined, done: true } : { value: values[at - 1], done: false };
      },
      return(value) {
        t(`${place}:return${value === undefined ? '' : ` ${show(value)}`}`);
        if (odd === 'return throws') throw new URIError('return');
        return odd === 'return primitive' ? 1 : { value, done: true };
      },
    };
    if (odd === 'throw') {
      all.throw = value => {
        t(`${place}:throw ${show(value)}`);
        return { value: 'from throw', done: at > 1 };
      };
    }
    if (odd === 'no return') delete all.return;
    return all;
  },
});

/** The same for `for await`. */
export const asyncIter = (place, values, odd = '') => ({
  [Symbol.asyncIterator]() {
    const all = iter(place, values, odd)[Symbol.iterator]();
    return {
      async next(value) {
        return all.next(value);
      },
      async return(value) {
        return all.return(value);
      },
    };
  },
});

/** A proxy that traces its traps. */
export const spy = (place, target) =>
  new Proxy(
    target,
    Object.fromEntries(
      Reflect.ownKeys(Reflect).filter(name => typeof name === 'string').map(name => [
        name,
        (...args) => {
          const key = ['string', 'symbol'].includes(typeof args[1]) ? ` ${String(args[1])}` : '';
          t(`${place}:${name}${key}`);
          return Reflect[name](...args);
        },
      ]),
    ),
  );

/** For `for (… in …)`, whose use of a proxy's traps the standard leaves open: a copy that is no proxy. */
export const plain = value => (typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : value);

/** A thenable that traces how it is adopted. */
export const thenable = (place, value, rejects) => ({
  then(fulfil, reject) {
    t(`${place}:then`);
    if (rejects) reject(value);
    else fulfil(value);
  },
});

/** The text of what calling `f` comes to. */
export const attempt = f => {
  try {
    return f();
  } catch (error) {
    return error instanceof Error ? `threw ${error.name}` : `threw ${show(error)}`;
  }
};

/** Bounds what loops let grow. */
export const clip = value => {
  if (typeof value === 'string') return value.slice(0, 60);
  if (typeof value === 'bigint') return BigInt.asIntN(300, value);
  return Array.isArray(value) ? value.slice(0, 12) : value;
};

/** Takes a program's default export to its end, and gives its trace and result as text. */
export const run = async load => {
  lines = [];
  calls = 0;
  const own = lines;
  let end;
  try {
    const main = (await load()).default;
    end = `value ${show(await main())}`;
  } catch (error) {
    end = `error ${show(error)}`;
  }
  for (let i = 0; i < 40; i += 1) await null;
  lines = [];
  return `${own.join('\n')}\n${end}`;
};
