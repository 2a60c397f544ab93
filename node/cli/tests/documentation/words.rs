//! Holds the words of pages, comments and help: sentences that end, and subjects that are named.
//!
//! A sentence names who acts: the leader, a member, the peer, the guest. So words that leave that open are refused, and so are those for
//! which the project has a better one.

use super::{crates, files, pages, read, root};
use std::path::{Path, PathBuf};

/// Words between two stops at most, without what stands in parentheses.
const LONGEST: usize = 35;

/// What is refused, and what to write.
const REFUSED: [(&str, &str); 9] = [
    ("whoever", "name the party: a member, a holder, a caller"),
    ("whomever", "name the party: a member, a holder, a caller"),
    ("whom", "name the party: a member, a holder, a caller"),
    ("somebody", "name the party: a person, another process, a caller"),
    ("mend", "correct, repair or patch"),
    ("mends", "corrects, repairs or patches"),
    ("mended", "corrected, repaired or patched"),
    ("errand", "client script"),
    ("muzzled", "silenced"),
];

/// The refused words of a text, each with what to write.
fn refused(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'));
    let refused = words.filter_map(|word| REFUSED.iter().find(|(refused, _)| *refused == word));
    refused.map(|(word, instead)| format!("\"{word}\": {instead}")).collect()
}

/// A page without its blocks of code and the comments that readers do not see.
fn prose(text: &str) -> String {
    let mut in_code = false;
    let mut in_comment = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        in_comment |= line.starts_with("<!--");
        let is_code = in_code || line.starts_with("```") || line.starts_with("    ") && !line.trim().starts_with('-');
        kept.push_str(if is_code || in_comment { "" } else { line });
        kept.push('\n');
        in_comment &= !line.ends_with("-->");
    }
    kept
}

/// A text without what stands between two signs.
fn without(text: &str, open: char, close: char) -> String {
    let mut depth = 0usize;
    let mut kept = String::new();
    for letter in text.chars() {
        match letter {
            _ if letter == close && depth > 0 => depth -= 1,
            _ if letter == open => depth += 1,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// The paragraphs, items and cells of a page's prose. Code in them is one word, and links have no targets.
fn parts(prose: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in prose.lines() {
        let line = line.trim();
        let is_item =
            line.starts_with("- ") || line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        if line.is_empty() || line.starts_with('#') || is_item {
            parts.push(String::new());
        }
        if line.starts_with('|') {
            parts.extend(line.split('|').map(str::to_owned));
            parts.push(String::new());
        } else if !line.starts_with('#') {
            let part = parts.last_mut().expect("there is one");
            part.push_str(line.strip_prefix("- ").unwrap_or(line));
            part.push(' ');
        }
    }
    let without_code = |part: &String| -> String {
        let pieces = part.split('`').enumerate();
        pieces.map(|(at, piece)| if at % 2 == 1 { "X" } else { piece }).collect()
    };
    parts.iter().map(without_code).map(|part| without(&part, '(', ')')).collect()
}

/// What stands between two stops.
fn clauses(part: &str) -> Vec<String> {
    let mut clauses = vec![String::new()];
    let letters: Vec<char> = part.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        let is_stop = ".!?:;".contains(*letter) && (next.is_whitespace() || "*\"”)]".contains(next));
        match is_stop {
            true => clauses.push(String::new()),
            false => clauses.last_mut().expect("there is one").push(*letter),
        }
    }
    clauses
}

#[test]
fn sentences_of_pages_end() {
    let mut long = Vec::new();
    for page in pages().into_iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        for part in parts(&prose(&read(&page))) {
            for clause in clauses(&part) {
                let words = clause.split_whitespace().count();
                if words > LONGEST {
                    long.push(format!("{}: {words} words: {}", page.display(), clause.trim()));
                }
            }
        }
    }
    assert!(
        long.is_empty(),
        "over {LONGEST} words without a stop; make two sentences or a list of:\n{}",
        long.join("\n")
    );
}

#[test]
fn pages_name_who_acts() {
    let mut wrong = Vec::new();
    for page in pages().into_iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        for part in parts(&prose(&read(&page))) {
            wrong.extend(refused(&part).into_iter().map(|word| format!("{}: {word}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a source is of tests, whose names and comments tell stories; or is compiled into the engine image, of which the lines count.
fn is_apart(path: &Path) -> bool {
    let of_tests = |name: &str| name == "tests" || name == "test_support" || name.ends_with("tests.rs");
    let is_of_tests = path.iter().filter_map(|part| part.to_str()).any(of_tests);
    let of_image = ["engine/src/abi.rs", "engine/src/abi/value.rs", "engine/src/abi/json.rs"];
    is_of_tests || of_image.iter().any(|file| path.ends_with(file))
}

#[test]
fn comments_name_who_acts() {
    let mut wrong = Vec::new();
    let sources: Vec<PathBuf> = crates().iter().flat_map(|folder| files(&folder.join("src"), "rs")).collect();
    assert!(sources.len() > 200, "the sources were not found");
    for path in sources.into_iter().filter(|path| !is_apart(path.strip_prefix(root()).unwrap_or(path))) {
        for (at, line) in read(&path).lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let line = at + 1;
            wrong.extend(refused(comment).into_iter().map(|word| format!("{}:{line}: {word}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_clauses_and_refused_words_are_found() {
    let clause = "word ".repeat(LONGEST + 1);
    let page = format!(
        "# A heading\n\nShort. {clause}\n\n| a cell | {clause}|\n\n```text\n{clause}\n```\n\n- (in {clause}) an item\n"
    );
    let found = parts(&prose(&page))
        .iter()
        .flat_map(|part| clauses(part))
        .filter(|it| it.split_whitespace().count() > LONGEST)
        .count();
    assert_eq!(found, 2, "one in a paragraph, and one in a cell");
    assert_eq!(refused("Whoever asks").len(), 1);
    assert!(refused("recommend amendments to `Mender`").is_empty());
    assert!(parts(&prose("a `whoever()` b\n")).iter().all(|part| refused(part).is_empty()));
}
