//! The vat that drives the others: a file of tests, or a session. It asks the program for what no vat can do itself, and the program calls its
//! root.
//!
//! It is given presences of the roots of vats that are yet to be started, so that a vat that starts needs no introduction. The text of the
//! driver's own code is evaluated, not imported: errors point at the author's lines and never at ours.

mod requests;

use super::{
    TrialError, in_words,
    source::Sources,
    world::{ConsoleLine, Usage, World, client_id, vat_id},
};
use quorate_engine::{
    VatId,
    abi::{Bundle, Value},
    comms::client::{ClientRef, Completion},
    heap::Limits,
    image::Image,
    machine::{ArgValue, CommandResult, Install, Setup},
};
use quorate_protocol::sturdyref::ROOT_OBJECT;
use requests::{Fields, Problem, read_text};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Vats that a driver can start.
pub const MAX_VATS: u64 = 64;
/// Deliveries of one run, all vats together.
const MAX_DELIVERIES: u64 = 1_000_000;
/// How often time is moved on in one call because nothing else was left.
const MAX_JUMPS: u64 = 10_000;

const SERVICES: &str = include_str!("services.js");

/// What a driver's run may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Fuel of all vats together.
    pub fuel: u64,
}

/// Something that the driver asked for and that waits until nothing is under way.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    Settle { id: u64 },
    Advance { id: u64, until_ms: u64 },
    Restart { id: u64 },
}

/// See the head of the module.
pub struct Driver {
    world: World,
    vat: VatId,
    /// Where paths begin that the driver names.
    folder: PathBuf,
    sources: Sources,
    budget: Budget,
    waiting: Vec<Waiting>,
    /// Vats that were started and whose setup has not ended, with the requests for them.
    starting: Vec<(u64, u64)>,
    /// The result of the driver's next request.
    next: Option<ClientRef>,
    /// The vats by the order in which they were made.
    order: Vec<VatId>,
    /// The last number that was given to a vat.
    started: u64,
    jumps: u64,
    /// What had been burnt when the budget began.
    burnt_before: Usage,
}

/// How the answer of a call came out.
pub type Answer = Result<Value, Value>;

/// The code of a driver.
pub struct Program<'a> {
    /// The driver's name on consoles.
    pub name: &'a str,
    /// Other modules, of which the driver's own may import.
    pub modules: &'a Bundle,
    /// The import of the module of the author's that the driver is about, if there is one: a line of code that binds `file`.
    pub import: String,
    /// The expression for the root. `services` is what [`SERVICES`] returns, `text` gives the value of a text.
    pub root: String,
}

impl Program<'_> {
    /// The bundle: the author's modules, and one that puts the driver together.
    pub(super) fn bundle(&self) -> Bundle {
        let mut bundle = self.modules.clone();
        let mut entry = "vat-driver.js".to_owned();
        while bundle.modules.contains_key(&entry) {
            entry.insert(0, '_');
        }
        let services = serde_json::Value::from(SERVICES);
        let code = format!(
            "{}\nconst globals = {{ E, Far, harden, makePromiseKit, Nat, assert, console }};\n\
             const text = code => new Compartment({{ globals, __options__: true }}).evaluate(code);\n\
             export default argv => {{ const services = text({services})(argv); return {}; }};\n",
            self.import, self.root
        );
        bundle.modules.insert(entry.clone(), code);
        bundle.entry = entry;
        bundle
    }
}

impl Driver {
    /// Starts a driver. `folder` is where the paths of vats begin that it starts.
    ///
    /// # Errors
    /// Its code does not start, or the engine fails.
    pub fn start(
        image: Arc<Image>,
        program: &Program<'_>,
        folder: &Path,
        sources: Sources,
        seed: u64,
        budget: Budget,
    ) -> Result<Driver, TrialError> {
        let vat = vat_id(0);
        let root_of = |number: u64| ArgValue::Reference { vat: vat_id(number), object: ROOT_OBJECT, redeem: None };
        let bundle = program.bundle();
        let own_place = format!(" (at {}:", bundle.entry);
        let install = Install {
            bundle,
            argv: (1..=MAX_VATS).map(|number| (format!("vat{number}"), root_of(number))).collect(),
            endowments: vec!["timer".to_owned()],
            grants: vec![client_id()],
            bearers: Vec::new(),
        };
        let mut world = World::new(image, vat, seed);
        match world.install(vat, program.name, install, Limits::default())? {
            CommandResult::Installed => {}
            CommandResult::InstallFailed { message } | CommandResult::Refused { message } => {
                // A place in the driver itself tells its author nothing.
                let message = message.split(&own_place).next().unwrap_or_default().to_owned();
                return Err(TrialError::Start(message));
            }
            other => return Err(TrialError::Start(format!("{other:?}"))),
        }
        let burnt_before = world.total();
        Ok(Driver {
            world,
            vat,
            folder: folder.to_owned(),
            sources,
            budget,
            waiting: Vec::new(),
            starting: Vec::new(),
            next: None,
            order: vec![vat],
            started: 0,
            jumps: 0,
            burnt_before,
        })
    }

    /// Returns what was read of the author's code so far.
    pub fn into_sources(self) -> Sources {
        self.sources
    }

    /// Lines of consoles since they were last taken.
    pub fn take_console(&mut self) -> Vec<ConsoleLine> {
        self.world.take_console()
    }

    /// Returns what each vat has cost so far: the driver first.
    pub fn usage(&self) -> Vec<(String, Usage)> {
        self.world.usage(&self.order)
    }

    /// Returns what all have cost since the driver started.
    pub fn spent(&self) -> Usage {
        let (now, before) = (self.world.total(), &self.burnt_before);
        Usage {
            fuel: now.fuel.saturating_sub(before.fuel),
            deliveries: now.deliveries.saturating_sub(before.deliveries),
            rolled_back: now.rolled_back.saturating_sub(before.rolled_back),
        }
    }

    /// Calls the driver's root, and runs everything until there is an answer.
    ///
    /// # Errors
    /// The program was stopped: it waits for what will never come, or never ends. Or the engine fails.
    pub fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Answer, TrialError> {
        let result = self.ask(method, args)?;
        self.jumps = 0;
        loop {
            if let Some(answer) = self.take_in(result)? {
                return Ok(answer);
            }
            self.check_budget()?;
            if self.world.step()? || self.go_on()? {
                continue;
            }
            return Err(TrialError::Waits);
        }
    }

    /// Carries on until nothing is under way.
    ///
    /// # Errors
    /// The program never ends, or the engine fails.
    pub fn settle(&mut self) -> Result<(), TrialError> {
        let nothing = ClientRef::Result(0);
        loop {
            self.take_in(nothing)?;
            self.check_budget()?;
            if !self.world.step()? && !self.serve_waiting()? {
                return Ok(());
            }
        }
    }

    /// Begins the budget anew: for a driver that runs for as long as a person uses it.
    pub fn begin_budget(&mut self) {
        self.burnt_before = self.world.total();
    }

    fn check_budget(&self) -> Result<(), TrialError> {
        let spent = self.spent();
        let reached = if spent.deliveries > MAX_DELIVERIES {
            format!("{MAX_DELIVERIES} deliveries")
        } else if spent.fuel > self.budget.fuel {
            format!("{} units of fuel", self.budget.fuel)
        } else if self.jumps > MAX_JUMPS {
            format!("{MAX_JUMPS} timers, one after the other, with nothing else to do")
        } else {
            return Ok(());
        };
        Err(TrialError::Stopped(format!("it has not ended after {reached}")))
    }

    fn ask(&mut self, method: &str, args: Vec<Value>) -> Result<ClientRef, TrialError> {
        self.world.call(method, args).map_err(|error| TrialError::Stopped(error.to_string()))
    }

    /// Takes in what has settled: answers `Some` if `wanted` has.
    fn take_in(&mut self, wanted: ClientRef) -> Result<Option<Answer>, TrialError> {
        if self.next.is_none() {
            self.next = Some(self.ask("next", Vec::new())?);
        }
        self.answer_started()?;
        while let Some(completion) = self.world.take_completion() {
            if completion.promise == wanted {
                return Ok(Some(if completion.fulfilled { Ok(completion.value) } else { Err(completion.value) }));
            }
            if Some(completion.promise) == self.next {
                if !completion.fulfilled {
                    let reason = in_words(&completion.value);
                    return Err(TrialError::Stopped(format!("what it asks for can't be passed: {reason}")));
                }
                self.next = Some(self.ask("next", Vec::new())?);
                self.serve(completion)?;
            }
        }
        Ok(None)
    }

    /// Answers a request of the driver's, if it need not wait.
    fn serve(&mut self, request: Completion) -> Result<(), TrialError> {
        let fields = Fields(&request.value);
        let Some(id) = fields.number("id") else { return Ok(()) };
        match fields.text("kind") {
            Some("start") => match self.start_vat(id, &request) {
                Ok(number) => {
                    self.starting.push((id, number));
                    Ok(())
                }
                Err(problem) => self.answer(id, Err(problem)),
            },
            Some("testnet") => {
                let started = self.start_testnet(fields.text("path").unwrap_or_default());
                self.answer(id, started)
            }
            Some("text") => {
                let read = read_text(&self.folder, fields.text("path").unwrap_or_default());
                self.answer(id, read)
            }
            Some("settle") => {
                self.waiting.push(Waiting::Settle { id });
                Ok(())
            }
            Some("restart") => {
                self.waiting.push(Waiting::Restart { id });
                Ok(())
            }
            Some("advance") => {
                let until_ms = self.world.now_ms().saturating_add(fields.number("ms").unwrap_or(0));
                self.waiting.push(Waiting::Advance { id, until_ms });
                Ok(())
            }
            kind => self.answer(id, Err(Problem::Author(format!("there is no request {kind:?}")))),
        }
    }

    /// Answers a request of the driver's.
    fn answer(&mut self, id: u64, answer: Result<Value, Problem>) -> Result<(), TrialError> {
        let (failure, value) = match answer {
            Ok(value) => (Value::Undefined, value),
            Err(Problem::Author(why)) => (Value::String(why), Value::Undefined),
            Err(Problem::Trial(error)) => return Err(error),
        };
        self.ask("done", vec![Value::Number(id as f64), failure, value]).map(drop)
    }

    /// The same, where nothing is to be said.
    fn done(&mut self, id: u64) -> Result<(), TrialError> {
        self.answer(id, Ok(Value::Undefined))
    }

    /// Answers for vats that were started and whose setup has come to an end.
    fn answer_started(&mut self) -> Result<(), TrialError> {
        for (id, number) in std::mem::take(&mut self.starting) {
            match self.world.setup(&vat_id(number)) {
                Some(Setup::Waiting) => self.starting.push((id, number)),
                Some(Setup::Failed(reason)) => {
                    let name = self.world.name(&vat_id(number)).to_owned();
                    self.answer(id, Err(Problem::Author(format!("{name} did not start: {reason}"))))?;
                }
                Some(Setup::Ready) | None => self.answer(id, Ok(Value::Number(number as f64)))?,
            }
        }
        Ok(())
    }

    /// Nothing is under way. Serves what waits for that, or else moves time on to the next timer. Returns whether anything has happened.
    fn go_on(&mut self) -> Result<bool, TrialError> {
        if self.serve_waiting()? {
            return Ok(true);
        }
        let Some(deadline_ms) = self.world.next_deadline() else { return Ok(false) };
        self.jumps += 1;
        self.world.pass_time(deadline_ms)?;
        Ok(true)
    }

    fn serve_waiting(&mut self) -> Result<bool, TrialError> {
        if !self.starting.is_empty() {
            // What its setup waits for may well be what the driver does next; calls of its root wait as well.
            let (id, number) = self.starting.remove(0);
            self.answer(id, Ok(Value::Number(number as f64)))?;
            return Ok(true);
        }
        let Some(first) = self.waiting.first().copied() else { return Ok(false) };
        match first {
            Waiting::Settle { id } => self.done(id)?,
            Waiting::Restart { id } => {
                self.world.restart()?;
                self.done(id)?;
            }
            Waiting::Advance { id, until_ms } => {
                if let Some(deadline_ms) = self.world.next_deadline().filter(|deadline| *deadline <= until_ms) {
                    self.jumps += 1;
                    self.world.pass_time(deadline_ms)?;
                    return Ok(true);
                }
                self.world.pass_time(until_ms)?;
                self.done(id)?;
            }
        }
        self.waiting.remove(0);
        Ok(true)
    }
}
