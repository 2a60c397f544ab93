// Text of others leaves nothing behind.
// call confine 300 => ok
// call confine 300 => ok
import { Far } from '@endo/far';
export default function (argv) {
  let n = 0;
  return Far('root', {
    confine(k) { for (let i = 0; i < k; i += 1) { n += 1; SES.confineExpr(`((t) => t\`text ${n}\`)((s) => s.length + ${n})`); } return n; },
  });
}
