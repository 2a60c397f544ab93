// Sends numbered messages to two clusters, and counts what comes back.
import { Far } from '@endo/far';
import { E } from '@endo/eventual-send';

export default ({ ledger, tally }) => {
  let sent = 0;
  let answered = 0;
  let wrong = 0;
  const send = (to, number) =>
    E(to)
      .message(number)
      .then(
        (answer) => {
          answered += 1;
          if (answer !== number) wrong += 1;
        },
        () => {
          wrong += 1;
        },
      );
  return Far('driver', {
    send(count) {
      for (let n = 0; n < count; n += 1) {
        sent += 1;
        send(ledger, sent);
        send(tally, sent);
      }
      return sent;
    },
    audit() {
      return [sent, answered, wrong];
    },
  });
};
