//! The state that consensus itself replicates, in front of the machine and inside the state root. Pure.
//!
//! Invariants: it changes only by log entries, so it is equal on every replica at an equal log index; raft ids come from its
//! counter and are never given twice; at most one change of membership is under way; an epoch begins with the block that
//! activates it. Certificates are not in it: who signed first differs between replicas.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::codec;
use crate::error::CodecError;
use crate::proof::membership::{Genesis, MAX_CHAIN, MAX_MEMBERS, Member, Membership, Parameters};
use crate::state::change::{Change, PendingChange};
use quorate_ids::{Canonical, Hash, HostId};

/// Raft's own membership, as applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaftMembership {
    /// Sets of voters: one, or two in a joint phase.
    pub(crate) configs: Vec<BTreeSet<u64>>,
    /// Voters and learners.
    pub(crate) nodes: BTreeMap<u64, Member>,
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

    /// Records a change. The error is the same on every replica.
    pub(crate) fn admit(&mut self, change: Change, threshold: Option<u16>, block: u64) -> Result<(), String> {
        if change == Change::Cancel {
            let pending = self.pending.take().ok_or("no change is under way")?;
            if let Change::Add(member) | Change::Replace { in_: member, .. } = &pending.change {
                self.raft_ids.remove(&member.key);
            }
            return Ok(());
        }
        if let Some(pending) = &self.pending {
            return Err(format!("the change recorded in block {} is still under way", pending.block));
        }
        if self.membership.epoch >= MAX_CHAIN as u64 {
            return Err(format!("the members were changed {MAX_CHAIN} times, which is the most that can be proven"));
        }
        let (members, coming) = self.changed_members(&change)?;
        let threshold = match (&change, threshold) {
            (Change::Threshold(threshold), _) => *threshold,
            (_, Some(threshold)) => threshold,
            (_, None) => default_threshold(self.membership.threshold, members.len()),
        };
        let target = Membership {
            vat: self.membership.vat,
            epoch: self.membership.epoch + 1,
            previous: self.membership.hash(),
            members,
            threshold,
        };
        target.validate().map_err(|error| error.to_string())?;
        let raft_id = coming.map(|key| {
            let id = self.next_raft_id;
            self.next_raft_id += 1;
            self.raft_ids.insert(key, id);
            id
        });
        self.pending = Some(PendingChange { change, block, target, raft_id });
        Ok(())
    }

    fn changed_members(&self, change: &Change) -> Result<(Vec<Member>, Option<HostId>), String> {
        let mut members = self.membership.members.clone();
        let mut coming = None;
        let (out, in_) = match change {
            Change::Add(member) => (None, Some(member)),
            Change::Remove(key) => (Some(key), None),
            Change::Replace { out, in_ } => (Some(out), Some(in_)),
            Change::Threshold(_) | Change::Cancel => (None, None),
        };
        let place = match out {
            None => members.len(),
            Some(key) => {
                let place = members.iter().position(|member| member.key == *key);
                let place = place.ok_or_else(|| format!("{key} is not a member"))?;
                members.remove(place);
                place
            }
        };
        if let Some(member) = in_ {
            if self.membership.contains(&member.key) {
                return Err(format!("{} is a member already", member.key));
            }
            if members.len() >= MAX_MEMBERS {
                return Err(format!("the vat has {MAX_MEMBERS} members, which is the most"));
            }
            coming = Some(member.key);
            members.insert(place, member.clone());
        }
        Ok((members, coming))
    }

    /// Begins the epoch of the change recorded in block `admitted`. Returns the membership that ends.
    pub(crate) fn activate(&mut self, epoch: u64, admitted: u64) -> Result<Membership, String> {
        match &self.pending {
            Some(pending) if pending.target.epoch == epoch && pending.block == admitted => {}
            _ => return Err(format!("no change to epoch {epoch} that block {admitted} recorded is under way")),
        }
        let pending = self.pending.take().ok_or("no change is under way")?;
        let ended = std::mem::replace(&mut self.membership, pending.target);
        let membership = &self.membership;
        self.raft_ids.retain(|key, _| membership.contains(key));
        self.previous_membership = Some(ended.clone());
        Ok(ended)
    }
}

/// Raft ids of the members of a genesis: their places, from 1.
pub(crate) fn genesis_raft_ids(genesis: &Genesis) -> BTreeMap<HostId, u64> {
    genesis.members.iter().zip(1..).map(|(member, id)| (member.key, id)).collect()
}

/// The old threshold if it is still valid, else the smallest majority.
fn default_threshold(old: u16, members: usize) -> u16 {
    let majority = members / 2 + 1;
    if usize::from(old) >= majority && usize::from(old) <= members {
        return old;
    }
    u16::try_from(majority).unwrap_or(u16::MAX)
}

/// The root that a checkpoint's statement carries.
pub(crate) fn state_root(state: &[u8], machine_root: &Hash) -> Hash {
    let mut inner = Canonical::new("quorate/consensus-state/1");
    inner.bytes(state);
    let mut outer = Canonical::new("quorate/state/1");
    outer.fixed(&inner.hash().0).fixed(&machine_root.0);
    outer.hash()
}
