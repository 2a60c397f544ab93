// Serves everybody, and does what it is asked to: also what no contract should.
import { E, Far } from '@endo/far';

export default function victim() {
  const [waiting, kept] = [[], []];
  return Far('victim', {
    ping() {
      return 'pong';
    },
    // Without end.
    spin() {
      for (;;);
    },
    // Keeps what it is given, and answers later, as notifiers do.
    keep(list) {
      kept.push(list);
    },
    next() {
      return new Promise(resolve => waiting.push(resolve));
    },
    // Looks at what it is given, and lets go of it.
    look(list) {
      return list.length;
    },
    // One thing of each kind, which it lets go of.
    json(text) {
      return JSON.parse(text).list.length;
    },
    confine(text) {
      return SES.confineExpr(text);
    },
    object(thing) {
      return E(thing).number();
    },
    symbol(symbol) {
      return Symbol.keyFor(symbol).length;
    },
    promise(promise) {
      return promise.then(value => value.length);
    },
  });
}
