// tries: to read places and depths from errors
// defence: lockdown: errors have no stack; the interpreter keeps none for guests
import { trying } from './lib.js';

const seen = e => /\.js|:\d+:\d+/.test(`${e.stack} ${Object.getOwnPropertyNames(e)}`);
export const attempt = () => trying({
  thrown: () => { try { null.x; } catch (e) { return seen(e); } },
  native: () => { try { [].reduce((x, y) => x); } catch (e) { return seen(e); } },
  async: async () => { try { await (async () => { throw Error('a'); })(); } catch (e) { return seen(e); } },
  syntax: () => { try { (0, eval)('let let'); } catch (e) { return /main|lib|attempt/.test(e.message) || seen(e); } },
  subclass: () => seen(new (class extends Error {})('s')),
  capture: () => { const o = {}; Error.captureStackTrace(o); return 'stack' in o && /:\d+/.test(o.stack); },
  limit: () => Error.stackTraceLimit !== undefined,
});
