// Runs case files: a case is [name, thunk, expected]. The thunk may be async. Its result, or the error it throws, is
// written as a canonical text in which NaN, -0, undefined, holes, bigints, symbols and functions differ from everything
// else, and is compared with the same text of `expected`; expected '!TypeError' means that an error of that name is thrown.
export const show = (value, seen = []) => {
  if (value === undefined) return 'undefined';
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'symbol') return `@@${value.description}`;
  if (typeof value === 'function') return 'function';
  if (seen.includes(value)) return '<cycle>';
  const inside = [...seen, value];
  if (Array.isArray(value)) {
    const parts = [];
    for (let i = 0; i < value.length; i += 1) parts.push(Object.hasOwn(value, i) ? show(value[i], inside) : '<hole>');
    return `[${parts.join(',')}]`;
  }
  if (value instanceof Error) return `!${value.name}`;
  return `{${Reflect.ownKeys(value).map(key => `${typeof key === 'symbol' ? show(key) : JSON.stringify(key)}:${show(value[key], inside)}`).join(',')}}`;
};

// Runs the cases one after the other and gives the failures, each as { name, got, want }.
export const run = async cases => {
  const failures = [];
  for (const [name, thunk, expected] of cases) {
    const want = typeof expected === 'string' && /^![A-Z]/.test(expected) ? expected : show(expected);
    let got;
    try { got = show(await thunk()); } catch (error) { got = error instanceof Error ? `!${error.name}` : `!thrown ${show(error)}`; }
    if (got !== want) failures.push({ name, got, want });
  }
  return failures;
};
