// work 300 x 200
// Regular expressions of ever new texts, with groups of ever new names.
export default function () {
  let n = 0;
  return { work(count) { let found = 0; for (let i = 0; i < count; i += 1) { n += 1; if (new RegExp(`(?<name${n}>a${n})+b`, 'u').exec(`a${n}b`).groups[`name${n}`]) found += 1; } return found; } };
}
