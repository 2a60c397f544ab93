// Calls `victim`: a batch of the worst that it knows of, or very many ordinary calls with fresh things in them.
import { E, Far } from '@endo/far';

export default function sender({ victim }) {
  let fresh = 0;
  const name = () => {
    fresh += 1;
    return `fresh-${fresh}`;
  };
  const note = () => {};
  const text = count =>
    JSON.stringify({ list: Array.from({ length: count }, name), [name()]: { [name()]: fresh } });
  const thing = () => Far('thing', { number: () => 1 });

  const worst = {
    spin() {
      for (let i = 0; i < 50; i += 1) {
        E.sendOnly(victim).spin();
      }
    },
    outputs() {
      for (let i = 0; i < 4000; i += 1) {
        E(victim).ping().then(note, note);
      }
    },
    fill() {
      for (let i = 0; i < 10; i += 1) {
        E.sendOnly(victim).keep(Array.from({ length: 500 }, thing));
        E.sendOnly(victim).keep(Array.from({ length: 500 }, () => new Promise(note)));
      }
      for (let i = 0; i < 500; i += 1) {
        E(victim).next().then(note, note);
      }
    },
    garbage() {
      for (let i = 0; i < 10; i += 1) {
        E.sendOnly(victim).json(text(5000));
        E.sendOnly(victim).look(Array.from({ length: 500 }, () => Symbol.for(name())));
      }
    },
  };
  const ordinary = {
    json: () => E(victim).json(text(5)),
    confine: () => E(victim).confine(`'${name()}'.length + ${fresh}`),
    object: () => E(victim).object(thing()),
    symbol: () => E(victim).symbol(Symbol.for(name())),
    promise: () => {
      let settle;
      const promise = new Promise(resolve => {
        settle = resolve;
      });
      const answer = E(victim).promise(promise);
      settle(name());
      return answer;
    },
  };

  return Far('sender', {
    // One batch of a kind of attack.
    attack(kind) {
      worst[kind]();
    },
    // So many calls of a kind, each answered.
    async calls(kind, count) {
      const answers = await Promise.all(Array.from({ length: count }, ordinary[kind]));
      return answers.length;
    },
  });
}
