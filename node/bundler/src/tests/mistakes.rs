//! What is wrong, and where.

use super::*;

#[test]
fn every_import_that_leads_nowhere_has_its_place_and_remedy() {
    assert_wrong(
        "-- main.js\nimport './missing.js';\n\nimport 'lodash';\nimport fs from 'node:fs';\nimport 'https://example.org/x.js';\n\
         import './page.html';\nimport './view.tsx';\nimport '/etc/passwd';\nimport 'path';\nimport './utli.js';\nimport 'closed/inner';\nimport './sub/x.js';\n\
         import './types.d.ts'; import './util.js?raw'; import '';\n\
         -- page.html\n{}\n-- view.tsx\n1\n-- util.js\n1\n-- types.d.ts\n\n-- sub/x.js\n\n\nimport '../gone.js'\n\
         -- node_modules/closed/package.json\n{\"exports\":\"./index.js\"}\n",
        &[
            "main.js:1:8: cannot import \"./missing.js\": there is no file missing.js; create the file",
            "main.js:3:8: cannot import \"lodash\": there is no such package; install the package",
            "main.js:4:16: cannot import \"node:fs\": a vat has no Node.js; do without it",
            "main.js:5:8: cannot import \"https://example.org/x.js\": a vat imports no URLs; download it",
            "main.js:6:8: cannot import \"./page.html\": it is a .html file; a vat takes JavaScript",
            "main.js:7:8: cannot import \"./view.tsx\": it is a .tsx file; a vat has no JSX",
            "main.js:8:8: cannot import \"/etc/passwd\": it is an absolute path; begin it with ./",
            "main.js:9:8: cannot import \"path\": a vat has no Node.js; do without it",
            "main.js:10:8: cannot import \"./utli.js\": there is no file utli.js; did you mean \"util.js\"?",
            "main.js:11:8: cannot import \"closed/inner\": package closed does not export ./inner; import what",
            "main.js:13:8: cannot import \"./types.d.ts\": it holds types only; write `import type`",
            "main.js:13:31: cannot import \"./util.js?raw\": nothing may follow the file's name; leave out",
            "main.js:13:55: cannot import \"\": it is empty; name a file",
            "sub/x.js:3:8: cannot import \"../gone.js\": there is no file",
        ],
    );
}

#[test]
fn syntax_errors_have_file_line_column_and_the_line_itself() {
    let error = bundled("-- main.js\nimport './a.ts';\nimport './b.js';\n-- a.ts\nconst one: number = 1;\n\tconst two: = 2;\n-- b.js\nconst x = [1 2];\n")
        .expect_err("mistakes");
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].starts_with("a.ts:2:13: SyntaxError: "), "{text}");
    assert_eq!(lines[1..3], ["  2 |  const two: = 2;", "    |             ^"], "{text}");
    assert!(lines[3].starts_with("b.js:1:14: SyntaxError: "), "{text}");
    assert_eq!(lines[4..], ["  1 | const x = [1 2];", "    |              ^"], "{text}");
    assert_eq!(error.mistakes[0].excerpt.as_deref(), Some("\tconst two: = 2;"));
}

#[test]
fn a_name_that_is_not_exported_is_a_mistake_of_the_importing_module() {
    assert_wrong(
        "-- main.js\nimport { depositt, x } from './lib.js';\nimport d from './lib.js';\nexport { gone } from './star.js';\nimport { inner, E } from './star.js';\nimport { f } from 'c';\n\
         -- lib.js\nexport const deposit = 1; export function x() {}\n\
         -- star.js\nexport * from './lib.js'; export * from './inner.js';\n-- inner.js\nexport const { inner, ...E } = {};\n\
         -- node_modules/c/index.js\nmodule.exports = function () {};\n",
        &[
            "main.js:1:10: \"./lib.js\" has no export `depositt`; did you mean `deposit`?",
            "main.js:2:8: \"./lib.js\" has no export `default`; it exports deposit, x",
            "main.js:3:10: \"./star.js\" has no export `gone`; ",
            "main.js:5:10: \"c\" (CommonJS) has no export `f`; import it whole",
        ],
    );
    // What a built-in module exports is not known here.
    good("-- main.js\nimport { anything } from './far.js';\n-- far.js\nexport * from '@endo/far';\n");
}

#[test]
fn json_that_is_none_has_a_place() {
    assert_wrong(
        "-- main.js\nimport './a.json';\n-- a.json\n{\n  \"a\": 1,\n  b: 2\n}\n",
        &["a.json:3:3: this is not JSON: key must be a string; correct it"],
    );
    let deep = format!("-- main.js\nimport './a.json';\n-- a.json\n{}\n", "[".repeat(100_000));
    assert!(wrong(&deep)[0].contains("this is not JSON: recursion limit exceeded"), "{:?}", wrong(&deep));
}

#[test]
fn the_entry_must_be_a_module() {
    assert_wrong(
        "-- main.js\nmodule.exports = () => 1;\n",
        &["main.js:0:0: the entry of a vat is an ES module, and this is CommonJS"],
    );
    assert_wrong("-- main.json\n{}\n", &["main.json:0:0: the entry of a vat is an ES module, and this is JSON"]);
    assert_wrong("-- main.tsx\n1\n", &["main.tsx:0:0: it is a .tsx file"]);
}

#[test]
fn what_is_no_module_is_an_error_and_not_a_panic() {
    assert!(bundle(Path::new("/nowhere/at/all.js")).expect_err("missing").to_string().contains("cannot read"));
    assert!(bundle(Path::new("/")).is_err());
    assert!(bundle(Path::new("")).is_err());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("a.js");
    fs::write(&file, b"\n'\xff'").expect("written");
    assert!(bundle(&file).expect_err("bytes").to_string().contains("a.js:2: a byte here is not UTF-8"));
    assert!(bundle(folder.path()).expect_err("a folder").to_string().contains("not a file"));
}
