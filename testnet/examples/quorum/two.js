// `two` lives on three hosts, any two of which may speak for it. It answers whoever greets it, and greets `one` and `three` itself.
// Nothing in here knows of hosts: the same code runs on one.
import { E, Far } from '@endo/far';

export default function two({ one, three }) {
  // No answers are awaited: `three` may be unable to speak for as long as one of its hosts is missing.
  E.sendOnly(one).receive('a greeting from two');
  E.sendOnly(three).passOn('a greeting from two');

  return Far('two', {
    greet(name) {
      console.log(`two was greeted by ${name}`);
      return 'the answer of two';
    },
  });
}
