// A timer whose hand is moved by the test.
import { Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

export default function clock() {
  let now = 0;
  let sleepers = [];
  const wakeAt = time => {
    const { promise, resolve } = makePromiseKit();
    if (time <= now) {
      resolve(now);
    } else {
      sleepers.push({ time, resolve });
    }
    return promise;
  };
  return Far('clock', {
    now: () => now,
    wakeAt,
    delay: ms => wakeAt(now + ms),
    advance(ms) {
      now += ms;
      const due = sleepers.filter(({ time }) => time <= now);
      sleepers = sleepers.filter(({ time }) => time > now);
      due.forEach(({ resolve }) => resolve(now));
    },
  });
}
