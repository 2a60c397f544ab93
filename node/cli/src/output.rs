//! How the command talks: tables and JSON on standard output; notes, progress and errors on standard error.

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

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

/// Returns why something that was to be printed on standard output is not there, as on a full disk.
pub fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// Prints a line on standard output, for commands that go on until nobody reads.
pub fn try_line(text: impl std::fmt::Display) -> io::Result<()> {
    if let Some(lines) = LINES.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        lines.push_str(&format!("{text}\n"));
        return Ok(());
    }
    writeln!(io::stdout(), "{text}")
}

/// Returns whether standard output may still have a reader: it is not a pipe whose other end is closed. Only writing would tell
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

/// A picture that is shown again and again: see [`Screen`].
enum Picture {
    /// On a terminal each takes the place of the one before, on a screen of their own.
    Terminal,
    /// Elsewhere they follow one another, with an empty line in between.
    Lines { first: bool },
}

/// Shows pictures one after another. What [`line`] prints between [`Screen::begin`] and [`Screen::end`] is one picture.
pub struct Screen(Picture);

/// The lines of the picture that is being put together, on a terminal.
static LINES: Mutex<Option<String>> = Mutex::new(None);

/// Enters and leaves a screen of its own, which leaves what is on the other one alone (`xterm` and all that follow it).
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

impl Screen {
    /// On the terminal that standard output is, or plain lines where it is none.
    pub fn new() -> Screen {
        if !io::stdout().is_terminal() {
            return Screen(Picture::Lines { first: true });
        }
        write_out(ENTER);
        Screen(Picture::Terminal)
    }

    /// Returns whether it is a terminal's, to be left before the command ends.
    pub fn is_terminal(&self) -> bool {
        matches!(self.0, Picture::Terminal)
    }

    /// Begins a picture.
    pub fn begin(&mut self) {
        match &mut self.0 {
            Picture::Terminal => *LINES.lock().unwrap_or_else(PoisonError::into_inner) = Some(String::new()),
            Picture::Lines { first: true } => self.0 = Picture::Lines { first: false },
            Picture::Lines { .. } => line(""),
        }
    }

    /// Shows the picture: on a terminal as one write, over the one before.
    pub fn end(&mut self) {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lines) = lines {
            write_out(&picture(&lines));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal() {
            write_out(LEAVE);
        }
    }
}

/// Returns what draws lines over whatever is on the screen, without clearing it first: that would flicker.
fn picture(lines: &str) -> String {
    const TOP: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K\n";
    const CLEAR_BELOW: &str = "\x1b[J";
    format!("{TOP}{}{CLEAR_BELOW}", lines.replace('\n', CLEAR_LINE))
}

fn write_out(text: &str) {
    let mut stdout = io::stdout();
    // A terminal that is gone has no reader: see `has_reader`.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints a value as JSON on standard output.
pub fn json(value: &impl Serialize) {
    line(super::json::pretty(value));
}

/// Prints JSON on one line of standard output.
pub fn json_line(value: &impl Serialize) {
    line(super::json::compact(value));
}

/// Prints a note for people.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A number of things, each called so.
pub fn plural<N: From<u8> + PartialEq + std::fmt::Display>(count: N, noun: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// A table with this head.
pub fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
    table
}

/// What is said while the engine image is loaded: the first time on a machine it is compiled, which takes up to a minute.
pub const COMPILING: &str = "compiling the engine for this machine, if it is the first time";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_over_the_one_before_and_clears_what_is_left_of_it() {
        let drawn = picture("one\ntwo\n");
        assert_eq!(drawn, "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert!(!drawn.contains("\x1b[2J"), "clearing the whole screen flickers");
    }
}
