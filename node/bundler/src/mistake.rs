//! What is wrong in a file that a person wrote, and where: in code, and in the configs of other crates.

use std::fmt;
use std::path::PathBuf;

/// Letters of a line that are shown round a mistake: lines of generated code have no end.
const SHOWN_LETTERS: usize = 120;

/// One mistake in a config or in code: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file as the user named it.
    pub file: PathBuf,
    /// From 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// From 1, in letters; 0 when it is not known.
    pub column: usize,
    pub problem: String,
    pub fix: String,
    /// The line itself, of mistakes in code; `None` where it is not known.
    pub excerpt: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match (self.line, &self.excerpt) {
            (0, _) => write!(formatter, "{file}: {}; {}", self.problem, self.fix),
            (line, None) => write!(formatter, "{file}:{line}: {}; {}", self.problem, self.fix),
            (line, Some(text)) => {
                write!(formatter, "{file}:{line}:{}: {}; {}", self.column, self.problem, self.fix)?;
                write!(formatter, "\n{}", excerpt(line, self.column, text))
            }
        }
    }
}

/// A line of code with its number, and a caret under the column (from 1, in letters) below it. Of a long line, the part round the column.
pub fn excerpt(line: usize, column: usize, text: &str) -> String {
    let letters: Vec<char> = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let at = column.saturating_sub(1).min(letters.len());
    let start = if letters.len() <= SHOWN_LETTERS { 0 } else { at.saturating_sub(SHOWN_LETTERS / 2) };
    let end = letters.len().min(start + SHOWN_LETTERS);
    let shown: String = letters[start..end].iter().collect();
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < letters.len() { "…" } else { "" });
    let number = line.to_string();
    let gap = " ".repeat(number.len());
    let indent = " ".repeat(at - start + before.chars().count());
    format!("  {number} | {before}{}{after}\n  {gap} | {indent}^", shown.trim_end())
}

/// The line and the column of what comes after `good`, from 1.
pub fn after(good: &[u8]) -> (usize, usize) {
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
    let last = good.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    (line, 1 + String::from_utf8_lossy(last).chars().count())
}

/// The text of a line, from 1, without its end.
pub fn line_of(text: &str, line: usize) -> Option<&str> {
    text.split('\n').nth(line.checked_sub(1)?).map(|line| line.trim_end_matches('\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        assert_eq!(excerpt(12, 5, "let x y;"), "  12 | let x y;\n     |     ^");
        assert_eq!(excerpt(1, 99, "\tä"), "  1 |  ä\n    |   ^");
    }

    #[test]
    fn of_a_long_line_the_part_round_the_column_is_shown() {
        let text = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let shown = excerpt(1, 5001, &text);
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[1].chars().position(|letter| letter == '^').expect("a caret");
        assert_eq!(lines[0].chars().skip(caret).take(4).collect::<String>(), "HERE");
        assert!(shown.len() < 400, "{shown}");
    }
}
