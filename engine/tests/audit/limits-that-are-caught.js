// tries: to catch a limit and learn how deep the stack was
// defence: limits end the delivery; guest code cannot catch them
import { trying } from './lib.js';

export const attempt = () => trying({
  bind: () => { let f = () => 1; for (let i = 0; i < 100; i += 1) f = f.bind(null); return f() !== 1; },
  range: () => { try { 'x'.repeat(-1); } catch (e) { return !(e instanceof RangeError); } return true; },
  array: () => { try { new Array(-1); } catch (e) { return !(e instanceof RangeError); } return true; },
});
