// To make a number of many digits takes more than as many steps, before any of the vat's code has run: at most 32,768 may come in or go out.
// call half 16384 => ok
// call made 32768 => ok
// call made 32769 => no at most 32768 decimal digits
// call negative 32767 => ok
// call negative 32768 => no at most 32768 decimal digits
// call send 60000 => no at most 32768 decimal digits
// call list 100 => no at most 32768 decimal digits
// call add {"@bigint":"12345678901234567890"} => ok {"@bigint":"12345678901234567891"}
import { E, Far } from '@endo/far';
export default function (argv) {
  const of = digits => 10n ** BigInt(digits - 1);
  return Far('root', {
    half(digits) { return of(digits); },
    made(digits) { return of(digits); },
    negative(digits) { return -of(digits); },
    send(digits) { return E(argv.target).take(of(digits)); },
    list(count) { return Array.from({ length: count }, () => of(40_000)); },
    add(number) { return number + 1n; },
  });
}
