// Calls `counter` when it is told to. A vat has no clock: whoever calls the driver holds the watch.
import { E, Far } from '@endo/far';

export default function driver({ counter }) {
  return Far('driver', {
    // `calls` round trips, each begun when the one before it was answered.
    async inTurn(calls) {
      for (let call = 0; call < calls; call += 1) {
        await E(counter).increment();
      }
    },
    // `messages` without answers, in one turn.
    flood(messages) {
      for (let message = 0; message < messages; message += 1) {
        E.sendOnly(counter).note();
      }
    },
    // `calls` round trips, each with a text of `size` characters.
    async takeInTurn(calls, size) {
      const text = 'x'.repeat(size);
      for (let call = 0; call < calls; call += 1) {
        await E(counter).take(text);
      }
    },
    // `messages` of `size` characters without answers, in one turn.
    floodTexts(messages, size) {
      const text = 'x'.repeat(size);
      for (let message = 0; message < messages; message += 1) {
        E.sendOnly(counter).take(text);
      }
    },
    nothing() {},
    // The count, after everything that was sent before.
    settle() {
      return E(counter).read();
    },
  });
}
