// `one` greets `two`, then waits for three messages: the answer of `two`, a greeting that `two` sends of its own accord, and the
// greeting that `three` passes on. When it has all of them, every link between the three vats has carried something.
import { E, Far } from '@endo/far';

export default function one({ two }) {
  const awaited = new Set(['the answer of two', 'a greeting from two', 'a greeting from two, passed on by three']);
  const heard = [];

  const receive = message => {
    heard.push(message);
    awaited.delete(message);
    console.log(`one heard: ${message}`);
    if (awaited.size === 0) {
      console.log('++ EVERYTHING WORKS');
    }
  };

  // The promise of the answer is at hand at once; `two` need not even be running yet.
  E(two)
    .greet('one')
    .then(receive, reason => console.error(`two refused: ${reason}`));

  return Far('one', {
    // Called by `two`, and by `three`.
    receive(message) {
      receive(message);
    },
    // For the curious outside: `vat call one heard`.
    heard() {
      return harden([...heard]);
    },
  });
}
