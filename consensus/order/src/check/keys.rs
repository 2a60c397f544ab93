//! Symbolic signatures, and which log grows out of which.
//!
//! A symbolic signature holds its signer and a checksum of what is signed. Honest members' are made by them alone; the world makes liars'.

use crate::chain::Log;
use crate::signing::{Checking, Signable, Signature, Signed, Signing};
use quorate_ids::{Hash, HostId, VatId};
use std::cell::RefCell;
use std::collections::HashMap;

pub(super) fn key(number: usize) -> HostId {
    HostId([number as u8 + 1; 32])
}

pub(super) struct Symbolic(pub(super) HostId);

fn checksum(payload: &[u8]) -> u64 {
    let words = payload.chunks(8).map(|chunk| chunk.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte)));
    words.fold(0x9e37_79b9_7f4a_7c15, |sum, word| mix(sum ^ word))
}

pub(super) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn symbol(signer: &HostId, payload: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    bytes[0] = signer.0[0];
    bytes[1..9].copy_from_slice(&checksum(payload).to_be_bytes());
    Signature(bytes)
}

impl Checking for Symbolic {
    fn verify(&self, signer: &HostId, payload: &[u8], signature: &Signature) -> bool {
        symbol(signer, payload) == *signature
    }
}

impl Signing for Symbolic {
    fn sign(&self, payload: &[u8]) -> Signature {
        symbol(&self.0, payload)
    }
}

pub(super) fn sign_as<T: Signable + Copy>(by: HostId, content: &T) -> Signed<T> {
    Signed::new(*content, by, &VatId([5; 32]), &Symbolic(by))
}

thread_local! {
    /// Each chain with the one before it.
    static PARENTS: RefCell<HashMap<Hash, Hash>> = RefCell::new(HashMap::new());
}

/// Remembers which chain follows which in a log.
pub(super) fn register(log: &Log) {
    PARENTS.with_borrow_mut(|parents| {
        let last = log.last().index;
        for index in (log.root().index + 1..=last).rev() {
            let (Some(point), Some(before)) = (log.point(index), log.point(index - 1)) else { return };
            if parents.insert(point.chain, before.chain).is_some() {
                return;
            }
        }
    });
}

/// The chain at a lower index of the log that ends with this chain.
pub(super) fn ancestor(block: u64, chain: Hash, index: u64) -> Option<Hash> {
    PARENTS.with_borrow(|parents| (index..block).try_fold(chain, |chain, _| parents.get(&chain).copied()))
}

/// Returns whether two logs can't be one.
pub(super) fn conflict(one: (u64, Hash), other: (u64, Hash)) -> bool {
    let (low, high) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    ancestor(high.0, high.1, low.0).is_some_and(|chain| chain != low.1)
}
