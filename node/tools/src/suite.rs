//! A file of tests: which there are, and what becomes of each.
//!
//! Every test has a world of its own, so that none depends on those before it.

use super::{
    TrialError,
    driver::{Budget, Driver, Program},
    in_words,
    source::{Place, Source, Sources},
    world::{ConsoleLine, Usage},
};
use quorate_engine::{abi::Value, image::Image};
use std::{path::Path, sync::Arc};

const TESTS: &str = include_str!("tests.js");

/// A test of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// It is not to be run.
    pub skipped: bool,
}

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub message: String,
    /// The line of the author's, as far as it is known: where the error was, or else where the test begins.
    pub place: Option<Place>,
}

/// What became of a test.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many assertions held; or why it failed.
    pub outcome: Result<u64, Failed>,
    pub seed: u64,
    /// What all vats together have cost, without the start of the test's own.
    pub spent: Usage,
    /// What each vat has cost; the test's own first.
    pub vats: Vec<(String, Usage)>,
    pub console: Vec<ConsoleLine>,
}

/// See the head of the module.
pub struct Suite {
    image: Arc<Image>,
    source: Arc<Source>,
    sources: Sources,
    budget: Budget,
}

impl Suite {
    /// The tests of an entry file. `sources` is what was read before.
    ///
    /// # Errors
    /// All that is wrong with the code.
    pub fn read(
        image: Arc<Image>,
        file: &Path,
        mut sources: Sources,
        budget: Budget,
    ) -> Result<Suite, quorate_config::bundle::BundleError> {
        let source = sources.read(file)?;
        Ok(Suite { image, source, sources, budget })
    }

    /// Returns what was read of the author's code so far.
    pub fn into_sources(self) -> Sources {
        self.sources
    }

    fn driver(&mut self, seed: u64) -> Result<Driver, TrialError> {
        let entry = serde_json::Value::from(format!("./{}", self.source.bundle.entry));
        let shown = serde_json::Value::from(self.source.file.display().to_string());
        let tests = serde_json::Value::from(TESTS);
        let program = Program {
            name: "test",
            modules: &self.source.bundle,
            import: format!("import * as file from {entry};"),
            root: format!("text({tests})({{ services, define: file.default, file: {shown} }})"),
        };
        let folder = self.source.file.parent().unwrap_or(Path::new("")).to_owned();
        let sources = std::mem::take(&mut self.sources);
        let started = Driver::start(self.image.clone(), &program, &folder, sources.clone(), seed, self.budget);
        if started.is_err() {
            self.sources = sources;
        }
        started
    }

    /// The tests that the file has, in order.
    ///
    /// # Errors
    /// The file does not start, with the place where that is known; or the engine fails.
    pub fn list(&mut self) -> Result<Vec<Listed>, TrialError> {
        let mut driver = self.driver(0).map_err(|error| match error {
            TrialError::Start(message) => {
                let place = self.source.place_in(&message).map(|place| format!("\n{}", place.shown()));
                let file = self.source.file.display();
                TrialError::Start(format!("{file} did not start: {message}{}", place.unwrap_or_default()))
            }
            other => other,
        })?;
        let listed = driver.call("list", Vec::new());
        self.sources = driver.into_sources();
        let Ok(Value::Array(tests)) = listed? else { return Ok(Vec::new()) };
        let listed = tests.iter().filter_map(|test| {
            let Value::Record(fields) = test else { return None };
            let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
            let Some(Value::String(name)) = field("name") else { return None };
            Some(Listed { name: name.clone(), skipped: field("skipped") == Some(&Value::Bool(true)) })
        });
        Ok(listed.collect())
    }

    /// Runs a test, by its place in the list.
    ///
    /// # Errors
    /// The engine fails. What the test does wrong is in the report.
    pub fn run(&mut self, index: usize, test: &Listed, seed: u64) -> Result<Report, TrialError> {
        let mut driver = self.driver(seed)?;
        driver.take_console();
        let ended = driver.call("run", vec![Value::Number(index as f64)]);
        let mut console = driver.take_console();
        let outcome = match ended {
            Ok(Ok(assertions)) => Ok(if let Value::Number(count) = assertions { count as u64 } else { 0 }),
            Ok(Err(reason)) => Err(self.failed(test, in_words(&reason), &console)),
            Err(error @ (TrialError::Stopped(_) | TrialError::Waits)) => {
                Err(self.failed(test, format!("the test was stopped: {error}"), &[]))
            }
            Err(error) => return Err(error),
        };
        // It is the failure itself.
        console.retain(|line| line.vat != "test" || !line.text.starts_with("run failed: "));
        let (spent, vats) = (driver.spent(), driver.usage());
        self.sources = driver.into_sources();
        Ok(Report { outcome, seed, spent, vats, console })
    }

    fn failed(&self, test: &Listed, message: String, console: &[ConsoleLine]) -> Failed {
        let of_test = console.iter().rev().filter(|line| line.vat == "test").map(|line| line.text.as_str());
        let place = std::iter::once(message.as_str()).chain(of_test).find_map(|text| self.source.place_in(text));
        let place = place.or_else(|| self.source.test(&test.name));
        Failed { message, place }
    }
}
