import { E, Far } from '@endo/far';

const makeCounter = () => {
  let count = 0;
  return Far('counter', {
    add(by) { count += by; return count; },
    count: () => count,
  });
};

export default () => {
  const counts = new Map();
  let open;
  let opened = new Promise(resolve => { open = resolve; });
  return Far('desk', {
    echo: (...args) => args,
    fail() { throw RangeError('too far'); },
    makeCounter,
    makeAdder: () => Far('adder', (one, other) => one + other),
    async total(counters) {
      const all = await Promise.all(counters.map(counter => E(counter).count()));
      return all.reduce((sum, count) => sum + count, 0);
    },
    // Counts how often it is called under a name, and answers when it may: with the name, that count, and a counter.
    async wait(name) {
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      await opened;
      return { name, count, counter: makeCounter() };
    },
    counted: name => counts.get(name) ?? 0,
    open() { open(); },
    close() { opened = new Promise(resolve => { open = resolve; }); },
  });
};
