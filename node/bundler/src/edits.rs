//! Changes of a text that keep its lines: what was on a line stays on it, so that a place in the text that runs is the place in the
//! text that the author wrote.

use std::ops::Range;

/// What comes in place of a part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// Spaces, of which the first is this letter.
    Blank(char),
    /// This text, then the ends of lines that were in the part.
    Text(String),
}

/// Changes of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits {
    changes: Vec<(Range<usize>, Change)>,
}

impl Edits {
    /// Puts spaces in place of a part.
    pub fn blank(&mut self, range: Range<usize>) {
        self.changes.push((range, Change::Blank(' ')));
    }

    /// Puts `first` and then spaces in place of a part.
    pub fn blank_with(&mut self, range: Range<usize>, first: char) {
        self.changes.push((range, Change::Blank(first)));
    }

    /// Puts a text, without ends of lines, in place of a part.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.changes.push((range, Change::Text(text.into())));
    }

    /// Puts a text before the letter at `at`.
    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// The changed text. Of changes that overlap, the one that begins first holds; of those that begin at one place, all insertions.
    pub fn apply(&self, source: &str) -> String {
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|(range, _)| (range.start, !range.is_empty()));
        let mut text = String::with_capacity(source.len());
        let mut copied = 0;
        for (range, change) in changes {
            if range.start < copied {
                continue;
            }
            text.push_str(&source[copied..range.start]);
            let part = &source[range.clone()];
            match change {
                Change::Blank(first) => {
                    let letters = part.chars().enumerate();
                    text.extend(letters.map(|(index, letter)| match letter {
                        letter if ends_line(letter) => letter,
                        _ if index == 0 => *first,
                        _ => ' ',
                    }));
                }
                Change::Text(new) => {
                    text.push_str(new);
                    text.extend(part.chars().filter(|letter| ends_line(*letter)));
                }
            }
            copied = range.end;
        }
        text.push_str(&source[copied..]);
        text
    }
}

/// Returns whether a letter ends a line of JavaScript.
pub(crate) fn ends_line(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// The place of the first letter from `at` on that is neither white space nor in a comment.
pub(crate) fn skip_trivia(source: &str, mut at: usize) -> usize {
    while let Some(rest) = source.get(at..) {
        let trimmed = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
        at += rest.len() - trimmed.len();
        let length = if trimmed.starts_with("//") {
            trimmed.find(ends_line).unwrap_or(trimmed.len())
        } else if let Some(comment) = trimmed.strip_prefix("/*") {
            comment.find("*/").map_or(trimmed.len(), |end| end + 4)
        } else {
            return at;
        };
        at += length;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_stay() {
        let source = "let a: {\n  ä: 1 }\r\n = 2;";
        let mut edits = Edits::default();
        edits.blank(5..18);
        assert_eq!(edits.apply(source), "let a   \n        \r\n = 2;");
        edits.insert(0, "x;");
        edits.replace(4..5, "b");
        assert!(edits.apply(source).starts_with("x;let b "));
        assert_eq!(edits.apply(source).lines().count(), 3);
    }

    #[test]
    fn trivia_is_skipped() {
        let source = " \t// a ? b\n/* ? */ ? x";
        assert_eq!(&source[skip_trivia(source, 0)..], "? x");
        assert_eq!(skip_trivia("/* open", 0), 7);
        assert_eq!(skip_trivia("", 0), 0);
    }
}
