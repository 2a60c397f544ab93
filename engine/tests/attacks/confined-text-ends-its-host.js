// Confined text that exhausts a limit ends the delivery and nothing else.
// call run 0 => limit
// call run 1 => limit
// call run 2 => limit
// call run 3 => ok
// call run 4 => ok
// call ping => ok 2
import { Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  const texts = ['(function f(){ return f() + 1 })()', 'Math.max(...Array.from({length: 3000000}, (_, i) => i))', 'for(;;);',
    'Object.defineProperty(Promise.resolve(), "constructor", { get() { throw 1 } })', 'new Proxy({}, { ownKeys() { throw Error("trap") } })'];
  return Far('root', {
    run(i) { n += 1; try { const x = SES.confine(texts[i]); harden(x); E.when(x); return 'went on'; } catch (e) { return `caught ${e && e.message}`; } },
    ping() { return n; },
  });
}
