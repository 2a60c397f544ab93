//! Where the lines of a session come from: a terminal, with a history, or anything else, as it comes.
//!
//! The history is a file of this user's alone, in the cache; without one, lines are forgotten with the session.

use quorate_config::cache;
use rustyline::{DefaultEditor, error::ReadlineError};
use std::{
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
};

/// Bytes of a line; nobody types a longer one.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// See the head of the module.
pub enum Input {
    Terminal { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    Stream,
}

impl Input {
    /// Returns whether a person types the lines.
    pub fn is_terminal() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Standard input.
    pub fn open() -> Input {
        if !Input::is_terminal() {
            return Input::Stream;
        }
        let Ok(mut editor) = DefaultEditor::new() else { return Input::Stream };
        let history = history_file();
        if let Some(file) = &history {
            // The first session has none.
            let _ = editor.load_history(file);
        }
        Input::Terminal { editor: Box::new(editor), history }
    }

    /// Returns whether it asks for each line.
    pub fn asks(&self) -> bool {
        matches!(self, Input::Terminal { .. })
    }

    /// The next line; nothing at the end.
    pub fn line(&mut self, prompt: &str) -> Option<String> {
        match self {
            Input::Stream => stream_line(),
            Input::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => {
                    if !line.trim().is_empty() {
                        // A line that can't be remembered is evaluated all the same.
                        let _ = editor.add_history_entry(&line);
                    }
                    Some(line)
                }
                // What was typed is given up.
                Err(ReadlineError::Interrupted) => Some(String::new()),
                Err(_) => None,
            },
        }
    }
}

fn stream_line() -> Option<String> {
    let mut bytes = Vec::new();
    let read = io::Read::take(io::stdin().lock(), MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
    match read {
        Ok(count) if count > 0 => Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()),
        _ => None,
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Input::Terminal { editor, history: Some(file) } = self {
            // The next session does without.
            let _ = editor.save_history(file);
        }
    }
}

/// Returns where the history is kept.
fn history_file() -> Option<PathBuf> {
    Some(cache::folder()?.join("repl-history"))
}
