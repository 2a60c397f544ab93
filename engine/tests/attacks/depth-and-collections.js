// Neither the depth of the stack nor the collector is seen from code.
// call depth => limit recursion
// call weak => ok ["undefined","undefined"]
// call jsonDepth 2000 => ok
// call sortDepth 100000 => limit
import { Far } from '@endo/far';
export default function (argv) {
  const depth = () => { let d = 0; const f = () => { d += 1; f(); }; try { f(); } catch (e) { return `caught at ${d}`; } return d; };
  return Far('root', {
    depth() { return depth(); },
    sortDepth(n) { let d = 0; const f = () => { d += 1; if (d < n) [2, 1].sort(f); return 0; }; f(); return d; }, // native recursion: `stack`, not catchable
    toStringDepth(n) { let a = []; for (let i = 0; i < n; i += 1) a = [a]; try { return String(a).length; } catch (e) { return `BAD caught ${e.message}`; } },
    regexDepth(n) { try { return /^(?:(a)|b)*$/.test('a'.repeat(n)); } catch (e) { return `caught ${e.message}`; } },
    jsonDepth(n) { let a = []; for (let i = 0; i < n; i += 1) a = [a]; try { return JSON.stringify(a).length; } catch (e) { return `caught ${e.message}`; } }, // a catchable depth error is an observation: must not depend on the caller's depth
    weak() { return [typeof WeakRef, typeof FinalizationRegistry]; },
  });
}
