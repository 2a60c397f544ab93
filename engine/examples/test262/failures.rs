//! The list of known failures: sections that begin with `## ` and a reason, then one path a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where failures go that `--update` finds.
const UNEXPLAINED: &str = "not yet explained";

/// Known failures by reason; what comes before the first section is kept as it is.
#[derive(Default)]
pub struct Failures {
    head: String,
    reasons: BTreeMap<String, BTreeSet<String>>,
}

/// What differs between a run and the list.
pub struct Changes {
    /// Failed, and not in the list.
    pub new: Vec<String>,
    /// Passed, and in the list.
    pub gone: Vec<String>,
}

impl Failures {
    pub fn read(path: &Path) -> Result<Failures, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut failures = Failures::default();
        let mut reason: Option<String> = None;
        for line in text.lines() {
            if let Some(next) = line.strip_prefix("## ") {
                reason = Some(next.to_owned());
                failures.reasons.entry(next.to_owned()).or_default();
            } else if let Some(reason) = &reason {
                if !line.is_empty() {
                    failures.reasons.entry(reason.clone()).or_default().insert(line.to_owned());
                }
            } else {
                failures.head.push_str(line);
                failures.head.push('\n');
            }
        }
        Ok(failures)
    }

    pub fn count(&self) -> usize {
        self.reasons.values().map(BTreeSet::len).sum()
    }

    pub fn reasons(&self) -> impl Iterator<Item = (&str, usize)> {
        self.reasons.iter().map(|(reason, paths)| (reason.as_str(), paths.len()))
    }

    fn contains(&self, path: &str) -> bool {
        self.reasons.values().any(|paths| paths.contains(path))
    }

    /// Compares the list with what failed among what was `run`.
    pub fn changes(&self, run: &BTreeSet<&str>, failed: &BTreeMap<&str, String>) -> Changes {
        let new = failed.keys().filter(|path| !self.contains(path)).map(|path| (*path).to_owned()).collect();
        let listed = self.reasons.values().flatten();
        let gone = listed.filter(|path| run.contains(path.as_str()) && !failed.contains_key(path.as_str()));
        Changes { new, gone: gone.cloned().collect() }
    }

    /// Takes out what passes, and puts what is new under a reason of its own.
    pub fn update(&mut self, changes: &Changes) {
        for paths in self.reasons.values_mut() {
            paths.retain(|path| !changes.gone.contains(path));
        }
        if !changes.new.is_empty() {
            self.reasons.entry(UNEXPLAINED.to_owned()).or_default().extend(changes.new.iter().cloned());
        }
        self.reasons.retain(|_, paths| !paths.is_empty());
    }

    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut text = format!("{}\n", self.head.trim_end());
        for (reason, paths) in &self.reasons {
            text.push_str(&format!("\n## {reason}\n\n"));
            paths.iter().for_each(|path| text.push_str(&format!("{path}\n")));
        }
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
