//! Lines of code in error reports: a place in a vat's bundle is a place in its author's files, since the bundler keeps lines.
//!
//! Only this host's own output has them. The guest never learns where an error was.

use quorate_bundler::mistake::{excerpt, line_of};
use quorate_engine::abi::Bundle;

/// Places of one text that are shown with their lines.
const MAX_SHOWN: usize = 3;

/// `text` with the lines of code that it names, as in `TypeError: … (at src/main.js:3:5)`, below it.
pub fn with_lines(text: &str, bundle: &Bundle) -> String {
    let mut shown = text.to_string();
    for (path, line, column) in places(text).take(MAX_SHOWN) {
        if let Some(code) = bundle.modules.get(path).and_then(|module| line_of(module, line)) {
            shown.push('\n');
            shown.push_str(&excerpt(line, column, code));
        }
    }
    shown
}

/// Each `(at path:line:column)` in a text.
fn places(text: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    text.split("(at ").skip(1).filter_map(|rest| {
        let place = rest.split_once(')').map(|(place, _)| place)?;
        let mut parts = place.rsplitn(3, ':');
        let (column, line) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((parts.next()?, line, column))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_its_line() {
        let modules = [("src/a.ts".to_string(), "const a = 1;\nthrow Error(a);\n".to_string())].into();
        let bundle = Bundle { entry: "src/a.ts".into(), modules };
        for (text, shown) in [
            ("Error: 1 (at src/a.ts:2:7)", "Error: 1 (at src/a.ts:2:7)\n  2 | throw Error(a);\n    |       ^"),
            (
                "(at src/a.ts:9:1) (at b.js:1:1) (at src/a.ts:x:1) (at",
                "(at src/a.ts:9:1) (at b.js:1:1) (at src/a.ts:x:1) (at",
            ),
            ("Error: (at", "Error: (at"),
        ] {
            assert_eq!(with_lines(text, &bundle), shown);
        }
        let many = "(at src/a.ts:1:1)".repeat(50);
        assert_eq!(with_lines(&many, &bundle).lines().count(), 1 + 2 * MAX_SHOWN);
    }
}
