// tries: to find more in SES.confine than was given
// defence: a compartment holds harden, def, Nat, console and the endowments
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries(['E', 'Far', 'Vow', 'Flow', 'SES', 'makePromiseKit', 'asVow', 'log', 'exit', 'timer', 'argv', 'setTimeout', 'queueMicrotask', 'process', 'require', 'fetch', 'WeakRef', 'performance', 'crypto', 'Intl', 'Temporal', 'ShadowRealm', 'repairIntrinsics', 'WebAssembly'].map(name =>
    [name, () => SES.confine(`typeof ${name}`) !== 'undefined'])),
});
