// Counters that outlive upgrades: what a counter is, its kind says; how it counts, the code of the day.
import { Far } from '@endo/far';
import { prepareExoClass, provideDurableMapStore } from '@agoric/vat-data';

export default ({ greeting }, baggage) => {
  const makeCounter = prepareExoClass(baggage, 'Counter', undefined, name => ({ name, count: 0 }), {
    increment() {
      this.state.count += 1;
      return `${this.state.name}: ${this.state.count}`;
    },
  });
  const counters = provideDurableMapStore(baggage, 'counters');
  return Far('tally', {
    open(name) {
      counters.init(name, makeCounter(name));
      return name;
    },
    counter: name => counters.get(name),
    increment: name => counters.get(name).increment(),
    ticket: () => Far('ticket', { greet: () => greeting }),
  });
};
