// tries: to learn from import.meta where the code is
// defence: the module loader gives nothing
import { trying } from './lib.js';

export const attempt = () => trying({
  keys: () => Reflect.ownKeys(import.meta).length > 0,
  url: () => import.meta.url !== undefined,
});
