//! CommonJS where it is plain.

use super::*;

#[test]
fn a_package_of_commonjs_runs_as_a_module_with_its_names() {
    let bundle = good(
        "-- main.js\nimport whole, { a, b, c, d, e } from 'p';\n\
         -- node_modules/p/package.json\n{\"main\":\"./lib\"}\n\
         -- node_modules/p/lib/index.js\n'use strict';\nexports.a = exports.b = void 0;\nObject.defineProperty(exports, 'c', { get() { return 1; } });\n\
         const other = require('./other');\n__exportStar(require('./star.js'), exports);\nexports['d'] = () => other;\n\
         -- node_modules/p/lib/other.js\nmodule.exports = { f: 1, 'g-h': 2, ...require('./index.js') };\n\
         -- node_modules/p/lib/star.js\nmodule.exports.e = 1;\n",
    );
    let lib = "node_modules/p/lib";
    // Only what ES modules import has two forms.
    let expected = ["index.js", "index.js.mjs", "other.js", "star.js"].map(|name| format!("{lib}/{name}"));
    assert_eq!(paths(&bundle)[1..], expected);
    assert_eq!(
        bundle.modules["main.js"],
        "import whole, { a, b, c, d, e } from \"./node_modules/p/lib/index.js.mjs\";\n"
    );
    let running = &bundle.modules["node_modules/p/lib/index.js"];
    // Lines stay.
    assert_eq!(running.lines().nth(2), Some("Object.defineProperty(exports, 'c', { get() { return 1; } });"));
    assert!(
        running.starts_with(
            "import { $require as $r0 } from \"./other.js\";import { $require as $r1 } from \"./star.js\";"
        )
    );
    assert!(running.contains("[\"./other\", $r0], [\"./star.js\", $r1], "), "{running}");
    let facade = &bundle.modules["node_modules/p/lib/index.js.mjs"];
    assert!(facade.starts_with("import { $require } from \"./index.js\";"), "{facade}");
    for name in ["a", "b", "c", "d", "e"] {
        assert!(facade.contains(&format!(" as {name} }};")), "{name}: {facade}");
    }
}

#[test]
fn what_requires_what() {
    let bundle = good(
        "-- main.js\nimport p from 'p';\n-- node_modules/p/index.js\n#!/usr/bin/env node\n\
         const data = require('./data.json'), es = require('es'), far = require('@endo/far');\n\
         try { require('optional'); require('fs'); } catch {}\nmodule.exports = data;\n\
         -- node_modules/p/data.json\n{}\n\
         -- node_modules/es/package.json\n{\"type\":\"module\",\"exports\":{\"import\":\"./i.js\",\"require\":\"./r.js\"}}\n-- node_modules/es/r.js\nexport {};\n-- node_modules/es/i.js\nexport {};\n",
    );
    let running = &bundle.modules["node_modules/p/index.js"];
    assert!(running.contains("import $r0 from \"./data.json\";"), "{running}");
    assert!(running.contains("import * as $r2 from \"../es/r.js\";"), "{running}");
    assert!(running.contains("import * as $r1 from \"@endo/far\";"), "{running}");
    assert!(running.contains("[\"fs\", () => { throw Object.assign(Error(\"Cannot find module 'fs'\")"), "{running}");
    assert!(running.contains("(exports, require, module) {//"), "{running}");
    assert!(!bundle.modules.contains_key("node_modules/es/i.js"));
}

#[test]
fn a_require_that_is_known_only_at_run_time_is_refused() {
    assert_wrong(
        "-- main.js\nimport p from 'p';\n-- node_modules/p/index.js\nconst name = 'a';\nmodule.exports = require(name);\n",
        &["node_modules/p/index.js:2:18: `require` of what is known only when it runs"],
    );
    assert_wrong(
        "-- main.js\nimport p from 'p';\n-- node_modules/p/index.js\nconst fs = require('fs');\n",
        &["node_modules/p/index.js:1:20: cannot import \"fs\": a vat has no Node.js"],
    );
    // A bundle of a bundler has a `require` of its own.
    good(
        "-- main.js\nimport p from 'p';\n-- node_modules/p/index.js\n!function (f) { if (typeof exports === 'object' && typeof module !== 'undefined') { module.exports = f(); } }(function () {\n\
         return (function e(t, n) { function s(o) { var a = typeof require == 'function' && require; return a(o); } return s; })({ 1: [function (require, module, exports) { require('./x'); require(module); }] });\n});\n",
    );
}

#[test]
fn what_says_import_or_lies_in_an_es_package_is_no_commonjs() {
    let bundle = good(
        "-- main.js\nimport { a } from './a.js'; import b from './b.cjs'; import './c.js';\nconst module = {}; module.exports = 1;\n\
         -- a.js\nexport const a = typeof module; if (a === 'object') { require('never'); require('./unwanted.js'); }\n-- unwanted.js\n1\n-- b.cjs\nmodule.exports = 2;\n-- c.js\nglobalThis.x;\n",
    );
    assert_eq!(paths(&bundle), ["a.js", "b.cjs", "b.cjs.mjs", "c.js", "main.js"]);
    let bundle =
        good("-- main.js\nimport './a.js';\n-- package.json\n{\"type\":\"module\"}\n-- a.js\ntypeof module;\n");
    assert_eq!(bundle.modules["a.js"], "typeof module;\n");
}
