//! Settled promises that the guest keeps for messages that a peer sent before it knew the settlement.
//!
//! The host counts them, since it knows the peer of each. The guest keeps a promise as long as some peer has it here. A peer that acknowledges
//! nothing loses its own oldest promises, and nobody else's.

use super::Comms;
use crate::abi::Slot;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most answers that are kept for one peer.
const MAX_ANSWERS: usize = 65_536;
/// Bytes of all that they are. Beyond it, and beyond the peer's share of the memory, large ones go first: they are data, to which nobody can
/// send anything.
const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// What is larger than this is large, in bytes.
const SMALL_ANSWER_BYTES: u64 = 1 << 10;

/// Of one peer, by the numbers of the messages that gave them, which it has not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// With their bytes.
    kept: BTreeMap<u64, u64>,
    large: BTreeSet<u64>,
    bytes: u64,
}

impl Answers {
    pub fn add(&mut self, number: u64, bytes: u64) {
        self.kept.insert(number, bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes > SMALL_ANSWER_BYTES {
            self.large.insert(number);
        }
    }

    /// The peer has all messages up to `through`.
    pub fn acknowledge(&mut self, through: u64) {
        while let Some((number, _)) = self.kept.first_key_value()
            && *number <= through
        {
            self.remove(*number);
        }
    }

    fn remove(&mut self, number: u64) {
        let bytes = self.kept.remove(&number).unwrap_or(0);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.large.remove(&number);
    }

    /// Removes the one that is to go next, if it is too much: `above` says that the peer is above its share.
    fn give_up(&mut self, above: bool) -> Option<u64> {
        let (many, much) = (self.kept.len() > MAX_ANSWERS, self.bytes > MAX_ANSWER_BYTES);
        let large = if above || much { self.large.first() } else { None };
        let oldest = if many || much { self.kept.keys().next() } else { None };
        let number = *large.or(oldest)?;
        self.remove(number);
        Some(number)
    }

    pub fn count(&self) -> u64 {
        self.kept.len() as u64
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Comms {
    /// Lets the guest forget what it keeps of answers for this peer alone, as far as that is more than a peer may have kept.
    pub(super) fn give_up_answers(&mut self, vat: &VatId) {
        loop {
            let above = self.is_above_share(vat);
            let Some(peer) = self.peers.get_mut(vat) else { return };
            let Some(number) = peer.answers.give_up(above) else { return };
            let Some(slot) =
                peer.settlements.get(&number).map(|(id, _)| *id).and_then(|id| peer.pair(id)).map(|pair| pair.slot)
            else {
                continue;
            };
            if !self.is_kept_for_others(slot) && !self.exited {
                self.retired.push(slot);
            }
        }
    }

    /// Returns whether some peer may still send to a promise that has settled, and is within what it may have kept.
    fn is_kept_for_others(&self, slot: Slot) -> bool {
        let Some(promise) = self.promises.get(&slot) else { return false };
        promise.pending
            || promise.pairs.iter().any(|(vat, id)| {
                let Some(peer) = self.peers.get(vat) else { return false };
                match peer.pair(*id).map(|pair| pair.settled) {
                    Some(Some(number)) => peer.answers.kept.contains_key(&number),
                    // It is told in a moment.
                    Some(None) => true,
                    None => false,
                }
            })
    }
}
