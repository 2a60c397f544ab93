//! The limits of a delivery.

use crate::abi::Delivery;
use serde::{Deserialize, Serialize};

/// What one delivery may use. Part of a vat's genesis: they must be equal on all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// wasmtime's fuel, about one for each wasm instruction and each byte copied. Collections have a budget of their own:
    /// [`Limits::collection_fuel`].
    pub fuel_per_delivery: u64,
    /// Size of the vat's whole memory, its base heap included.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// About five seconds of plain loops on the machines that this was measured on, and 128 MiB.
    fn default() -> Limits {
        Limits { fuel_per_delivery: 25_000_000_000, memory_bytes: 128 << 20 }
    }
}

/// Fuel of a collection for each byte of memory that a vat may have: some twenty times what looking once at every object of a full heap takes.
const COLLECTION_FUEL_PER_BYTE: u64 = 128;

/// How many times what a delivery may burn a start may, up to [`MAX_START_FUEL`]: it evaluates all that the code imports, once in the life of a
/// vat, and nobody waits for the vat yet.
const START_TIMES: u64 = 20;
const MAX_START_FUEL: u64 = 100_000_000_000;

/// How many times the memory of a vat there may be while it says what outlives an upgrade: what it says is in memory three times, as values, as
/// data, and encoded.
const HAND_OVER_TIMES: u64 = 4;

impl Limits {
    /// Returns what a start may burn.
    pub fn start_fuel(&self) -> u64 {
        self.fuel_per_delivery.saturating_mul(START_TIMES).min(MAX_START_FUEL).max(self.fuel_per_delivery)
    }

    /// Returns what a collection may burn, whatever a delivery may: its cost depends on the heap, not on who sent something.
    pub fn collection_fuel(&self) -> u64 {
        self.memory_bytes.saturating_mul(COLLECTION_FUEL_PER_BYTE)
    }

    /// Returns what the memory may grow to in a delivery. Only to say what outlives an upgrade does it grow further: that is undone, and a heap that is full
    /// could not be upgraded otherwise.
    pub(super) fn memory_for(&self, delivery: &Delivery) -> u64 {
        match delivery {
            Delivery::HandOver => self.memory_bytes.saturating_mul(HAND_OVER_TIMES),
            _ => self.memory_bytes,
        }
    }

    pub(super) fn fuel_for(&self, delivery: &Delivery) -> u64 {
        match delivery {
            Delivery::Collect | Delivery::MakeRoom => self.collection_fuel(),
            Delivery::Start { .. } | Delivery::Upgrade(_) | Delivery::HandOver => self.start_fuel(),
            _ => self.fuel_per_delivery,
        }
    }
}
