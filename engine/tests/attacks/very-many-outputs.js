// One call that sends very much is rolled back, whoever catches what: it says at most 4,096 things.
// call burst 4000 => ok 4000
// call burst 300000 => limit outputs
// call only 4097 => limit outputs
// call promises 20 => limit outputs
// call cancels 5000 => limit outputs
// call exits 5000 => limit outputs
// call ping => ok 1
import { E, Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  return Far('root', {
    burst(count) {
      n += 1;
      for (let i = 0; i < count; i += 1) {
        try { E(argv.target).note(i).catch(() => {}); } catch (error) { /* goes on */ }
      }
      return count;
    },
    async only(count) { n += 1; try { for (let i = 0; i < count; i += 1) E.sendOnly(argv.target).note(i); } catch (error) { return 'caught'; } finally { n += 1; } return count; },
    promises(count) { n += 1; const list = []; for (let i = 0; i < count; i += 1) list.push(E(argv.target).note(Array.from({ length: 1000 }, (_, k) => Promise.resolve(k)))); return count; },
    cancels(count) { n += 1; const p = E(argv.target).note(); for (let i = 0; i < count; i += 1) E.cancel(p); return count; },
    exits(count) { n += 1; for (let i = 0; i < count; i += 1) argv.exit(i); return count; },
    ping() { return n; },
  });
}
