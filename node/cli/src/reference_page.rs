//! Holds `docs/reference/commands.md` against the definitions of the commands. `QUORATE_GOLDEN=write` writes it anew.

use super::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use std::{fs, path::Path};

const HEAD: &str = "\
# Commands

Every command with its arguments and options, written from the program's own definitions: `vat … --help` says the same. A test compares this page with them.
Common tasks are in [Operating Quorate](../usage.md); exit codes are [there](../usage.md#exit-codes), too.

`--json` works with each command: the result, or [what went wrong](../usage.md#failures-as-json), is JSON on standard output.
";

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Whether the page shows an argument: those that every command has are said once.
fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version" | "json")
}

/// How an argument is typed.
fn typed(arg: &Arg) -> String {
    let values: Vec<String> = match arg.get_value_names() {
        Some(names) if arg.get_action().takes_values() => names.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let values = values.join(" ");
    let again = match arg.get_action() {
        ArgAction::Append => "…",
        _ if arg.get_num_args().is_some_and(|count| count.max_values() > 1) => "…",
        _ => "",
    };
    if arg.is_positional() {
        return format!("{values}{again}");
    }
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if values.is_empty() { names } else { format!("{names} {values}{again}") }
}

/// What an argument means, with what it is where it is left out.
fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    if arg.is_positional() && !arg.is_required_set() {
        notes.push("may be left out".to_owned());
    } else if !arg.is_positional() && arg.is_required_set() {
        notes.push("required".to_owned());
    }
    if let Some(name) = arg.get_env() {
        notes.push(format!("or `{}`", name.to_string_lossy()));
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !default.is_empty() && arg.get_action().takes_values() {
        notes.push(format!("default: `{}`", default.join(" ")));
    }
    let possible: Vec<String> = match arg.get_action().takes_values() {
        true => arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect(),
        false => Vec::new(),
    };
    if !possible.is_empty() {
        notes.push(format!("one of {}", possible.join(", ")));
    }
    if !notes.is_empty() {
        text = format!("{text} ({})", notes.join("; "));
    }
    text
}

/// Writes a command and those below it.
fn write(command: &Command, path: &str, page: &mut String) {
    let below: Vec<&Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    page.push_str(&format!("\n## {path}\n\n"));
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("{about}.\n"));
    let args: Vec<&Arg> = command.get_arguments().filter(|arg| is_shown(arg)).collect();
    if !args.is_empty() {
        page.push_str("\n| argument | meaning |\n|---|---|\n");
        for arg in args {
            page.push_str(&format!("| `{}` | {} |\n", cell(&typed(arg)), cell(&meaning(arg))));
        }
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        page.push_str(&format!("\n```text\n{}\n```\n", after.to_string().trim_end()));
    }
    for command in below {
        write(command, &format!("{path} {}", command.get_name()), page);
    }
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let mut cli = Cli::command();
    // It fills in what follows from the definitions.
    cli.build();
    let mut page = HEAD.to_owned();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        write(command, &format!("vat {}", command.get_name()), &mut page);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md");
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "write") {
        fs::write(&path, &page).expect("writable");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        page == written,
        "docs/reference/commands.md is not what the program says: {differs:?}; write it anew with QUORATE_GOLDEN=write in the environment of this test"
    );
}
