//! How the command talks: tables and JSON on standard output; notes, progress and errors on standard error.

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::OnceLock,
    time::Duration,
};

/// Prints an error: its causes after it, each once.
pub fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let several = text.contains('\n');
    eprintln!("error: {}{text}", if several { "\n" } else { "" });
}

/// Prints a line on standard output; a closed pipe is no error. Any other is kept for the command's end: see [`failure`].
pub fn line(text: impl std::fmt::Display) {
    if let Err(error) = try_line(text)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // Only the first is of interest.
        let _ = FAILURE.set(error);
    }
}

static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Why something that was to be printed on standard output is not there, as on a full disk.
pub fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// Prints a line on standard output, for commands that go on until nobody reads.
pub fn try_line(text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Whether somebody may still read standard output: it is not a pipe whose other end is closed. Only writing would tell
/// otherwise, and a command that follows something may have nothing to write for long.
pub fn has_reader() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    match poll(&mut watched, PollTimeout::ZERO) {
        Ok(_) => !watched[0].revents().is_some_and(|events| events.intersects(gone)),
        Err(_) => true,
    }
}

/// Prints a value as JSON on standard output.
pub fn json(value: &impl Serialize) {
    line(serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// Prints a note for people.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A table with this head.
pub fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
    table
}

/// Shows what takes long: a spinner on a terminal, single lines elsewhere.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins with a first message.
    pub fn start(message: impl Into<String>) -> Progress {
        let message = message.into();
        if !std::io::stderr().is_terminal() {
            note(&message);
            return Progress(None);
        }
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(Some(bar))
    }

    /// Says what is going on now.
    pub fn say(&self, message: impl Into<String>) {
        match &self.0 {
            Some(bar) => bar.set_message(message.into()),
            None => note(message.into()),
        }
    }

    /// Ends it.
    pub fn done(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut rest = count as f64;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{rest:.1} {}", UNITS[unit]) }
}

/// The first letters of an id: enough for people to tell them apart.
pub fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}
