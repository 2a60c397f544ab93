// tries: to find or change the template object of others
// defence: template objects are frozen, and each text has its own
import { trying } from './lib.js';

const tag = harden(strings => strings);
export const attempt = () => trying({
  change: () => { const t = tag`a`; t.raw.push('b'); return t.raw.length > 1; },
  add: () => { const t = tag`a`; t.note = 1; return t.note === 1; },
  same: () => SES.confine('tag`same`', { tag }) === SES.confine('tag`same`', { tag }),
});
