//! Prices the host's work beside the interpreter's cranks in fuel, on the account of the peer that causes it.
//!
//! A price is the time of the work on a host, as the fuel that a processor burns meanwhile (some 5,500,000 in a millisecond), rounded
//! up. Work of receiving and of answering counts alike. A replica decodes, checks and hashes incoming messages. It encodes, hashes,
//! keeps, certifies, ships and forgets outgoing ones.
//!
//! Invariant: prices are constants and counts are those of the log, so that all replicas charge the same.

/// A message that is taken in, or refused.
pub const MESSAGE_FUEL: u64 = 60_000;
/// A message that the vat says because of it.
const SAID_FUEL: u64 = 60_000;
/// A byte of either: it is logged, replicated, encrypted and hashed several times.
const BYTE_FUEL: u64 = 200;
/// A message of a command that is not taken in with it, or the digest of one: it is logged, decoded and hashed all the same.
const CARRIED_FUEL: u64 = 7_000;
/// A name of all that is published, when any of it changes: the tree over the names is made anew.
const PUBLISHED_FUEL: u64 = 20_000;
/// A crank that is undone: a new instance, filled with the memory from before, and the deliveries since then once more.
const ROLLBACK_FUEL: u64 = 50_000_000;

/// Returns what a message of so many bytes costs its sender beside what it sets off.
pub fn message_fuel(bytes: usize) -> u64 {
    HostWork::Message { bytes }.fuel()
}

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostWork {
    /// A message of so many bytes comes in.
    Message { bytes: usize },
    /// So many messages of so many bytes together go out.
    Said { count: usize, bytes: usize },
    /// A command brought so many more messages, or digests of them, than it took in.
    Carried { count: u64, bytes: usize },
    /// A crank changes what is published: so many bytes of it, and there are so many names then.
    Published { count: usize, bytes: usize },
    /// A crank is undone.
    Rollback,
}

impl HostWork {
    /// Returns what it costs.
    pub(super) fn fuel(self) -> u64 {
        let each = |price: u64, count: u64| price.saturating_mul(count);
        match self {
            HostWork::Message { bytes } => MESSAGE_FUEL.saturating_add(each(BYTE_FUEL, bytes as u64)),
            HostWork::Said { count, bytes } => {
                each(SAID_FUEL, count as u64).saturating_add(each(BYTE_FUEL, bytes as u64))
            }
            HostWork::Carried { count, bytes } => {
                each(CARRIED_FUEL, count).saturating_add(each(BYTE_FUEL, bytes as u64))
            }
            HostWork::Published { count, bytes } => {
                each(PUBLISHED_FUEL, 1 + count as u64).saturating_add(each(BYTE_FUEL, bytes as u64))
            }
            HostWork::Rollback => ROLLBACK_FUEL,
        }
    }
}
