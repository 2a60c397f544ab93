// tries: to have harden stop half way and take the rest for hard
// defence: what is frozen is marked only when all is
import { trying } from './lib.js';
import { passStyleOf } from '@endo/far';

export const attempt = () => trying({
  throws: () => { const bad = new Proxy({}, { ownKeys() { throw Error('no'); } }); const o = { a: {}, bad };
    try { harden(o); } catch { /* thrown */ } try { passStyleOf(o); } catch { /* fine */ }
    const f = Object.freeze(() => {}); const g = { f, bad }; try { harden(g); } catch { /* thrown */ }
    let again = 'no'; try { harden(g); } catch { again = 'yes'; } return again !== 'yes'; },
});
