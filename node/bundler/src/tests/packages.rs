//! Packages of `node_modules`.

use super::*;

#[test]
fn packages_resolve_by_their_manifests() {
    let bundle = good(
        "-- main.js\nimport a from 'a'; import b from \"@s/b/sub\"; import c from 'c'; import d from 'd/lib/one.js';\n\
         -- node_modules/a/package.json\n{\"exports\":{\".\":{\"require\":\"./a.cjs\",\"import\":\"./src/a.js\"}},\"type\":\"module\"}\n\
         -- node_modules/a/src/a.js\nimport 'c'; export default 1\n\
         -- node_modules/@s/b/package.json\n{\"type\":\"module\",\"exports\":{\"./*\":{\"default\":[\"./lib/*.mjs\"]}}}\n\
         -- node_modules/@s/b/lib/sub.mjs\nexport default 1\n\
         -- node_modules/c/package.json\n{\"module\":\"es.js\",\"main\":\"common.js\"}\n-- node_modules/c/es.js\nexport default 1\n\
         -- node_modules/d/package.json\n{\"type\":\"module\"}\n-- node_modules/d/lib/one.js\nexport default 1\n",
    );
    assert_eq!(
        bundle.modules["main.js"],
        "import a from \"./node_modules/a/src/a.js\"; import b from \"./node_modules/@s/b/lib/sub.mjs\"; \
         import c from \"./node_modules/c/es.js\"; import d from \"./node_modules/d/lib/one.js\";\n"
    );
    assert_eq!(bundle.modules["node_modules/a/src/a.js"], "import \"../../c/es.js\"; export default 1\n");
    assert_eq!(bundle.modules.len(), 5);
}

/// Of `exports`, the file that `import 'p…'` leads to.
fn chosen(exports: &str, specifier: &str) -> String {
    let files = ["a.js", "b.js", "lib/a.js", "lib/b.js", "lib/internal/a.js"];
    let files: String = files.iter().map(|file| format!("-- node_modules/p/{file}\nexport {{}};\n")).collect();
    let source = format!(
        "-- main.js\nimport '{specifier}';\n-- node_modules/p/package.json\n{{\"type\":\"module\",\"exports\":{exports}}}\n{files}"
    );
    match bundled(&source) {
        Ok(bundle) => paths(&bundle)[1].trim_start_matches("node_modules/p/").to_string(),
        Err(error) => error.mistakes[0].problem.clone(),
    }
}

#[test]
fn conditions_hold_in_the_order_of_the_manifest() {
    for (exports, specifier, file) in [
        (r#""./a.js""#, "p", "a.js"),
        (r#"{"types":"./a.d.ts","import":"./a.js","default":"./b.js"}"#, "p", "a.js"),
        (r#"{"require":"./b.js","default":"./a.js"}"#, "p", "a.js"),
        (r#"{"default":"./b.js","import":"./a.js"}"#, "p", "b.js"),
        (r#"{"node":"./b.js","browser":"./b.js","module":"./a.js","default":"./b.js"}"#, "p", "a.js"),
        (r#"{"endo":"./a.js","import":"./b.js"}"#, "p", "a.js"),
        (r#"{"development":"./b.js","production":"./a.js"}"#, "p", "a.js"),
        (r#"{".":{"import":{"types":"./a.d.ts","default":"./a.js"},"require":"./b.js"}}"#, "p", "a.js"),
        (r#"{".":{"import":{"node":"./b.js"},"default":"./a.js"}}"#, "p", "a.js"),
        (r#"{"./*":"./lib/*.js","./internal/*":null,"./x/*.js":"./*.js"}"#, "p/a", "lib/a.js"),
        (r#"{"./*":"./lib/*.js","./x/*.js":"./*.js"}"#, "p/x/b.js", "b.js"),
        (r#"{"./*":"./lib/*.js","./a":"./b.js"}"#, "p/a", "b.js"),
    ] {
        assert_eq!(chosen(exports, specifier), file, "{exports} {specifier}");
    }
    for (exports, specifier, why) in [
        (r#"{"require":"./b.js"}"#, "p", "package p does not export ."),
        (r#"{"./*":"./lib/*.js","./internal/*":null}"#, "p/internal/a", "package p does not export ./internal/a"),
        (r#""../../../etc/passwd.js""#, "p", "points out of its package"),
        (r#""./gone.js""#, "p", "package p has no file for it"),
    ] {
        assert!(chosen(exports, specifier).contains(why), "{exports} {specifier}: {}", chosen(exports, specifier));
    }
}

#[test]
fn the_nearest_manifest_says_what_js_files_are() {
    // D11 and D12 of packages that are used: `yaml/browser`, `ramda/es`, `xstate`.
    let bundle = good(
        "-- main.js\nimport { a } from 'p'; import { b } from 'q';\n\
         -- node_modules/p/package.json\n{\"main\":\"c.js\",\"exports\":{\"module\":\"./es/a.js\",\"default\":\"./c.js\"}}\n\
         -- node_modules/p/es/package.json\n{\"type\":\"module\"}\n-- node_modules/p/es/a.js\nexport * from './inner.js';\n\
         -- node_modules/p/es/inner.js\nexport const a = 1;\n-- node_modules/p/c.js\nexports.a = 1;\n\
         -- node_modules/q/package.json\n{\"exports\":{\"module\":\"./b.js\"}}\n-- node_modules/q/b.js\nexport const b = 1;\n",
    );
    assert_eq!(
        paths(&bundle),
        ["main.js", "node_modules/p/es/a.js", "node_modules/p/es/inner.js", "node_modules/q/b.js"]
    );
}

#[test]
fn imports_of_a_package_and_its_own_name_are_followed() {
    let bundle = good(
        "-- main.js\nimport '#util/x'; import '#dep'; import 'me/sub';\n\
         -- package.json\n{\"name\":\"me\",\"type\":\"module\",\"exports\":{\"./sub\":\"./lib/sub.js\"},\"imports\":{\"#util/*\":\"./lib/*.js\",\"#dep\":{\"node\":\"./n.js\",\"default\":\"dep\"}}}\n\
         -- lib/x.js\nexport {};\n-- lib/sub.js\nexport {};\n-- node_modules/dep/package.json\n{\"type\":\"module\"}\n-- node_modules/dep/index.js\nexport {};\n",
    );
    assert_eq!(
        bundle.modules["main.js"],
        "import \"./lib/x.js\"; import \"./node_modules/dep/index.js\"; import \"./lib/sub.js\";\n"
    );
    assert_wrong(
        "-- main.js\nimport '#gone';\nimport '#bad';\n-- package.json\n{\"imports\":{\"#bad\":\"./no.js\"}}\n",
        &[
            "main.js:1:8: cannot import \"#gone\": no package.json above this file lists it",
            "main.js:2:8: cannot import \"#bad\": what `imports` names for it is no file",
        ],
    );
}

#[test]
fn links_into_a_store_lead_to_its_own_dependencies() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("node_modules/.store/a/node_modules");
    fs::create_dir_all(&store).expect("made");
    std::os::unix::fs::symlink(".store/a/node_modules/a", folder.path().join("node_modules/a")).expect("linked");
    let bundle = bundled_in(
        folder.path(),
        "-- main.js\nimport 'a';\n-- node_modules/.store/a/node_modules/a/package.json\n{\"type\":\"module\"}\n\
         -- node_modules/.store/a/node_modules/a/index.js\nimport 'b';\n-- node_modules/.store/a/node_modules/b/index.mjs\n1\n",
    );
    let bundle = bundle.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(paths(&bundle).len(), 3);
    assert_eq!(bundle.modules["node_modules/.store/a/node_modules/a/index.js"], "import \"../b/index.mjs\";\n");
}

#[test]
fn the_mode_that_packages_ask_for_is_production() {
    let bundle = good(
        "-- main.js\nimport './a.cjs';\nconst dev = process.env.NODE_ENV !== 'production', x = process.env.OTHER;\n\
         -- a.cjs\nif (process.env.NODE_ENV === 'development') exports.a = process;\n",
    );
    assert_eq!(
        bundle.modules["main.js"].lines().nth(1),
        Some("const dev = \"production\"         !== 'production', x = process.env.OTHER;")
    );
    assert!(bundle.modules["a.cjs"].contains("if (\"production\"         === 'development')"));
}

#[test]
fn a_manifest_that_is_none_is_named() {
    let lines = wrong(
        "-- main.js\nimport 'a';\n-- node_modules/a/package.json\n{ \"type\": }\n-- node_modules/a/index.js\n1\n",
    );
    assert!(lines[0].contains("node_modules/a/package.json is no package.json"), "{lines:?}");
    let long = " ".repeat(2 << 20);
    let lines = wrong(&format!(
        "-- main.js\nimport 'a';\n-- node_modules/a/package.json\n{{}}{long}\n-- node_modules/a/index.js\n1\n"
    ));
    assert!(lines[0].contains("over the limit of 1048576"), "{lines:?}");
}

#[test]
fn an_installed_package_is_taken_in_place_of_a_built_in_one_but_not_of_lockdown() {
    let bundle = good(
        "-- main.js\nimport { makeMarshal } from '@endo/marshal'; import { Far } from '@endo/far'; import harden from '@endo/harden';\n\
         import 'ses'; import 'ses/lockdown'; import '@endo/init/debug.js'; import '@endo/lockdown/commit-debug.js'; import '@agoric/nat'; import '@agoric/vat-data';\n\
         -- node_modules/@endo/marshal/package.json\n{\"type\":\"module\",\"exports\":\"./index.js\"}\n\
         -- node_modules/@endo/marshal/index.js\nimport { E } from '@endo/eventual-send'; export const makeMarshal = () => E;\n\
         -- node_modules/@endo/eventual-send/package.json\n{\"type\":\"module\",\"main\":\"no-shim.js\"}\n\
         -- node_modules/@endo/eventual-send/no-shim.js\nexport const E = HandledPromise;\n\
         -- node_modules/@endo/harden/index.js\nexport default () => {};\n\
         -- node_modules/ses/index.js\nlockdown();\n-- node_modules/@agoric/nat/index.js\nthrow 1;\n-- node_modules/@agoric/vat-data/index.js\nthrow 1;\n\
         -- node_modules/@endo/init/debug.js\nlockdown();\n",
    );
    assert_eq!(
        paths(&bundle),
        ["main.js", "node_modules/@endo/eventual-send/no-shim.js", "node_modules/@endo/marshal/index.js"]
    );
    let main = &bundle.modules["main.js"];
    assert!(main.contains("from \"./node_modules/@endo/marshal/index.js\"; import { Far } from '@endo/far'; import harden from '@endo/harden'"), "{main}");
    assert!(main.contains("import 'ses'; import 'ses/lockdown'; import '@endo/init/debug.js';"), "{main}");
    let marshal = &bundle.modules["node_modules/@endo/marshal/index.js"];
    assert!(marshal.starts_with("import { E } from \"../eventual-send/no-shim.js\";"), "{marshal}");
    // One that is there without its files is no reason to take another.
    assert_wrong(
        "-- main.js\nimport '@endo/nat';\n-- node_modules/@endo/nat/README\ntext\n",
        &["main.js:1:8: cannot import \"@endo/nat\": package @endo/nat has no file for it"],
    );
}

#[test]
fn packages_find_the_global_object_by_a_function_of_old() {
    let bundle = good(
        "-- main.js\nimport root from 'root'; export default () => root;\n-- node_modules/root/package.json\n{\"type\":\"module\"}\n\
         -- node_modules/root/index.js\nconst a = Function('return this')(), b = (new Function(\"return this;\"))(), c = Function('return that')(), d = Function('return this')(1);\n\
         export default a || b || c || d;\n",
    );
    assert_eq!(
        bundle.modules["node_modules/root/index.js"],
        "const a = globalThis               , b = globalThis                      , c = Function('return that')(), d = Function('return this')(1);\n\
         export default a || b || c || d;\n"
    );
}
