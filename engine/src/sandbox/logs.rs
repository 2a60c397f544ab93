//! The console output of a guest during one delivery.
//!
//! Invariants: bounded in lines and bytes, and the same on every replica. A last line says how much was left out. Logs are
//! for people: they are no part of a vat's state.

use serde::{Deserialize, Serialize};

use crate::abi::log_level;

/// Lines kept of one delivery.
pub const MAX_LOG_LINES: usize = 200;
/// Bytes of text kept of one delivery.
pub const MAX_LOG_BYTES: usize = 64 << 10;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The name of the console method.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }

    pub(crate) fn from_abi(level: i32) -> LogLevel {
        match level {
            log_level::DEBUG => LogLevel::Debug,
            log_level::WARN => LogLevel::Warn,
            log_level::ERROR => LogLevel::Error,
            _ => LogLevel::Info,
        }
    }
}

/// One line from a guest's console. Kept also when the delivery was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub level: LogLevel,
    pub text: String,
}

/// Collects the lines of one delivery.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    lines: Vec<LogLine>,
    bytes: usize,
    dropped: u64,
}

impl LogBuffer {
    /// Bytes of the next line that would be kept; 0 when none would.
    pub fn room(&self) -> usize {
        if self.lines.len() >= MAX_LOG_LINES { 0 } else { MAX_LOG_BYTES - self.bytes }
    }

    /// Adds a line that has `length` bytes, of which `text` is at most what there was [`LogBuffer::room`] for.
    pub fn push(&mut self, level: LogLevel, text: &[u8], length: usize) {
        if self.room() == 0 {
            self.dropped += 1;
            return;
        }
        let text = &text[..text.len().min(self.room())];
        self.bytes += text.len();
        let mut line = String::from_utf8_lossy(text).into_owned();
        if text.len() < length {
            line.push_str(&format!(" … ({} bytes left out)", length - text.len()));
        }
        self.lines.push(LogLine { level, text: line });
    }

    /// Takes what was collected and begins anew.
    pub fn take(&mut self) -> Vec<LogLine> {
        let LogBuffer { mut lines, dropped, .. } = std::mem::take(self);
        if dropped > 0 {
            lines.push(LogLine { level: LogLevel::Warn, text: format!("… {dropped} more lines left out") });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bytes_are_bounded_and_what_is_left_out_is_said() {
        let mut buffer = LogBuffer::default();
        for _ in 0..MAX_LOG_LINES + 5 {
            buffer.push(LogLevel::Info, b"x", 1);
        }
        let lines = buffer.take();
        assert_eq!(lines.len(), MAX_LOG_LINES + 1);
        assert_eq!(lines.last().expect("a last line").text, "… 5 more lines left out");

        let long = vec![b'y'; MAX_LOG_BYTES + 7];
        buffer.push(LogLevel::Warn, &long[..buffer.room()], long.len());
        buffer.push(LogLevel::Warn, b"", 3);
        let lines = buffer.take();
        assert!(lines[0].text.ends_with("y … (7 bytes left out)"));
        assert_eq!(lines[1].text, "… 1 more lines left out");
        assert!(buffer.take().is_empty());
    }
}
