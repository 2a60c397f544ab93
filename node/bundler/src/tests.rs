//! The bundler against folders of files, written as text: `-- path` begins each.

mod commonjs;
mod limits;
mod mistakes;
mod packages;
mod typescript;

use super::*;
use std::fs;

/// Writes the files into a folder and bundles the first.
fn bundled(files: &str) -> Result<Code, BundleError> {
    bundled_in(tempfile::tempdir().expect("a temporary folder").path(), files)
}

fn bundled_in(folder: &Path, files: &str) -> Result<Code, BundleError> {
    let mut entry = None;
    for file in files.split("-- ").skip(1) {
        let (path, text) = file.split_once('\n').expect("a path and a text");
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        entry.get_or_insert(path);
    }
    let root = folder.canonicalize().expect("there");
    bundle(&entry.expect("a file")).map_err(|mut error| {
        for mistake in &mut error.mistakes {
            let file = mistake.file.clone();
            let short = file.strip_prefix(&root).or_else(|_| file.strip_prefix(folder)).unwrap_or(&file);
            mistake.file = short.to_path_buf();
        }
        error
    })
}

/// What is wrong, a line each, without the lines of code.
fn wrong(files: &str) -> Vec<String> {
    let error = bundled(files).expect_err("mistakes");
    let line = |mistake: &Mistake| {
        let Mistake { file, line, column, problem, fix, .. } = mistake;
        format!("{}:{line}:{column}: {problem}; {fix}", file.display())
    };
    error.mistakes.iter().map(line).collect()
}

/// Each mistake begins as expected, and there is no other one.
fn assert_wrong(files: &str, expected: &[&str]) {
    let lines = wrong(files);
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nexpected: {expected}");
    }
}

fn good(files: &str) -> Code {
    bundled(files).unwrap_or_else(|error| panic!("{error}"))
}

fn paths(bundle: &Code) -> Vec<&str> {
    bundle.modules.keys().map(String::as_str).collect()
}

#[test]
fn relative_imports_are_followed_whatever_their_form() {
    let bundle = good(
        "-- vats/main.js\nimport { E } from '@endo/far';\nimport a from './a.js';\nexport * from '../lib/b.mjs';\nimport('./c');\n\
         export { 'y z' as q } from './a.js'; export * as 'a b' from './d\\x2ejs';\n\
         const f = function(){} / 2; import './e.js';\n\
         -- vats/a.js\nimport './main.js'; export default 1; export const x = 1; export { x as 'y z' };\n\
         -- lib/b.mjs\nimport './deep'\n-- lib/deep/index.js\n1\n-- vats/c.js\n1\n-- vats/d.js\n1\n-- vats/e.js\n1\n-- other.js\n1\n",
    );
    assert_eq!(bundle.entry, "vats/main.js");
    let expected =
        ["lib/b.mjs", "lib/deep/index.js", "vats/a.js", "vats/c.js", "vats/d.js", "vats/e.js", "vats/main.js"];
    assert_eq!(paths(&bundle), expected);
    assert!(bundle.modules["vats/a.js"].starts_with("import './main.js';"));
    assert!(bundle.modules["vats/main.js"].contains("import(\"./c.js\")"), "{}", bundle.modules["vats/main.js"]);
    assert_eq!(bundle.modules["lib/b.mjs"], "import \"./deep/index.js\"\n");
}

#[test]
fn what_only_looks_like_an_import_is_none() {
    let bundle = good(
        "-- main.js\nconst s = \"import 'x'\"; const t = `import 'x' ${ 'from' } from 'y'`; /* import 'no' */ // import 'no'\n\
         const o = { import() {} }; o.import('x'); o?.import('x'); import.meta.url;\nconst from = /import 'x'/.test(s); export { from };\n\
         const name = s; () => import(name);\n",
    );
    assert_eq!(paths(&bundle), ["main.js"]);
}

#[test]
fn paths_are_relative_to_the_common_folder_and_the_same_wherever_that_lies() {
    let files = "-- deep/er/main.js\nimport './x.js'\n-- deep/er/x.js\n1\n";
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let inner = other.path().join("a b/ü");
    fs::create_dir_all(&inner).expect("made");
    let bundle = bundled_in(one.path(), files).expect("good");
    assert_eq!((bundle.entry.as_str(), paths(&bundle)), ("main.js", vec!["main.js", "x.js"]));
    assert_eq!(bundled_in(&inner, files).expect("good"), bundle);
}

#[test]
fn json_is_a_module_with_or_without_attributes() {
    let bundle = good(
        "-- main.js\nimport a from './a.json' with { type: 'json' };\nimport b from './a';\nexport default () => import('./a.json', { with: { type: 'json' } });\n\
         -- a.json\n{ \"__proto__\": 1, \"b\": \"\\u2028`\" }\n",
    );
    assert_eq!(
        bundle.modules["a.json"],
        "export default JSON.parse(\"{ \\\"__proto__\\\": 1, \\\"b\\\": \\\"\\\\u2028`\\\" }\\n\");\n"
    );
    let main: Vec<&str> = bundle.modules["main.js"].lines().collect();
    assert_eq!(main[0].split_whitespace().collect::<Vec<_>>().join(" "), "import a from './a.json' ;");
    assert_eq!(main[1], "import b from \"./a.json\";");
    assert_eq!(main[2].split_whitespace().collect::<Vec<_>>().join(" "), "export default () => import('./a.json' );");
}

#[test]
fn modules_in_a_circle_are_each_taken_once() {
    let bundle = good(
        "-- a.js\nimport { b } from './b.js'; export const a = () => b;\n-- b.js\nimport { a } from './a.js'; export const b = () => a; export * from './a.js'; export * from './b.js';\n",
    );
    assert_eq!(paths(&bundle), ["a.js", "b.js"]);
}

#[test]
fn the_examples_bundle() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testnet/examples");
    for (file, modules) in
        [("quorum/one.js", 1), ("quorum/two.js", 1), ("quorum/three.js", 1), ("counter/counter.js", 1)]
    {
        let file = examples.join(file);
        let bundle = bundle(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bundle.modules.len(), modules, "{}", file.display());
        assert_eq!(bundle.modules[&bundle.entry], fs::read_to_string(&file).expect("the file"));
    }
}

#[test]
fn the_engine_has_every_built_in_module() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/guest/src/boot/js/runtime.js");
    let runtime = fs::read_to_string(runtime).expect("the guest's runtime");
    for name in BUILT_INS {
        assert!(runtime.contains(&format!("'{name}':")) || runtime.contains(&format!("\n    {name}:")), "{name}");
    }
}
