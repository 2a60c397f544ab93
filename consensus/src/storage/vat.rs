//! One vat's records in a host's store: their keys and their encodings.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::marks::Mark;
use super::store::{Family, Flushed, Record, Store, Write, prefix_end};
use crate::codec;
use crate::error::StoreError;
use crate::proof::certificate::{Certificate, Statement};
use crate::proof::membership::MembershipCertificate;
use quorate_ids::{Hash, VatId};

/// Bytes of entries that one read of a log gives at most, unless a single entry is larger.
pub(crate) const SCAN_BYTES: usize = 1 << 20;

/// The highest statement that this host signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct SignedWatermark {
    pub(crate) block: u64,
    pub(crate) statement: Hash,
}

impl SignedWatermark {
    /// That of a statement.
    pub(crate) fn of(statement: &Statement) -> SignedWatermark {
        SignedWatermark { block: statement.block, statement: statement.hash() }
    }
}

/// The record of the highest statement that was signed.
pub(super) const WATERMARK: &str = "guard";
/// The record of Raft's id of this replica.
pub(super) const RAFT_ID: &str = "raft-id";
/// The record of Raft's vote.
pub(crate) const VOTE: &str = "vote";
/// The record of why the replica stopped.
const FAULT: &str = "fault";
/// Before the epoch: the record of the membership that was signed for it.
const MEMBERSHIP_GUARD: &str = "membership-guard-";

/// A vat's part of a store.
#[derive(Clone)]
pub(crate) struct VatStore {
    store: Arc<dyn Store>,
    vat: VatId,
}

impl VatStore {
    pub(crate) fn new(store: Arc<dyn Store>, vat: VatId) -> Self {
        Self { store, vat }
    }

    /// The vat.
    pub(crate) fn vat(&self) -> VatId {
        self.vat
    }

    /// A key of this vat.
    pub(crate) fn key(&self, suffix: &[u8]) -> Vec<u8> {
        let mut key = self.vat.0.to_vec();
        key.extend_from_slice(suffix);
        key
    }

    /// The key of a log entry or checkpoint.
    pub(crate) fn numbered(&self, number: u64) -> Vec<u8> {
        self.key(&number.to_be_bytes())
    }

    /// The number of such a key.
    pub(crate) fn number_of(&self, key: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(key.strip_prefix(self.vat.0.as_slice())?.try_into().ok()?))
    }

    fn tagged(&self, tag: u8, number: u64) -> Vec<u8> {
        let mut key = self.key(&[tag]);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// First and last key of this vat in a family.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key(&[]), prefix_end(&self.key(&[])))
    }

    pub(crate) fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.store.write(batch)
    }

    pub(crate) fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.store.write_then(batch, flushed)
    }

    /// Writes and returns when it is on disk. Blocks.
    pub(crate) fn write_synced(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.store.write(batch)?;
        self.store.sync()
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, family: Family, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.store.get(family, key)?.map(|bytes| read(family, &bytes)).transpose()
    }

    pub(crate) fn get_bytes(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family, key)
    }

    pub(crate) fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.scan(family, from, to, limit)
    }

    /// Log entries from `from` on, before `to`: about so many bytes of them, and one if there is any.
    pub(crate) fn scan_log(&self, from: u64, to: Option<u64>, bytes: usize) -> Result<Vec<Record>, StoreError> {
        let end = to.map_or_else(|| self.bounds().1, |to| self.numbered(to));
        self.store.scan_bytes(Family::Log, &self.numbered(from), &end, bytes)
    }

    /// Returns whether an entry of the log is here.
    pub(crate) fn has_entry(&self, index: u64) -> Result<bool, StoreError> {
        Ok(self.get_bytes(Family::Log, &self.numbered(index))?.is_some())
    }

    pub(crate) fn last(&self, family: Family) -> Result<Option<Record>, StoreError> {
        let (from, to) = self.bounds();
        self.store.last(family, &from, &to)
    }

    /// Hashes of all chunks that are stored for this vat.
    pub(crate) fn chunk_hashes(&self) -> Result<Vec<Hash>, StoreError> {
        let (from, to) = self.bounds();
        let keys = self.store.keys(Family::Chunk, &from, &to, usize::MAX)?;
        Ok(keys.iter().filter_map(|key| <[u8; 32]>::try_from(&key[32..]).ok().map(Hash)).collect())
    }

    /// A small named value of the state family.
    pub(crate) fn named<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.get(Family::State, &self.key(name.as_bytes()))
    }

    /// The write that sets such a value.
    pub(crate) fn put_named<T: Serialize>(&self, name: &str, value: &T) -> Write {
        Write::Put(Family::State, self.key(name.as_bytes()), codec::encode(value))
    }

    /// The write that takes such a value away.
    pub(crate) fn delete_named(&self, name: &str) -> Write {
        Write::Delete(Family::State, self.key(name.as_bytes()))
    }

    pub(crate) fn put_certificate(&self, certificate: &Certificate) -> Write {
        let key = self.tagged(b's', certificate.statement.block);
        Write::Put(Family::Certificate, key, codec::encode(certificate))
    }

    pub(crate) fn certificate(&self, block: u64) -> Result<Option<Certificate>, StoreError> {
        self.get(Family::Certificate, &self.tagged(b's', block))
    }

    /// The same, as it is stored.
    pub(crate) fn certificate_bytes(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_bytes(Family::Certificate, &self.tagged(b's', block))
    }

    /// The certificates of blocks after `after`, the oldest first, and `limit` at most.
    pub(crate) fn certificates(&self, after: u64, limit: usize) -> Result<Vec<Certificate>, StoreError> {
        let (from, to) = (self.tagged(b's', after.saturating_add(1)), prefix_end(&self.key(b"s")));
        let records = self.scan(Family::Certificate, &from, &to, limit)?;
        records.iter().map(|(_, value)| read(Family::Certificate, value)).collect()
    }

    /// The newest block of which a certificate is here; 0 if there is none.
    pub(crate) fn newest_certified(&self) -> Result<u64, StoreError> {
        let (from, to) = (self.tagged(b's', 0), prefix_end(&self.key(b"s")));
        let last = self.store.last(Family::Certificate, &from, &to)?;
        let certificate = last.map(|(_, value)| read::<Certificate>(Family::Certificate, &value)).transpose()?;
        Ok(certificate.map_or(0, |certificate| certificate.statement.block))
    }

    /// Removes the certificates of all blocks before `block`.
    pub(crate) fn prune_certificates(&self, block: u64) -> Write {
        Write::DeleteRange(Family::Certificate, self.tagged(b's', 0), self.tagged(b's', block))
    }

    pub(crate) fn put_membership(&self, certificate: &MembershipCertificate) -> Write {
        let key = self.tagged(b'm', certificate.membership.epoch);
        Write::Put(Family::Certificate, key, codec::encode(certificate))
    }

    /// The chain of memberships that is stored.
    pub(crate) fn chain(&self) -> Result<Vec<MembershipCertificate>, StoreError> {
        let prefix = self.key(b"m");
        let records = self.scan(Family::Certificate, &prefix, &prefix_end(&prefix), usize::MAX)?;
        records.iter().map(|(_, value)| read(Family::Certificate, value)).collect()
    }

    /// Removes all of this vat except the evidence; gone from the disk when it returns.
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        let (from, to) = self.bounds();
        let families = [Family::Log, Family::State, Family::Checkpoint, Family::Chunk, Family::Certificate];
        self.write_synced(families.map(|family| Write::DeleteRange(family, from.clone(), to.clone())).to_vec())
    }

    /// Returns what this host has promised for the vat, as it is noted outside of the database.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.store.marks()?.read(&self.vat)
    }

    /// Changes that. On disk when it returns, if `sync`; else as safe as the kernel.
    pub(crate) fn set_mark(&self, change: impl FnOnce(&mut Mark), sync: bool) -> Result<(), StoreError> {
        self.store.marks().map_or(Ok(()), |marks| marks.update(&self.vat, change, sync))
    }

    /// Notes Raft's id of this replica. On disk when it returns.
    pub(crate) fn set_raft_id(&self, id: u64) -> Result<(), StoreError> {
        self.set_mark(|mark| mark.raft_id = Some(id), true)?;
        self.write_synced(vec![self.put_named(RAFT_ID, &id)])
    }

    /// Raft's id of this replica.
    pub(crate) fn raft_id(&self) -> Result<Option<u64>, StoreError> {
        self.named(RAFT_ID)
    }

    /// Returns why the replica stopped, if it may not run again before an operator has acted.
    pub(crate) fn fault(&self) -> Result<Option<String>, StoreError> {
        self.named(FAULT)
    }

    /// Notes that. On disk when it returns.
    pub(crate) fn set_fault(&self, fault: &str) -> Result<(), StoreError> {
        self.write_synced(vec![self.put_named(FAULT, &fault)])
    }

    /// The write that takes that away.
    pub(crate) fn delete_fault(&self) -> Write {
        self.delete_named(FAULT)
    }

    /// All memberships that this host signed, by their epochs.
    pub(crate) fn signed_memberships(&self) -> Result<Vec<(u64, Hash)>, StoreError> {
        let prefix = self.key(MEMBERSHIP_GUARD.as_bytes());
        let records = self.scan(Family::State, &prefix, &prefix_end(&prefix), usize::MAX)?;
        let epoch = |key: &[u8]| str::from_utf8(key.get(prefix.len()..)?).ok()?.parse().ok();
        records
            .iter()
            .filter_map(|(key, value)| Some((epoch(key)?, value)))
            .map(|(epoch, value)| Ok((epoch, read(Family::State, value)?)))
            .collect()
    }

    /// Hash of the membership that this host signed for an epoch.
    pub(crate) fn signed_membership(&self, epoch: u64) -> Result<Option<Hash>, StoreError> {
        self.named(&signed_membership_name(epoch))
    }

    /// Notes it. On disk when it returns.
    pub(crate) fn set_signed_membership(&self, epoch: u64, membership: Hash) -> Result<(), StoreError> {
        self.set_mark(|mark| mark.note_membership(epoch, membership), true)?;
        self.write_synced(vec![self.put_signed_membership(epoch, membership)])
    }

    /// The write of that note.
    pub(crate) fn put_signed_membership(&self, epoch: u64, membership: Hash) -> Write {
        self.put_named(&signed_membership_name(epoch), &membership)
    }

    /// The write of the watermark of a statement.
    pub(crate) fn put_watermark(&self, statement: &Statement) -> Write {
        self.put_named(WATERMARK, &SignedWatermark::of(statement))
    }

    /// The highest statement that this host signed, by what the database and the marks have.
    pub(crate) fn watermark(&self) -> Result<Option<SignedWatermark>, StoreError> {
        let stored: Option<SignedWatermark> = self.named(WATERMARK)?;
        let marked = self.mark().and_then(|mark| mark.signed);
        Ok(marked.into_iter().chain(stored).max_by_key(|watermark| watermark.block))
    }
}

fn signed_membership_name(epoch: u64) -> String {
    format!("{MEMBERSHIP_GUARD}{epoch}")
}

/// Decodes a stored value.
pub(crate) fn read<T: DeserializeOwned>(family: Family, bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes).map_err(|error| StoreError::Corrupt { what: family.as_str(), error: error.to_string() })
}
