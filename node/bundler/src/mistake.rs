//! What is wrong in a file that a person wrote, and where: in code, and in the configs of other crates.

use std::fmt;
use std::path::PathBuf;

/// One mistake in a config (or in a bundle): where, what, and what to do.
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
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            0 => write!(formatter, "{file}: {}; {}", self.problem, self.fix),
            line => write!(formatter, "{file}:{line}: {}; {}", self.problem, self.fix),
        }
    }
}

/// Line and column of what comes after these bytes.
pub fn after(good: &[u8]) -> (usize, usize) {
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
    let last = good.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    (line, 1 + String::from_utf8_lossy(last).chars().count())
}
