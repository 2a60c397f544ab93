// tries: to catch a limit and learn how deep the stack was, or how much may be sent
// defence: limits end the delivery; guest code cannot catch them
import { trying } from './lib.js';

const down = depth => down(depth + 1) + 1;
// Each runs in a delivery of its own, which must not come to its end.
export const endings = {
  caught: () => { try { return down(0); } catch { return 'caught'; } },
  atLast: () => { try { return down(0); } finally { return 'caught'; } },
  counted: () => { let depth = 0; const deeper = () => { depth += 1; deeper(); }; try { deeper(); } catch { return depth; } return depth; },
  executor: () => new Promise(() => down(0)).then(undefined, () => 'caught'),
  asynchronous: async () => { try { await (async () => down(0))(); } catch { return 'caught'; } return 'through'; },
  generator: () => { const g = (function* g() { try { yield down(0); } finally { yield 'caught'; } })(); return g.next().value; },
  closing: () => { const walk = { [Symbol.iterator]: () => ({ next: () => ({ done: false }), return: () => ({}) }) }; try { for (const x of walk) down(x ?? 0); } catch { return 'caught'; } return 'through'; },
  trap: () => { try { return new Proxy({}, { get: (t, k, self) => self[k] }).x; } catch { return 'caught'; } },
  json: () => { const o = { toJSON: () => JSON.stringify(o) }; try { return JSON.stringify(o); } catch { return 'caught'; } },
  sorting: () => { try { [2, 1].sort(() => down(0)); } catch { return 'caught'; } return 'through'; },
  sent: argv => { try { for (;;) E.sendOnly(argv.target).take(); } catch { return 'caught'; } },
};
export const attempt = () => trying({
  bind: () => { let f = () => 1; for (let i = 0; i < 100; i += 1) f = f.bind(null); return f() !== 1; },
  range: () => { try { 'x'.repeat(-1); } catch (e) { return !(e instanceof RangeError); } return true; },
  array: () => { try { new Array(-1); } catch (e) { return !(e instanceof RangeError); } return true; },
});
