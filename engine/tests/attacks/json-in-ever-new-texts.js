// Texts that were parsed leave nothing behind.
// call self 100 => ok 100
// call self 100 => ok 200
// call self 100 => ok 300
import { Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  return Far('root', {
    eat(text) { n += 1; return JSON.parse(JSON.stringify({ n, text })).text.length; },
    self(times) { for (let i = 0; i < times; i += 1) { n += 1; JSON.parse(JSON.stringify(`${n} `.repeat(30000))); } return n; },
    ping() { return 'pong'; },
  });
}
