import { E, Far } from '@endo/far';

const makeCounter = () => {
  let count = 0;
  return Far('counter', {
    add(by) { count += by; return count; },
    count: () => count,
  });
};

export default () => {
  const listeners = [];
  let saved;
  return Far('desk', {
    greet: name => `hello ${name}`,
    echo: value => value,
    makeCounter,
    counters: () => ({ first: makeCounter(), all: [makeCounter(), makeCounter()] }),
    total: async counters => {
      const counts = await Promise.all(counters.map(counter => E(counter).count()));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    fail() { throw TypeError('that is no name'); },
    decimal: () => Symbol.for('decimal'),
    async ring(bell, value) { return ['rang', await E(bell).ring(value)]; },
    async apply(fn, ...args) { return E(fn)(...args); },
    // Calls what the client answers with, before it has.
    async friend(client) { return E(E(client).friend()).add(5); },
    subscribe(listener) { listeners.push(listener); return listeners.length; },
    async tell(news) {
      const told = await Promise.all(listeners.map(listener => E(listener).hear(news, makeCounter())));
      return told;
    },
    unsubscribe() { listeners.length = 0; },
    save(counter) { saved = counter; },
    saved: () => saved,
    length: text => text.length,
  });
};
