//! Runs the attempts of this folder, each in a vat of its own.

#![allow(dead_code, reason = "each program uses a part")]

use crate::guest_support::{Vat, describe};
use quorate_engine::abi::Value;
use quorate_engine::heap::{CrankOutcome, LimitKind, Limits};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub const LIMITS: Limits = Limits { fuel_per_delivery: 20_000_000_000, memory_bytes: 128 << 20 };
/// The walk, which is no attempt, but looks for the same.
pub const WALK: &str = "walk.js";
const LIBRARY: &str = "lib.js";
const MAIN: &str = "\
import * as tries from './attempt.js';
export default argv => Far('root', {
  attempt() { return tries.attempt(argv); },
  endings() { return harden(Object.keys(tries.endings ?? {})); },
  end(name) { return tries.endings[name](argv); },
});
";
/// The module of a bundle that says to a planted image what is planted. Other images have no use for it.
const PLANT: &str = "plant";

/// A folder with attempts.
pub struct Attempts<'a> {
    folder: &'a Path,
    limits: Limits,
}

/// What came of one attempt.
#[derive(Debug)]
pub struct Found {
    /// In how many ways it was tried.
    pub tried: u64,
    /// Which of them got through, or why there is no answer.
    pub escaped: BTreeSet<String>,
}

impl<'a> Attempts<'a> {
    pub fn of(folder: &'a Path, limits: Limits) -> Attempts<'a> {
        Attempts { folder, limits }
    }

    /// The files that are attempts, in the order of their names.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
        let attempt = |name: &String| name.ends_with(".js") && name != LIBRARY && name != WALK;
        names.filter(attempt).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).expect("the file is there")
    }

    /// Runs the attempt with this name, in an image with this planted.
    ///
    /// # Errors
    ///
    /// What a vat says that does not start.
    pub fn run(&self, name: &str, plant: &str) -> Result<Found, String> {
        self.run_text(&self.text(name), plant)
    }

    /// Runs an attempt with this text.
    pub fn run_text(&self, text: &str, plant: &str) -> Result<Found, String> {
        let lib = self.text(LIBRARY);
        let modules = [("main.js", MAIN), ("attempt.js", text), (LIBRARY, &lib), (PLANT, plant)];
        let mut vat = started(&modules, self.limits)?;
        let mut found = Found::of(&answer(&mut vat, "attempt"));
        for name in answer(&mut vat, "endings").as_array().into_iter().flatten().filter_map(Json::as_str) {
            found.tried += 1;
            let crank = vat.call("end", &Value::Array(vec![Value::String(name.to_owned())]));
            match crank.outcome {
                CrankOutcome::RolledBack { limit } if limit != LimitKind::Fuel => {}
                _ => {
                    found.escaped.insert(format!("{name}: {}", describe(&crank).join("; ")));
                }
            }
        }
        Ok(found)
    }

    /// Runs the walk in an image with this planted. What is wrong counts as escaped.
    pub fn walk(&self, plant: &str) -> Result<Found, String> {
        let mut vat = started(&[("main.js", &self.text(WALK)), (PLANT, plant)], self.limits)?;
        let mut all = Found { tried: 0, escaped: BTreeSet::new() };
        for method in ["module", "compartment", "confined"] {
            let found = answer(&mut vat, method);
            all.tried += found["objects"].as_u64().unwrap_or_default();
            match found["wrong"].as_array() {
                Some(wrong) => all.escaped.extend(wrong.iter().filter_map(Json::as_str).map(str::to_owned)),
                None => all.escaped.extend([format!("{method}: {found}")]),
            }
        }
        Ok(all)
    }
}

impl Found {
    fn of(answer: &Json) -> Found {
        let escaped = answer["escaped"].as_array();
        let escaped = match escaped {
            Some(ways) => ways.iter().map(|way| way.as_str().unwrap_or_default().to_owned()).collect(),
            None => BTreeSet::from([format!("no answer: {answer}")]),
        };
        Found { tried: answer["tried"].as_u64().unwrap_or_default(), escaped }
    }

    /// Whether something was tried, and nothing got through.
    pub fn holds(&self) -> bool {
        self.tried > 0 && self.escaped.is_empty()
    }
}

/// A vat that runs these modules.
pub fn started(modules: &[(&str, &str)], limits: Limits) -> Result<Vat, String> {
    let mut vat = Vat::with_limits(limits);
    let modules = modules.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let crank = vat.start(modules.collect::<BTreeMap<_, _>>());
    if matches!(crank.outcome, CrankOutcome::Done { .. }) { Ok(vat) } else { Err(describe(&crank).join("; ")) }
}

/// The answer of a method without arguments.
pub fn answer(vat: &mut Vat, method: &str) -> Json {
    let crank = vat.call(method, &Value::Array(vec![]));
    let said = describe(&crank);
    let found =
        said.iter().rev().find_map(|line| line.strip_prefix("settle p").and_then(|line| line.split_once(" ok ")));
    match found {
        Some((_, data)) => serde_json::from_str(data).expect("JSON"),
        None => json!({ "came to": said }),
    }
}
