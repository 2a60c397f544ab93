//! How a failure is reported: to people in words on standard error, and with `--json` as an object on standard output as well.
//!
//! Invariant: with `--json`, each command that fails prints one line on standard output that is an object with the member
//! `error`. Its members are always the same: see [`Report`]. `docs/usage.md` describes them for scripts.

use super::{Exit, Failure, explain, output};
use quorate_config::{
    bundle::BundleError,
    cluster::EXPLAIN,
    testnet::{ConfigError, Mistake},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// A call that the vat rejected, with the reason as a value.
#[derive(Debug, thiserror::Error)]
#[error("rejected: {shown}")]
pub struct Rejection {
    /// The reason in words.
    pub shown: String,
    /// The reason as the vat gave it, as JSON.
    pub reason: Value,
}

/// A failure that has a result all the same, such as the sturdyref of a vat that may yet come to be.
#[derive(Debug)]
struct Partial {
    result: Value,
    error: anyhow::Error,
}

impl fmt::Display for Partial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl std::error::Error for Partial {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Failure {
    /// With `--json`, the members of `result` (an object) stand beside `error`.
    pub fn with_result(self, result: Value) -> Failure {
        Failure { exit: self.exit, error: Partial { result, error: self.error }.into() }
    }
}

/// The value of the member `error`.
#[derive(Debug, Serialize)]
struct Report {
    /// The first code in the message, or null.
    code: Option<String>,
    /// All codes in the message. Where one error wraps another, the last one is the cause.
    codes: Vec<String>,
    /// The exit code.
    exit: u8,
    /// The message, as it is on standard error.
    message: String,
    /// Commands that the message advises.
    next: Vec<String>,
    /// Each mistake in a config or in code.
    mistakes: Vec<MistakeReport>,
    /// Of a rejected call: the vat's reason, written as results are. Null for any other failure.
    rejection: Value,
}

#[derive(Debug, Serialize)]
struct MistakeReport {
    file: String,
    /// From 1; null if the mistake is about the file as a whole.
    line: Option<usize>,
    /// From 1, in letters; null where it is not known.
    column: Option<usize>,
    problem: String,
    fix: String,
    /// Of a mistake in code, the line itself; null otherwise.
    source: Option<String>,
}

impl MistakeReport {
    fn of(mistake: &Mistake) -> MistakeReport {
        let known = |number: usize| (number > 0).then_some(number);
        MistakeReport {
            file: mistake.file.display().to_string(),
            line: known(mistake.line),
            column: known(mistake.column),
            problem: mistake.problem.clone(),
            fix: mistake.fix.clone(),
            source: mistake.excerpt.clone(),
        }
    }
}

/// Reports a failure, and returns the exit code that the command ends with.
pub fn failure(failure: Failure, json: bool) -> Exit {
    let exit = failure.exit;
    let (result, error) = match failure.error.downcast::<Partial>() {
        Ok(partial) => (partial.result, partial.error),
        Err(error) => (json!({}), error),
    };
    let report = Report::of(&error, exit);
    if json {
        output::json_line(&as_json(&report, result));
    }
    // People and logs read this; a script need not.
    output::note(format!("error: {}", report.message));
    let codes: Vec<&str> = report.codes.iter().map(String::as_str).collect();
    if !codes.is_empty() {
        output::note(format!("{EXPLAIN}{}", codes.join(" ")));
    }
    exit
}

fn as_json(report: &Report, result: Value) -> Value {
    let mut object = match result {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    let error = serde_json::to_value(report).unwrap_or_else(|error| json!({ "message": error.to_string() }));
    object.insert("error".into(), error);
    Value::Object(object)
}

/// Reports wrong words on the command line: what [`clap`] says of them.
pub fn wrong_words(error: &clap::Error, json: bool) -> Exit {
    if json {
        let text = error.render().to_string();
        output::json_line(&as_json(&Report::of_wrong_words(&text), json!({})));
    }
    // Where standard error is closed nobody is there to be told.
    let _ = error.print();
    Exit::Usage
}

impl Report {
    fn of(error: &anyhow::Error, exit: Exit) -> Report {
        let mistakes = mistakes(error);
        let message = message(error, &mistakes);
        let codes = explain::codes(&message);
        let mut next = commands(&message);
        next.extend(codes.iter().map(|code| format!("{EXPLAIN}{code}")));
        let rejection = error.chain().find_map(|cause| cause.downcast_ref::<Rejection>());
        Report {
            code: codes.first().cloned(),
            codes,
            exit: exit as u8,
            message,
            next,
            mistakes: mistakes.iter().map(MistakeReport::of).collect(),
            rejection: rejection.map_or(Value::Null, |rejection| rejection.reason.clone()),
        }
    }

    fn of_wrong_words(text: &str) -> Report {
        let (problem, usage) = text.split_once("Usage:").unwrap_or((text, ""));
        // The command as far as it was understood: the words before the first option or value.
        let understood = usage.split_whitespace().take_while(|word| !word.starts_with(['-', '[', '<']));
        let command = understood.collect::<Vec<_>>().join(" ");
        let problem = problem.trim().trim_start_matches("error:").trim();
        Report {
            code: None,
            codes: Vec::new(),
            exit: Exit::Usage as u8,
            message: if problem.is_empty() { "a command is missing".into() } else { problem.to_owned() },
            next: vec![format!("{} --help", if command.is_empty() { "vat" } else { &command })],
            mistakes: Vec::new(),
            rejection: Value::Null,
        }
    }
}

/// The mistakes that an error is about, wherever it is wrapped.
fn mistakes(error: &anyhow::Error) -> Vec<Mistake> {
    let of = |cause: &(dyn std::error::Error + 'static)| {
        let config = cause.downcast_ref::<ConfigError>().map(|error| error.mistakes.clone());
        config.or_else(|| cause.downcast_ref::<BundleError>().map(|error| error.mistakes.clone()))
    };
    error.chain().find_map(of).unwrap_or_default()
}

/// An error's text: its causes after it, each once.
fn message(error: &anyhow::Error, mistakes: &[Mistake]) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    match mistakes {
        [first, _, ..] => {
            let count = mistakes.len();
            let same = mistakes.iter().all(|mistake| mistake.file == first.file);
            let place = if same { format!(" in {}", first.file.display()) } else { String::new() };
            format!("{count} mistakes{place}\n{text}")
        }
        _ => text,
    }
}

/// The commands that a text advises: what it has in backticks and begins with the program's name.
fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for quoted in text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("vat ")) {
        if !found.iter().any(|known| known == quoted) {
            found.push(quoted.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_codes_commands_and_causes() {
        let cause = anyhow::anyhow!("Q-C020 the vat has no leader");
        let error = cause.context("Q-A003 not ordered; look at `vat status two`, then `vat install two FILE`");
        let report = Report::of(&error, Exit::Unreachable);
        assert_eq!((report.code.as_deref(), report.exit), (Some("Q-A003"), 3));
        assert_eq!(report.codes, ["Q-A003", "Q-C020"]);
        assert_eq!(report.next, ["vat status two", "vat install two FILE", "vat explain Q-A003", "vat explain Q-C020"]);
        assert!(report.message.ends_with("FILE`: Q-C020 the vat has no leader"), "{}", report.message);
    }

    #[test]
    fn mistakes_are_found_below_other_errors() {
        let mistake = |line, column| Mistake {
            file: "a.toml".into(),
            line,
            column,
            problem: "this is wrong".into(),
            fix: "correct it".into(),
            excerpt: (line > 0).then(|| "let x y".to_string()),
        };
        let config = ConfigError { mistakes: vec![mistake(0, 0), mistake(3, 7)] };
        let error = anyhow::Error::from(config).context("reading");
        let report = Report::of(&error, Exit::Usage);
        let places: Vec<_> = report.mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect();
        assert_eq!(places, [(None, None), (Some(3), Some(7))]);
        assert!(report.message.starts_with("2 mistakes in a.toml\n"), "{}", report.message);
    }

    #[test]
    fn what_else_there_is_stands_beside_the_error() {
        let failure = Failure::new(Exit::Unreachable, "no answer").with_result(json!({ "vat": "07" }));
        let partial = failure.error.downcast::<Partial>().expect("it has a result");
        let object = as_json(&Report::of(&partial.error, Exit::Unreachable), partial.result);
        assert_eq!((&object["vat"], &object["error"]["message"]), (&json!("07"), &json!("no answer")));
    }

    #[test]
    fn wrong_words_name_the_help_of_the_command_that_was_meant() {
        let text = "error: unexpected argument '--x' found\n\nUsage: vat testnet up [OPTIONS] <FILE>\n\nFor more information, try '--help'.\n";
        let report = Report::of_wrong_words(text);
        assert_eq!((report.message.as_str(), report.exit), ("unexpected argument '--x' found", 2));
        assert_eq!(report.next, ["vat testnet up --help"]);
    }
}
