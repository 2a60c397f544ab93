//! Drafts: changes of members, and motions of the application, that wait for the approval of the members' owners, as one replica knows
//! them. Pure.
//!
//! A member proposes a change by a draft that it shows to the other members. Each answers by its policy, or when its owner
//! has answered. The proposer collects the approvals and has the change ordered with them.
//!
//! Invariants: each member has one draft at most, and the log would accept each draft now. So the number of members bounds all drafts
//! together, and no draft outlives the state that it would change.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::proof::approval::{Subject, moved};
use crate::proof::certificate::MemberSignature;
use crate::proof::membership::Member;
use crate::state::ReplicatedState;
use crate::state::change::Change;
use quorate_ids::{Hash, HostId};

/// Answers that are kept.
const MAX_ANSWERS: usize = 64;

/// Longest motion, in bytes.
pub(crate) const MAX_MOTION_BYTES: usize = 4 << 10;

/// What a draft proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Matter {
    /// A change of members. The threshold is that from then on; 0 if a change is given up.
    Members { change: Change, threshold: u16 },
    /// Something that the application means by these bytes.
    Motion(Vec<u8>),
}

/// A change or a motion that a member proposes to the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) matter: Matter,
    /// The present epoch.
    pub(crate) epoch: u64,
    /// Hash of the present membership.
    pub(crate) present: Hash,
}

/// What a host says to a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Its owner approves.
    Approves(MemberSignature),
    /// It is the newcomer, and comes.
    Enters(MemberSignature),
    /// Its owner was asked and has not answered.
    Waits,
    /// Its owner does not want the change.
    Rejects,
    /// The draft is not one that this host can answer now.
    Refuses(String),
}

/// What others have said to this replica's own draft.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Collected {
    /// Approvals by their members, this replica's included.
    pub(crate) approvals: BTreeMap<HostId, MemberSignature>,
    pub(crate) rejected: BTreeSet<HostId>,
    /// Members whose owners were asked.
    pub(crate) waiting: BTreeSet<HostId>,
    pub(crate) newcomer: Option<MemberSignature>,
}

/// Where a draft stands at its proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All is there.
    Approved,
    /// Too few members are left that could approve.
    Rejected,
    /// So many approve that the owners of others must decide.
    AsksOwners,
    /// Members, or the newcomer, have not answered.
    Open,
}

/// See the head of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drafts {
    /// By the member that proposed it.
    pub(crate) drafts: BTreeMap<HostId, Draft>,
    /// What this host's owner, or its policy, has answered, by the target of the change.
    pub(crate) answers: BTreeMap<Hash, bool>,
    /// What is collected for this replica's own draft.
    pub(crate) collected: Collected,
}

impl Draft {
    /// The draft of a change of the present members.
    pub(crate) fn new(state: &ReplicatedState, change: Change, threshold: Option<u16>) -> Self {
        let threshold = match &change {
            Change::Cancel => 0,
            change => change.threshold(&state.membership, threshold),
        };
        Self::of(state, Matter::Members { change, threshold })
    }

    /// The draft of a motion that is put to the owners of the present members.
    pub(crate) fn motion(state: &ReplicatedState, motion: Vec<u8>) -> Self {
        Self::of(state, Matter::Motion(motion))
    }

    fn of(state: &ReplicatedState, matter: Matter) -> Self {
        Self { matter, epoch: state.membership.epoch, present: state.membership.hash() }
    }

    /// The member that comes by it.
    pub(crate) fn newcomer(&self) -> Option<&Member> {
        match &self.matter {
            Matter::Members { change, .. } => change.newcomer(),
            Matter::Motion(_) => None,
        }
    }

    /// Returns whether it is a motion of the application.
    pub(crate) fn is_motion(&self) -> bool {
        matches!(self.matter, Matter::Motion(_))
    }

    /// Returns what is to be approved, if the log would take the change now.
    pub(crate) fn subject(&self, state: &ReplicatedState) -> Result<Subject, String> {
        if (self.epoch, self.present) != (state.membership.epoch, state.membership.hash()) {
            return Err(format!("it is of epoch {}, and this is epoch {}", self.epoch, state.membership.epoch));
        }
        match &self.matter {
            Matter::Members { change, threshold } => state.subject(change, *threshold),
            Matter::Motion(motion) if motion.len() > MAX_MOTION_BYTES => {
                Err(format!("a motion of {} bytes; at most {MAX_MOTION_BYTES} are allowed", motion.len()))
            }
            Matter::Motion(motion) => Ok(Subject::new(&state.membership, moved(motion))),
        }
    }
}

impl Collected {
    /// Returns where a draft of a vat of so many members, of which `needed` must approve, stands.
    pub(crate) fn standing(&self, members: usize, needed: usize, newcomer: bool) -> Standing {
        let approved = self.approvals.len();
        let undecided: BTreeSet<&HostId> = self
            .waiting
            .iter()
            .filter(|key| !self.approvals.contains_key(key) && !self.rejected.contains(key))
            .collect();
        if approved >= needed {
            return if newcomer && self.newcomer.is_none() { Standing::Open } else { Standing::Approved };
        }
        if members.saturating_sub(self.rejected.len()) < needed {
            return Standing::Rejected;
        }
        let may_follow = members.saturating_sub(approved + self.rejected.len() + undecided.len());
        if approved + may_follow < needed { Standing::AsksOwners } else { Standing::Open }
    }

    /// The first approvals that suffice.
    pub(crate) fn enough(&self, needed: usize) -> Vec<MemberSignature> {
        self.approvals.values().take(needed).copied().collect()
    }
}

impl Drafts {
    /// Notes a member's draft, instead of what it proposed before. `false`: it is known.
    pub(crate) fn note(&mut self, proposer: HostId, draft: Draft) -> bool {
        let known = self.drafts.get(&proposer) == Some(&draft);
        if !known {
            self.drafts.insert(proposer, draft);
        }
        !known
    }

    /// Notes an answer.
    pub(crate) fn answer(&mut self, target: Hash, approves: bool) {
        if self.answers.len() >= MAX_ANSWERS && !self.answers.contains_key(&target) {
            self.answers.pop_first();
        }
        self.answers.insert(target, approves);
    }

    /// Drops the drafts that the log would not take any more, or of which `refuses` says why the application does not. Returns whether
    /// there were any, and why `own`'s was one of them.
    pub(crate) fn prune(
        &mut self,
        state: &ReplicatedState,
        own: &HostId,
        refuses: impl Fn(&Draft) -> Option<String>,
    ) -> (bool, Option<String>) {
        let mut why = None;
        let before = self.drafts.len();
        self.drafts.retain(|proposer, draft| {
            let subject = draft.subject(state).and_then(|subject| refuses(draft).map_or(Ok(subject), Err));
            let fits = match subject {
                Ok(_) => state.membership.contains(proposer),
                Err(text) => {
                    if proposer == own {
                        why = Some(text);
                    }
                    false
                }
            };
            fits || {
                why = why.take().or_else(|| (proposer == own).then(|| "this host is not a member any more".to_owned()));
                false
            }
        });
        if !self.drafts.contains_key(own) {
            self.collected = Collected::default();
        }
        (self.drafts.len() != before, why)
    }
}
