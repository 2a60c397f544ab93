//! Approval of changes of members, and of the application's motions: a host's policy, its answers to drafts of other members,
//! and its owner's answers. A replica has one [`Approvals`] for changes and one for motions, so that neither waits for the other.
//!
//! Invariants: a host signs an approval only of a draft that the log would accept now, and only if its policy or its owner says so. An
//! answer is on disk before it is given. A newcomer signs its own admission and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

use super::handle::Proposed;
use super::identity::Identity;
use super::lifecycle::Lifecycle;
use super::membership_view::Members;
use super::status::StatusCell;
use super::tasks::complaints::Complaints;
use super::tasks::proposer::stopped;
use super::wire::share::{ShareClient, ShareFrame};
use crate::error::{ReconfigureError, StoreError};
use crate::proof::approval::Subject;
use crate::proof::certificate::MemberSignature;
use crate::proof::membership::Membership;
use crate::state::ReplicatedState;
use crate::state::change::Change;
use crate::state::drafts::{Answer, Draft, Drafts, Matter};
use crate::storage::VatStore;
use quorate_ids::{Hash, HostId};

/// The record of the drafts of changes of members, and that of the drafts of motions.
const DRAFTS: &str = "drafts";
const MOTIONS: &str = "motions";

/// What an application means by motions: bytes that members propose and whose approval by a threshold of owners it has a use for.
pub trait Motions: Send + Sync {
    /// Returns why a motion can't be carried out now, in the state that this replica has executed. `None`: it can.
    fn refuses(&self, motion: &[u8]) -> Option<String>;

    /// The command that carries out a motion, with what shows that the members approve of it: see [`verify_motion`](crate::verify_motion).
    fn command(&self, motion: &[u8], approvals: Vec<MemberSignature>) -> Vec<u8>;
}

/// An application without motions: it refuses them all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMotions;

impl Motions for NoMotions {
    fn refuses(&self, _motion: &[u8]) -> Option<String> {
        Some("this application has no motions".to_owned())
    }

    fn command(&self, _motion: &[u8], _approvals: Vec<MemberSignature>) -> Vec<u8> {
        Vec::new()
    }
}

/// How a host answers when a member proposes a change of a vat's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approve {
    /// It approves by itself: for hosts that all have one owner.
    Auto,
    /// It waits until its owner approves or rejects.
    #[default]
    Ask,
}

impl Approve {
    /// The word for it in configs.
    pub fn as_str(self) -> &'static str {
        match self {
            Approve::Auto => "auto",
            Approve::Ask => "ask",
        }
    }

    /// The policy that a word in a config names.
    pub fn from_word(word: &str) -> Option<Self> {
        [Approve::Auto, Approve::Ask].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// What waits for approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each change that waits: few")]
pub enum WaitingMatter {
    /// A change of members, and the membership that would follow. Without one, a recorded change would be given up.
    Members { change: Change, target: Option<Membership> },
    /// A motion of the application.
    Motion(Vec<u8>),
}

/// A change of members, or a motion, that is not in the log yet, because it waits for approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingChange {
    /// Names it, at all members alike.
    pub id: Hash,
    /// What was asked.
    pub matter: WaitingMatter,
    /// The member that proposes it.
    pub proposer: HostId,
    /// Whether that is this host.
    pub is_own: bool,
    /// What this host's owner, or its policy, has answered.
    pub answer: Option<bool>,
    /// Members that have approved, as far as this host knows: only the proposer does.
    pub approved: Vec<HostId>,
    /// Members that have rejected it, likewise.
    pub rejected: Vec<HostId>,
    /// Members whose owners were asked and have not answered, likewise.
    pub asked: Vec<HostId>,
    /// Approvals that are needed.
    pub needed: u16,
    /// The newcomer has not answered its proposer.
    pub waits_for_newcomer: bool,
}

/// The changes that wait at this replica, or the motions, and the answers to them.
pub(crate) struct Approvals {
    pub(crate) policy: Approve,
    /// Whether these are motions.
    for_motions: bool,
    pub(crate) motions: Arc<dyn Motions>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) store: VatStore,
    pub(crate) share: ShareClient,
    pub(crate) complaints: Arc<Complaints>,
    drafts: Mutex<Drafts>,
    /// Something of them has changed here.
    pub(crate) changed: Notify,
    /// What became of this replica's own draft.
    pub(crate) outcome: watch::Sender<Option<Result<Proposed, ReconfigureError>>>,
}

/// What [`Approvals`] are made of.
#[derive(Clone)]
pub(crate) struct ApprovalParts {
    pub(crate) policy: Approve,
    pub(crate) motions: Arc<dyn Motions>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) store: VatStore,
    pub(crate) share: ShareClient,
    pub(crate) complaints: Arc<Complaints>,
}

/// The name of the record of drafts.
const fn record(for_motions: bool) -> &'static str {
    if for_motions { MOTIONS } else { DRAFTS }
}

impl Approvals {
    /// Those of changes of members and those of motions, with what waited when the replica last ran.
    pub(crate) fn load(parts: ApprovalParts) -> Result<(Arc<Self>, Arc<Self>), StoreError> {
        let changes = Self::load_one(parts.clone(), false)?;
        Ok((Arc::new(changes), Arc::new(Self::load_one(parts, true)?)))
    }

    fn load_one(parts: ApprovalParts, for_motions: bool) -> Result<Self, StoreError> {
        let ApprovalParts { policy, motions, identity, lifecycle, status, members, store, share, complaints } = parts;
        let drafts = Mutex::new(store.named(record(for_motions))?.unwrap_or_default());
        let (changed, outcome) = (Notify::new(), watch::channel(None).0);
        Ok(Self {
            policy,
            for_motions,
            motions,
            identity,
            lifecycle,
            status,
            members,
            store,
            share,
            complaints,
            drafts,
            changed,
            outcome,
        })
    }

    /// Returns why the application does not want a draft in its log now. Changes of members are not its business.
    pub(crate) fn refuses(&self, draft: &Draft) -> Option<String> {
        match &draft.matter {
            Matter::Motion(motion) => self.motions.refuses(motion),
            Matter::Members { .. } => None,
        }
    }

    pub(crate) fn drafts(&self) -> MutexGuard<'_, Drafts> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn applied(&self) -> Arc<ReplicatedState> {
        Arc::clone(&self.members.view().applied)
    }

    /// Writes the drafts down. On disk when it returns.
    pub(crate) fn keep_drafts(&self, drafts: &Drafts) -> Option<()> {
        let written: Result<(), StoreError> =
            self.store.write_synced(vec![self.store.put_named(record(self.for_motions), drafts)]);
        self.lifecycle.check(written)
    }

    /// Returns why a change can't be proposed, whatever owners say: the newcomer was a member before.
    pub(crate) fn refuses_newcomer(&self, draft: &Draft) -> Option<ReconfigureError> {
        let member = draft.newcomer()?;
        let view = self.members.view();
        // Present members are refused by the log, with its own reason.
        let was = view.was_member(&member.key) && !view.applied.membership.contains(&member.key);
        was.then(|| {
            ReconfigureError::WasMember(if member.name.is_empty() {
                member.key.to_string()
            } else {
                member.name.clone()
            })
        })
    }

    /// Answers a member's draft.
    pub(crate) fn serve_draft(&self, from: HostId, draft: Draft) -> Answer {
        let state = self.applied();
        if draft.newcomer().is_some_and(|member| member.key == self.identity.key) {
            return self.enter(&draft).unwrap_or_else(Answer::Refuses);
        }
        if !state.membership.contains(&from) || !state.membership.contains(&self.identity.key) {
            return Answer::Refuses("only members of the present epoch propose and approve".into());
        }
        if let Some(error) = self.refuses_newcomer(&draft) {
            return Answer::Refuses(error.to_string());
        }
        if let Some(text) = self.refuses(&draft) {
            return Answer::Refuses(text);
        }
        match draft.subject(&state) {
            Ok(subject) => self.consider(from, draft, &subject).unwrap_or(Answer::Waits),
            Err(text) => Answer::Refuses(text),
        }
    }

    /// Notes a draft and answers it. `None`: the store failed.
    fn consider(&self, proposer: HostId, draft: Draft, subject: &Subject) -> Option<Answer> {
        let mut drafts = self.drafts();
        let is_new = drafts.note(proposer, draft);
        let answer = drafts.answers.get(&subject.target).copied();
        let decided = answer.is_none() && self.policy == Approve::Auto;
        if decided {
            drafts.answer(subject.target, true);
        }
        if is_new || decided {
            self.keep_drafts(&drafts)?;
        }
        Some(match drafts.answers.get(&subject.target) {
            Some(true) => Answer::Approves(subject.approve(&self.identity.signing)),
            Some(false) => Answer::Rejects,
            None => Answer::Waits,
        })
    }

    /// Signs this host's own admission. It carries the vat because its owner said so.
    fn enter(&self, draft: &Draft) -> Result<Answer, String> {
        let view = self.members.view();
        if view.was_member(&self.identity.key) {
            return Err("this host was a member of the vat before".into());
        }
        let present: Option<&Membership> = view.memberships.get(&draft.epoch).filter(|it| it.hash() == draft.present);
        let present = present.ok_or_else(|| format!("the membership of epoch {} is not known here", draft.epoch))?;
        let Matter::Members { change, threshold } = &draft.matter else { return Err("a motion admits nobody".into()) };
        let target = change.target(present, *threshold)?;
        Ok(Answer::Enters(Subject::new(present, target.hash()).enter(&self.identity.signing)))
    }

    /// A member has given its draft up.
    pub(crate) fn serve_withdrawal(&self, from: HostId) {
        let mut drafts = self.drafts();
        if drafts.drafts.remove(&from).is_some() {
            self.keep_drafts(&drafts);
        }
    }

    /// Proposes a change and waits until it is known what comes of it; see [`ReplicaHandle::reconfigure`].
    ///
    /// [`ReplicaHandle::reconfigure`]: crate::ReplicaHandle::reconfigure
    pub(crate) async fn propose(
        &self,
        change: Change,
        threshold: Option<u16>,
        deadline: Duration,
    ) -> Result<u64, ReconfigureError> {
        let draft = Draft::new(&self.applied(), change, threshold);
        Ok(self.propose_draft(draft, deadline).await?.block)
    }

    /// The same for a motion; see [`ReplicaHandle::put_motion`].
    ///
    /// [`ReplicaHandle::put_motion`]: crate::ReplicaHandle::put_motion
    pub(crate) async fn propose_motion(
        &self,
        motion: Vec<u8>,
        deadline: Duration,
    ) -> Result<Proposed, ReconfigureError> {
        let draft = Draft::motion(&self.applied(), motion);
        self.propose_draft(draft, deadline).await
    }

    async fn propose_draft(&self, draft: Draft, deadline: Duration) -> Result<Proposed, ReconfigureError> {
        if self.lifecycle.is_stopped() {
            return Err(stopped(&self.lifecycle).into());
        }
        if let Some(error) = self.refuses_newcomer(&draft) {
            return Err(error);
        }
        let state = self.applied();
        draft.subject(&state).map_err(ReconfigureError::Refused)?;
        if let Some(text) = self.refuses(&draft) {
            return Err(ReconfigureError::Refused(text));
        }
        let needed = usize::from(state.membership.threshold);
        let mut outcome = self.outcome.subscribe();
        self.begin(draft)?;
        self.changed.notify_one();
        let mut stopping = self.lifecycle.stopping();
        tokio::select! {
            () = stopping.wait() => Err(stopped(&self.lifecycle).into()),
            decided = tokio::time::timeout(deadline, outcome.wait_for(Option::is_some)) => match decided {
                Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(self.waits_for(needed))),
                Ok(Err(_)) => Err(stopped(&self.lifecycle).into()),
                Err(_) => Err(self.waits_for(needed)),
            },
        }
    }

    /// Makes a draft this replica's own.
    fn begin(&self, draft: Draft) -> Result<(), ReconfigureError> {
        let mut drafts = self.drafts();
        match drafts.drafts.get(&self.identity.key) {
            Some(other) if *other != draft => {
                let text = match self.for_motions {
                    false => {
                        "another change that this host proposed waits for approvals; `vat approvals` describes it, `vat member cancel` gives it up"
                    }
                    true => {
                        "another request of this host waits for approvals; `vat approvals` describes it, `vat reject` at this host gives it up"
                    }
                };
                return Err(ReconfigureError::Refused(text.into()));
            }
            Some(_) => {}
            None => {
                drafts.note(self.identity.key, draft);
                drafts.collected = Default::default();
                self.keep_drafts(&drafts);
            }
        }
        self.outcome.send_replace(None);
        Ok(())
    }

    /// Gives up this replica's own draft, as its owner wants. `false`: there is none.
    pub(crate) fn give_up(&self) -> bool {
        let is_there = self.drafts().drafts.contains_key(&self.identity.key);
        self.end_draft(ReconfigureError::Rejected(self.name_of(&self.identity.key)));
        is_there
    }

    /// Gives this replica's own draft up, if it has one that is not recorded, and tells the other members.
    pub(crate) fn withdraw(&self) -> bool {
        self.settle_draft(true)
    }

    /// Removes this replica's own draft, if it has one, and with `tell` tells the other members.
    pub(crate) fn settle_draft(&self, tell: bool) -> bool {
        {
            let mut drafts = self.drafts();
            if drafts.drafts.remove(&self.identity.key).is_none() {
                return false;
            }
            drafts.collected = Default::default();
            self.keep_drafts(&drafts);
        }
        if !tell {
            return true;
        }
        for member in self.applied().membership.members.clone() {
            if member.key != self.identity.key {
                let (share, motion) = (self.share.clone(), self.for_motions);
                // A member that does not hear of it now finds the draft without effect.
                tokio::spawn(async move { share.exchange(&member, &ShareFrame::Withdraw { motion }).await.map(drop) });
            }
        }
        true
    }

    /// The changes that wait for approvals here.
    pub(crate) fn waiting_changes(&self) -> Vec<WaitingChange> {
        let state = self.applied();
        let drafts = self.drafts();
        let waiting = drafts.drafts.iter().filter_map(|(proposer, draft)| {
            let subject = draft.subject(&state).ok()?;
            let is_own = *proposer == self.identity.key;
            let collected = is_own.then_some(&drafts.collected);
            let newcomer = draft.newcomer().is_some();
            let matter = match &draft.matter {
                Matter::Members { change, threshold } => WaitingMatter::Members {
                    change: change.clone(),
                    target: change.target(&state.membership, *threshold).ok(),
                },
                Matter::Motion(motion) => WaitingMatter::Motion(motion.clone()),
            };
            Some(WaitingChange {
                id: subject.target,
                matter,
                proposer: *proposer,
                is_own,
                answer: drafts.answers.get(&subject.target).copied(),
                approved: collected.map(|it| it.approvals.keys().copied().collect()).unwrap_or_default(),
                rejected: collected.map(|it| it.rejected.iter().copied().collect()).unwrap_or_default(),
                asked: collected.map(|it| it.waiting.iter().copied().collect()).unwrap_or_default(),
                needed: state.membership.threshold,
                waits_for_newcomer: newcomer && collected.is_some_and(|it| it.newcomer.is_none()),
            })
        });
        waiting.collect()
    }

    /// The owner's answer to a change. `false`: no such change waits here.
    pub(crate) fn answer_change(&self, id: &Hash, approves: bool) -> bool {
        let state = self.applied();
        let is_own = {
            let mut drafts = self.drafts();
            let mut found = drafts
                .drafts
                .iter()
                .filter(|(_, draft)| draft.subject(&state).is_ok_and(|subject| subject.target == *id));
            let Some(is_own) = found
                .next()
                .map(|(first, _)| *first == self.identity.key || found.any(|(key, _)| *key == self.identity.key))
            else {
                return false;
            };
            drafts.answer(*id, approves);
            self.keep_drafts(&drafts);
            is_own
        };
        if is_own && !approves {
            // Its proposer does not want it any more.
            self.end_draft(ReconfigureError::Rejected(self.name_of(&self.identity.key)));
        }
        self.changed.notify_one();
        true
    }

    /// Ends this replica's own draft. The error goes to the caller that waits for it.
    pub(crate) fn end_draft(&self, error: ReconfigureError) {
        if self.withdraw() {
            self.outcome.send_replace(Some(Err(error)));
        }
    }

    /// A member's name, or its key.
    pub(crate) fn name_of(&self, key: &HostId) -> String {
        let view = self.members.view();
        let name = view.applied.membership.member(key).map(|member| member.name.clone());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| key.to_string())
    }
}
