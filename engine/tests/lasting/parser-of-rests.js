// call parse 60000
// Natural code: a parser made of small functions that return { value, rest }.
const digit = text => (text[0] >= '0' && text[0] <= '9' ? { value: text[0], rest: text.slice(1) } : undefined);
const many = parser => text => {
  let got = { value: [], rest: text };
  for (;;) {
    const next = parser(got.rest);
    if (!next) return got;
    got = { value: got.value, rest: next.rest };
    got.value.push(next.value);
  }
};
export default function () {
  let last;
  return {
    parse(length) { last = many(digit)('1'.repeat(length)); return last.value.length; },
    work() { const all = []; for (let i = 0; i < 500; i += 1) all.push({ i }); return all.length + last.value.length; },
  };
}
