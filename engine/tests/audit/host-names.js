// tries: to find a power of the host among the globals
// defence: none was put there
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries(['setTimeout', 'setInterval', 'setImmediate', 'process', 'require', 'module', 'fetch', 'XMLHttpRequest', 'performance', 'crypto', 'Intl', 'Temporal', 'ShadowRealm', 'lockdown', 'repairIntrinsics',
    'hardenIntrinsics', 'getStackString', 'WebAssembly', 'Deno', 'window', 'self', 'global', 'print', 'load', 'read', 'gc', 'exit', 'timer', '$boa', '$262'].map(name => [name, () => typeof globalThis[name] !== 'undefined'])),
});
