// Smaller programs, made from the text of one: for finding what a difference hangs on.

const OPENS = { '(': ')', '[': ']', '{': '}' };

/** Where the bracket that is opened at `from` is closed, or -1. Brackets in strings may mislead it: then the result does not parse. */
const closing = (text, from) => {
  const stack = [];
  for (let i = from; i < text.length; i += 1) {
    if (OPENS[text[i]]) stack.push(OPENS[text[i]]);
    else if (text[i] === stack.at(-1)) stack.pop();
    if (stack.length === 0) return i;
  }
  return -1;
};

/** Without some lines; indentation says what belongs together. */
const byLines = lines => {
  const made = [];
  const depth = line => line.length - line.trimStart().length;
  for (let i = 0; i < lines.length; i += 1) {
    let end = i + 1;
    while (end < lines.length && (depth(lines[end]) > depth(lines[i]) || /^\s*\}/.test(lines[end]))) {
      if (depth(lines[end]) < depth(lines[i])) break;
      end += 1;
    }
    made.push([...lines.slice(0, i), ...lines.slice(end)]);
    for (const run of [2, 4, 8, 16]) {
      if (i + run < lines.length && depth(lines[i]) === depth(lines[i + run])) made.push([...lines.slice(0, i), ...lines.slice(i + run)]);
    }
    // A block's content without the block.
    if (end > i + 2) made.push([...lines.slice(0, i), ...lines.slice(i + 1, end - 1), ...lines.slice(end)]);
    // One clause of several.
    const clause = lines.findIndex((line, at) => at > i && at < end && depth(line) === depth(lines[i]));
    if (clause > 0 && clause < end - 1) made.push([...lines.slice(0, i + 1), ...lines.slice(clause + 1)], [...lines.slice(0, clause), ...lines.slice(end - 1)]);
  }
  return made.map(all => all.join('\n'));
};

/** With one bracketed part replaced or emptied, or one operand instead of an operation. */
const byBrackets = text => {
  const made = [];
  for (let i = 0; i < text.length; i += 1) {
    if (!OPENS[text[i]]) continue;
    const end = closing(text, i);
    if (end < 0 || end - i > 4000) continue;
    const before = text.slice(0, i);
    const after = text.slice(end + 1);
    const inner = text.slice(i + 1, end);
    if (text[i] === '(') made.push(`${before}1${after}`, `${before}()${after}`, `${before}(1)${after}`, `${before}${inner}${after}`);
    if (text[i] === '[') made.push(`${before}[]${after}`, `${before}a${after}`, before + after);
    if (text[i] === '{' && !inner.includes('\n')) made.push(`${before}{}${after}`);
    // Parts between commas and operators at this depth.
    let start = i + 1;
    for (let j = i + 1; j <= end; j += 1) {
      if (OPENS[text[j]]) j = Math.max(j, closing(text, j));
      const operator = / (?:\S{1,4}|\? .*) /.exec(text.slice(j, j + 6))?.index === 0;
      if (j === end || text[j] === ',' || operator) {
        made.push(text.slice(0, start) + text.slice(text[j] === ',' ? j + 1 : j));
        if (start > i + 1) made.push(text.slice(0, start - 1) + text.slice(j));
        start = j + 1;
      }
    }
  }
  return made;
};

const simpler = text => [/\bt\(\d+, ([\w.]+)\)/, /\bawait /, /\basync /, /\bclip\(([^()]*)\)/, / = [^,=;()[\]{}]*(?=[,\]}])/, /\.{3}/, /\?\?\.|\?\./].flatMap(pattern =>
  [...text.matchAll(new RegExp(pattern, 'g'))].slice(0, 40).map(found => text.slice(0, found.index) + (found[1] ?? '') + text.slice(found.index + found[0].length)));

/** At most `most` smaller texts, smallest first within each kind; `round` turns through those that are too many. */
export const smaller = (text, head, most, round) => {
  const body = text.slice(head.length);
  const all = new Set([...byLines(body.split('\n')), ...byBrackets(body), ...simpler(body)]);
  all.delete(body);
  const sorted = [...all].filter(one => one.length < body.length).sort((a, b) => a.length - b.length);
  const from = sorted.length > most ? (round * most) % sorted.length : 0;
  return [...sorted.slice(from), ...sorted.slice(0, from)].slice(0, most).map(one => head + one);
};
