//! `vat explain`: what an error code means, from the page that documents all of them.

use super::{Exit, Failure, Outcome, output};
use quorate_config::testnet::nearest;
use serde_json::json;

/// The page. A test holds it against the codes in the sources.
const PAGE: &str = include_str!("../../../docs/reference/errors.md");

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat explain Q-R004\n  vat explain              all codes\n\nThe same is in docs/reference/errors.md."
)]
pub struct Args {
    /// Codes, as errors and logs show them; without one, all are listed
    codes: Vec<String>,
}

/// What the page says of a code.
struct Entry<'p> {
    section: &'p str,
    code: &'p str,
    happened: String,
    remedy: String,
}

pub fn run(args: &Args, json: bool) -> Outcome {
    let all = entries();
    if args.codes.is_empty() {
        show_all(&all, json);
        return Ok(Exit::Success);
    }
    let wanted: Vec<&Entry<'_>> = args.codes.iter().map(|code| find(&all, code)).collect::<Result<_, _>>()?;
    if json {
        output::json(&wanted.iter().map(|entry| entry.to_json()).collect::<Vec<_>>());
        return Ok(Exit::Success);
    }
    for (number, Entry { section, code, happened, remedy }) in wanted.into_iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        output::line(format!("{gap}{code} ({section})\nhappened: {happened}\ndo: {remedy}"));
    }
    Ok(Exit::Success)
}

fn show_all(all: &[Entry<'_>], json: bool) {
    if json {
        return output::json(&all.iter().map(Entry::to_json).collect::<Vec<_>>());
    }
    let mut table = output::table(["CODE", "HAPPENED"]);
    for entry in all {
        table.add_row([entry.code, &entry.happened]);
    }
    output::line(table);
}

fn find<'e, 'p>(all: &'e [Entry<'p>], code: &str) -> Result<&'e Entry<'p>, Failure> {
    let wanted = code.to_uppercase();
    all.iter().find(|entry| entry.code == wanted).ok_or_else(|| {
        let fix = match nearest(&wanted, all.iter().map(|entry| entry.code)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`vat explain` lists all".to_owned(),
        };
        Failure::new(Exit::Usage, format!("there is no error code {code}; {fix}"))
    })
}

impl Entry<'_> {
    fn to_json(&self) -> serde_json::Value {
        json!({ "code": self.code, "section": self.section, "happened": self.happened, "do": self.remedy })
    }
}

/// All rows of the page that begin with a code.
fn entries() -> Vec<Entry<'static>> {
    let mut section = "";
    let mut found = Vec::new();
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        }
        let Some(row) = line.strip_prefix("| `Q-") else { continue };
        let mut cells = row.trim_end_matches('|').split(" | ");
        let (Some(code), Some(happened), Some(remedy)) = (cells.next(), cells.next(), cells.next()) else { continue };
        // The prefix is cut off by the search; it is in the page right before.
        let code = &line[3..3 + "Q-".len() + code.trim_end_matches('`').len()];
        found.push(Entry { section, code, happened: plain(happened), remedy: plain(remedy) });
    }
    found
}

/// A cell without what Markdown adds: links become their texts.
fn plain(cell: &str) -> String {
    let mut text = String::new();
    let mut rest = cell.trim();
    while let Some((before, link)) = rest.split_once('[') {
        text.push_str(before);
        match link.split_once("](").and_then(|(label, after)| Some((label, after.split_once(')')?.1))) {
            Some((label, after)) => {
                text.push_str(label);
                rest = after;
            }
            None => {
                text.push('[');
                rest = link;
            }
        }
    }
    text.push_str(rest);
    text
}

/// The documented codes that a text has, in its order, each once.
pub fn codes(text: &str) -> Vec<String> {
    let known = entries();
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices("Q-") {
        let fits = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '-';
        let end = text[at..].find(|letter| !fits(letter)).unwrap_or(text.len() - at);
        let code = text[at..at + end].trim_end_matches('-');
        if known.iter().any(|entry| entry.code == code) && !found.iter().any(|known| known == code) {
            found.push(code.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_page_is_an_entry() {
        let all = entries();
        assert_eq!(all.len(), PAGE.matches("\n| `Q-").count());
        for entry in &all {
            assert!(entry.code.starts_with("Q-") && !entry.code.contains('`'), "{}", entry.code);
            let whole = !entry.happened.is_empty() && !entry.remedy.is_empty() && !entry.section.is_empty();
            assert!(whole && !entry.remedy.contains("]("), "{}: {}", entry.code, entry.remedy);
        }
    }

    #[test]
    fn only_documented_codes_are_codes() {
        assert_eq!(
            codes("Q-A003 not ordered: Q-C020 no leader; Q-A003 again, Q-NOSUCH, IQ-R001-"),
            ["Q-A003", "Q-C020", "Q-R001"]
        );
    }
}
