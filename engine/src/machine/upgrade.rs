//! Replaces a vat's code, or its engine image.
//!
//! The present guest hands over its durable state, in a delivery that is undone. A fresh guest starts with that state. Only if its start succeeds does it
//! replace the present guest; until then nothing here has changed. The streams to other vats stay as they are: handed-over objects
//! keep their numbers, and so does the root. Peers learn that everything else that they hold or wait for has ended. Data that the old code published is withdrawn; the new code
//! publishes its own.
//!
//! Invariants: a failed command leaves the guest and the tables as they were, except for the burnt fuel. The new guest's numbers
//! were never given before.

use super::run::shortened;
use super::{
    Collector, CommandResult, Crank, CrankKind, CrankOutcome, Guest, HostWork, LogLine, Machine, Setup, Upgrade,
    refused,
};
use crate::abi::{self, CapData, Delivery, Durable, News, Output, Resolution, Slot};
use crate::error::EngineError;
use std::collections::{BTreeMap, BTreeSet};

/// How many numbers the guest may give to objects, and to promises, between two upgrades. More than its memory has room for.
const NUMBERS: u64 = 1 << 32;
/// What others hear whose promise an upgrade has ended.
const ENDED: &str = "the vat was upgraded before this was settled";
/// Objects that a forecast names.
const MAX_NAMED: usize = 100;

/// What would come of an upgrade, were it carried out now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Why it would fail, and change nothing.
    pub failure: Option<String>,
    /// Whether the present image can hand anything over.
    pub hands_over: bool,
    /// Keys in the baggage.
    pub baggage: u64,
    /// How many instances of each kind outlive it.
    pub kinds: BTreeMap<String, u64>,
    /// Objects that others hold and that outlive it, the root aside.
    pub kept: u64,
    /// How many objects that others hold do not, and the first of them, with their interface names.
    pub lost: u64,
    pub lost_objects: Vec<(u64, Option<String>)>,
    /// Promises of this vat that others wait for, and that are rejected.
    pub promises: u64,
    /// Calls of this vat whose answers it does not hear.
    pub calls: u64,
    pub timers: u64,
    /// What is handed over, in bytes.
    pub bytes: u64,
    /// What it burns.
    pub fuel: u64,
    /// What the new code writes when it starts.
    pub logs: Vec<LogLine>,
}

/// One delivery of an upgrade.
struct Step {
    crank: Crank,
    undone: bool,
}

/// An upgrade that was tried.
struct Trial<G> {
    steps: Vec<Step>,
    durable: Durable,
    hands_over: bool,
    end: Result<Ready<G>, CommandResult>,
}

/// A guest that has started.
struct Ready<G> {
    guest: G,
    outputs: Vec<Output>,
    /// What it was told of.
    told: Vec<Slot>,
}

fn failed(message: impl Into<String>) -> CommandResult {
    CommandResult::UpgradeFailed { message: shortened(message.into()) }
}

impl<G: Guest> Machine<G> {
    /// Returns how many upgrades were carried out.
    pub fn upgrades(&self) -> u64 {
        self.status.upgrades
    }

    pub(super) fn upgrade(&mut self, upgrade: Upgrade) -> Result<CommandResult, EngineError> {
        let before = self.comms.clone();
        let Trial { steps, durable, end, .. } = self.try_upgrade(upgrade)?;
        for step in steps {
            self.status.deliveries += 1;
            self.burnt = self.burnt.saturating_add(step.crank.fuel);
            if step.undone {
                self.charge_host(None, HostWork::Rollback);
            }
            let rolled_back = match &step.crank.outcome {
                CrankOutcome::RolledBack { limit } => Some(*limit),
                CrankOutcome::Done { .. } | CrankOutcome::StartFailed { .. } => None,
            };
            self.report(CrankKind::Upgrade, None, step.crank.fuel, rolled_back);
            self.block.logs.extend(step.crank.logs);
        }
        let Ready { guest, outputs, told } = match end {
            Ok(ready) => ready,
            Err(result) => {
                self.comms = before;
                return Ok(result);
            }
        };
        self.guest = guest;
        self.status.upgrades += 1;
        self.status.setup = Setup::Waiting;
        self.timers.clear();
        self.published.clear();
        self.collector = Collector::after_upgrade(self.comms.host_objects_made(), self.guest.memory_bytes());
        let answers = durable.answers.iter().map(|(slot, _)| *slot).collect();
        self.comms.upgraded(&told.iter().copied().collect(), &answers, ENDED);
        self.comms.mark_known(&told);
        self.take_outputs(outputs);
        self.charge_said(None);
        Ok(CommandResult::Upgraded)
    }

    /// Returns what would come of an upgrade now. It changes nothing; it burns what the upgrade would, on nobody's account.
    ///
    /// # Errors
    /// A fault of this host.
    pub fn foresee(&mut self, upgrade: Upgrade) -> Result<Forecast, EngineError> {
        let before = self.comms.clone();
        let tried = self.try_upgrade(upgrade);
        self.comms = before;
        let Trial { steps, durable, hands_over, end } = tried?;
        let mut forecast = Forecast { hands_over, ..Forecast::default() };
        forecast.failure = match end {
            Ok(_) => None,
            Err(CommandResult::UpgradeFailed { message } | CommandResult::Refused { message }) => Some(message),
            Err(other) => Some(format!("{other:?}")),
        };
        let mut kept = BTreeSet::new();
        for holding in &durable.holdings {
            kept.extend(holding.facets.iter().map(|(_, number)| *number));
            if holding.kind == "@baggage" {
                forecast.baggage = holding.entries.len() as u64;
            } else if holding.kind != "@exos" {
                *forecast.kinds.entry(holding.kind.clone()).or_default() += 1;
            }
        }
        for object in self.comms.held_objects() {
            if kept.contains(&object) {
                forecast.kept += 1;
                continue;
            }
            forecast.lost += 1;
            if forecast.lost_objects.len() < MAX_NAMED {
                forecast.lost_objects.push((object, self.comms.interface(object)));
            }
        }
        (forecast.promises, forecast.calls) = self.comms.open_promises();
        forecast.timers = self.timers.len() as u64;
        forecast.bytes = abi::encode(&durable).len() as u64;
        forecast.fuel = steps.iter().map(|step| step.crank.fuel).sum();
        forecast.logs = steps.into_iter().flat_map(|step| step.crank.logs).collect();
        Ok(forecast)
    }

    /// Starts a fresh guest with what the present one hands over. The tables have what the arguments name; the caller puts them back.
    fn try_upgrade(&mut self, upgrade: Upgrade) -> Result<Trial<G>, EngineError> {
        let mut trial =
            Trial { steps: Vec::new(), durable: Durable::default(), hands_over: false, end: Err(failed("")) };
        let end = self.try_steps(upgrade, &mut trial)?;
        trial.end = end;
        Ok(trial)
    }

    fn try_steps(
        &mut self,
        upgrade: Upgrade,
        trial: &mut Trial<G>,
    ) -> Result<Result<Ready<G>, CommandResult>, EngineError> {
        let Upgrade { bundle, argv, endowments, image } = upgrade;
        if !self.status.installed {
            return Ok(Err(refused("the vat has no code yet: install it")));
        }
        if self.status.exit.is_some() {
            return Ok(Err(refused("the vat has exited")));
        }
        if let Some(name) = endowments.iter().find(|name| argv.iter().any(|(field, _)| field == *name)) {
            return Ok(Err(refused(&format!(
                "{name:?} is both an argument and an endowment: give one of them another name"
            ))));
        }
        let news = self.news();
        if let Some(crank) = self.guest.hand_over(&news)? {
            let outcome = crank.outcome.clone();
            trial.steps.push(Step {
                crank: Crank { outcome: CrankOutcome::Done { outputs: Vec::new() }, ..crank },
                undone: true,
            });
            match handed_over(outcome) {
                Ok(durable) => (trial.durable, trial.hands_over) = (durable, true),
                Err(message) => return Ok(Err(failed(message))),
            }
        }
        trial.durable.answers.retain(|(slot, _)| self.comms.is_kept_answer(*slot));
        let Some(mut guest) = self.guest.successor(image.as_ref())? else {
            return Ok(Err(refused(
                "that engine image cannot take over a vat: it is of before upgrades; name a later one",
            )));
        };
        guest.set_vat(&self.vat);
        let argv = match self.prepare(argv, Vec::new(), Vec::new()) {
            Ok(argv) => argv,
            Err(message) => return Ok(Err(CommandResult::Refused { message })),
        };
        let told = told(&argv, &trial.durable);
        let delivery = Delivery::Upgrade(Box::new(abi::Upgrade {
            bundle,
            argv,
            endowments,
            durable: trial.durable.clone(),
            held: self.comms.held_objects().collect(),
            first_number: self.status.upgrades.saturating_add(1).saturating_mul(NUMBERS),
        }));
        let crank = guest.deliver(&delivery, &News { now_ms: self.status.now_ms, ..News::default() })?;
        let mut step = Step { crank, undone: false };
        let outcome = std::mem::replace(&mut step.crank.outcome, CrankOutcome::Done { outputs: Vec::new() });
        let end = match outcome {
            CrankOutcome::Done { outputs } => Ok(Ready { guest, outputs, told }),
            CrankOutcome::StartFailed { message } => Err(failed(message)),
            CrankOutcome::RolledBack { limit } => {
                step.crank.outcome = CrankOutcome::RolledBack { limit };
                Err(failed(format!("the start exceeded the {} limit", limit.as_str())))
            }
        };
        trial.steps.push(step);
        Ok(end)
    }
}

/// Returns what the present guest handed over.
fn handed_over(outcome: CrankOutcome) -> Result<Durable, String> {
    match outcome {
        CrankOutcome::Done { outputs } => {
            let durable = outputs.into_iter().find_map(|output| match output {
                Output::HandOver(durable) => Some(durable),
                _ => None,
            });
            durable.ok_or_else(|| "the present code handed nothing over".to_owned())
        }
        CrankOutcome::StartFailed { message } => {
            Err(format!("the present code cannot hand over what it keeps: {message}"))
        }
        CrankOutcome::RolledBack { limit } => {
            Err(format!("handing over what the present code keeps exceeded the {} limit", limit.as_str()))
        }
    }
}

/// Objects of other vats, and promises, that the new guest is told of.
fn told(argv: &CapData<Slot>, durable: &Durable) -> Vec<Slot> {
    let entries = durable.holdings.iter().flat_map(|holding| &holding.entries);
    let data = entries.flat_map(|(key, value)| [key, value]);
    let answers = durable.answers.iter().map(|(_, Resolution::Fulfilled(data) | Resolution::Rejected(data))| data);
    let slots = data.chain(answers).chain([argv]).flat_map(|data| &data.slots);
    let told: BTreeSet<Slot> = slots.filter(|slot| !matches!(slot, Slot::VatObject(_))).copied().collect();
    told.into_iter().collect()
}
