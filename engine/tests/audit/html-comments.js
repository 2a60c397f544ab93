// tries: to hide code in HTML comments
// defence: ses refuses texts with them
import { trying } from './lib.js';

export const attempt = () => trying({
  open: () => new Compartment().evaluate('1 <!-- 2') === 1,
  close: () => { new Compartment().evaluate('1\n--> 2'); return true; },
});
