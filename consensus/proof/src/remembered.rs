//! Signatures that were found good, or made, in this process a little while ago.
//!
//! One signature is checked again and again on a host: when its slice comes in, when the block with that slice is executed, as a share, in the certificate
//! that the share becomes part of, and by each client there that the certificate is for. A check takes 50 µs; to see that it was done takes 1 µs.
//!
//! Invariants: checking is a function of key, payload and signature, all of which the hash stands for, so what is remembered changes nothing but time.
//! Only good signatures are remembered: a bad one is checked, and refused, each time. Senders that fill the memory with signatures of their own
//! cost others the checks that they saved, and no more.

use quorate_ids::Hash;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Signatures in a generation; there are two: about 1 MiB in all.
const GENERATION: usize = 8_192;

static GOOD: Mutex<Good> = Mutex::new(Good { newer: BTreeSet::new(), older: BTreeSet::new() });

struct Good {
    newer: BTreeSet<Hash>,
    older: BTreeSet<Hash>,
}

impl Good {
    fn add(&mut self, signature: Hash) {
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(signature);
    }

    /// Returns whether a signature is remembered. What is asked for stays.
    fn has(&mut self, signature: Hash) -> bool {
        if self.newer.contains(&signature) {
            return true;
        }
        let has = self.older.contains(&signature);
        if has {
            self.add(signature);
        }
        has
    }
}

fn good() -> MutexGuard<'static, Good> {
    // Each change is one insertion: a panic in between leaves it whole.
    GOOD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key, what it signed, and the signature. The first two have a fixed length.
pub(crate) fn name(key: &[u8; 32], signature: &[u8; 64], payload: &[u8]) -> Hash {
    Hash::of_parts(&[key, signature, payload])
}

/// Returns whether this signature is good, by what was found or made before. `false` says nothing.
pub(crate) fn is_good(signature: Hash) -> bool {
    good().has(signature)
}

/// This signature was found good, or made.
pub(crate) fn found_good(signature: Hash) {
    good().add(signature);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_no_more_than_two_generations() {
        let name = |number: usize| Hash::of(&number.to_be_bytes());
        let mut good = Good { newer: BTreeSet::new(), older: BTreeSet::new() };
        for number in 0..5 * GENERATION {
            assert!(!good.has(name(number)));
            good.add(name(number));
            assert!(good.has(name(number)) && good.has(name(0)), "what is asked for stays");
            assert!(good.newer.len() + good.older.len() <= 2 * GENERATION);
        }
        assert!(!good.has(name(1)) && good.has(name(4 * GENERATION)));
    }
}
