//! Where this program keeps what it can make again, by the XDG Base Directory Specification.

use std::ffi::OsString;
use std::path::PathBuf;

/// Returns the folder that a variable names, if it is set and not empty. `variable` returns the value of a variable, as [`std::env::var_os`]
/// does.
pub fn named(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns this program's folder in the cache of a user: `$XDG_CACHE_HOME/quorate`, else `$HOME/.cache/quorate`; nothing if neither variable
/// is set.
pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let cache = named(&variable, "XDG_CACHE_HOME").or_else(|| Some(named(&variable, "HOME")?.join(".cache")))?;
    Some(cache.join("quorate"))
}

/// Returns where compiled images are kept: `$QUORATE_CACHE`, else `engine` in [`of_user`]'s folder.
pub fn of_engine(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    named(&variable, "QUORATE_CACHE").or_else(|| Some(of_user(variable)?.join("engine")))
}

/// Returns the folder that `QUORATE_CACHE` names, else [`of_user`]'s.
pub fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    named(variable, "QUORATE_CACHE").or_else(|| of_user(variable))
}
