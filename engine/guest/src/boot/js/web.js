// Names that packages expect of a web-like host, and that can be the same everywhere: texts and bytes, copies, turns. One function expression:
// called once, after lockdown, with the native powers; it returns the globals by name.
(function web(powers) {
  'use strict';

  const { harden, plainPromise, react, kindOf, utf8Encode, utf8Decode } = powers;
  const { getPrototypeOf, getOwnPropertyDescriptor, defineProperty } = Object;
  const { apply, ownKeys } = Reflect;

  const named = (name, message) => {
    const error = Error(message);
    defineProperty(error, 'name', { value: name, writable: true, enumerable: false, configurable: true });
    return error;
  };

  // ---- texts and bytes

  class TextEncoder {
    get encoding() { return 'utf-8'; }

    encode(text = '') { return utf8Encode(`${text}`); }

    encodeInto(text, destination) {
      let [read, written] = [0, 0];
      for (const letter of `${text}`) {
        const bytes = utf8Encode(letter);
        if (written + bytes.length > destination.length) break;
        destination.set(bytes, written);
        read += letter.length;
        written += bytes.length;
      }
      return { read, written };
    }
  }

  const bytesOf = input => {
    if (input === undefined) return new Uint8Array(0);
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    if (Object(input) === input && kindOf(input) === 'buffer') return new Uint8Array(input);
    throw TypeError('TextDecoder: the bytes must be an ArrayBuffer or a view of one');
  };

  const UTF8 = ['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8'];

  class TextDecoder {
    #fatal;

    #ignoreBOM;

    // What a text that goes on began with, and whether its first letter was given.
    #rest = new Uint8Array(0);

    #begun = false;

    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      const name = `${label}`.trim().toLowerCase();
      if (!UTF8.includes(name)) throw RangeError(`TextDecoder: ${JSON.stringify(`${label}`)} is not supported, only utf-8 is`);
      this.#fatal = Boolean(fatal);
      this.#ignoreBOM = Boolean(ignoreBOM);
    }

    get encoding() { return 'utf-8'; }

    get fatal() { return this.#fatal; }

    get ignoreBOM() { return this.#ignoreBOM; }

    decode(input = undefined, { stream = false } = {}) {
      const added = bytesOf(input);
      const bytes = new Uint8Array(this.#rest.length + added.length);
      bytes.set(this.#rest);
      bytes.set(added, this.#rest.length);
      const [whole, used, valid] = utf8Decode(bytes, Boolean(stream));
      const begun = this.#begun;
      this.#rest = stream ? bytes.slice(used) : new Uint8Array(0);
      this.#begun = Boolean(stream) && (begun || whole.length > 0);
      if (this.#fatal && !valid) {
        this.#rest = new Uint8Array(0);
        this.#begun = false;
        throw TypeError('TextDecoder: the bytes are not valid utf-8');
      }
      return !begun && !this.#ignoreBOM && whole.startsWith('\uFEFF') ? whole.slice(1) : whole;
    }
  }

  for (const [{ prototype }, tag] of [[TextEncoder, 'TextEncoder'], [TextDecoder, 'TextDecoder']]) {
    defineProperty(prototype, Symbol.toStringTag, { value: tag, writable: false, enumerable: false, configurable: true });
  }

  const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const DIGITS = new Map([...LETTERS].map((letter, index) => [letter, index]));

  const btoa = text => {
    const input = `${text}`;
    const parts = [];
    for (let at = 0; at < input.length; at += 3) {
      const codes = [0, 1, 2].map(next => (at + next < input.length ? input.charCodeAt(at + next) : 0));
      if (codes.some(code => code > 255)) throw named('InvalidCharacterError', 'btoa: a letter is not one byte');
      const bits = (codes[0] << 16) | (codes[1] << 8) | codes[2];
      const letters = [18, 12, 6, 0].map(shift => LETTERS[(bits >> shift) & 63]);
      const missing = Math.max(0, at + 3 - input.length);
      parts.push(letters.slice(0, 4 - missing).join('') + '='.repeat(missing));
    }
    return parts.join('');
  };

  const atob = text => {
    let input = `${text}`.replace(/[\t\n\f\r ]/g, '');
    if (input.length % 4 === 0) input = input.replace(/={1,2}$/, '');
    const digits = [...input].map(letter => DIGITS.get(letter));
    if (input.length % 4 === 1 || digits.includes(undefined)) {
      throw named('InvalidCharacterError', 'atob: the text is not base64');
    }
    const letters = [];
    for (let at = 0; at < digits.length; at += 4) {
      const group = digits.slice(at, at + 4);
      const bits = group.reduce((sum, digit, index) => sum | (digit << (18 - 6 * index)), 0);
      for (let byte = 0; byte + 1 < group.length; byte += 1) letters.push(String.fromCharCode((bits >> (16 - 8 * byte)) & 255));
    }
    return letters.join('');
  };

  // ---- copies

  const uncurried = (prototype, key, part = 'value') => {
    const f = getOwnPropertyDescriptor(prototype, key)[part];
    return (self, ...args) => apply(f, self, args);
  };
  const typedArray = getPrototypeOf(Uint8Array.prototype);
  const nameOfTypedArray = uncurried(typedArray, Symbol.toStringTag, 'get');
  const bufferOfTypedArray = uncurried(typedArray, 'buffer', 'get');
  const offsetOfTypedArray = uncurried(typedArray, 'byteOffset', 'get');
  const lengthOfTypedArray = uncurried(typedArray, 'length', 'get');
  const bufferOfView = uncurried(DataView.prototype, 'buffer', 'get');
  const offsetOfView = uncurried(DataView.prototype, 'byteOffset', 'get');
  const lengthOfView = uncurried(DataView.prototype, 'byteLength', 'get');
  const slice = uncurried(ArrayBuffer.prototype, 'slice');
  const transfer = uncurried(ArrayBuffer.prototype, 'transfer');
  const getTime = uncurried(Date.prototype, 'getTime');
  const source = uncurried(RegExp.prototype, 'source', 'get');
  const flags = uncurried(RegExp.prototype, 'flags', 'get');
  const eachOfMap = uncurried(Map.prototype, 'forEach');
  const eachOfSet = uncurried(Set.prototype, 'forEach');
  const boxed = [Number, String, Boolean, BigInt].map(({ prototype }) => uncurried(prototype, 'valueOf'));
  const typedArrays = new Map(
    [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array]
      .map(constructor => [constructor.name, constructor]),
  );
  const errors = new Map([Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map(constructor => [constructor.name, constructor]));

  const refuse = what => {
    throw named('DataCloneError', `structuredClone: ${what} cannot be copied`);
  };

  const copyOfOther = value => {
    for (const valueOf of boxed) {
      try {
        return Object(valueOf(value));
      } catch {
        // It is no such thing.
      }
    }
    return refuse(typeof value === 'function' ? 'a function' : 'an object of this kind');
  };

  const copyOfError = (value, copyIn) => {
    const constructor = errors.get(`${value.name}`) ?? Error;
    const own = getOwnPropertyDescriptor(value, 'message');
    const error = own === undefined ? new constructor() : new constructor(`${own.value}`);
    const cause = getOwnPropertyDescriptor(value, 'cause');
    if (cause !== undefined) {
      defineProperty(error, 'cause', { value: copyIn(cause.value), writable: true, enumerable: false, configurable: true });
    }
    return error;
  };

  const structuredClone = (value, options = undefined) => {
    const seen = new Map();
    for (const moved of options?.transfer ?? []) {
      if (Object(moved) !== moved || kindOf(moved) !== 'buffer') refuse('what is to be transferred');
      seen.set(moved, transfer(moved));
    }
    const keep = (original, made) => {
      seen.set(original, made);
      return made;
    };
    const fill = (original, made) => {
      for (const key of ownKeys(original)) {
        const descriptor = getOwnPropertyDescriptor(original, key);
        if (typeof key === 'string' && descriptor !== undefined && descriptor.enumerable) {
          defineProperty(made, key, { value: copy(original[key]), writable: true, enumerable: true, configurable: true });
        }
      }
      return made;
    };
    const copyObject = original => {
      switch (kindOf(original)) {
        case 'array': return fill(original, keep(original, new Array(original.length)));
        case 'ordinary': return fill(original, keep(original, {}));
        case 'error': return keep(original, copyOfError(original, copy));
        case 'date': return keep(original, new Date(getTime(original)));
        case 'regexp': return keep(original, new RegExp(source(original), flags(original)));
        case 'buffer': return keep(original, slice(original, 0));
        case 'typed': {
          const constructor = typedArrays.get(nameOfTypedArray(original));
          const buffer = copy(bufferOfTypedArray(original));
          return keep(original, new constructor(buffer, offsetOfTypedArray(original), lengthOfTypedArray(original)));
        }
        case 'view': return keep(original, new DataView(copy(bufferOfView(original)), offsetOfView(original), lengthOfView(original)));
        case 'map': {
          const [made, pairs] = [keep(original, new Map()), []];
          eachOfMap(original, (item, key) => pairs.push([key, item]));
          for (const [key, item] of pairs) made.set(copy(key), copy(item));
          return made;
        }
        case 'set': {
          const [made, items] = [keep(original, new Set()), []];
          eachOfSet(original, item => items.push(item));
          for (const item of items) made.add(copy(item));
          return made;
        }
        default: return keep(original, copyOfOther(original));
      }
    };
    const copy = original => {
      if (typeof original === 'symbol') refuse('a symbol');
      if (Object(original) !== original) return original;
      return seen.has(original) ? seen.get(original) : copyObject(original);
    };
    return copy(value);
  };

  // ---- turns

  const queueMicrotask = callback => {
    if (typeof callback !== 'function') throw TypeError('queueMicrotask: a function is needed');
    react(plainPromise(undefined), () => { callback(); });
  };

  return harden({ TextEncoder, TextDecoder, btoa, atob, structuredClone, queueMicrotask });
})
