//! Makes inputs of others by chance, for runs without libFuzzer: the same seed gives the same inputs.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest input that is made, in bytes.
const LONGEST: usize = 4 << 10;
/// What lengths and numbers begin with: small ones, and bincode's marks of longer ones.
const TELLING: [u8; 12] = [0, 1, 2, 3, 4, 0x7f, 0x80, 250, 251, 252, 253, 255];

/// A stream of inputs.
pub struct Mutator {
    chance: ChaCha8Rng,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    /// Inputs that come from `seeds`.
    pub fn new(seed: u64, mut seeds: Vec<Vec<u8>>) -> Mutator {
        seeds.push(Vec::new());
        Mutator { chance: ChaCha8Rng::seed_from_u64(seed), seeds }
    }

    /// The next one.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.one_of_the_seeds();
        for _ in 0..self.chance.random_range(1..=6) {
            self.change(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn one_of_the_seeds(&mut self) -> Vec<u8> {
        let place = self.chance.random_range(0..self.seeds.len());
        self.seeds[place].clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        // The first byte is a version nearly everywhere.
        let first = usize::from(!bytes.is_empty() && self.chance.random_ratio(15, 16));
        let at = self.chance.random_range(first.min(bytes.len())..=bytes.len());
        let length = self.chance.random_range(0..=(bytes.len() - at).min(64));
        match self.chance.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.chance.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = TELLING[self.chance.random_range(0..TELLING.len())],
            2 if at < bytes.len() => bytes[at] = self.chance.random(),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let run = bytes[at..at + length].repeat(self.chance.random_range(1..4));
                bytes.splice(at..at, run);
            }
            6 => {
                let other = self.one_of_the_seeds();
                let from = self.chance.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let mut number = [0; 9];
                self.chance.fill_bytes(&mut number);
                let width = [1, 3, 5, 9][self.chance.random_range(0..4)];
                if width > 1 {
                    number[0] = 250 + [3, 5, 9].iter().position(|one| *one == width).map_or(0, |place| place as u8 + 1);
                }
                bytes.splice(at..at, number[..width].iter().copied());
            }
        }
    }
}
