//! Keeps the output of a vat's `console` in a file for `vat logs`.
//!
//! One line for each console line: `block<TAB>level<TAB>text`, with newlines and backslashes escaped. A restart executes blocks again;
//! lines of blocks that the file has already are not written twice. Half a line, which a crash may leave, is cut off. The file
//! is bounded: at [`FILE_BYTES`] it is rotated, with one older file kept.

use quorate_engine::heap::{LogLevel, LogLine};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A console file is rotated at this size: two of them hold a good while of even a talkative vat.
pub const FILE_BYTES: u64 = 8 << 20;

/// The open console file of one replica.
pub struct Console {
    path: PathBuf,
    file: fs::File,
    written: u64,
    last_block: u64,
}

impl Console {
    /// Opens or makes the file and finds the last block that it has.
    pub fn open(path: &Path) -> io::Result<Console> {
        let file = fs::File::options().create(true).append(true).open(path)?;
        let text = fs::read(path)?;
        let written = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1);
        if written < text.len() as u64 {
            file.set_len(written)?;
        }
        let text = String::from_utf8_lossy(&text[..written as usize]);
        let block = |line: &str| line.split('\t').next().and_then(|block| block.parse().ok());
        let last_block = text.lines().rev().find_map(block).unwrap_or(0);
        Ok(Console { path: path.to_owned(), file, written, last_block })
    }

    /// Writes a block's lines, unless the file has them. Returns whether they were new.
    pub fn write(&mut self, block: u64, lines: &[LogLine]) -> io::Result<bool> {
        if block <= self.last_block || lines.is_empty() {
            return Ok(false);
        }
        if self.written >= FILE_BYTES {
            fs::rename(&self.path, self.path.with_extension("console.1"))?;
            self.file = fs::File::options().create(true).append(true).open(&self.path)?;
            self.written = 0;
        }
        let mut text = String::new();
        for line in lines {
            let escaped = line.text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
            text.push_str(&format!("{block}\t{}\t{escaped}\n", level_name(line.level)));
        }
        self.file.write_all(text.as_bytes())?;
        self.written += text.len() as u64;
        self.last_block = block;
        Ok(true)
    }
}

/// A level's name in files, logs and metrics.
pub fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// Takes a line of a console file apart: block, level, text as it was printed.
pub fn parse_line(line: &str) -> Option<(u64, &str, String)> {
    let mut parts = line.splitn(3, '\t');
    let block = parts.next()?.parse().ok()?;
    let level = parts.next()?;
    let (mut text, mut escaped) = (String::new(), false);
    for letter in parts.next()?.chars() {
        match (escaped, letter) {
            (false, '\\') => escaped = true,
            (true, 'n') => (text.push('\n'), escaped = false).1,
            (true, 'r') => (text.push('\r'), escaped = false).1,
            (_, other) => {
                text.push(other);
                escaped = false;
            }
        }
    }
    Some((block, level, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_that_a_crash_has_left_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("one.console");
        let line = |text: &str| LogLine { level: LogLevel::Info, text: text.into() };
        Console::open(&path).and_then(|mut console| console.write(1, &[line("first")])).expect("writable");
        let mut file = fs::File::options().append(true).open(&path).expect("it is there");
        // Cut in the middle of a letter, and of the number of a block.
        for torn in [&b"2\tinfo\tsec\xc3"[..], b"1"] {
            file.write_all(torn).expect("writable");
            for _restart in 0..2 {
                let mut console = Console::open(&path).expect("writable");
                for (block, text) in [(1, "first"), (2, "second")] {
                    console.write(block, &[line(text)]).expect("writable");
                }
            }
            assert_eq!(fs::read_to_string(&path).expect("it is text"), "1\tinfo\tfirst\n2\tinfo\tsecond\n");
        }
    }

    #[test]
    fn lines_are_written_once_however_often_their_block_is_executed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("one.console");
        let line = |text: &str| LogLine { level: LogLevel::Info, text: text.into() };
        for _restart in 0..3 {
            let mut console = Console::open(&path).expect("writable");
            for block in 1..=3 {
                console.write(block, &[line(&format!("block {block}\nsecond \\n line"))]).expect("writable");
            }
        }
        let text = fs::read_to_string(&path).expect("readable");
        let lines: Vec<_> = text.lines().map(|line| parse_line(line).expect("well formed")).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], (3, "info", "block 3\nsecond \\n line".to_owned()));
    }
}
