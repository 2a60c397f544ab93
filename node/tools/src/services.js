// What a vat that drives others asks of the program that runs them: to start vats, to let time pass, to wait until nothing is under way.
// One function expression: called once, with the vat's argv. Evaluated as a text, so that places in it are nobody's mistake.
(argv => {
  const { timer } = argv;
  const asked = new Map();
  const queue = [];
  let last = 0;
  let listener;

  const say = request => {
    if (listener === undefined) {
      queue.push(request);
    } else {
      const { resolve } = listener;
      listener = undefined;
      resolve(request);
    }
  };

  // By request: the arguments of a vat that is to start. It asks for those that are no data.
  const given = new Map();

  const ask = (kind, request = {}, values = undefined) => {
    last += 1;
    if (values !== undefined) given.set(last, harden(values));
    const kit = makePromiseKit();
    asked.set(last, kit);
    say(harden({ id: last, kind, ...request }));
    return kit.promise;
  };

  // The next request, as soon as there is one.
  const next = () => {
    if (queue.length > 0) return queue.shift();
    listener = makePromiseKit();
    return listener.promise;
  };

  const done = (id, failure, value) => {
    const { resolve, reject } = asked.get(id);
    asked.delete(id);
    if (failure === undefined) resolve(value);
    else reject(Error(failure));
  };

  // Roots of vats that were started, and their numbers.
  const numbers = new Map();
  const rootOf = number => {
    const root = argv[`vat${number}`];
    numbers.set(root, number);
    return root;
  };

  const vat = async (path, argvOfVat = {}, options = {}) => {
    if (typeof path !== 'string') throw TypeError('vat(path, argv, options): the path of an entry file is needed, a string');
    for (const key of Object.keys(options)) {
      if (!['name', 'endowments', 'fuelPerDelivery', 'memoryMb'].includes(key)) {
        throw TypeError(`vat(path, argv, options): there is no option ${JSON.stringify(key)}; known ones are: name, endowments, fuelPerDelivery, memoryMb`);
      }
    }
    const { name, endowments = [], fuelPerDelivery, memoryMb } = options;
    const fields = [];
    const values = {};
    for (const [field, promised] of Object.entries(argvOfVat)) {
      const value = await promised;
      const known = numbers.get(value);
      values[field] = value;
      fields.push(known === undefined ? { field, value } : { field, vat: known });
    }
    return rootOf(await ask('start', { path, name, fields, endowments, fuelPerDelivery, memoryMb }, values));
  };

  // For a vat that starts: those of its arguments that hold references.
  const argvOf = (id, names) => {
    const values = given.get(id);
    return harden(Object.fromEntries(names.map(name => [name, values[name]])));
  };

  // All vats of a testnet's config; gives their roots by their names.
  const testnet = async path => {
    const started = await ask('testnet', { path });
    return harden(Object.fromEntries(started.map(([name, number]) => [name, rootOf(number)])));
  };

  const milliseconds = ms => {
    if (typeof ms !== 'number' || !(ms >= 0) || ms > Number.MAX_SAFE_INTEGER) {
      throw RangeError(`advance(ms): a number of milliseconds is needed, not ${String(ms)}`);
    }
    return Math.ceil(ms);
  };

  return harden({
    next,
    done,
    argvOf,
    vat,
    testnet,
    text: path => ask('text', { path }),
    timer,
    settle: () => ask('settle'),
    advance: ms => ask('advance', { ms: milliseconds(ms) }),
    restart: () => ask('restart'),
    now: () => timer.now(),
  });
})
