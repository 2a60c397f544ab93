// tries: to import from confined text
// defence: ses: text with an import expression is refused; the interpreter knows no import.defer and import.source
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries(["import('./lib.js')", "import/**/('x')", "import\u2028('x')", "import.defer('./lib.js')", "import.source('./lib.js')", "import . defer ('@endo/far')", "[...import('x')]", 'import.meta'].map(text =>
    [text, async () => { await new Compartment().evaluate(text); return true; }])),
  function: async () => { await new Compartment().evaluate("new Function('return import(\"./lib.js\")')()"); return true; },
  loader: async () => { try { await new Compartment().evaluate("import.defer('./nowhere.js')"); } catch (e) { return /cannot find/.test(e.message); } return true; },
});
