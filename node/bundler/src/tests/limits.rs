//! Sizes and nesting: no input exhausts the process.

use super::*;

#[test]
fn sizes_are_bounded() {
    let long = format!("//{}", "x".repeat(MAX_MODULE_BYTES as usize));
    assert!(wrong(&format!("-- a.js\n{long}"))[0].contains("over the limit"));
    let filler = format!("//{}", "x".repeat(MAX_MODULE_BYTES as usize - 200));
    let mut files = String::new();
    for index in 0..6 {
        files += &format!("-- {index}.js\nimport './{}.js'\n{filler}", index + 1);
    }
    let lines = wrong(&files);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("the bundle passes"), "{lines:?}");
    // What travels counts, too: each of these becomes an escape.
    let quotes = "\\\"".repeat(400_000);
    let lines = wrong(&format!("-- a.js\nimport './a.json';\n-- a.json\n\"{quotes}\"\n"));
    assert!(lines[0].starts_with("a.json:0:0: this module would travel as"), "{lines:?}");
}

#[test]
fn the_number_of_modules_is_bounded() {
    let imports: String = (0..MAX_MODULES + 5).map(|index| format!("import './{index}.js';")).collect();
    let modules: String = (0..MAX_MODULES + 5).map(|index| format!("-- {index}.js\n1\n")).collect();
    let lines = wrong(&format!("-- main.js\n{imports}\n{modules}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("one module more than the 1000"), "{lines:?}");
}

#[test]
fn deep_nesting_is_an_error_with_its_place() {
    let deep = [
        format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        "{".repeat(100_000),
        format!("{}1", "!".repeat(100_000)),
        format!("{}1", "a => ".repeat(100_000)),
        format!("1{}", " + 1".repeat(100_000)),
        format!("x{}", ".a".repeat(100_000)),
        "if (a) {} else ".repeat(50_000) + "{}",
        // A string hides brackets from a look at letters.
        format!("\"{}\"; {}1", ")".repeat(50_000), "(".repeat(50_000)),
    ];
    for source in deep {
        let shown = &source[..20];
        for ending in ["js", "ts"] {
            let lines = wrong(&format!("-- a.{ending}\nexport default 1;\n{source}\n"));
            assert!(lines[0].starts_with(&format!("a.{ending}:2:")), "{shown}: {}", lines[0]);
        }
    }
    let types = format!("-- a.ts\nlet x: {}T{};\n", "Array<".repeat(50_000), ">".repeat(50_000));
    assert!(wrong(&types)[0].contains("nested too deeply"), "{}", wrong(&types)[0]);
}
