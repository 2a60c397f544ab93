//! The bundler against folders of files, written as text: `-- path` begins each.

use super::*;
use std::fs;

/// Writes the files into a folder and bundles the first.
fn bundled(files: &str) -> Result<Code, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut entry = None;
    for file in files.split("-- ").skip(1) {
        let (path, text) = file.split_once('\n').expect("a path and a text");
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        entry.get_or_insert(path);
    }
    let root = folder.path().canonicalize().expect("there").display().to_string();
    let named = folder.path().display().to_string();
    let shown =
        |error: BundleError| error.to_string().replace(&format!("{root}/"), "").replace(&format!("{named}/"), "");
    bundle(&entry.expect("a file")).map_err(shown)
}

fn paths(bundle: &Code) -> Vec<&str> {
    bundle.modules.keys().map(String::as_str).collect()
}

#[test]
fn relative_imports_are_followed_whatever_their_form() {
    let bundle = bundled(
        "-- vats/main.js\nimport { E } from '@endo/far';\nimport a from './a.js';\nexport * from '../lib/b.mjs';\nimport('./c');\n\
         -- vats/a.js\nimport './main.js';\n-- lib/b.mjs\nimport x from './deep'\n-- lib/deep/index.js\n1\n-- vats/c.js\n1\n-- other.js\n1\n",
    )
    .expect("good");
    assert_eq!(bundle.entry, "vats/main.js");
    assert_eq!(paths(&bundle), ["lib/b.mjs", "lib/deep/index.js", "vats/a.js", "vats/c.js", "vats/main.js"]);
    assert_eq!(bundle.modules["vats/a.js"], "import './main.js';\n");
}

#[test]
fn paths_are_relative_to_the_common_folder() {
    let bundle = bundled("-- deep/er/main.js\nimport './x.js'\n-- deep/er/x.js\n1\n").expect("good");
    assert_eq!((bundle.entry.as_str(), paths(&bundle)), ("main.js", vec!["main.js", "x.js"]));
}

#[test]
fn packages_resolve_by_their_manifests() {
    let bundle = bundled(
        "-- main.js\nimport a from 'a'; import b from \"@s/b/sub\"; import c from 'c'; import d from 'd/lib/one.js';\n\
         -- node_modules/a/package.json\n{\"exports\":{\".\":{\"require\":\"./a.cjs\",\"import\":\"./src/a.js\"}},\"type\":\"module\"}\n\
         -- node_modules/a/src/a.js\nimport 'c'\n\
         -- node_modules/@s/b/package.json\n{\"type\":\"module\",\"exports\":{\"./*\":{\"default\":[\"./lib/*.mjs\"]}}}\n\
         -- node_modules/@s/b/lib/sub.mjs\n1\n\
         -- node_modules/c/package.json\n{\"module\":\"es.js\",\"main\":\"common.js\"}\n-- node_modules/c/es.js\n1\n\
         -- node_modules/d/package.json\n{\"type\":\"module\"}\n-- node_modules/d/lib/one.js\n1\n",
    )
    .expect("good");
    assert_eq!(
        bundle.modules["main.js"],
        "import a from \"./node_modules/a/src/a.js\"; import b from \"./node_modules/@s/b/lib/sub.mjs\"; \
         import c from \"./node_modules/c/es.js\"; import d from \"./node_modules/d/lib/one.js\";\n"
    );
    assert_eq!(bundle.modules["node_modules/a/src/a.js"], "import \"../../c/es.js\"\n");
    assert_eq!(bundle.modules.len(), 5);
}

#[test]
fn every_import_that_leads_nowhere_has_its_line_and_remedy() {
    let error = bundled(
        "-- main.js\nimport './missing.js';\n\nimport 'lodash';\nimport fs from 'node:fs';\nimport 'https://example.org/x.js';\n\
         import './data.json';\nimport './typed.ts';\nimport '/etc/passwd';\nimport 'old';\nimport './utli.js';\nimport 'closed/inner';\nimport './sub/x.js'\n\
         -- data.json\n{}\n-- typed.ts\n1\n-- util.js\n1\n-- sub/x.js\n\n\nimport '../gone.js'\n\
         -- node_modules/old/package.json\n{\"main\":\"index.js\"}\n-- node_modules/old/index.js\nmodule.exports = 1\n\
         -- node_modules/closed/package.json\n{\"exports\":\"./index.js\"}\n",
    )
    .expect_err("mistakes");
    let expected = [
        "main.js:1: cannot import \"./missing.js\": there is no file missing.js; create the file",
        "main.js:3: cannot import \"lodash\": there is no such package; install the package",
        "main.js:4: cannot import \"node:fs\": a vat has no Node.js; do without it",
        "main.js:5: cannot import \"https://example.org/x.js\": a vat imports no URLs; download it",
        "main.js:6: cannot import \"./data.json\": it is a JSON file; give it to the vat in argv",
        "main.js:7: cannot import \"./typed.ts\": it is a .ts file; compile it",
        "main.js:8: cannot import \"/etc/passwd\": it is an absolute path; begin it with ./",
        "main.js:9: cannot import \"old\": package old is CommonJS; use a version",
        "main.js:10: cannot import \"./utli.js\": there is no file utli.js; did you mean \"util.js\"?",
        "main.js:11: cannot import \"closed/inner\": package closed does not export ./inner; import what",
        "sub/x.js:3: cannot import \"../gone.js\": there is no file",
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nexpected: {expected}");
    }
}

#[test]
fn limits_hold() {
    let long = "x".repeat(MAX_MODULE_BYTES as usize + 1);
    assert!(bundled(&format!("-- a.js\n{long}")).expect_err("too long").contains("over the limit"));
    let filler = "x".repeat(MAX_MODULE_BYTES as usize - 200);
    let mut files = String::new();
    for index in 0..6 {
        files += &format!("-- {index}.js\nimport './{}.js'\n{filler}", index + 1);
    }
    let error = bundled(&files).expect_err("too much");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("the bundle passes"), "{error}");
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

#[test]
fn deep_nesting_is_bundled_like_anything_else() {
    let deep = format!("export default () => {}1{};\n", "(".repeat(200_000), ")".repeat(200_000));
    assert_eq!(bundled(&format!("-- a.js\n{deep}")).expect("the engine is to judge").modules["a.js"], deep);
}

#[test]
fn the_examples_bundle() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testnet/examples");
    for (file, modules) in
        [("quorum/one.js", 1), ("quorum/two.js", 1), ("quorum/three.js", 1), ("counter/counter.js", 1)]
    {
        let bundle = bundle(&examples.join(file)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bundle.modules.len(), modules, "{file}");
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
