//! Names of hosts, vats and arguments.

/// Longest name of a host, a vat or an argument, in characters.
pub const MAX_NAME_LENGTH: usize = 48;

/// Returns whether a text is a name that is fit for files, folders and command lines; if not, the problem and the remedy.
pub fn check_name(text: &str) -> Result<(), (String, String)> {
    let first_is_letter = text.starts_with(|letter: char| letter.is_ascii_lowercase());
    let fits = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_".contains(&letter);
    if first_is_letter && text.bytes().all(fits) && text.len() <= MAX_NAME_LENGTH {
        return Ok(());
    }
    let shown: String = text.chars().take(MAX_NAME_LENGTH + 1).collect();
    let rule = format!("use at most {MAX_NAME_LENGTH} of a-z, 0-9, `-` and `_`, a letter first");
    Err((format!("`{}` is not a good name", shown.escape_debug()), rule))
}
