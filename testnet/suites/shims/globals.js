// What tests ask of Node.js: as little of it as they need to be loaded.
const absent = {
  process: { env: {}, argv: [], version: 'v0', versions: {}, platform: 'vat', on() {}, once() {}, off() {}, emitWarning() {}, cwd: () => '/' },
  setTimeout: (run, _ms, ...args) => { Promise.resolve().then(() => run(...args)); return 0; },
  setImmediate: (run, ...args) => { Promise.resolve().then(() => run(...args)); return 0; },
  clearTimeout() {},
  clearImmediate() {},
  lockdown() {},
  repairIntrinsics() {},
  hardenIntrinsics() {},
};
for (const [name, value] of Object.entries(absent)) {
  if (!(name in globalThis)) globalThis[name] = value;
}
