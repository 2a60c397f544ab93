// The vat's globals and built-in modules. One function expression: called once, after lockdown, with the native powers; it
// returns the built-in modules by specifier. Afterwards every global is constant. Modules may add some of their own while the vat starts, as packages
// do that keep their settings there; then the runtime freezes globalThis.
(function runtime(powers) {
  'use strict';

  const { E, Far, harden, passStyle, vatData } = powers;
  const { makeVow, isVow, promiseOf, flowOf, status, send, plainPromise, react, HandledPromise, web, random } = powers;
  const { freeze, defineProperty, getOwnPropertyNames, getOwnPropertySymbols, getOwnPropertyDescriptor } = Object;
  const { create, getOwnPropertyDescriptors, getPrototypeOf } = Object;
  const hidden = (object, name, value) => defineProperty(object, name, { value, enumerable: false });

  // ---- E

  hidden(E, 'when', function when(value, onFulfilled, onRejected) {
    return react(plainPromise(value), onFulfilled, onRejected);
  });
  hidden(E, 'resolve', function resolve(value) {
    return plainPromise(value);
  });

  // ---- small things

  const makePromiseKit = () => {
    let resolve;
    let reject;
    const promise = new Promise((res, rej) => {
      resolve = res;
      reject = rej;
    });
    return harden({ promise, resolve, reject });
  };

  const isNat = value =>
    typeof value === 'bigint' ? value >= 0n : Number.isSafeInteger(value) && value >= 0;

  // As @endo/nat: a bigint. Nat of the ancestor gave the number itself; see `nat` below.
  const toNat = value => {
    if (typeof value === 'bigint') {
      if (value < 0n) throw RangeError(`${value} is negative`);
      return value;
    }
    if (typeof value !== 'number') throw TypeError(`${typeof value} is not a number or bigint`);
    if (!Number.isSafeInteger(value)) throw RangeError(`${value} is not a safe integer`);
    if (value < 0) throw RangeError(`${value} is negative`);
    return BigInt(value);
  };

  // As the ancestor and @agoric/nat: the same number, checked.
  const nat = value => {
    toNat(value);
    return value;
  };

  const passStyleOf = value => {
    if (value === null) return 'null';
    if (typeof value !== 'object' && typeof value !== 'function') return typeof value;
    return passStyle(value);
  };

  const getInterfaceOf = value => {
    try {
      return passStyleOf(value) === 'remotable' ? value[Symbol.toStringTag] : undefined;
    } catch {
      return undefined; // It does not pass.
    }
  };

  const deeplyFulfilled = async value => {
    const settled = await value;
    switch (passStyleOf(settled)) {
      case 'copyArray':
        return harden(await Promise.all(settled.map(item => deeplyFulfilled(item))));
      case 'copyRecord': {
        const names = getOwnPropertyNames(settled);
        const values = await Promise.all(names.map(name => deeplyFulfilled(settled[name])));
        return harden(Object.fromEntries(names.map((name, index) => [name, values[index]])));
      }
      case 'tagged':
        return makeTagged(settled[Symbol.toStringTag], await deeplyFulfilled(settled.payload));
      default:
        return settled;
    }
  };

  // ---- tagged data

  const PASS_STYLE = Symbol.for('passStyle');

  const makeTagged = (tag, payload) => {
    if (typeof tag !== 'string') throw TypeError(`makeTagged: the tag must be a string, not ${typeof tag}`);
    passStyleOf(harden(payload));
    return harden(Object.create(Object.prototype, {
      [PASS_STYLE]: { value: 'tagged' },
      [Symbol.toStringTag]: { value: tag },
      payload: { value: payload, enumerable: true },
    }));
  };

  const getTag = tagged => {
    if (passStyleOf(tagged) !== 'tagged') throw TypeError('getTag: tagged data is needed');
    return tagged[Symbol.toStringTag];
  };

  // ---- Vow and Flow, the ancestor's interface
  //
  // A flow is a queue of operations on vows. An operation runs at once if nothing is before it and its vow is settled or
  // is decided elsewhere (then the message leaves at once); otherwise it waits, and so does all that comes after it in the
  // same flow. Each result has a flow of its own.

  const makeQueue = () => {
    const waiting = [];
    let head = 0;

    const runs = ({ promise, onlySettled }) => {
      const now = status(promise);
      return now > 1 || (now === 1 && !onlySettled);
    };

    const advance = () => {
      while (head < waiting.length) {
        const next = waiting[head];
        if (!runs(next)) {
          react(next.promise, advance, advance);
          return;
        }
        waiting[head] = undefined;
        head += 1;
        next.run();
      }
      waiting.length = 0;
      head = 0;
    };

    return freeze({
      enqueue(operation) {
        if (head === waiting.length && runs(operation)) {
          operation.run();
          return;
        }
        waiting.push(operation);
        if (head === waiting.length - 1) {
          react(operation.promise, advance, advance);
        }
      },
    });
  };

  const queues = new WeakMap();
  let vowPrototype;

  const newVow = (promise, queue = makeQueue()) => makeVow(vowPrototype, promise, queue);

  // Queues `start` in the vow's flow and gives a vow for what it returns. If it runs at once, the new vow stands for the very
  // promise that it returned, so that messages to it can leave at once as well.
  const enqueue = (vow, onlySettled, start) => {
    let settle;
    let direct;
    flowOf(vow).enqueue({
      promise: promiseOf(vow),
      onlySettled,
      run() {
        const outcome = start();
        if (settle === undefined) {
          direct = outcome;
        } else {
          settle(outcome);
        }
      },
    });
    if (direct !== undefined) return newVow(direct);
    return newVow(new Promise(resolve => {
      settle = resolve;
    }));
  };

  const sendVow = (vow, name, args) => {
    const promise = promiseOf(vow);
    return enqueue(vow, false, () => send(promise, name, args));
  };

  // What awaits or returns a sender asks it for this.
  const noThen = () => {
    throw TypeError('vow.e is not a promise: write vow.e.method(...) to send a message, and await or return the vow itself');
  };

  const eHandler = freeze({
    get(target, name) {
      if (typeof name !== 'string') return undefined;
      if (name === 'then') return noThen;
      return (...args) => sendVow(target.vow, name, args);
    },
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    // The vow behind it stays hidden: whoever can send need not be able to read.
    getOwnPropertyDescriptor: () => undefined,
    ownKeys: () => [],
    preventExtensions: () => false,
    has: () => true,
  });

  function Vow() {
    throw TypeError('Vow is not a constructor: use Vow.resolve(value) or new Flow().makeVow(resolve => …)');
  }
  vowPrototype = Vow.prototype;

  const method = (object, name, value) =>
    defineProperty(object, name, { value, enumerable: false, writable: true, configurable: true });

  defineProperty(vowPrototype, 'e', {
    get() {
      promiseOf(this);
      return new Proxy({ vow: this }, eHandler);
    },
    enumerable: false,
    configurable: true,
  });
  method(vowPrototype, 'then', function then(onFulfilled, onRejected) {
    const promise = promiseOf(this);
    return enqueue(this, true, () => react(promise, onFulfilled, onRejected));
  });
  method(vowPrototype, 'catch', { catch(onRejected) { return this.then(undefined, onRejected); } }.catch);
  method(vowPrototype, 'finally', {
    finally(onFinally) {
      return this.then(
        value => react(plainPromise(onFinally()), () => value),
        reason => react(plainPromise(onFinally()), () => { throw reason; }),
      );
    },
  }.finally);
  method(vowPrototype, 'fork', function fork() {
    return newVow(promiseOf(this));
  });
  defineProperty(vowPrototype, Symbol.toStringTag, { value: 'Vow' });

  const asVow = value => (isVow(value) ? value : newVow(plainPromise(value)));

  method(Vow, 'resolve', function resolve(value) { return asVow(value); });
  method(Vow, 'reject', function reject(reason) { return newVow(Promise.reject(reason)); });
  method(Vow, 'all', function all(values) {
    return newVow(Promise.all([...values].map(plainPromise)));
  });
  method(Vow, 'race', function race(values) {
    return newVow(Promise.race([...values].map(plainPromise)));
  });
  method(Vow, 'join', function join(left, right) {
    return newVow(
      react(Promise.all([plainPromise(left), plainPromise(right)]), ([first, second]) => {
        if (Object.is(first, second)) return first;
        throw Error('not the same');
      }),
    );
  });
  method(Vow, 'fromFn', function fromFn(fn) {
    return newVow(Promise.resolve().then(() => fn()).then(value => (isVow(value) ? promiseOf(value) : value)));
  });
  method(Vow, 'isVow', function isVowOf(value) { return isVow(value); });

  class Flow {
    constructor() {
      queues.set(this, makeQueue());
      freeze(this);
    }

    makeVow(executor = undefined) {
      const queue = queues.get(this);
      if (queue === undefined) throw TypeError('makeVow is a method of a Flow');
      const { promise, resolve, reject } = makePromiseKit();
      if (executor !== undefined) {
        const settle = value => resolve(isVow(value) ? promiseOf(value) : value);
        try {
          executor(settle, reject);
        } catch (reason) {
          reject(reason);
        }
      }
      return newVow(promise, queue);
    }
  }

  // ---- SES.confine, the ancestor's confinement

  const confine = (source, endowments = {}) => {
    const compartment = new Compartment({ globals: { ...commonGlobals, ...endowments }, __options__: true });
    return compartment.evaluate(`${source}`);
  };
  const confineExpr = (source, endowments = {}) => confine(`(${source}\n)`, endowments);
  const SES = { confine, confineExpr };

  // ---- globals

  const log = (...args) => console.log(...args);

  const commonGlobals = { harden, def: harden, Nat: nat, console };

  const globals = {
    E, Far, harden, makePromiseKit, Nat: nat, Vow, Flow, asVow, def: harden, SES, log, HandledPromise, ...web,
  };
  // Those of a compartment are without power: no clock, no randomness.
  const tame = new Compartment({ __options__: true }).globalThis;
  for (const name of ['Date', 'Math', 'RegExp', 'Error', 'Symbol']) {
    if (tame[name] !== undefined) globals[name] = tame[name];
  }
  // It gives numbers while the vat starts.
  const ofMath = getOwnPropertyDescriptors(tame.Math);
  globals.Math = create(getPrototypeOf(tame.Math), { ...ofMath, random: { ...ofMath.random, value: random } });
  for (const name of ['lockdown', 'repairIntrinsics', 'hardenIntrinsics', 'getStackString', 'quorateHarden']) delete globalThis[name];
  for (const name of getOwnPropertyNames(globals)) {
    defineProperty(globalThis, name, {
      value: globals[name], writable: false, enumerable: false, configurable: false,
    });
  }
  // Everything that can be reached from here is hardened now, so that later calls of harden stop at it.
  for (const name of [...getOwnPropertyNames(globalThis), ...getOwnPropertySymbols(globalThis)]) {
    const descriptor = getOwnPropertyDescriptor(globalThis, name);
    const { value } = descriptor;
    if (value !== globalThis && Object(value) === value) harden(value);
    defineProperty(globalThis, name, { configurable: false, ...('value' in descriptor ? { writable: false } : {}) });
  }
  harden([function* g() {}, async function a() {}, async function* ag() {}, [][Symbol.iterator](), /./[Symbol.matchAll]('')]);

  // ---- built-in modules

  const far = { E, Far, getInterfaceOf, passStyleOf };
  const eventualSend = { E, HandledPromise };
  const isPromise = value => {
    try {
      status(value);
      return true;
    } catch {
      return false;
    }
  };
  // Programs get the functions in it, and the namespaces share them.
  return harden({
    '@endo/far': far,
    '@endo/eventual-send': eventualSend,
    '@endo/harden': { default: harden, harden },
    '@endo/nat': { Nat: toNat, isNat, default: toNat, ZERO_N: 0n, ONE_N: 1n },
    '@endo/promise-kit': { makePromiseKit, isPromise },
    '@endo/marshal': { Far, getInterfaceOf, passStyleOf, deeplyFulfilled, makeTagged, getTag },
    '@endo/pass-style': { Far, getInterfaceOf, passStyleOf, deeplyFulfilled, makeTagged, getTag, PASS_STYLE },
    '@endo/init': {},
    '@endo/lockdown': {},
    '@agoric/harden': { default: harden },
    '@agoric/nat': { default: nat, Nat: nat, isNat },
    '@agoric/eventual-send': eventualSend,
    '@agoric/vat-data': vatData,
    ses: {},
  });
})
