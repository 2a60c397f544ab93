// tries: to be called with the frames of an error
// defence: lockdown: Error is frozen
import { trying } from './lib.js';

export const attempt = () => trying({
  kept: () => { const frames = (e, sites) => sites; Error.prepareStackTrace = frames; return Error.prepareStackTrace === frames; },
  set: () => { Error.prepareStackTrace = (e, sites) => sites; return typeof new Error().stack !== 'undefined'; },
  define: () => { Object.defineProperty(Error, 'prepareStackTrace', { value: (e, sites) => sites }); return Array.isArray(new Error().stack); },
});
