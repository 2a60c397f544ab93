// What the benchmarks call: as little JavaScript as there can be, so that what is measured is everything else.
import { Far } from '@endo/far';

export default function counter() {
  let count = 0;
  const held = [];
  return Far('counter', {
    increment() {
      count += 1;
      return count;
    },
    // Hardly anything, and nothing to answer.
    note() {
      count += 1;
    },
    read() {
      return count;
    },
    // Holds so many MiB that hardly compress, and that no other vat has.
    hold(mebibytes) {
      const words = new Uint32Array(mebibytes << 18);
      let word = held.length * 2654435761 + 1;
      for (let at = 0; at < words.length; at += 1) {
        word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
        words[at] = word;
      }
      held.push(words);
    },
    // A text of any length; what is answered is short.
    take(text) {
      count += 1;
      return text.length;
    },
  });
}
