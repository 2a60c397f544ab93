// Somebody in the room: joins when it starts, and keeps the last that was said.
//
//   vat call ann say hello
//   vat call ben heard
import { E, Far } from '@endo/far';

const KEPT = 100;

export default function member({ room, name }) {
  const heard = [];

  const listener = Far('listener', {
    hear({ type, name: who, text }) {
      heard.push(type === 'said' ? `${who}: ${text}` : `${who} ${type}`);
      if (heard.length > KEPT) {
        heard.shift();
      }
    },
    ping() {},
  });
  const seat = E(room).join(name, listener);

  return Far('member', {
    say: text => E(seat).say(text),
    leave: () => E(seat).leave(),
    heard: () => harden([...heard]),
    others: () => E(room).members(),
  });
}
