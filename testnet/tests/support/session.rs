//! Sessions that pages show: blocks of the language `console`, with commands after `$ vat `, what is typed into them after `> `, and
//! what they print. A line with nothing but `…` stands for any number of lines.

use quorate_testnet::process::{TestNet, own_file};
use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

/// A command that a page shows, what is typed when it runs, and what it prints.
#[derive(Debug)]
pub struct Shown {
    pub command: String,
    pub typed: String,
    pub printed: Vec<String>,
}

/// The commands in the sessions of a page, in order.
pub fn shown(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for block in page.split("\n```console\n").skip(1) {
        let (block, _) = block.split_once("\n```\n").expect("it ends");
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ vat ") {
                found.push(Shown { command: command.to_owned(), typed: String::new(), printed: Vec::new() });
                continue;
            }
            let last = found.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ") {
                Some(typed) => last.typed += &format!("{typed}\n"),
                None => last.printed.push(line.to_owned()),
            }
        }
    }
    found
}

/// The words of a command line as a shell reads them: quotes are taken off, a comment is left out.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// A command with the examples, and the testnet's directory, where they are.
pub fn with_places(command: &str) -> String {
    let examples = own_file("examples/");
    let examples = examples.to_str().expect("a path that is text");
    command.replace("testnet/examples/", examples).replace("quorate-testnet/", "net/")
}

impl Shown {
    /// Runs the command. Returns what it printed on standard output, or on both outputs as a terminal shows them.
    pub fn run(&self, net: &TestNet, both: bool) -> String {
        let line = words(&with_places(&self.command));
        let mut command = net.command(&line.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut printed, writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::piped());
        match both {
            true => command.stderr(writer.try_clone().expect("a pipe")),
            false => command.stderr(Stdio::null()),
        };
        let mut child = command.stdout(writer).spawn().expect("the binary runs");
        // It holds the other end of the pipe.
        drop(command);
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(self.typed.as_bytes()).expect("it reads");
        drop(stdin);
        let mut text = Vec::new();
        printed.read_to_end(&mut text).expect("it prints");
        child.wait().expect("it ends");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Whether it printed what the page shows.
    pub fn is_as_shown(&self, printed: &str) -> bool {
        let lines: Vec<&str> = printed.lines().collect();
        are_alike(&self.printed, &lines)
    }
}

fn are_alike(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skip| are_alike(rest, &printed[skip..]))
        }
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, others)| masked(line) == masked(first) && are_alike(rest, others))
        }
    }
}

/// A line without what differs between two runs: fuel, numbers of blocks, terms, times, bytes, processes, keys and ids; and of a table
/// all numbers, and who leads.
fn masked(line: &str) -> String {
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    match cells.len() {
        0 | 1 => masked_words(line.trim()),
        _ => cells.into_iter().map(masked_cell).collect::<Vec<_>>().join("  "),
    }
}

fn masked_words(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let core = words[at].trim_matches(|letter: char| "(),;:`".contains(letter)).to_owned();
        let before =
            at.checked_sub(1).map(|before| words[before].trim_start_matches('(').to_owned()).unwrap_or_default();
        let is_id = core.len() >= 10 && core.trim_end_matches('…').bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_short = core.ends_with('…');
        let is_time = core.len() >= 8 && core.bytes().all(|byte| byte.is_ascii_digit() || b"-:".contains(&byte));
        let is_fuel = words.get(at + 1).is_some_and(|next| next.starts_with("fuel"));
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_counted = ["deliveries", "blocks", "bytes"].iter().any(|what| next.starts_with(what));
        let named = ["block", "blocks", "term", "to", "process"];
        let is_number = core.parse::<u64>().is_ok() && (is_counted || named.contains(&before.as_str()));
        if is_id || is_short || is_time || is_fuel || is_number {
            words[at] = words[at].replace(&core, "N");
        }
    }
    words.join(" ")
}

fn masked_cell(cell: &str) -> String {
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    match cell {
        "leader" | "follower" | "candidate" => "ROLE".to_owned(),
        "-" => "N".to_owned(),
        _ if is_number(cell) || cell.strip_suffix(" MiB").is_some_and(is_number) => "N".to_owned(),
        _ => masked_words(cell),
    }
}
