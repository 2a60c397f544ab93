// The endowment `timer`: promises and handlers that the time of the log settles and calls. One function expression: called once,
// after lockdown, with the native powers; it returns the timer and the function that is told which timer is due.
//
// Times are Numbers of milliseconds since the Unix epoch. A timer fires at the first tick of the log whose time is not before its deadline
// and is after the time at which it was set.
(function timers(powers) {
  'use strict';

  const { E, Far, harden, now, setTimer, cancelTimer, warn, maxTimers } = powers;

  // By number: what a timer that is due is told. With a failure, what it set off was undone.
  const waiting = new Map();
  let lastNumber = 0;

  const checked = (ms, what) => {
    if (typeof ms !== 'number') throw TypeError(`${what} must be a Number of milliseconds, not a ${typeof ms}`);
    if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER)) throw RangeError(`${what} is out of range: ${ms}`);
    return Math.ceil(ms);
  };

  const set = (atMs, fire) => {
    if (waiting.size >= maxTimers) throw RangeError(`${maxTimers} timers are waiting, and no more are kept`);
    lastNumber += 1;
    const number = lastNumber;
    waiting.set(number, fire);
    setTimer(number, Math.min(Math.max(atMs, now() + 1), Number.MAX_SAFE_INTEGER));
    return number;
  };

  const cancel = number => {
    if (waiting.delete(number)) cancelTimer(number);
  };

  const wakeAt = atMs =>
    new Promise((resolve, reject) => {
      set(atMs, failure => (failure === undefined ? resolve(now()) : reject(Error(failure))));
    });

  const timer = Far('timer', {
    now: () => now(),
    wakeAt: atMs => wakeAt(checked(atMs, 'a time')),
    delay: ms => wakeAt(now() + checked(ms, 'a delay')),
    repeat(ms, handler) {
      const period = checked(ms, 'a period');
      if (period === 0) throw RangeError('a period must be at least 1 ms');
      if (Object(handler) !== handler) throw TypeError('a handler must be an object with a method wake');
      let next = now() + period;
      let number;
      const fire = failure => {
        if (failure !== undefined) {
          warn(`a repeating timer was cancelled: ${failure}`);
          return;
        }
        // Periods that passed between two ticks count as one.
        next += period * (1 + Math.floor((now() - next) / period));
        number = set(next, fire);
        E.sendOnly(handler).wake(now());
      };
      number = set(next, fire);
      return Far('repeater', { cancel: () => cancel(number) });
    },
    withDeadline(value, ms) {
      const atMs = now() + checked(ms, 'a deadline');
      return new Promise((resolve, reject) => {
        const number = set(atMs, failure => {
          const error = Error(failure ?? `no answer within ${ms} ms`);
          Object.defineProperty(error, 'name', { value: 'TimeoutError' });
          reject(error);
          E.cancel(value);
        });
        const inTime = settle => outcome => {
          cancel(number);
          settle(outcome);
        };
        E.when(value, inTime(resolve), inTime(reject));
      });
    },
  });

  const wake = (number, failure) => {
    const fire = waiting.get(number);
    if (fire === undefined) return;
    waiting.delete(number);
    fire(failure);
  };

  return harden({ timer, wake });
})
