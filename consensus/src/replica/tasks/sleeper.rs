//! Puts a vat to sleep in which nothing happens: see [`Rest`].
//!
//! The leader proposes it when it has found nothing to do for a while. Each member looks at itself and falls asleep, or refuses because something is left to
//! be done. If none refuses, and those that agree would elect a leader, the leader falls asleep, too. Otherwise it goes on, and its heartbeats wake the others. A
//! member that can't be reached holds up nothing: when it comes back it looks for a leader, which wakes the others.
//!
//! Invariant: a member falls asleep by what it sees itself: its log is proven, executed and certified up to its end, and that end is the leader's.
//! A leader that lies about the rest of the vat can keep a member asleep, which then wakes by what the others send it, or by what it wants itself.

use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use crate::proof::membership::Member;
use crate::raft::RaftNode;
use crate::raft::gate::OrderGate;
use crate::raft::role::Role;
use crate::replica::RaftCell;
use crate::replica::approval::Approvals;
use crate::replica::clock::Clocks;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::rest::Rest;
use crate::replica::status::StatusCell;
use crate::replica::tasks::complaints::Complaints;
use crate::replica::tasks::membership::members_vote;
use crate::replica::tasks::own_key::OwnKey;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use crate::transport::TransportError;
use quorate_ids::HostId;

/// Times `rest_after`: the longest pause between two looks for members that were away when their vat fell asleep.
const LONGEST_LOOK: u32 = 6;

/// What the task uses.
pub(crate) struct SleeperParts {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) share: ShareClient,
    pub(crate) own_key: Arc<OwnKey>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) complaints: Arc<Complaints>,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) motions: Arc<Approvals>,
    pub(crate) rest: Arc<Rest>,
}

/// See the head of the module.
pub(crate) struct Sleeper(pub(crate) SleeperParts);

/// A replica that has nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Still {
    term: u64,
    leader: HostId,
    /// The log's end.
    end: u64,
    stirs: u64,
}

impl Sleeper {
    /// Looks for rest until the replica stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let SleeperParts { identity, lifecycle, raft, .. } = &self.0;
        let mut stopping = lifecycle.stopping();
        let mut since: Option<(Still, Instant)> = None;
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = lifecycle.pause(identity.timing.reconcile) => {}
            }
            let now = Instant::now();
            let still = raft.get().and_then(|raft| self.still(raft).ok());
            let Some(still) = still.filter(|still| still.leader == identity.key) else {
                since = None;
                continue;
            };
            match &since {
                Some((before, at)) if *before == still => {
                    if now >= *at + identity.timing.rest_after {
                        let absent = self.propose(&still).await;
                        self.look_for(absent, &still).await;
                        since = None;
                    }
                }
                _ => since = Some((still, now)),
            }
        }
    }

    /// Asks the others to sleep, as the leader, and falls asleep if none has something to do. Returns those that could not be reached.
    async fn propose(&self, still: &Still) -> Vec<Member> {
        let Some(raft) = self.0.raft.get() else { return Vec::new() };
        let view = raft.view();
        let others = view.nodes.into_values().filter(|member| member.key != self.0.identity.key);
        let others: Vec<Member> = others.collect();
        let Some(absent) = self.ask(&others, still).await else { return Vec::new() };
        let agreed = others.iter().filter(|member| !absent.contains(member)).map(|member| member.key);
        if raft.would_be_elected(&agreed.collect::<Vec<_>>()) && self.still(raft).as_ref() == Ok(still) {
            self.0.rest.sleep(still.stirs);
        }
        absent
    }

    /// Waits for a while, which is longer each time. Returns whether this member is still asleep.
    async fn sleeps_on(&self, pause: &mut Duration) -> bool {
        let SleeperParts { identity, lifecycle, .. } = &self.0;
        let mut stopping = lifecycle.stopping();
        tokio::select! {
            () = stopping.wait() => return false,
            () = lifecycle.awake() => return false,
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(identity.timing.rest_after * LONGEST_LOOK);
        true
    }

    /// Asks members to sleep. Returns those that could not be reached, unless one has something to do.
    async fn ask(&self, members: &[Member], still: &Still) -> Option<Vec<Member>> {
        let frame = ShareFrame::Rest { term: still.term, end: still.end };
        let asked = members.iter().map(|member| self.0.share.exchange(member, &frame));
        let answers = join_all(asked).await;
        let mut absent = Vec::new();
        for (member, answer) in members.iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(TransportError::Unreachable(_) | TransportError::Timeout | TransportError::Lost(_)) => {
                    absent.push(member.clone());
                }
                Err(error) => {
                    tracing::debug!(vat = %self.0.identity.vat, member = %member.key, %error, "the vat stays awake");
                    return None;
                }
            }
        }
        Some(absent)
    }

    /// Looks now and then, while the vat sleeps, for members that it fell asleep without. One may have been asleep itself, and cut off, and have missed
    /// something: then the vat wakes and brings it that.
    async fn look_for(&self, mut absent: Vec<Member>, still: &Still) {
        let SleeperParts { identity, lifecycle, rest, .. } = &self.0;
        let mut pause = identity.timing.rest_after;
        while !absent.is_empty() && lifecycle.is_asleep() && self.sleeps_on(&mut pause).await {
            match self.ask(&absent, still).await {
                Some(left) => absent = left,
                None => return rest.wake(None),
            }
        }
    }

    /// Falls asleep as a member whose leader proposes it, at this end of its log.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn serve(&self, from: &HostId, term: u64, end: u64) -> Result<(), String> {
        let still = self.still(self.0.raft.get().ok_or("starting")?)?;
        if (still.term, &still.leader, still.end) != (term, from, end) {
            return Err(format!("here entry {} of term {} is the last", still.end, still.term));
        }
        if self.0.rest.sleep(still.stirs) { Ok(()) } else { Err("something is wanted".into()) }
    }

    /// Returns how this replica stands, if it has nothing to do.
    ///
    /// # Errors
    /// What it has to do.
    fn still(&self, raft: &RaftNode) -> Result<Still, String> {
        let SleeperParts { identity, lifecycle, status, members, gate, own_key, .. } = &self.0;
        // Before anything is looked at.
        let stirs = self.0.rest.stirs();
        let view = raft.view();
        let busy = |what: &str| Err(what.to_owned());
        let (state, chain) = {
            let known = members.view();
            (Arc::clone(&known.applied), known.chain.len() as u64)
        };
        if lifecycle.is_stopped() || view.stopped.is_some() || own_key.is_recovering() {
            return busy("it does not run well");
        }
        if !matches!(view.role, Role::Leader | Role::Follower) || !state.membership.contains(&identity.key) {
            return busy("it is no voter");
        }
        let is_settled = state.pending.is_none() && chain >= state.membership.epoch;
        if !is_settled || !members_vote(&state, &view) || view.nodes.len() != state.membership.members.len() {
            return busy("its members change");
        }
        let (term, leader) = gate.term();
        let Some(leader) = leader.filter(|_| term == view.term) else { return busy("it has no leader") };
        let (uncertified, applied) = {
            let status = status.read();
            (status.uncertified, status.applied)
        };
        let end = view.last_log;
        if applied != end || view.committed != end || gate.ordered() != end || uncertified > 0 {
            return busy("blocks are under way");
        }
        if self.0.clocks.overdue_ms() > 0 {
            return busy("a time has come");
        }
        let has_draft = |approvals: &Approvals| approvals.drafts().drafts.contains_key(&identity.key);
        if !self.0.complaints.is_idle() || has_draft(&self.0.approvals) || has_draft(&self.0.motions) {
            return busy("something is wanted");
        }
        Ok(Still { term, leader, end, stirs })
    }
}
