//! The process' log: JSON lines on standard error, panics included.

use std::{any::Any, io, panic};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// The variable that filters the log.
const VARIABLE: &str = "QUORATE_LOG";
/// What is logged where it says nothing.
const DEFAULT: &str = "info,openraft=error,libp2p=warn,yamux=warn,hyper=warn";

/// Why the log's filter is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("QUORATE_LOG: {0}; write a level (error, warn, info, debug, trace), or such as info,quorate_net=debug")]
pub struct FilterError(String);

/// Sends the process' log to standard error: JSON lines (or text for people), filtered by `QUORATE_LOG`.
///
/// # Errors
/// The variable is no filter: its user would wait for lines that never come.
pub fn log_to_stderr(json: bool) -> Result<(), FilterError> {
    let filter = match std::env::var_os(VARIABLE) {
        Some(text) => {
            let text = text.into_string().map_err(|text| FilterError(format!("{} is not text", text.display())))?;
            filter(&text)?
        }
        None => filter("")?,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second call (in tests) changes nothing.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.compact().try_init() };
    Ok(())
}

/// Reads a filter. The empty one is the default.
fn filter(text: &str) -> Result<EnvFilter, FilterError> {
    let text = if text.trim().is_empty() { DEFAULT } else { text };
    // A word by itself would be a target with all its levels: a misspelt level would switch everything else off.
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains(['=', '[', ':']));
    if let Some(word) = words.into_iter().find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(FilterError(format!("`{word}` is no level (for the module of that name: {word}=trace)")));
    }
    EnvFilter::try_new(text).map_err(|error| FilterError(format!("`{text}` is no filter ({error})")))
}

/// Has panics logged as lines like all others, with a code, instead of as text in between. The thread ends as it would.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let backtrace = std::backtrace::Backtrace::capture().to_string();
        let panic = said(info.payload());
        tracing::error!(code = "Q-PANIC", panic, place, thread, backtrace, "a part of the host has panicked: a bug");
    }));
}

/// Returns what a panic said.
fn said(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_filter_is_taken_for_one() {
        for good in
            ["", " ", "debug", "INFO", "off", "info,quorate_net=debug", "warn,quorate_node::vat=trace,", DEFAULT]
        {
            assert!(filter(good).is_ok(), "{good}: {:?}", filter(good).err());
        }
        for bad in ["foo[bar=baz", "dbug", "info,verbose", "quorate_net=loud", "info;debug"] {
            let error = filter(bad).err().unwrap_or_else(|| panic!("{bad} was taken")).to_string();
            assert!(error.contains("QUORATE_LOG") && error.contains("info,quorate_net=debug"), "{error}");
        }
    }
}
