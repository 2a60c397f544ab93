// Confined text cannot import, in whatever form.
// call nothing => no has no method
import { Far } from '@endo/far';
export default async function (argv) {
  const texts = ["import('./201-compartment-import.js')", "import/**/('x')", "import\u2028('x')", "im\\u0070ort('x')", "import.defer('./201-compartment-import.js')",
    "import.source('@endo/far')", "import.defer('./nowhere.js')", "import . defer ('@endo/far')", "import.meta", "[...import('x')]", "1..import('x')",
    "(async () => import.defer('@endo/far'))()", "new Function('return import.defer(\"@endo/far\")')()"];
  for (const t of texts) {
    let r;
    try { r = new Compartment().evaluate(t); r = await r; r = `BAD value ${typeof r} ${Object.keys(Object(r))}`; }
    catch (e) { r = /cannot find|experimental/.test(e.message) ? `BAD reached the loader: ${e.message}` : `OK ${e.message}`; }
    console.log(t, '=>', r);
  }
  return Far('root', {});
}
