//! A replica's records at its start: its chain, its id, the reason of its last stop, and its promises.

use std::collections::BTreeMap;

use super::options::ReplicaOptions;
use super::recovery::AGREED;
use super::tasks::signer::divergence_text;
use crate::error::ConsensusError;
use crate::execution::machine::Machine;
use crate::proof::equivocation::Divergence;
use crate::proof::membership::{Introduction, Membership, MembershipCertificate};
use crate::raft::log::LogStore;
use crate::state::genesis_raft_ids;
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::{SignedWatermark, VatStore};
use quorate_ids::HostId;

/// Returns why the replica stopped in an earlier life, and may not run before an operator has acted.
pub(super) fn kept_fault(store: &VatStore) -> Result<Option<String>, ConsensusError> {
    if store.mark().is_some_and(|mark| mark.agreed.is_some()) {
        return Ok(Some(AGREED.to_owned()));
    }
    match store.divergence()? {
        Some(divergence) => Ok(Some(divergence_text(&divergence))),
        None => Ok(store.fault()?),
    }
}

/// Notes what a database that could be read has promised: nothing is in doubt then. A host of an earlier version has no mark yet.
///
/// # Errors
/// The store fails.
pub(super) fn begin_mark(store: &VatStore, log: &LogStore) -> Result<(), ConsensusError> {
    let (raft_id, watermark, memberships) = (store.raft_id()?, store.watermark()?, store.signed_memberships()?);
    let (vote, (last, _)) = (log.vote(), log.ends());
    store.set_mark(
        |mark| {
            mark.raft_id = raft_id.or(mark.raft_id);
            vote.into_iter().for_each(|vote| mark.note_vote(vote.term, vote.node, vote.committed));
            mark.signed = watermark;
            mark.log = mark.log.max(last);
            memberships.into_iter().for_each(|(epoch, membership)| mark.note_membership(epoch, membership));
            mark.doubt = 0;
        },
        true,
    )?;
    Ok(())
}

/// The chain of the store, continued by that of the options; the whole of it is verified.
pub(super) fn verified_chain<M: Machine>(
    options: &ReplicaOptions<M>,
    store: &VatStore,
) -> Result<Vec<MembershipCertificate>, ConsensusError> {
    let mut chain = store.chain()?;
    let known = chain.len();
    chain.extend(options.chain.iter().skip(known).cloned());
    let introduction = Introduction { genesis: options.genesis.clone(), chain };
    introduction.verify().map_err(ConsensusError::Chain)?;
    let added = introduction.chain[known..].iter().map(|certificate| store.put_membership(certificate)).collect();
    store.write(added)?;
    Ok(introduction.chain)
}

pub(super) fn memberships<M: Machine>(
    options: &ReplicaOptions<M>,
    chain: &[MembershipCertificate],
) -> BTreeMap<u64, Membership> {
    let certified = chain.iter().map(|certificate| certificate.membership.clone());
    std::iter::once(options.genesis.membership()).chain(certified).map(|m| (m.epoch, m)).collect()
}

/// Raft's id of this replica: from the store, or from the genesis. A learner gets its own with the first message of a leader.
pub(super) fn raft_id<M: Machine>(
    options: &ReplicaOptions<M>,
    store: &VatStore,
    key: &HostId,
) -> Result<Option<u64>, ConsensusError> {
    if let Some(id) = store.raft_id()? {
        return Ok(Some(id));
    }
    match genesis_raft_ids(&options.genesis).get(key) {
        Some(id) if !options.learner => {
            store.set_raft_id(*id)?;
            Ok(Some(*id))
        }
        _ if options.learner => Ok(None),
        _ => Err(ConsensusError::NotAMember(*key)),
    }
}

/// Compares the newest checkpoint with what this host signed. If the members have certified something else, that is kept, and is why
/// the replica has stopped for good.
///
/// # Errors
/// The host itself made another checkpoint than it signed; or the store fails.
pub(super) fn check_watermark(
    store: &VatStore,
    watermark: &SignedWatermark,
    record: &CheckpointRecord,
) -> Result<(), ConsensusError> {
    let (block, signed, found) = (watermark.block, watermark.statement, record.statement.hash());
    if block != record.block() || signed == found || store.divergence()?.is_some() {
        return Ok(());
    }
    match record.certificate.as_ref().and_then(|certificate| Divergence::from_signed(certificate, block, signed)) {
        Some(divergence) => Ok(store.set_divergence(&divergence)?),
        None => Err(ConsensusError::Watermark { block, signed, found }),
    }
}
