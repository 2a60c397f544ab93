//! The state that consensus itself replicates, in front of the machine and inside the state root. Pure.
//!
//! Invariants: it changes only by log entries, so it is equal on every replica at an equal log index. Raft ids come from its
//! counter and are never given twice. At most one change of membership is under way. An epoch begins with the block that
//! activates it. Certificates are not in it, since replicas get signatures in different orders. A change of members carries the
//! evidence that authorises it, which is checked here; a leader's claim does not count.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::codec;
use crate::error::{CertificateError, CodecError};
use crate::proof::approval::{Subject, canceled};
use crate::proof::certificate::verify_certificate;
use crate::proof::clock::time_of;
use crate::proof::membership::{Genesis, Member, Membership, MembershipCertificate, Parameters, verify_membership};
use crate::state::block::{Activation, Admission, Block, Control, LogContent, Tick};
use crate::state::change::{Change, PendingChange};
use quorate_ids::{Hash, HostId};

/// Newcomers of changes that were given up that are remembered: a leader may be calling one of them.
const MAX_GIVEN_UP: usize = 8;

/// A byte of a block counts as so much work at least, beyond the first [`FREE_BYTES`] of the block. What a machine takes in costs it more. What it
/// refuses costs nothing, and takes as much of the disk: a leader that lies could fill it.
pub(crate) const BYTE_WORK: u64 = 100;
/// Bytes of a block that do not count: 2,000 such blocks are 125 MiB.
pub(crate) const FREE_BYTES: u64 = 64 << 10;

/// Raft's own membership, as applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaftMembership {
    /// Sets of voters: one, or two in a joint phase.
    pub(crate) configs: Vec<BTreeSet<u64>>,
    /// Voters and learners.
    pub(crate) nodes: BTreeMap<u64, Member>,
}

impl RaftMembership {
    /// That with which every log of a vat begins: all members of the genesis are voters.
    pub(crate) fn of_genesis(genesis: &Genesis) -> Self {
        let ids = genesis_raft_ids(genesis);
        let nodes = genesis.members.iter().map(|member| (ids[&member.key], member.clone()));
        Self { configs: vec![ids.values().copied().collect()], nodes: nodes.collect() }
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// What happened since the last checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceCheckpoint {
    pub(crate) blocks: u64,
    pub(crate) commands: u64,
    pub(crate) work: u64,
}

impl SinceCheckpoint {
    /// Counts a block, whatever it does: the log keeps all of them, and is cut at checkpoints only.
    pub(crate) fn count(&mut self, bytes: usize, commands: usize, work: u64) {
        let least = (bytes as u64).saturating_sub(FREE_BYTES).saturating_mul(BYTE_WORK);
        self.blocks += 1;
        self.commands += commands as u64;
        self.work = self.work.saturating_add(work.max(least));
    }

    /// The rule for checkpoints. Asked before a block is executed, so that the block's own statement can be the checkpoint's.
    pub(crate) fn is_due(&self, parameters: &Parameters) -> bool {
        self.blocks >= parameters.checkpoint_blocks
            || self.commands >= parameters.checkpoint_commands
            || self.work >= parameters.checkpoint_work
    }
}

/// See the head of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicatedState {
    /// Membership of the present epoch.
    pub(crate) membership: Membership,
    /// That of the epoch before: its members sign the present one.
    pub(crate) previous_membership: Option<Membership>,
    /// Raft ids of the members, and of the one that is coming.
    pub(crate) raft_ids: BTreeMap<HostId, u64>,
    /// The next raft id.
    pub(crate) next_raft_id: u64,
    /// The change that is under way.
    pub(crate) pending: Option<PendingChange>,
    /// Hash of the statement of the block that recorded it; zero if none is under way.
    pub(crate) admitted_statement: Hash,
    /// Newcomers of the latest changes that were given up, by raft id.
    pub(crate) given_up: BTreeMap<u64, Member>,
    /// The log's time, in ms since the Unix epoch; 0 before the first tick.
    pub(crate) now_ms: u64,
    /// Hash of the last statement.
    pub(crate) last_statement: Hash,
    /// For the checkpoint rule.
    pub(crate) since_checkpoint: SinceCheckpoint,
    /// Last entry applied.
    pub(crate) last_log: Option<LogPosition>,
    /// Where raft's membership was set,
    pub(crate) raft_membership_log: Option<LogPosition>,
    /// and what it is.
    pub(crate) raft_membership: RaftMembership,
}

impl ReplicatedState {
    /// The state before the first log entry.
    pub(crate) fn of_genesis(genesis: &Genesis) -> Self {
        let membership = genesis.membership();
        let raft_ids: BTreeMap<HostId, u64> = genesis_raft_ids(genesis);
        Self {
            next_raft_id: raft_ids.len() as u64 + 1,
            membership,
            previous_membership: None,
            raft_ids,
            pending: None,
            admitted_statement: Hash::ZERO,
            given_up: BTreeMap::new(),
            now_ms: 0,
            last_statement: Hash::ZERO,
            since_checkpoint: SinceCheckpoint::default(),
            last_log: None,
            raft_membership_log: None,
            raft_membership: RaftMembership::default(),
        }
    }

    /// The bytes that are hashed into the state root and kept in a checkpoint.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads them back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }

    /// Returns what the owners of the present members approve of, if they approve of this change now. The error is the same on every
    /// replica.
    pub(crate) fn subject(&self, change: &Change, threshold: u16) -> Result<Subject, String> {
        let target = match (change, &self.pending) {
            (Change::Cancel, Some(pending)) => canceled(pending.block, &pending.target.hash()),
            (Change::Cancel, None) => return Err("no change is under way".into()),
            (_, Some(pending)) => {
                return Err(format!("the change recorded in block {} is still under way", pending.block));
            }
            (change, None) => change.target(&self.membership, threshold)?.hash(),
        };
        Ok(Subject::new(&self.membership, target))
    }

    /// Records a change, or gives up the recorded one, if it was approved. The error is the same on every replica.
    pub(crate) fn admit(&mut self, admission: &Admission, block: u64) -> Result<(), String> {
        let Admission { change, threshold, approvals, newcomer } = admission;
        let subject = self.subject(change, *threshold)?;
        let text = |error: CertificateError| error.to_string();
        subject.verify_approvals(&self.membership, approvals).map_err(text)?;
        subject.verify_newcomer(change.newcomer().map(|member| &member.key), newcomer.as_ref()).map_err(text)?;
        if *change == Change::Cancel {
            self.cancel();
            return Ok(());
        }
        let target = change.target(&self.membership, *threshold)?;
        let raft_id = change.newcomer().map(|member| {
            let id = self.next_raft_id;
            self.next_raft_id += 1;
            self.raft_ids.insert(member.key, id);
            id
        });
        self.pending = Some(PendingChange { change: change.clone(), block, target, raft_id });
        Ok(())
    }

    /// Gives up the recorded change.
    fn cancel(&mut self) {
        self.admitted_statement = Hash::ZERO;
        let Some(pending) = self.pending.take() else { return };
        if let (Some(member), Some(id)) = (pending.change.newcomer(), pending.raft_id) {
            self.raft_ids.remove(&member.key);
            self.given_up.insert(id, member.clone());
            if self.given_up.len() > MAX_GIVEN_UP {
                self.given_up.pop_first();
            }
        }
    }

    /// Notes the statement of the block that recorded the pending change.
    pub(crate) fn note_statement(&mut self, block: u64, statement: Hash) {
        if self.pending.as_ref().is_some_and(|pending| pending.block == block) {
            self.admitted_statement = statement;
        }
    }

    /// Raft ids of the members of the present epoch.
    pub(crate) fn voters(&self) -> BTreeSet<u64> {
        self.membership.members.iter().filter_map(|member| self.raft_ids.get(&member.key).copied()).collect()
    }

    /// Begins the epoch of the recorded change, if its turn has come and the present members have shown that they are at work.
    /// Returns the membership that ends. The error is the same on every replica.
    pub(crate) fn activate(&mut self, activation: &Activation) -> Result<Membership, String> {
        if self.pending.is_some() && activation.certificate.statement.hash() != self.admitted_statement {
            let admitted = activation.admitted;
            return Err(format!("the certificate is not that of block {admitted}, which recorded the change"));
        }
        self.begin_epoch(activation)
    }

    /// All of [`Self::activate`] but that the certified statement is the one that was computed here.
    fn begin_epoch(&mut self, activation: &Activation) -> Result<Membership, String> {
        let Activation { epoch, admitted, certificate, present } = activation;
        let pending =
            self.pending.as_ref().filter(|pending| pending.target.epoch == *epoch && pending.block == *admitted);
        let Some(pending) = pending.cloned() else {
            return Err(format!("no change to epoch {epoch} that block {admitted} recorded is under way"));
        };
        if self.raft_membership.configs != [self.voters()] {
            return Err("raft's voters are not yet those of the present epoch".into());
        }
        if pending.raft_id.is_some_and(|id| !self.raft_membership.nodes.contains_key(&id)) {
            return Err("the newcomer is not replicated to yet".into());
        }
        if certificate.statement.block != *admitted {
            return Err(format!("the certificate is not that of block {admitted}, which recorded the change"));
        }
        let text = |error: CertificateError| error.to_string();
        verify_certificate(certificate, &self.membership).map_err(text)?;
        if let Some(before) = &self.previous_membership {
            let present = MembershipCertificate { membership: self.membership.clone(), signatures: present.clone() };
            verify_membership(&present, before).map_err(text)?;
        } else if !present.is_empty() {
            return Err("epoch 0 needs no certificate".into());
        }
        self.pending = None;
        self.admitted_statement = Hash::ZERO;
        Ok(self.replace_members(pending.target))
    }

    /// Has the members that are left over go on alone, if so many signed that one of them is honest. Returns the membership that ends.
    /// The error is the same on every replica.
    pub(crate) fn recover(&mut self, certificate: &MembershipCertificate, block: u64) -> Result<Membership, String> {
        let Some(recovered) = certificate.membership.recovered else {
            return Err("the membership is not marked as recovered".into());
        };
        if recovered.block.checked_add(1) != Some(block) {
            return Err(format!("the recovery goes on from block {}, and this is block {block}", recovered.block));
        }
        verify_membership(certificate, &self.membership).map_err(|error| error.to_string())?;
        self.cancel();
        Ok(self.replace_members(certificate.membership.clone()))
    }

    fn replace_members(&mut self, next: Membership) -> Membership {
        let ended = std::mem::replace(&mut self.membership, next);
        let membership = &self.membership;
        self.raft_ids.retain(|key, _| membership.contains(key));
        self.previous_membership = Some(ended.clone());
        ended
    }

    /// Lets time pass, as far as enough of the present members state that it has. It never goes back. The error is the same on every
    /// replica.
    pub(crate) fn tick(&mut self, tick: &Tick) -> Result<(), String> {
        let now_ms = time_of(&self.membership, &tick.clocks).map_err(|error| error.to_string())?;
        if now_ms <= self.now_ms {
            return Err(format!("the log's time is {} already", self.now_ms));
        }
        self.now_ms = now_ms;
        Ok(())
    }

    /// Takes into account what a log entry after the applied ones will do to the members, if it is committed: its control, or Raft's
    /// membership. Nothing is executed. So of a change that was recorded after the applied entries, the hash of the recording
    /// block's statement is not known; that a threshold of the members has signed one for this block has to do.
    pub(crate) fn foresee(&mut self, index: u64, content: &LogContent) {
        match content {
            LogContent::Blank => {}
            LogContent::Raft(membership) if self.allows(membership) => self.raft_membership = membership.clone(),
            LogContent::Raft(_) => {}
            LogContent::Block(bytes) => {
                // What is refused has no effect here, as it has none when it is executed.
                let _ = match Block::decode(bytes).control {
                    None => Ok(()),
                    Some(Control::Admit(admission)) => self.admit(&admission, index),
                    Some(Control::Activate(activation)) if self.admitted_statement == Hash::ZERO => {
                        self.begin_epoch(&activation).map(|_| ())
                    }
                    Some(Control::Activate(activation)) => self.activate(&activation).map(|_| ()),
                    Some(Control::Recover(certificate)) => self.recover(&certificate, index).map(|_| ()),
                    // Time changes no members.
                    Some(Control::Tick(_)) => Ok(()),
                };
            }
        }
    }

    /// Returns whether Raft may have this membership next: the leader derives it from this state alone, and so does everybody who checks.
    ///
    /// Its voters are those of the present epoch, or, on the way to them, both those and the voters that Raft has now. Beside
    /// them it replicates to the newcomer of the recorded change, to replicas that it replicates to now and that are leaving,
    /// and to the newcomer of a change that was given up while a leader was about to call it.
    pub(crate) fn allows(&self, next: &RaftMembership) -> bool {
        let (now, voters) = (&self.raft_membership, self.voters());
        let is_known = |id: &u64, member: &Member| {
            self.member_of_raft_id(*id) == Some(member)
                || now.nodes.get(id) == Some(member)
                || self.given_up.get(id) == Some(member)
        };
        let configs_follow = match &next.configs[..] {
            [only] => *only == voters || now.configs == next.configs,
            [first, second] => now.configs == next.configs || (*second == voters && now.configs.contains(first)),
            _ => false,
        };
        configs_follow
            && next.configs.iter().flatten().all(|id| next.nodes.contains_key(id))
            && next.nodes.iter().all(|(id, member)| is_known(id, member))
    }

    /// The member, or the newcomer of the recorded change, that has this raft id.
    fn member_of_raft_id(&self, raft_id: u64) -> Option<&Member> {
        let (key, _) = self.raft_ids.iter().find(|(_, id)| **id == raft_id)?;
        let newcomer = self.pending.as_ref().and_then(|pending| pending.change.newcomer());
        self.membership.member(key).or_else(|| newcomer.filter(|member| member.key == *key))
    }
}

/// Raft ids of the members of a genesis: their places, from 1.
pub(crate) fn genesis_raft_ids(genesis: &Genesis) -> BTreeMap<HostId, u64> {
    genesis.members.iter().zip(1..).map(|(member, id)| (member.key, id)).collect()
}
