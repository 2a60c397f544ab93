// `three` lives on three hosts, all of which must agree before anybody believes a word of it. It passes on what it is told to `one`.
import { E, Far } from '@endo/far';

export default function three({ one }) {
  return Far('three', {
    passOn(message) {
      console.log(`three passes on: ${message}`);
      E.sendOnly(one).receive(`${message}, passed on by three`);
    },
  });
}
