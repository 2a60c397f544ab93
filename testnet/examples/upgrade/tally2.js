// The same counters, which also count down and know how low they have been.
import { Far } from '@endo/far';
import { prepareExoClass, provideDurableMapStore } from '@agoric/vat-data';

export default ({ greeting }, baggage) => {
  const makeCounter = prepareExoClass(
    baggage,
    'Counter',
    undefined,
    name => ({ name, count: 0, least: 0 }),
    {
      increment() {
        this.state.count += 1;
        return `${this.state.name}: ${this.state.count}, never less than ${this.state.least}`;
      },
      decrement() {
        this.state.count -= 1;
        this.state.least = Math.min(this.state.least, this.state.count);
        return this.state.count;
      },
    },
    // Of counters that the code before this one has made.
    { migrate: ({ name, count }) => ({ name, count, least: 0 }) },
  );
  const counters = provideDurableMapStore(baggage, 'counters');
  return Far('tally', {
    open(name) {
      counters.init(name, makeCounter(name));
      return name;
    },
    counter: name => counters.get(name),
    increment: name => counters.get(name).increment(),
    decrement: name => counters.get(name).decrement(),
    ticket: () => Far('ticket', { greet: () => greeting }),
  });
};
