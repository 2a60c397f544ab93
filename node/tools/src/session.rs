//! A session: lines that are evaluated in a vat, one after the other, with what each comes to.

use super::{
    TrialError,
    driver::{Budget, Driver, Program},
    in_words,
    line::Whole,
    source::Sources,
    world::ConsoleLine,
};
use quorate_engine::{
    abi::{Bundle, Value},
    image::Image,
    machine::LogLevel,
};
use std::{path::Path, sync::Arc};

const REPL: &str = include_str!("repl.js");
/// How lines of the session's own begin on its console.
const MARK: &str = "session/";
/// Built-in functions that a session has beside the globals of a vat.
const FUNCTIONS: &str = "passStyleOf, getInterfaceOf, deeplyFulfilled, makeTagged";

/// What a session prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    /// What a line came to; of a promise, what it was fulfilled with.
    Value(String),
    /// A line threw, or its promise was rejected.
    Failed(String),
    /// A line of a vat's console.
    Console(ConsoleLine),
    /// The promise of the line has not settled, and nothing is under way that could settle it.
    Pending,
    /// The line was stopped.
    Stopped(String),
}

/// See the head of the module.
pub struct Session {
    driver: Driver,
    lines: u64,
}

impl Session {
    /// Starts a session in which nothing was evaluated. Paths of vats begin at `folder`.
    ///
    /// # Errors
    /// The engine fails.
    pub fn start(image: Arc<Image>, folder: &Path, seed: u64, budget: Budget) -> Result<Session, TrialError> {
        let empty = Bundle { entry: String::new(), modules: Default::default() };
        let program = program(&empty, "services", "{}");
        let driver = Driver::start(image, &program, folder, Sources::default(), seed, budget)?;
        Ok(Session { driver, lines: 0 })
    }

    /// Starts a vat, whose root the session then has as `root`. Gives what consoles printed meanwhile.
    ///
    /// # Errors
    /// The code is wrong or does not start; or the engine fails.
    pub fn start_root(&mut self, file: &Path, argv: Vec<(String, Value)>) -> Result<Vec<Printed>, TrialError> {
        self.driver.begin_budget();
        let args = vec![Value::String(file.display().to_string()), Value::Record(argv)];
        match self.driver.call("start", args)? {
            Ok(_) => Ok(self.printed()),
            Err(reason) => Err(TrialError::Start(in_words(&reason))),
        }
    }

    /// Evaluates a line, and runs everything that it sets off.
    ///
    /// # Errors
    /// The engine fails.
    pub fn evaluate(&mut self, line: &Whole) -> Result<Vec<Printed>, TrialError> {
        self.lines += 1;
        self.driver.begin_budget();
        let ended = match self.driver.call("evaluate", arguments(self.lines, line)) {
            Ok(Ok(_)) => self.driver.settle(),
            // What was undone for a limit; the session's own code does not throw.
            Ok(Err(reason)) => {
                let mut printed = self.printed();
                printed.push(Printed::Failed(in_words(&reason)));
                return Ok(printed);
            }
            Err(error) => Err(error),
        };
        let mut printed = self.printed();
        match ended {
            Ok(()) => {}
            Err(TrialError::Waits) => printed.push(Printed::Pending),
            Err(TrialError::Stopped(why)) => printed.push(Printed::Stopped(why)),
            Err(error) => return Err(error),
        }
        Ok(printed)
    }

    fn printed(&mut self) -> Vec<Printed> {
        self.driver.take_console().into_iter().map(printed).collect()
    }
}

/// What a session on a host has in place of what only the program that runs vats in memory can do.
const NO_SERVICES: &str = "(no => ({ ...services, vat: no, testnet: no, text: no, settle: no, advance: no, restart: no }))\
     (() => { throw Error('this is for sessions in memory: here time is that of the hosts, and `vat create` makes vats'); })";

/// The driver of a session; `services` is what it has of them, and `more` a record of further globals.
fn program<'a>(modules: &'a Bundle, services: &str, more: &str) -> Program<'a> {
    let code = serde_json::Value::from(REPL);
    Program {
        name: "session",
        modules,
        import: format!("import {{ {FUNCTIONS} }} from '@endo/marshal';"),
        root: format!("text({code})({{ services: {services}, globals: {{ ...globals, {FUNCTIONS}, ...{more} }} }})"),
    }
}

/// The code of a session in a vat of a host, whose `argv.root` is the `root` of the session. It starts no further vats.
pub fn hosted() -> Bundle {
    let empty = Bundle { entry: String::new(), modules: Default::default() };
    program(&empty, NO_SERVICES, "{ root: argv.root }").bundle()
}

/// Returns what the session's root is given to evaluate a line, for its method `evaluate`.
pub fn arguments(number: u64, line: &Whole) -> Vec<Value> {
    vec![
        Value::String(format!("{MARK}{number}")),
        Value::String(line.text.clone()),
        Value::Array(line.names.iter().cloned().map(Value::String).collect()),
        Value::Bool(line.awaits),
    ]
}

/// A line of a console, or what the session itself has printed there.
pub fn printed(line: ConsoleLine) -> Printed {
    let own = line.text.strip_prefix(MARK).filter(|_| line.level == LogLevel::Debug && line.vat == "session");
    let Some((kind, text)) = own.and_then(|own| own.split_once('/')).and_then(|(_, rest)| rest.split_once(' ')) else {
        return Printed::Console(line);
    };
    match kind {
        "value" => Printed::Value(text.to_owned()),
        "threw" | "rejected" => Printed::Failed(text.to_owned()),
        _ => Printed::Console(line),
    }
}
