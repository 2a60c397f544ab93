//! The clients of a vat: the active ones and the ended ones.
//!
//! Invariants: a part of the replicated state, and a pure function of the log. A forgotten client never returns: until
//! its lifetime is over its key is remembered as ended, after that its genesis refuses it. Clients are bounded in number and
//! in bytes. The active client that was silent for longest goes first, since most clients without a farewell
//! were killed.

use quorate_engine::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Clients that are heard at a time. Those beyond it are mostly ones that were killed: who ends says so, and is forgotten.
pub const MAX_CLIENTS: usize = 1_024;
/// Bytes that wait for clients to acknowledge them, of all together.
pub const MAX_CLIENT_BYTES: u64 = 16 * 1024 * 1024;
/// Ended clients that are remembered, at eight bytes each. While there are so many, clients are forgotten when their lifetime is over.
pub const MAX_ENDED: usize = 200_000;
/// Ends of lifetimes are rounded up to a multiple of so many blocks, so that many clients share one.
const BUCKET_BLOCKS: u64 = 1_024;

/// Clients that ended before their lifetime, until that is over.
///
/// Of a VatId, which is a hash, eight bytes are kept. A newcomer that happens to agree with one of them is refused, and its next
/// key is not; nothing old is ever taken for new.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    by_expiry: BTreeMap<u64, BTreeSet<u64>>,
    /// How many there are; counted again after a restore.
    #[serde(skip)]
    count: usize,
}

impl Ended {
    /// Returns whether the client has ended.
    pub fn contains(&self, vat: &VatId, expires: u64) -> bool {
        self.by_expiry.get(&bucket(expires)).is_some_and(|ended| ended.contains(&prefix(vat)))
    }

    /// The client has ended.
    pub fn insert(&mut self, vat: &VatId, expires: u64) {
        self.count += usize::from(self.by_expiry.entry(bucket(expires)).or_default().insert(prefix(vat)));
    }

    /// Drops those whose lifetime is over at this block.
    pub fn drop_before(&mut self, block: u64) {
        while let Some(entry) = self.by_expiry.first_entry().filter(|entry| *entry.key() < block) {
            self.count -= entry.remove().len();
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn bucket(expires: u64) -> u64 {
    expires.div_ceil(BUCKET_BLOCKS).saturating_mul(BUCKET_BLOCKS)
}

fn prefix(vat: &VatId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&vat.0[..8]);
    u64::from_be_bytes(bytes)
}

/// A client that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    /// The last block at which it may be heard.
    expires: u64,
    /// The last block at which it was heard.
    block: u64,
}

/// See the head of the module.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Clients {
    heard: BTreeMap<VatId, Heard>,
    ended: Ended,
    /// The rest follows from the state, for finding who goes.
    #[serde(skip)]
    by_expiry: BTreeSet<(u64, VatId)>,
    #[serde(skip)]
    by_age: BTreeSet<(u64, VatId)>,
    #[serde(skip)]
    bytes: BTreeMap<VatId, u64>,
    #[serde(skip)]
    total_bytes: u64,
}

/// What follows from the rest does not count.
impl PartialEq for Ended {
    fn eq(&self, other: &Ended) -> bool {
        self.by_expiry == other.by_expiry
    }
}

impl PartialEq for Clients {
    fn eq(&self, other: &Clients) -> bool {
        self.heard == other.heard && self.ended == other.ended
    }
}

impl Clients {
    /// Finds again what is in no checkpoint; `bytes_of` says how many bytes wait for a client.
    pub fn rebuild(&mut self, bytes_of: impl Fn(&VatId) -> u64) {
        self.ended.count = self.ended.by_expiry.values().map(BTreeSet::len).sum();
        self.by_expiry = self.heard.iter().map(|(vat, heard)| (heard.expires, *vat)).collect();
        self.by_age = self.heard.iter().map(|(vat, heard)| (heard.block, *vat)).collect();
        self.bytes = self.heard.keys().map(|vat| (*vat, bytes_of(vat))).collect();
        self.total_bytes = self.bytes.values().sum();
    }

    /// A client was heard at this block.
    pub fn hear(&mut self, vat: VatId, expires: u64, block: u64) {
        if let Some(before) = self.heard.insert(vat, Heard { expires, block }) {
            self.by_age.remove(&(before.block, vat));
            self.by_expiry.remove(&(before.expires, vat));
        }
        self.by_age.insert((block, vat));
        self.by_expiry.insert((expires, vat));
    }

    /// So many bytes wait for a peer; one that is no client does not count.
    pub fn note_bytes(&mut self, vat: &VatId, bytes: u64) {
        if self.heard.contains_key(vat) {
            self.total_bytes -= self.bytes.insert(*vat, bytes).unwrap_or(0);
            self.total_bytes += bytes;
        }
    }

    /// Returns whether a client has ended before its lifetime.
    pub fn has_ended(&self, vat: &VatId, expires: u64) -> bool {
        self.ended.contains(vat, expires)
    }

    /// Those that have ended.
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// A client ends. Gives the end of its lifetime if it may be forgotten now; else there is no room to remember it as ended.
    pub fn end(&mut self, vat: &VatId) -> Option<u64> {
        if self.ended.len() >= MAX_ENDED {
            return None;
        }
        let expires = self.remove(vat)?;
        self.ended.insert(vat, expires);
        Some(expires)
    }

    fn remove(&mut self, vat: &VatId) -> Option<u64> {
        let heard = self.heard.remove(vat)?;
        self.by_age.remove(&(heard.block, *vat));
        self.by_expiry.remove(&(heard.expires, *vat));
        self.total_bytes -= self.bytes.remove(vat).unwrap_or(0);
        Some(heard.expires)
    }

    /// Takes out those that are to be forgotten at this block: their lifetime is over, or they are too many or hold too much. With
    /// each that goes before its time, the end of its lifetime.
    pub fn take_due(&mut self, block: u64) -> Vec<(VatId, Option<u64>)> {
        self.ended.drop_before(block);
        let mut due = Vec::new();
        while let Some((_, vat)) = self.by_expiry.first().copied().filter(|(expires, _)| *expires < block) {
            self.remove(&vat);
            due.push((vat, None));
        }
        while self.heard.len() > MAX_CLIENTS || (self.total_bytes > MAX_CLIENT_BYTES && self.heard.len() > 1) {
            let Some((_, vat)) = self.by_age.first().copied() else { break };
            let Some(expires) = self.end(&vat) else { break };
            due.push((vat, Some(expires)));
        }
        due
    }

    /// Returns why one more client is not heard.
    pub fn refuses_more(&self) -> Option<&'static str> {
        let full = self.heard.len() > MAX_CLIENTS && self.ended.len() >= MAX_ENDED;
        full.then_some("this vat remembers as many clients as it can; try again later")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::codec;

    fn vat(number: u64) -> VatId {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        VatId(id)
    }

    #[test]
    fn who_has_ended_is_remembered_until_its_lifetime_is_over() {
        let mut clients = Clients::default();
        clients.hear(vat(1), 5_000, 10);
        assert!(!clients.has_ended(&vat(1), 5_000));
        assert_eq!(clients.end(&vat(1)), Some(5_000));
        assert_eq!(clients.end(&vat(1)), None, "it is not here");
        for block in [11, 4_999, 5_000] {
            assert!(clients.take_due(block).is_empty());
            assert!(clients.has_ended(&vat(1), 5_000), "at {block} it could be played again");
        }
        clients.take_due(8_000);
        assert!(clients.ended().is_empty(), "its genesis refuses it by now");
    }

    #[test]
    fn who_was_not_heard_for_longest_goes_when_there_are_too_many() {
        let mut clients = Clients::default();
        for number in 0..=MAX_CLIENTS as u64 {
            clients.hear(vat(number), 1_000_000, number + 1);
        }
        // The oldest has said something since.
        clients.hear(vat(0), 1_000_000, 90_000);
        assert_eq!(clients.take_due(90_001), [(vat(1), Some(1_000_000))]);
        assert!(clients.has_ended(&vat(1), 1_000_000));
        assert!(clients.take_due(90_002).is_empty());
    }

    #[test]
    fn what_waits_for_clients_is_bounded_in_bytes() {
        let mut clients = Clients::default();
        for number in 0..10 {
            clients.hear(vat(number), 1_000_000, number + 1);
            clients.note_bytes(&vat(number), MAX_CLIENT_BYTES / 8);
        }
        clients.note_bytes(&vat(99), u64::MAX / 2);
        let gone: Vec<VatId> = clients.take_due(20).into_iter().map(|(vat, _)| vat).collect();
        assert_eq!(gone, [vat(0), vat(1)]);
        // One that holds more than all may is alone at last, and stays.
        clients.note_bytes(&vat(9), 2 * MAX_CLIENT_BYTES);
        assert_eq!(clients.take_due(21).len(), 7);
        assert!(clients.take_due(22).is_empty());
    }

    #[test]
    fn what_is_restored_forgets_the_same_clients() {
        let mut clients = Clients::default();
        for number in 0..20 {
            clients.hear(vat(number), 1_000 + number, number + 1);
            clients.note_bytes(&vat(number), MAX_CLIENT_BYTES / 10);
        }
        clients.end(&vat(3));
        let mut restored: Clients = codec::decode(&codec::encode(&clients)).expect("it decodes");
        let bytes = clients.bytes.clone();
        restored.rebuild(|vat| bytes.get(vat).copied().unwrap_or(0));
        assert_eq!(restored, clients);
        for block in [30, 1_005, 1_050] {
            assert_eq!(restored.take_due(block), clients.take_due(block), "at {block}");
        }
        assert_eq!(restored, clients);
    }

    #[test]
    fn when_no_more_can_be_remembered_as_ended_clients_stay_until_their_time() {
        let mut clients = Clients::default();
        for number in 0..MAX_ENDED as u64 {
            clients.hear(vat(number), 50_000, 1);
            assert!(clients.end(&vat(number)).is_some());
        }
        clients.hear(vat(u64::MAX), 40_000, 2);
        assert_eq!(clients.end(&vat(u64::MAX)), None);
        assert_eq!(clients.take_due(40_001), [(vat(u64::MAX), None)]);
        assert!(clients.refuses_more().is_none());
    }
}
