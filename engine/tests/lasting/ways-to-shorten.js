// call loop "slice" 200000
// call loop "substring" 200000
// call loop "end" 200000
// call loop "trimStart" 20000
// call loop "trim" 20000
// call loop "replace" 5000
// call loop "match" 5000
// call loop "split" 500
// call loop "destructure" 500
// Every way to shorten a text by one character, until nothing is left.
const ways = {
  slice: text => text.slice(1),
  substring: text => text.substring(1),
  end: text => text.slice(0, -1),
  trimStart: text => text.trimStart().slice(1),
  trim: text => text.trim().slice(1),
  replace: text => text.replace('x', '').trim(),
  match: text => text.match(/^.(.*)$/s)[1],
  split: text => text.split(' ').slice(1).join(' '),
  destructure: text => { const [, ...rest] = text; return rest.join(''); },
};
export default function () {
  let held = [];
  return {
    loop(way, length) {
      let text = ' x'.repeat(length / 2);
      let count = 0;
      held = [];
      while (text.length > 0) { text = ways[way](text); count += 1; if (count % 100 === 0) held.push(text); }
      return count;
    },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length; },
  };
}
