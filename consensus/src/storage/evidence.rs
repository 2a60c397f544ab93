//! Evidence of members that contradict one another, and the reason why the replica stopped for good.
//!
//! Invariants: evidence of one kind, member and place is kept once, and counted once, also over restarts. The evidence of one
//! signer is bounded and leaves room for others. Evidence outlives the vat's other records.

use std::collections::BTreeMap;

use super::store::{Family, Write};
use super::vat::{VatStore, read};
use crate::codec;
use crate::error::StoreError;
use crate::proof::equivocation::{Divergence, EvidenceRecord};
use quorate_ids::HostId;

/// Pieces of evidence of one kind and signer that are kept in full; more are only counted. A liar can make one a block.
pub(super) const MAX_EVIDENCE: u64 = 64;
/// The record of how much evidence was seen.
const EVIDENCE_COUNTS: &str = "evidence-counts";
/// The record of why the replica stopped for good.
const DIVERGENCE: &str = "divergence";

/// Kinds of evidence. The numbers are in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) enum EvidenceKind {
    Equivocation = 0,
    MembershipEquivocation = 1,
    Contradiction = 2,
    Disagreement = 3,
    Divergence = 4,
    Order = 5,
}

impl EvidenceKind {
    fn of(record: &EvidenceRecord) -> Self {
        match record {
            EvidenceRecord::Equivocation(_) => Self::Equivocation,
            EvidenceRecord::MembershipEquivocation(_) => Self::MembershipEquivocation,
            EvidenceRecord::Contradiction(_) => Self::Contradiction,
            EvidenceRecord::Disagreement(_) => Self::Disagreement,
            EvidenceRecord::Divergence(_) => Self::Divergence,
            EvidenceRecord::Order(_) => Self::Order,
        }
    }
}

/// How much of one kind was seen of one signer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct EvidenceCount {
    pub(crate) seen: u64,
    pub(crate) kept: u64,
    /// The latest epoch and block of which some was seen: after a start, old ones are seen again.
    pub(crate) latest: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct EvidenceCounts(pub(crate) BTreeMap<(EvidenceKind, HostId), EvidenceCount>);

/// How much evidence was seen since a vat is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EvidenceTotals {
    pub(crate) equivocations: u64,
    pub(crate) disagreements: u64,
}

/// What became of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddedEvidence {
    /// It was not seen before.
    pub(crate) is_new: bool,
    /// It was written now.
    pub(crate) is_kept: bool,
    pub(crate) totals: EvidenceTotals,
}

impl EvidenceCounts {
    fn totals(&self) -> EvidenceTotals {
        let mut totals = EvidenceTotals::default();
        for ((kind, _), count) in &self.0 {
            match kind {
                EvidenceKind::Disagreement => totals.disagreements += count.seen,
                EvidenceKind::Divergence => {}
                _ => totals.equivocations += count.seen,
            }
        }
        totals
    }
}

/// Returns what distinguishes two deeds of one kind and member: epoch and block, or, of the order, term and index. (A leader that is elected again
/// may do the same at the same place.)
fn place_of(record: &EvidenceRecord) -> (u64, u64) {
    let (epoch, block) = record.place();
    let of = match record {
        EvidenceRecord::Order(order) => order.term(),
        _ => epoch,
    };
    (of, block.unwrap_or_default())
}

impl VatStore {
    /// Keeps evidence, if it is new and few of its kind are kept of its signer, and counts it. On disk when it returns, if it is
    /// kept.
    pub(crate) fn add_evidence(&self, record: &EvidenceRecord, signer: &HostId) -> Result<AddedEvidence, StoreError> {
        let mut counts: EvidenceCounts = self.evidence_counts()?;
        let key = self.evidence_key(record, signer);
        let kind = EvidenceKind::of(record);
        let place = place_of(record);
        let count = counts.0.entry((kind, *signer)).or_default();
        let is_kept = self.get_bytes(Family::Evidence, &key)?.is_some();
        let is_new = !is_kept && (count.kept < MAX_EVIDENCE || count.latest < Some(place));
        let keep = is_new && count.kept < MAX_EVIDENCE;
        if is_new {
            count.seen += 1;
            count.kept += u64::from(keep);
            count.latest = count.latest.max(Some(place));
            let counted = self.put_named(EVIDENCE_COUNTS, &counts);
            if keep {
                self.write_synced(vec![counted, Write::Put(Family::Evidence, key, codec::encode(record))])?;
            } else {
                self.write(vec![counted])?;
            }
        }
        Ok(AddedEvidence { is_new, is_kept: keep, totals: counts.totals() })
    }

    /// Notes why the replica stops for good, beside its watermark, and among the evidence. On disk when it returns.
    pub(crate) fn set_divergence(&self, divergence: &Divergence) -> Result<(), StoreError> {
        let record = EvidenceRecord::Divergence(divergence.clone());
        let key = self.evidence_key(&record, &HostId::default());
        let noted = self.put_named(DIVERGENCE, divergence);
        self.write_synced(vec![noted, Write::Put(Family::Evidence, key, codec::encode(&record))])
    }

    /// Returns why the replica stopped for good in an earlier life of this host.
    pub(crate) fn divergence(&self) -> Result<Option<Divergence>, StoreError> {
        self.named(DIVERGENCE)
    }

    /// One key for what is said of one member and place, so that nothing is kept twice.
    fn evidence_key(&self, record: &EvidenceRecord, signer: &HostId) -> Vec<u8> {
        let (of, block) = place_of(record);
        let mut key = self.key(&[EvidenceKind::of(record) as u8]);
        key.extend_from_slice(&signer.0);
        key.extend_from_slice(&of.to_be_bytes());
        key.extend_from_slice(&block.to_be_bytes());
        key
    }

    fn evidence_counts(&self) -> Result<EvidenceCounts, StoreError> {
        Ok(self.named(EVIDENCE_COUNTS)?.unwrap_or_default())
    }

    /// Returns how much evidence was seen since the vat is here.
    pub(crate) fn evidence_totals(&self) -> Result<EvidenceTotals, StoreError> {
        Ok(self.evidence_counts()?.totals())
    }

    /// The evidence that is kept: equivocations first, each kind by member and place.
    pub(crate) fn evidence(&self) -> Result<Vec<EvidenceRecord>, StoreError> {
        let (from, to) = self.bounds();
        let records = self.scan(Family::Evidence, &from, &to, usize::MAX)?;
        records.iter().map(|(_, value)| read(Family::Evidence, value)).collect()
    }
}
