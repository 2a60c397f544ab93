//! Decides when a vat collects its garbage, and acts on the result.
//!
//! The interpreter collects by itself when its heap has grown. Only the machine can have it report which objects of other
//! vats it holds no longer ([`Output::Drop`](crate::abi::Output::Drop)), so that their homes can free them. That takes a
//! crank of its own at the end of a command, with a budget of its own ([`Limits::collection_fuel`](crate::heap::Limits::collection_fuel)).
//!
//! The rule is a function of the log: of the number of received references, of deliveries, and of the fuel that they and the last collection
//! burnt. It bounds the cost of collections to a share of the cost of deliveries, and the unused references that a vat holds to
//! [`MAX_NEW_IMPORTS`].

use super::{CrankKind, CrankOutcome, Guest, LogLevel, LogLine, Machine};
use crate::abi::{Delivery, MAX_DROPS, News, Output};
use crate::error::EngineError;
use serde::{Deserialize, Serialize};

/// References that came in since the last collection, after which another one is worth its price.
const NEW_IMPORTS: u64 = 256;
/// Deliveries since the last collection, after which another one is worth its price though few references came in: what the program
/// holds changes by what it forgets, too.
const NEW_DELIVERIES: u64 = 1_000;
/// Deliveries must have burnt this many times what the last collection burnt before the next one, so that collections take 6 % at most.
const FUEL_SHARE: u64 = 16;
/// References that came in since the last collection, after which the next one comes whatever it costs: they bound the tables.
const MAX_NEW_IMPORTS: u64 = 8_192;
/// Growth of the memory since the last collection, in bytes, after which another one is worth its price: less memory is less to hash and to
/// carry, and a delivery that finds no room costs two.
const MEMORY_GROWTH_BYTES: u64 = 32 << 20;

/// What happened since the last collection. In the state root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Collector {
    deliveries: u64,
    fuel: u64,
    /// References that had come in at the last collection.
    imports_then: u64,
    memory_bytes_then: u64,
    /// What the last collection burnt.
    collection_fuel: u64,
    /// The last collection had more to say than one crank may.
    more: bool,
}

impl Collector {
    /// Of a guest that has just taken the place of another one.
    pub fn after_upgrade(imports_then: u64, memory_bytes_then: u64) -> Collector {
        Collector { imports_then, memory_bytes_then, ..Collector::default() }
    }

    /// Counts a delivery that ended, well or not.
    pub fn count(&mut self, fuel: u64) {
        self.deliveries += 1;
        self.fuel = self.fuel.saturating_add(fuel);
    }

    /// Returns whether to collect now, if `imports` references have come in so far, of which the tables hold `held`.
    fn is_due(&self, imports: u64, held: usize, memory_bytes: u64) -> bool {
        if self.more {
            return true;
        }
        let new_imports = imports.saturating_sub(self.imports_then);
        if new_imports >= MAX_NEW_IMPORTS {
            return true;
        }
        let worth = held > 0 && (new_imports >= NEW_IMPORTS || self.deliveries >= NEW_DELIVERIES)
            || memory_bytes.saturating_sub(self.memory_bytes_then) >= MEMORY_GROWTH_BYTES;
        worth && self.fuel >= self.collection_fuel.saturating_mul(FUEL_SHARE)
    }
}

impl<G: Guest> Machine<G> {
    /// Collects if it is time. One that hits its limit is tried again no sooner than one that did not.
    pub(super) fn collect_if_due(&mut self) -> Result<(), EngineError> {
        if !self.status.installed || self.status.exit.is_some() {
            return Ok(());
        }
        let (imports, held) = (self.comms.host_objects_made(), self.comms.host_object_count());
        if !self.collector.is_due(imports, held, self.guest.memory_bytes()) {
            return Ok(());
        }
        let news = self.news();
        let crank = self.guest.deliver(&Delivery::Collect, &news)?;
        self.block.logs.extend(crank.logs);
        let mut more = false;
        let fuel = crank.fuel;
        let rolled_back = match crank.outcome {
            CrankOutcome::Done { outputs } => {
                self.learned(&news);
                more =
                    outputs.iter().any(|output| matches!(output, Output::Drop { slots } if slots.len() >= MAX_DROPS));
                self.take_outputs(outputs);
                None
            }
            CrankOutcome::StartFailed { .. } => None,
            CrankOutcome::RolledBack { limit } => {
                let text = format!("a collection of garbage exceeded the {} limit", limit.as_str());
                self.block.logs.push(LogLine { level: LogLevel::Error, text });
                Some(limit)
            }
        };
        self.comms.sweep();
        self.report(CrankKind::Collect, None, fuel, rolled_back);
        self.collector = Collector {
            imports_then: imports,
            memory_bytes_then: self.guest.memory_bytes(),
            collection_fuel: fuel,
            more,
            ..Collector::default()
        };
        Ok(())
    }

    /// Returns what the guest is to learn with the next delivery.
    pub(super) fn news(&self) -> News {
        News { now_ms: self.status.now_ms, retired: self.comms.retired().to_vec(), freed: self.comms.freed() }
    }

    /// The guest has learned it.
    pub(super) fn learned(&mut self, news: &News) {
        self.comms.forget_retired(news.retired.len());
        self.comms.forget_freed(news.freed.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_due_by_what_came_in_and_what_was_burnt() {
        let new = Collector::default();
        assert!(!new.is_due(NEW_IMPORTS - 1, 5, 0), "too few references");
        assert!(new.is_due(NEW_IMPORTS, 5, 0));
        assert!(!new.is_due(NEW_IMPORTS, 0, 0), "the vat holds nothing that it could drop");
        assert!(new.is_due(0, 0, MEMORY_GROWTH_BYTES));
        let mut busy = Collector { collection_fuel: 1_000, imports_then: 7, ..new };
        for _ in 1..NEW_DELIVERIES {
            busy.count(15);
        }
        assert!(!busy.is_due(8, 5, 0), "too few deliveries");
        busy.count(14);
        assert!(!busy.is_due(8, 5, 0), "they burnt 14,999, less than sixteen times what a collection does");
        busy.count(1_001);
        assert!(busy.is_due(8, 5, 0));
        let dear = Collector { collection_fuel: u64::MAX, ..new };
        assert!(!dear.is_due(MAX_NEW_IMPORTS - 1, 5, 0));
        assert!(dear.is_due(MAX_NEW_IMPORTS, 5, 0), "the tables are bounded whatever it costs");
        assert!(Collector { more: true, ..dear }.is_due(0, 0, 0));
    }
}
