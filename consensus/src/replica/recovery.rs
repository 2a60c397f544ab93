//! Recovers a vat that has lost so many members for good that it can certify nothing any more: the part of each remaining member,
//! on its own store, while its replica does not run.
//!
//! There are three steps. Each member states how far its log goes ([`recovery_offer`]). Each signs the membership that follows from all statements
//! ([`recovery_of`], [`agree_to_recovery`]). Each writes the signed membership into its store ([`carry_out_recovery`]), where its replica
//! finds it at its start. The longest log goes on with two entries: one breaks certified order by hand, and one makes the
//! remaining members Raft's voters. Every replica that executes the first entry checks the signatures.
//!
//! Invariants: no log is given up for one that is behind it, so entries of a majority survive if one member of the majority is left. A member that has
//! signed sends nothing more in the epoch that ends, also after a crash, so the members that are left out can certify nothing there. A host signs one
//! membership for each epoch, in all its lives. Every interrupted step can be repeated: a member that has signed reports its signature,
//! so that the others sign the same.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec;
use crate::error::RecoveryError;
use crate::order::chain;
use crate::order::frames::{WireContent, WireEntry, WireVote};
use crate::proof::certificate::MemberSignature;
use crate::proof::membership::{Genesis, Membership, MembershipCertificate, Recovered, verify_membership};
use crate::raft::log::Link;
use crate::state::block::{Block, Control, LogContent};
use crate::state::{LogPosition, RaftMembership, ReplicatedState};
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::marks::Mark;
use crate::storage::{Family, SCAN_BYTES, Store, VOTE, VatStore, Write, read};
use quorate_ids::{Hash, HostId};

/// Why a replica does not run whose host has signed a recovery.
pub(super) const AGREED: &str = "Q-C048 this host has agreed to a recovery of the vat, and says nothing more with the members that it had before: `vat recover` \
                      finishes it";
/// How that begins.
const AGREED_CODE: &str = "Q-C048 ";
/// Terms by which a recovery may be ahead of what a member has heard of. Elections come far from it, and a member that names the highest number
/// there is would leave no term to elect a leader in.
const MAX_TERMS_AHEAD: u64 = 1 << 32;
/// The record of the membership that this host has signed to recover the vat.
const TARGET: &str = "recovery";

/// What a member brings to a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryOffer {
    /// The member.
    pub member: HostId,
    /// The members of the vat, as its log has it.
    pub present: Membership,
    /// The last block of its log,
    pub block: u64,
    /// the term of that block,
    pub block_term: u64,
    /// and what stands for the log through it.
    pub chain: Hash,
    /// The highest of Raft's terms that it has heard of.
    pub term: u64,
    /// What it has signed already to recover the vat, and has not carried out: it signs nothing else.
    pub agreed: Option<Membership>,
}

/// What is left of a vat on a host.
struct Left {
    part: VatStore,
    state: ReplicatedState,
    offer: RecoveryOffer,
    /// The latest term of which it has heard that a leader was elected.
    led: u64,
    /// The newest block that it has signed, or has a certificate of.
    certified: u64,
}

/// Says what the member `key` brings to a recovery. Its replica must not be running.
///
/// # Errors
/// It is no member, has stopped by a fault, or its log lacks what it has promised; or the store fails.
pub fn recovery_offer(store: &Arc<dyn Store>, genesis: &Genesis, key: HostId) -> Result<RecoveryOffer, RecoveryError> {
    Ok(Left::read(store, genesis, key)?.offer)
}

/// The membership by which those who made these offers go on, without the others: from the log that is ahead of the others.
///
/// # Errors
/// The offers are of different memberships, two of equal places contradict each other, or one of them has signed a recovery already that
/// the others do not make up.
pub fn recovery_of(offers: &[RecoveryOffer]) -> Result<Membership, RecoveryError> {
    let refused = |text: &str| RecoveryError::Offers(text.to_owned());
    let place = |offer: &RecoveryOffer| (offer.block_term, offer.block);
    let newest = offers.iter().max_by_key(|offer| place(offer)).ok_or_else(|| refused("nobody is left"))?;
    if offers.iter().any(|offer| offer.present != newest.present) {
        return Err(refused(
            "they know different memberships: a change of members was under way and is not certified. Let them run until it is, if they can",
        ));
    }
    let keys: BTreeSet<HostId> = offers.iter().map(|offer| offer.member).collect();
    if keys.len() != offers.len() || keys.iter().any(|key| !newest.present.contains(key)) {
        return Err(refused("an offer is not of a member, or of one that made another already"));
    }
    if offers.iter().any(|offer| place(offer) == place(newest) && offer.chain != newest.chain) {
        return Err(refused(
            "two of them have different logs of equal length: one of them lies, or its store is damaged",
        ));
    }
    let mut agreed = offers.iter().filter_map(|offer| offer.agreed.as_ref());
    if let Some(target) = agreed.next() {
        if agreed.any(|other| other != target) {
            return Err(refused(
                "two of them have signed different recoveries, and sign no other: one of the two must stay out",
            ));
        }
        if let Some(missing) = target.members.iter().find(|member| !keys.contains(&member.key)) {
            let name = missing.name.escape_debug();
            return Err(refused(&format!(
                "one of them has signed to go on with {name}, which is not among them, and signs nothing else: bring {name} back"
            )));
        }
        return Ok(target.clone());
    }
    let terms = || offers.iter().map(|offer| offer.term);
    let (lowest, term) = (terms().min().unwrap_or_default(), terms().max().unwrap_or_default().saturating_add(1));
    if term - lowest > MAX_TERMS_AHEAD {
        return Err(refused(&format!("one of them says that there was a term {}, which is not true", term - 1)));
    }
    let RecoveryOffer { block, block_term, chain, .. } = *newest;
    let recovered = Recovered { block, block_term, chain, term };
    let keys: Vec<HostId> = keys.into_iter().collect();
    newest.present.recovery(&keys, recovered).map_err(|error| RecoveryError::Offers(error.to_string()))
}

/// Signs the membership by which the members that are left go on, as one of them. From then on the replica runs no more, until that is
/// carried out; the same can be asked again. The replica must not be running.
///
/// # Errors
/// It does not follow from what this member has, or another one was signed for the same epoch; or the store fails.
pub fn agree_to_recovery(
    store: &Arc<dyn Store>,
    genesis: &Genesis,
    key: &SigningKey,
    target: &Membership,
) -> Result<MemberSignature, RecoveryError> {
    let left = Left::read(store, genesis, HostId(key.verifying_key().to_bytes()))?;
    left.check(target)?;
    left.part.write_synced(vec![left.part.put_named(TARGET, target)])?;
    // From here on it is a promise; in the marks, too: whatever becomes of the database, it stands.
    left.part.set_mark(|mark| mark.agreed = Some((target.epoch, target.hash())), true)?;
    left.part.set_signed_membership(target.epoch, target.hash())?;
    left.part.set_fault(AGREED)?;
    Ok(MemberSignature::sign(key, &target.payload()))
}

/// Writes a recovery that so many signed as must into the store of the member `key`, whose replica goes on with it at its next start.
/// On disk when it returns, all of it or nothing. The replica must not be running.
///
/// # Errors
/// Too few have signed it, or it does not follow from what this member has; or the store fails.
pub fn carry_out_recovery(
    store: &Arc<dyn Store>,
    genesis: &Genesis,
    key: HostId,
    certificate: &MembershipCertificate,
) -> Result<(), RecoveryError> {
    let left = Left::read(store, genesis, key)?;
    let (part, target) = (&left.part, &certificate.membership);
    let recovered = target.recovered.ok_or_else(|| refused(&"it is not marked as one"))?;
    let raft_id = part.raft_id()?.ok_or_else(|| refused(&"its replica was never called by a leader"))?;
    let vote = WireVote { term: recovered.term, node: raft_id, committed: false };
    // A life before may have ended between the two writes. Only the log tells: members that have carried it out show the chain around.
    if left.offer.present.epoch < target.epoch {
        left.check(target)?;
        verify_membership(certificate, &left.offer.present).map_err(|error| refused(&error))?;
        let mut batch = vec![part.put_membership(certificate)];
        // Who is behind gets them from the one that leads.
        if (left.offer.block, left.offer.chain) == (recovered.block, recovered.chain) {
            batch.extend(left.entries(certificate, &recovered)?);
        }
        if left.offer.term < vote.term {
            batch.push(part.put_named(VOTE, &vote));
        }
        // The promise has the replica stand still until its end is written, too.
        part.write_synced(batch)?;
    } else if !part.chain()?.contains(certificate) {
        return Err(refused(&format!("it went on otherwise, and is in epoch {}", left.offer.present.epoch)));
    }
    end_promise(part, target, &vote)
}

/// Ends what was promised with the signature of a recovery that is carried out here. Another promise or fault stands.
fn end_promise(part: &VatStore, target: &Membership, vote: &WireVote) -> Result<(), RecoveryError> {
    let promise = (target.epoch, target.hash());
    let end = |mark: &mut Mark| {
        mark.note_vote(vote.term, vote.node, vote.committed);
        mark.agreed = mark.agreed.filter(|agreed| *agreed != promise);
    };
    part.set_mark(end, true)?;
    let signed: Option<Membership> = part.named(TARGET)?;
    let is_other =
        part.mark().is_some_and(|mark| mark.agreed.is_some()) || signed.is_some_and(|signed| signed != *target);
    if is_other || !part.fault()?.is_some_and(|fault| fault.starts_with(AGREED_CODE)) {
        return Ok(());
    }
    Ok(part.write_synced(vec![part.delete_named(TARGET), part.delete_fault()])?)
}

fn refused(why: &dyn std::fmt::Display) -> RecoveryError {
    RecoveryError::Refused(why.to_string())
}

impl Left {
    fn read(store: &Arc<dyn Store>, genesis: &Genesis, key: HostId) -> Result<Left, RecoveryError> {
        let part = VatStore::new(Arc::clone(store), genesis.vat_id());
        let fault = part.fault()?.filter(|fault| !fault.starts_with(AGREED_CODE));
        if let Some(fault) = fault {
            return Err(refused(&format!("its replica has stopped: {fault}")));
        }
        if part.divergence()?.is_some() {
            return Err(refused(&"its replica has stopped, since the others certified something else than it signed"));
        }
        let (state, end) = read_log(&part, genesis)?;
        let end = end.ok_or_else(|| refused(&"it has nothing of the vat"))?;
        let present = state.membership.clone();
        if !present.contains(&key) {
            return Err(refused(&"it is no member of the vat any more"));
        }
        if (part.chain()?.len() as u64) < present.epoch {
            let epoch = present.epoch;
            return Err(refused(&format!("epoch {epoch} is not certified, so nobody else knows its members")));
        }
        let mark = part.mark().unwrap_or_default();
        let signed = part.watermark()?.map_or(0, |signed| signed.block);
        let promised = mark.log.max(signed).max(mark.votes_after);
        if promised > end.log.index {
            let index = end.log.index;
            return Err(refused(&format!(
                "its log ends at block {index}, and it has acknowledged or signed up to block {promised}: what it had was certified by the others alone"
            )));
        }
        let vote: Option<WireVote> = part.named(VOTE)?;
        let votes = vote.map(|vote| (vote.term, vote.committed)).into_iter();
        let votes: Vec<(u64, bool)> = votes.chain(mark.vote.map(|(term, _, committed)| (term, committed))).collect();
        let voted = votes.iter().map(|(term, _)| *term).max().unwrap_or_default();
        let led = votes.iter().filter(|(_, elected)| *elected).map(|(term, _)| *term).max().unwrap_or_default();
        // One that is no promise is of a life that ended before it became one.
        let is_promise = |agreed: &Membership| match part.mark() {
            Some(mark) => mark.agreed == Some((agreed.epoch, agreed.hash())),
            None => agreed.epoch > state.membership.epoch,
        };
        let agreed: Option<Membership> = part.named(TARGET)?.filter(is_promise);
        let offer = RecoveryOffer {
            member: key,
            present,
            block: end.log.index,
            block_term: end.log.term,
            chain: end.chain,
            term: voted.max(end.log.term),
            agreed,
        };
        let certified = signed.max(part.newest_certified()?);
        Ok(Left { part, state, offer, led, certified })
    }

    /// Returns whether a recovery follows from what is here, and may be signed.
    fn check(&self, target: &Membership) -> Result<(), RecoveryError> {
        let offer = &self.offer;
        let recovered = target.recovered.ok_or_else(|| refused(&"it is not marked as one"))?;
        let members: Vec<HostId> = target.members.iter().map(|member| member.key).collect();
        let expected = offer.present.recovery(&members, recovered).map_err(|error| refused(&error))?;
        if expected != *target || !target.contains(&offer.member) {
            return Err(refused(&"it is not one that follows from the vat's present members"));
        }
        let (own, there) = ((offer.block_term, offer.block), (recovered.block_term, recovered.block));
        if own > there || (own == there && offer.chain != recovered.chain) {
            return Err(refused(&format!(
                "the log here ends at block {} and would be given up for one that is not ahead of it (block {}); begin again",
                offer.block, recovered.block
            )));
        }
        if there.1 < self.certified {
            return Err(refused(&format!(
                "the vat would go on after block {}, and this host has what was certified up to block {}: who says that another log is ahead of it lies",
                recovered.block, self.certified
            )));
        }
        // Elections that nobody won since it was made up do no harm: what it writes is of a term that no leader has used.
        if recovered.term <= offer.block_term.max(self.led) {
            return Err(refused(&format!("a leader was elected in term {} or later; begin again", recovered.term)));
        }
        if recovered.term.saturating_sub(offer.term) > MAX_TERMS_AHEAD {
            return Err(refused(&format!("term {} is far beyond all that was heard of here", recovered.term)));
        }
        let promise = self.part.mark().and_then(|mark| mark.agreed).filter(|(epoch, _)| *epoch == target.epoch);
        let signed = promise.map(|(_, signed)| signed).or(self.part.signed_membership(target.epoch)?);
        if signed.is_some_and(|signed| signed != target.hash()) {
            return Err(refused(&format!(
                "it has signed another membership for epoch {}, and may sign one only: go on with the members that had agreed then",
                target.epoch
            )));
        }
        Ok(())
    }

    /// The entries that record a recovery, after the last one here.
    fn entries(&self, certificate: &MembershipCertificate, recovered: &Recovered) -> Result<Vec<Write>, RecoveryError> {
        let mut state = self.state.clone();
        let first = recovered.block.saturating_add(1);
        state.recover(certificate, first).map_err(|why| refused(&why))?;
        let nodes = state.membership.members.iter().filter_map(|member| {
            let id = state.raft_ids.get(&member.key)?;
            Some((*id, member.clone()))
        });
        let voters = RaftMembership { configs: vec![state.voters()], nodes: nodes.collect() };
        let block = Block::of_control(Control::Recover(certificate.clone())).encode();
        let mut chain = self.offer.chain;
        let contents = [WireContent::Block(block), WireContent::Membership(voters)];
        let entries = contents.into_iter().zip(first..).map(|(content, index)| {
            let entry = WireEntry { log: LogPosition { term: recovered.term, index }, content };
            chain = chain::next(&chain, &entry);
            Write::Put(Family::Log, self.part.numbered(index), codec::encode(&(chain, &entry)))
        });
        Ok(entries.collect())
    }
}

/// The state as the whole log makes it, as far as it concerns the members, and where the log ends.
fn read_log(part: &VatStore, genesis: &Genesis) -> Result<(ReplicatedState, Option<Link>), RecoveryError> {
    let mut state = match part.last(Family::Checkpoint)? {
        None => ReplicatedState::of_genesis(genesis),
        Some((_, value)) => {
            let record: CheckpointRecord = read(Family::Checkpoint, &value)?;
            record.restored_state().map_err(|why| refused(&why))?
        }
    };
    let mut end: Option<Link> = part.named("purged")?;
    let executed = state.last_log.map(|last| last.index);
    let mut next = end.map_or(0, |end| end.log.index.saturating_add(1));
    loop {
        let records = part.scan_log(next, None, SCAN_BYTES)?;
        if records.is_empty() {
            return Ok((state, end));
        }
        for (_, value) in records {
            let (chain, entry): (Hash, WireEntry) = read(Family::Log, &value)?;
            let log = entry.position();
            if log.index != next {
                return Err(refused(&format!("its log has no block {next}")));
            }
            end = Some(Link { log, chain });
            next = log.index.saturating_add(1);
            if executed.is_none_or(|executed| log.index > executed) {
                let content = match entry.content {
                    WireContent::Blank => LogContent::Blank,
                    WireContent::Block(bytes) => LogContent::Block(bytes),
                    WireContent::Membership(membership) => LogContent::Raft(membership),
                };
                state.foresee(log.index, &content);
            }
        }
    }
}
