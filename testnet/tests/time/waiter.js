// Waits: for its own timer, and with a deadline for the answer of another vat.
import { Far } from '@endo/far';

export default function waiter({ timer, slow }) {
  let fired = [];
  return Far('waiter', {
    now: () => timer.now(),
    remind(ms) {
      const at = timer.now() + ms;
      timer.delay(ms).then(now => { fired = [...fired, now - at]; });
      return at;
    },
    // How late each reminder was, in milliseconds of the vat's time.
    fired: () => harden([...fired]),
    ask: ms => timer.withDeadline(E(slow).work(), ms).then(() => 'answered', reason => reason.name),
  });
}
