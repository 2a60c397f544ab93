// A sender that is returned, awaited or resolved with is no promise: the error says what to write, at once.
// call returned => no write E(x).method(...)
// call awaited => no write E(x).method(...)
// call resolved => no write E(x).method(...)
// call unused => no write E(x).method(...)
// call get => no write E.get(x).name
// call awaitedGet => no write E.get(x).name
// call only => no write E.sendOnly(x).method(...)
// call inside => no in place of E(x)
// call method => no must be hardened
// call vow => no write vow.e.method(...)
// call awaitedVow => no write vow.e.method(...)
// call well => ok 1
import { E, Far } from '@endo/far';
export default function () {
  const x = Far('x', { m() { return 1; } });
  return Far('root', {
    returned() { return E(x); },
    async awaited() { return [await E(x)]; },
    resolved() { return Promise.resolve(E(x)); },
    async unused() { await E(x); return 1; },
    get() { return E.get(x); },
    async awaitedGet() { return await E.get(x); },
    only() { return E.sendOnly(x); },
    inside() { return [E(x)]; },
    method() { return E(x).m; },
    vow() { return Vow.resolve(x).e; },
    async awaitedVow() { await Vow.resolve(x).e; return 1; },
    well() { return E(x).m(); },
  });
}
