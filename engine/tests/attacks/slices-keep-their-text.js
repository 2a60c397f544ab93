// A short part of a long text does not keep the text.
// call self 100 => ok 100
// call self 100 => ok 200
// call self 100 => ok 300
// call self 100 => ok 400
import { Far } from '@endo/far';
export default function (argv) {
  const notes = [];
  return Far('root', {
    note(text) { notes.push(`${text}`.slice(0, 16)); return notes.length; },
    self(n) { for (let i = 0; i < n; i += 1) notes.push(`${i}`.padEnd(400000, 'x').slice(0, 16)); return notes.length; },
    key(text) { const o = {}; o[text.slice(0, 8)] = 1; notes.push(o); return notes.length; },
  });
}
