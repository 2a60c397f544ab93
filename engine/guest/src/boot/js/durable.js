// What outlives an upgrade: baggage, kinds and their instances, stores. One function expression: called once, after lockdown, with the native
// powers; it returns the baggage, the exports of `@agoric/vat-data`, and what the native half calls when an upgrade takes place.
//
// An instance is a kind and values by name; each of its facets is an object without properties under a prototype with the kind's methods. A store
// is an instance of a kind of the runtime's, whose values are its entries. After an upgrade an instance is made when it is first named, and
// its values are read one at a time: code can prepare its kinds in any order, as long as each is there before an instance of it is used.
//
// Invariant: every value passes, holds no promise, and names no object of this vat but instances. So all that can be reached from the baggage
// and from the instances that others hold can be written down.
(function durable(powers) {
  'use strict';

  const { Far, harden, passStyle, line, named, holdingOf, keysOf, valueAt, origin, adopt, patterns } = powers;
  const { create, defineProperty, entries, freeze, getOwnPropertyDescriptor, hasOwn, keys } = Object;
  const { apply, ownKeys } = Reflect;

  // Kinds of the runtime's own; no kind of a program has such a name.
  const BAGGAGE = '@baggage';
  const EXOS = '@exos';
  const MAP = '@map';
  const SET = '@set';
  // The name of the one facet of what is no kit.
  const SELF = '';
  // The method by which others ask an object for its guard.
  const GET_GUARD = '__getInterfaceGuard__';

  const kinds = new Map();
  // Facet → instance.
  const instances = new WeakMap();
  // `state` of a method → instance.
  const states = new WeakMap();

  // A value that is still as it was handed over.
  class Unread {
    constructor(holding, index) {
      this.holding = holding;
      this.index = index;
      freeze(this);
    }
  }

  const checked = (value, what) => {
    if (Object(value) === value) harden(value);
    for (const object of named(value)) {
      if (!instances.has(object)) {
        throw TypeError(
          `${what}: ${line(object)} does not outlive an upgrade, so it cannot be kept: make it with prepareExo, prepareExoClass or prepareExoClassKit`,
        );
      }
    }
    return value;
  };

  const read = (values, key) => {
    const value = values.get(key);
    if (!(value instanceof Unread)) return value;
    const made = valueAt(value.holding, value.index);
    values.set(key, made);
    return made;
  };

  // ---- instances

  // The values of a state, each checked; `shape` is the kind's, a pattern for each.
  const checkedValue = ({ name, shape }, key, value) => {
    const what = `${name}: the state's ${key}`;
    if (shape !== undefined) {
      if (!hasOwn(shape, key)) throw TypeError(`${what} is not in its stateShape`);
      patternsFor(name).mustMatch(harden(value), shape[key], what);
    }
    return checked(value, what);
  };

  const readValues = instance => {
    const { from } = instance;
    if (from === undefined) return instance.values;
    instance.values = new Map(keysOf(from).map((key, index) => [key, new Unread(from, index)]));
    instance.from = undefined;
    const { migrate } = instance.kind;
    if (migrate !== undefined) {
      const before = {};
      for (const key of instance.values.keys()) {
        defineProperty(before, key, { value: read(instance.values, key), enumerable: true });
      }
      instance.values = recordValues(migrate(harden(before)), instance.kind);
    }
    return instance.values;
  };

  const recordValues = (record, kind) => {
    const { name, shape } = kind;
    if (Object(record) !== record) throw TypeError(`${name}: the state must be a record, not ${line(record)}`);
    const values = new Map(entries(record).map(([key, value]) => [key, checkedValue(kind, key, value)]));
    const missing = shape === undefined ? undefined : keys(shape).find(key => !values.has(key));
    if (missing !== undefined) throw TypeError(`${name}: the state lacks ${missing}, which its stateShape has`);
    return values;
  };

  // Prototypes of `state`, by the names in it: the accessors find the instance by what they are called on.
  const shapes = new Map();
  const shapeOf = names => {
    const text = JSON.stringify(names);
    const known = shapes.get(text);
    if (known !== undefined) return known;
    const shape = {};
    for (const name of names) {
      defineProperty(shape, name, {
        get() { return read(states.get(this).values, name); },
        set(value) {
          const { kind, values } = states.get(this);
          values.set(name, checkedValue(kind, name, value));
        },
        enumerable: true,
        configurable: false,
      });
    }
    harden(shape);
    shapes.set(text, shape);
    return shape;
  };

  const contextOf = instance => {
    if (instance.context === undefined) {
      const state = freeze(create(shapeOf([...readValues(instance).keys()])));
      states.set(state, instance);
      const { facets } = instance;
      instance.context = freeze(instance.kind.isKit ? { state, facets } : { state, self: facets[SELF] });
    }
    return instance.context;
  };

  const newInstance = (kind, values, from) => {
    const facets = {};
    const instance = { kind, facets, values, from, context: undefined };
    for (const [name, prototype] of kind.prototypes) {
      const facet = harden(create(prototype));
      instances.set(facet, instance);
      defineProperty(facets, name, { value: facet, enumerable: true });
    }
    freeze(facets);
    return instance;
  };

  const prototypeOf = (kind, facet, tag, given, guard, contextFor) => {
    if (Object(given) !== given) throw TypeError(`${tag}: methods must be an object, not ${line(given)}`);
    const methods = new Map();
    for (const key of ownKeys(given)) {
      const { value: method } = getOwnPropertyDescriptor(given, key);
      if (typeof method !== 'function') throw TypeError(`${tag}: ${String(key)} is not a method`);
      methods.set(key, method);
    }
    const wrapped = {};
    for (const [key, method] of guard === undefined ? methods : guarded(tag, guard, methods)) {
      const wrapper = {
        [key](...args) {
          const instance = instances.get(this);
          if (instance === undefined || instance.kind !== kind || instance.facets[facet] !== this) {
            throw TypeError(`${tag}.${String(key)} is a method of ${tag}, and was called on ${line(this)}`);
          }
          return apply(method, contextFor(instance), args);
        },
      };
      defineProperty(wrapped, key, { value: wrapper[key], enumerable: true, writable: true, configurable: true });
    }
    return Far(tag, wrapped);
  };

  const addKind = (name, facets, contextFor, { init, finish, migrate, stateShape, ...others } = {}, guards = {}, shown = name) => {
    if (kinds.has(name)) throw Error(`the kind ${name} is prepared already`);
    const [unknown] = keys(others);
    if (unknown !== undefined) throw TypeError(`${name}: the option ${unknown} is not known here; there are finish, migrate and stateShape`);
    const isKit = facets !== undefined && !(SELF in facets);
    const kind = { name, isKit, init, finish, migrate, shape: harden(stateShape), prototypes: new Map() };
    for (const [facet, methods] of entries(facets)) {
      const tag = isKit ? `${shown} ${facet}` : shown;
      kind.prototypes.set(facet, prototypeOf(kind, facet, tag, methods, guards[facet], contextFor));
    }
    kinds.set(name, freeze(kind));
    return kind;
  };

  // ---- guards: made by the package @endo/patterns that the code has, and checked by the same

  const patternsFor = name => {
    const found = patterns();
    if (found === undefined) {
      throw TypeError(`${name}: guards and shapes are checked by the package @endo/patterns, which is not among the modules of this code: install it and import it, or pass undefined and check arguments in the methods`);
    }
    return found;
  };

  // What stands in the place of an argument that is passed on unseen.
  const UNSEEN = 'an argument that is not checked';

  // A function that checks arguments, as a method guard says.
  const argumentChecker = ({ M, mustMatch, isRawGuard }, { argGuards, optionalArgGuards = [], restArgGuard }, label) => {
    const isUnseen = [...argGuards, ...optionalArgGuards].map(guard => isRawGuard(guard));
    const isRestUnseen = isRawGuard(restArgGuard);
    const seen = guard => (isRawGuard(guard) ? UNSEEN : guard);
    const rest = isRestUnseen ? M.arrayOf(UNSEEN) : restArgGuard;
    const shape = M.splitArray(argGuards.map(seen), optionalArgGuards.map(seen), rest);
    return args => {
      const shown = args.map((arg, index) => (isUnseen[index] ?? isRestUnseen ? UNSEEN : arg));
      mustMatch(harden(shown), shape, label);
      if (restArgGuard === undefined && args.length > isUnseen.length) {
        throw Error(`${label} accepts at most ${isUnseen.length} arguments, not ${args.length}`);
      }
    };
  };

  // The method behind its guard.
  const guardedMethod = (tools, methodGuard, method, label) => {
    const { mustMatch, isRawGuard, getMethodGuardPayload, isAwaitArgGuard, getAwaitArgGuardPayload } = tools;
    const payload = getMethodGuardPayload(methodGuard);
    const { callKind, argGuards, optionalArgGuards = [], restArgGuard, returnGuard } = payload;
    const finish = result => {
      if (!isRawGuard(returnGuard)) mustMatch(harden(result), returnGuard, `${label}: result`);
      return result;
    };
    if (callKind === 'sync') {
      const check = argumentChecker(tools, payload, label);
      return function guardedCall(...args) {
        check(args);
        return finish(apply(method, this, args));
      };
    }
    if (isAwaitArgGuard(restArgGuard)) throw TypeError(`${label}: further arguments cannot be awaited`);
    const awaited = [...argGuards, ...optionalArgGuards].map(guard => isAwaitArgGuard(guard));
    const bare = guard => (isAwaitArgGuard(guard) ? getAwaitArgGuardPayload(guard).argGuard : guard);
    const check = argumentChecker(
      tools,
      { argGuards: argGuards.map(bare), optionalArgGuards: optionalArgGuards.map(bare), restArgGuard },
      label,
    );
    return async function guardedWhen(...args) {
      // Both are read before anything is waited for.
      const waiting = args.map((arg, index) => (awaited[index] ? arg : undefined));
      const values = await Promise.all(waiting);
      const all = args.map((arg, index) => (awaited[index] ? values[index] : arg));
      check(all);
      return finish(await apply(method, this, all));
    };
  };

  // The methods behind an interface guard, which must name all of them, unless it says how the others are guarded.
  const guarded = (tag, guard, methods) => {
    const tools = patternsFor(tag);
    const { M, getInterfaceGuardPayload, getCopyMapEntries } = tools;
    const { interfaceName, methodGuards, symbolMethodGuards, sloppy = false, defaultGuards = sloppy ? 'passable' : undefined } =
      getInterfaceGuardPayload(guard);
    const symbols = symbolMethodGuards === undefined ? [] : [...getCopyMapEntries(symbolMethodGuards)];
    const guards = new Map([...entries(methodGuards), ...symbols]);
    const absent = [...guards.keys()].filter(key => !methods.has(key));
    if (absent.length > 0) throw Error(`${tag}: the interface ${interfaceName} has methods that are not implemented: ${absent.map(String).join(', ')}`);
    const open = [...methods.keys()].filter(key => !guards.has(key));
    if (open.length > 0 && defaultGuards === undefined) {
      throw Error(`${tag}: the interface ${interfaceName} does not guard ${open.map(String).join(', ')}`);
    }
    const passable = M.call().rest(M.any()).returns(M.any());
    const behind = new Map();
    for (const [key, method] of methods) {
      const label = `In ${typeof key === 'string' ? JSON.stringify(key) : `[${String(key)}]`} method of (${tag})`;
      const own = guards.get(key) ?? (defaultGuards === 'raw' ? undefined : passable);
      behind.set(key, own === undefined ? method : guardedMethod(tools, own, method, label));
    }
    if (!behind.has(GET_GUARD)) behind.set(GET_GUARD, () => guard);
    return behind;
  };

  // ---- stores

  const checkedKey = (key, what) => {
    if (Object(key) === key && passStyle(harden(key)) !== 'remotable') {
      throw TypeError(`${what}: a key must be a string, another primitive value, or a reference`);
    }
    return checked(key, `${what}: a key`);
  };

  const storeMethods = what => {
    const mustHave = (values, key) => {
      if (!values.has(key)) throw Error(`${what}: the key ${line(key)} is not there`);
    };
    const list = values => [...values.keys()].map(key => [key, read(values, key)]);
    return {
      has(key) { return this.has(key); },
      get(key) {
        mustHave(this, key);
        return read(this, key);
      },
      init(key, value) {
        if (this.has(key)) throw Error(`${what}: the key ${line(key)} is there already`);
        this.set(checkedKey(key, what), checked(value, what));
      },
      set(key, value) {
        mustHave(this, key);
        this.set(key, checked(value, what));
      },
      delete(key) {
        mustHave(this, key);
        this.delete(key);
      },
      getSize() { return this.size; },
      keys() { return harden([...this.keys()]); },
      values() { return harden(list(this).map(([, value]) => value)); },
      entries() { return harden(list(this)); },
      clear() { this.clear(); },
    };
  };
  const setMethods = {
    has(key) { return this.has(key); },
    add(key) { this.set(checkedKey(key, 'a set'), null); },
    delete(key) {
      if (!this.delete(key)) throw Error(`a set: the key ${line(key)} is not there`);
    },
    getSize() { return this.size; },
    keys() { return harden([...this.keys()]); },
    values() { return harden([...this.keys()]); },
    clear() { this.clear(); },
  };
  for (const [name, shown, methods] of [
    [BAGGAGE, 'baggage', storeMethods('baggage')],
    [EXOS, 'exos', {}],
    [MAP, 'mapStore', storeMethods('a map')],
    [SET, 'setStore', setMethods],
  ]) {
    addKind(name, { [SELF]: methods }, readValues, {}, {}, shown);
  }
  const newStore = name => newInstance(kinds.get(name), new Map(), undefined);
  const baggageInstance = newStore(BAGGAGE);
  const baggage = baggageInstance.facets[SELF];
  // What `prepareExo` made, by name.
  const exos = newStore(EXOS);

  // ---- what programs call

  const checkedName = (name, given) => {
    if (given !== baggage) throw TypeError('a kind is prepared with the baggage of the vat: it outlives upgrades under its name there');
    if (typeof name !== 'string' || name === '' || name.startsWith('@')) {
      throw TypeError(`a kind's name must be a string that does not begin with "@", not ${line(name)}`);
    }
    return name;
  };

  const instanceMaker = kind => (...args) => {
    const instance = newInstance(kind, recordValues(apply(kind.init, undefined, args), kind), undefined);
    if (kind.finish !== undefined) apply(kind.finish, undefined, [contextOf(instance)]);
    return kind.isKit ? instance.facets : instance.facets[SELF];
  };

  const empty = () => ({});

  const prepareExoClass = (given, name, guard, init, methods, options = {}) => {
    const kind = addKind(checkedName(name, given), { [SELF]: methods }, contextOf, { ...options, init }, { [SELF]: guard });
    return harden(instanceMaker(kind));
  };

  const prepareExoClassKit = (given, name, guards = {}, init, facets, options = {}) => {
    checkedName(name, given);
    if (Object(facets) !== facets || SELF in facets || ownKeys(facets).length === 0) {
      throw TypeError(`${name}: a kit needs a record of facets, each with a name and methods`);
    }
    const odd = keys(guards).find(facet => !hasOwn(facets, facet));
    if (odd !== undefined) throw TypeError(`${name}: there is a guard for ${line(odd)}, which is no facet; a kit's guards are a record by facet`);
    return harden(instanceMaker(addKind(name, facets, contextOf, { ...options, init }, guards)));
  };

  const prepareExo = (given, name, guard, methods, options = {}) => {
    const make = prepareExoClass(given, name, guard, empty, methods, options);
    const values = readValues(exos);
    if (!values.has(name)) values.set(name, make());
    return read(values, name);
  };

  const provide = (store, key, make) => {
    if (!store.has(key)) store.init(key, make(key));
    return store.get(key);
  };

  const makeStore = name => harden((label = name, options = {}) => {
    if (options.durable !== true) throw TypeError(`${label}: a store that lasts no longer than the program is a Map; ask for { durable: true }`);
    return newStore(name).facets[SELF];
  });
  const makeScalarBigMapStore = makeStore(MAP);
  const makeScalarBigSetStore = makeStore(SET);
  const durably = { durable: true };

  const exports = harden({
    prepareExo,
    prepareExoClass,
    prepareExoClassKit,
    provide,
    makeScalarBigMapStore,
    makeScalarBigSetStore,
    provideDurableMapStore: (store, name) => provide(store, name, () => makeScalarBigMapStore(name, durably)),
    provideDurableSetStore: (store, name) => provide(store, name, () => makeScalarBigSetStore(name, durably)),
    initEmpty: empty,
  });

  // ---- upgrades

  // All that outlives an upgrade if others hold `held` and may still ask for `answers`: a list of [kind, [[facet, object], …], [[key, value],
  // …]], and for each answer whether it does.
  const handOver = (held, answers, root) => {
    const order = [];
    const seen = new Set();
    const reach = instance => {
      if (!seen.has(instance)) {
        seen.add(instance);
        order.push(instance);
      }
    };
    const follow = value => named(value).forEach(object => reach(instances.get(object)));
    reach(baggageInstance);
    reach(exos);
    for (const object of held) {
      const instance = instances.get(object);
      if (instance !== undefined) reach(instance);
    }
    const lasts = answers.map(value => {
      let objects;
      try {
        objects = named(value);
      } catch {
        return false; // It holds a promise.
      }
      if (!objects.every(object => object === root || instances.has(object))) return false;
      objects.forEach(object => { if (instances.has(object)) reach(instances.get(object)); });
      return true;
    });
    const found = [];
    for (let at = 0; at < order.length; at += 1) {
      const instance = order[at];
      const values = readValues(instance);
      const pairs = [...values.keys()].map(key => [key, read(values, key)]);
      for (const [key, value] of pairs) {
        follow(key);
        follow(value);
      }
      found.push([instance.kind.name, entries(instance.facets), pairs]);
    }
    return [found, lasts];
  };

  // Those that were made again, by the number of the holding.
  let made = new Map();
  const revive = holding => {
    const known = made.get(holding);
    if (known !== undefined) return known;
    const [name, facets] = holdingOf(holding);
    let instance;
    if (name === BAGGAGE) {
      instance = baggageInstance;
    } else if (name === EXOS) {
      instance = exos;
    } else {
      const kind = kinds.get(name);
      if (kind === undefined) {
        throw Error(`an object of the kind ${name} is needed before that is prepared: call prepareExo, prepareExoClass or prepareExoClassKit first`);
      }
      if (facets.some(facet => !kind.prototypes.has(facet))) {
        throw Error(`the kind ${name} has facets that it does not have any more: ${facets.join(', ')}`);
      }
      instance = newInstance(kind, undefined, holding);
    }
    instance.from = holding;
    made.set(holding, instance);
    for (const facet of facets) adopt(holding, facet, instance.facets[facet]);
    return instance;
  };

  // The object that had this number; nothing if it did not outlive the upgrade.
  const heir = id => {
    const found = origin(id);
    if (found === undefined) return undefined;
    const [holding, facet] = found;
    return revive(holding).facets[facet];
  };

  // The vat is told what it takes over: the first two holdings are the baggage and the exos.
  const inherit = () => {
    revive(0);
    revive(1);
  };

  // The code has started: all that was handed over is made.
  const settle = count => {
    const missing = new Map();
    for (let holding = 0; holding < count; holding += 1) {
      const [name] = holdingOf(holding);
      if (!kinds.has(name)) missing.set(name, (missing.get(name) ?? 0) + 1);
    }
    if (missing.size > 0) {
      const list = [...missing].map(([name, number]) => `${name} (${number})`).join(', ');
      throw Error(`these kinds have instances, and the code did not prepare them by the end of its start: ${list}`);
    }
    for (let holding = 0; holding < count; holding += 1) {
      const values = readValues(revive(holding));
      for (const key of [...values.keys()]) read(values, key);
    }
    made = new Map();
  };

  return harden({ baggage, exports, handOver, heir, inherit, settle });
})
