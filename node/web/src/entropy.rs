//! Secrets, made from the random bytes that the page gave at the start.

use quorate_ids::Hash;

/// A source of secrets: each is the hash of the first bytes and of its number.
pub(crate) struct Entropy {
    first: [u8; 32],
    count: u64,
}

impl Entropy {
    /// `first` must be random, and used for nothing else.
    pub fn new(first: [u8; 32]) -> Entropy {
        Entropy { first, count: 0 }
    }

    /// The next secret.
    pub fn secret(&mut self) -> [u8; 32] {
        self.count += 1;
        Hash::of_parts(&[b"quorate/web-secret/1", &self.first, &self.count.to_be_bytes()]).0
    }
}
