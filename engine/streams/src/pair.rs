//! Names of promises between the two vats of a pair of streams.

use crate::wire::{Side, WireRef};
use serde::{Deserialize, Serialize};

/// One of the two vats of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Party {
    Us,
    Them,
}

/// The name of a promise between two vats: who gave the id, and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairId {
    pub by: Party,
    pub id: u64,
}

impl PairId {
    /// As it is written in a message that this vat sends.
    pub fn outbound(self) -> WireRef {
        let allocator = match self.by {
            Party::Us => Side::Sender,
            Party::Them => Side::Receiver,
        };
        WireRef::promise(allocator, self.id)
    }

    /// As it is read in a message that this vat got.
    pub fn inbound(allocator: Side, id: u64) -> PairId {
        let by = match allocator {
            Side::Sender => Party::Them,
            Side::Receiver => Party::Us,
        };
        PairId { by, id }
    }
}
