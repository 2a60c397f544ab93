//! Watches that the leader orders this member's commands, and complains of a leader that does not order them, or proves nothing.
//!
//! ```text
//!  given to the leader, not ordered for two `election_max`  ──►  tells all members (Wanted); an honest leader puts it first
//!  not ordered in a patience after that                     ──►  signs a complaint, to all; n − t + 1 make others join, t end the term
//!  entries without proof for a patience                     ──►  the same (NoOrder)
//!  statements without certificate for four patiences        ──►  the same (NoOrder): the leader may cut a member off
//!  a step of a change of members due for four patiences     ──►  the same (NoChange): only leaders take these steps
//!  n − t + 1 others look for a leader for a patience        ──►  the same (NoOrder): the leader has too few followers
//! ```
//!
//! Only time counts in which this task looked as often as it should: see [`Watched`].
//!
//! Invariants: a member complains only by its own log, never by another member's claim. It joins others only when it has followed the
//! leader for a patience itself. Nobody complains of a leader about a command that the leader was not given. A member ignores a leader that it has left
//! for the rest of the term, so that the members elect another one as if the leader had fallen silent.
//!
//! Absent: commands that are ordered twice. A member that forwards a command does not know whether it is under way. Executing a command again must do no
//! harm, as any member may propose anything at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::error::ProposeError;
use crate::order::frames::{RaftMessage, WireVote};
use crate::proof::membership::Member;
use crate::raft::RaftNode;
use crate::raft::gate::OrderGate;
use crate::raft::role::Role;
use crate::replica::RaftCell;
use crate::replica::handle::Proposed;
use crate::replica::identity::Identity;
use crate::replica::leader::{Candidates, LeaderSeen};
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::rest::Rest;
use crate::replica::status::StatusCell;
use crate::replica::tasks::membership::{Certified, Step, next_step};
use crate::replica::tasks::proposer::{self, Proposal};
use crate::replica::wants::{self, Wants};
use crate::replica::watched::Watched;
use crate::replica::wire::append::CANDIDATE_PAUSE;
use crate::replica::wire::complaint::ComplaintFrame;
use crate::replica::wire::propose::Payload;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use crate::stats::StatsCell;
use quorate_ids::HostId;
use quorate_order::proofs::{OrderCertificate, TermProof};
use quorate_order::signed::{Complaint, Reason};

/// Times `election_max`: how long something may wait at a leader before all members are told of it.
const WANT_AFTER: u32 = 2;
/// Times `election_max`: the shortest patience with a leader.
const PATIENCE: u32 = 4;
/// Patience never becomes longer.
const LONGEST_PATIENCE: Duration = Duration::from_secs(64);
/// Times patience: how long statements may wait for a certificate. Members execute blocks at their own pace.
const CERTIFY: u32 = 4;
/// Of the log, how many entries are searched for what another member wants: what it was given is likely among them.
const LOOK_BACK: u64 = 64;
/// Pause before something is given again to a leader that refused it without cause.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

/// Since when nothing moves.
struct Progress {
    ordered: u64,
    /// When the order came farther last.
    ordered_at: Instant,
    /// The same, or when there was nothing to order.
    ordered_since: Instant,
    certified: u64,
    certified_since: Instant,
}

#[derive(Clone, Copy, Default)]
struct Newcomer {
    raft_id: u64,
    reached: u64,
    asked: Option<Instant>,
}

struct Table {
    watched: Watched,
    wants: Wants,
    /// The term and its leader, and since when this member follows it.
    term: (u64, Option<HostId>),
    since: Instant,
    progress: Progress,
    /// The next step of a change of members, as far as is known here, and since when it is due.
    due: (Step, Instant),
    /// Up to where the newcomer of that raft id has the log, and when it was asked last.
    newcomer: Newcomer,
    /// When the others were told of a complaint last.
    said: Option<Instant>,
}

/// What the task uses.
pub(crate) struct ComplaintParts {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) share: ShareClient,
    pub(crate) proposer: mpsc::Sender<Proposal>,
    /// What goes first into the next block.
    pub(crate) urgent: mpsc::Sender<Proposal>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) candidates: Arc<Candidates>,
    pub(crate) rest: Arc<Rest>,
    /// See [`ReplicaOptions::max_uncertified`](crate::ReplicaOptions::max_uncertified).
    pub(crate) max_uncertified: u64,
}

/// See the head of the module.
pub(crate) struct Complaints {
    parts: ComplaintParts,
    table: Mutex<Table>,
    woken: Notify,
}

impl Complaints {
    /// Nothing is wanted, and nobody complained of.
    pub(crate) fn new(parts: ComplaintParts) -> Arc<Complaints> {
        let now = Instant::now();
        let progress = Progress { ordered: 0, ordered_at: now, ordered_since: now, certified: 0, certified_since: now };
        let wants = Wants::new(parts.identity.key);
        let (due, newcomer) = ((Step::Nothing, now), Newcomer::default());
        let watched = Watched::new(parts.identity.timing.election_max / 4);
        let table = Table { watched, wants, term: (0, None), since: now, progress, due, newcomer, said: None };
        Arc::new(Complaints { parts, table: Mutex::new(table), woken: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it is, by what counts.
    fn now(&self) -> Instant {
        self.table().watched.at(Instant::now())
    }

    fn election_max(&self) -> Duration {
        self.parts.identity.timing.election_max
    }

    /// Returns how long this member waits for a leader to order what it was told of.
    fn patience(&self) -> Duration {
        let doubled = self.election_max() * PATIENCE * (1 << self.parts.gate.doublings().min(16));
        doubled.min(LONGEST_PATIENCE.max(self.election_max() * PATIENCE))
    }

    /// Has something ordered, at whatever member this is, and sees to it that a leader which does not is told of, and left. If it does
    /// take effect after the deadline, the error is [`ProposeError::Unknown`].
    pub(crate) async fn order(&self, payload: Payload, deadline: Duration) -> Result<Proposed, ProposeError> {
        self.parts.rest.wake(None);
        let (from, began) = (self.parts.gate.ordered() + 1, self.now());
        let is_wanted = AtomicBool::new(false);
        let mut ordering = std::pin::pin!(self.ordering(payload.clone(), deadline, &is_wanted));
        let result = loop {
            tokio::select! {
                biased;
                ordered = &mut ordering => break ordered,
                () = tokio::time::sleep(self.election_max()) => {}
            }
            // Whatever put this replica to sleep meanwhile.
            self.parts.rest.wake(None);
            if !is_wanted.load(Ordering::SeqCst) && self.leader_had_it(began) {
                is_wanted.store(self.want(payload.clone(), from), Ordering::SeqCst);
            }
        };
        match result {
            Ok(proposed) => Ok(proposed),
            // The others may have it ordered yet.
            Err(ProposeError::NoLeader | ProposeError::Refused(_) | ProposeError::Overloaded)
                if is_wanted.load(Ordering::SeqCst) =>
            {
                Err(ProposeError::Unknown)
            }
            Err(ProposeError::Unknown) if !is_wanted.load(Ordering::SeqCst) => {
                self.want(payload, from);
                Err(ProposeError::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether another member that leads, and is heard, has had something for long that was proposed at `began`.
    fn leader_had_it(&self, began: Instant) -> bool {
        let (term, now) = (self.parts.gate.term(), self.now());
        let is_heard = self.parts.leader.at().is_some_and(|at| at.elapsed() < self.election_max());
        let is_another = term.1.is_some_and(|leader| leader != self.parts.identity.key);
        let table = self.table();
        let has_had_it = now >= table.since.max(began) + self.election_max() * WANT_AFTER;
        is_heard && is_another && table.term == term && has_had_it
    }

    /// A leader that refuses something for a reason that does not hold here is asked again.
    async fn ordering(
        &self,
        payload: Payload,
        deadline: Duration,
        is_last: &AtomicBool,
    ) -> Result<Proposed, ProposeError> {
        let until = Instant::now() + deadline;
        let Self { parts, .. } = self;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let ordered = proposer::order(&parts.proposer, &parts.lifecycle, payload.clone(), left, is_last).await;
            let refused = matches!(ordered, Err(ProposeError::Refused(_)));
            if !refused || !self.contradicts() || Instant::now() + REFUSED_PAUSE >= until {
                return ordered;
            }
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    /// Returns whether this member follows a leader, and sees no reason for it to take no commands: far fewer statements lack certificates.
    fn contradicts(&self) -> bool {
        let status = self.parts.status.read();
        status.role != Role::Leader && status.uncertified < self.parts.max_uncertified / 2
    }

    /// Returns whether nothing is wanted, and nobody complained of.
    pub(crate) fn is_idle(&self) -> bool {
        self.table().wants.is_empty() && self.parts.gate.complains().is_none()
    }

    /// Something was given to a leader, and has not been ordered: the others will hear of it.
    fn want(&self, payload: Payload, from: u64) -> bool {
        let now = self.now();
        let is_wanted = self.table().wants.add(payload, self.parts.identity.key, from, now);
        if is_wanted {
            self.woken.notify_one();
        }
        is_wanted
    }

    /// Another member wants something ordered, and has not found it in its log from the index `looked` on. It believes its own log alone: had
    /// this one found it before that index, the member would wait, and complain, for ever.
    ///
    /// # Errors
    /// It wants too much already, or is no member any more.
    pub(crate) fn wanted(&self, from: HostId, payload: Payload, looked: u64) -> Result<(), String> {
        if !self.parts.members.view().takes_part(&from) {
            return Err("not a member".into());
        }
        let Some(raft) = self.parts.raft.get() else { return Err("starting".into()) };
        let end = raft.log_end();
        let begin = looked.clamp(end.saturating_sub(LOOK_BACK), end + 1);
        let now = self.now();
        if !self.table().wants.add(payload, from, begin, now) {
            return Err("it wants more than can be kept in mind".into());
        }
        self.woken.notify_one();
        Ok(())
    }

    /// Takes in another member's complaint. Returns the order certificate here, if it goes farther.
    ///
    /// # Errors
    /// It is another member's, or of no leader here.
    pub(crate) async fn heard(
        self: &Arc<Self>,
        from: HostId,
        frame: ComplaintFrame,
    ) -> Result<Option<Box<OrderCertificate>>, String> {
        let ComplaintFrame { complaint, proof, order, ended_by } = frame;
        if complaint.by != from {
            return Err("the complaint of another member".into());
        }
        if let Some(proof) = proof {
            self.follow(*proof).await;
        }
        let ordered = order.as_ref().map_or(0, |order| order.position.index);
        if let Some(order) = order {
            self.parts.gate.learn(*order);
        }
        if complaint.content.term < self.parts.gate.term().0 {
            return Ok(self.parts.gate.order_beyond(ordered));
        }
        if !ended_by.is_empty() {
            self.parts.gate.ended(ended_by).map_err(|refusal| refusal.to_string())?;
            self.woken.notify_one();
            return Ok(self.parts.gate.order_beyond(ordered));
        }
        // A member that has just begun to follow a leader can't tell. The others repeat their complaints.
        let now = self.now();
        let is_settled = {
            let table = self.table();
            table.term == self.parts.gate.term() && now >= table.since + self.election_max() * PATIENCE
        };
        if is_settled || complaint.content.leader == self.parts.identity.key {
            self.parts.gate.complained(complaint).map_err(|refusal| refusal.to_string())?;
            self.woken.notify_one();
        }
        Ok(self.parts.gate.order_beyond(ordered))
    }

    /// A member that its leader does not speak to hears of it by the others: else it could not leave it. It may be in that term
    /// already, or in a later one: others name theirs when they refuse a vote.
    async fn follow(self: &Arc<Self>, proof: TermProof) {
        let Some(raft) = self.parts.raft.get() else { return };
        let (term, leader) = (proof.term, proof.leader);
        let (present, followed) = self.parts.gate.term();
        if leader == self.parts.identity.key || (followed.is_some() && term <= present) {
            return;
        }
        if term < present {
            return self.complain_of_earlier(proof);
        }
        let node = raft.view().nodes.into_iter().find(|(_, member)| member.key == leader).map(|(id, _)| id);
        let Some(node) = node else { return };
        let _turn = raft.gate().turn().await;
        if raft.gate().follow(&leader, term, Some(proof)).is_ok() {
            let vote = WireVote { term, node, committed: true };
            let (prev, entries, commit, header) = (None, Vec::new(), None, None);
            // It fails only if Raft has stopped.
            let _ = raft.handle(RaftMessage::Append { vote, prev, entries, commit, header }).await;
        }
    }

    /// Others follow a leader and complain of it, while this member is in a later term, and has looked for a leader in vain for a
    /// patience. It can't go back: were that not counted as a complaint, such a leader would need to be left by more than there are.
    fn complain_of_earlier(self: &Arc<Self>, proof: TermProof) {
        let (gate, now) = (&self.parts.gate, self.now());
        {
            let table = self.table();
            let is_due = table.said.is_none_or(|said| now >= said + self.election_max());
            if table.term != gate.term() || now < table.since + self.patience() || !is_due || !self.is_member() {
                return;
            }
        }
        if let Some(complaint) = gate.complain_of_earlier(&proof) {
            self.table().said = Some(now);
            let proof = Some(Box::new(proof));
            self.say(ComplaintFrame { complaint, proof, order: gate.order_beyond(0), ended_by: Vec::new() });
        }
    }

    /// Looks after what is wanted until the replica stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut stopping = self.parts.lifecycle.stopping();
        let pause = self.table().watched.pause();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = self.woken.notified() => {}
                () = self.parts.lifecycle.pause(pause) => {}
            }
            self.table().watched.look(Instant::now());
            let Some(raft) = self.parts.raft.get() else { continue };
            self.observe();
            if let Err(error) = self.search(raft) {
                // Whatever else reads the log finds that, too, and stops the replica.
                tracing::debug!(vat = %self.parts.identity.vat, %error, "the log could not be searched");
            }
            self.follow_change(raft);
            self.tell();
            self.judge();
        }
    }

    /// Takes note of the term, and of what moves.
    fn observe(&self) {
        let (gate, now) = (&self.parts.gate, self.now());
        let (ordered, last) = gate.reach();
        let (uncertified, certified) = {
            let status = self.parts.status.read();
            (status.uncertified, status.certified_block)
        };
        let mut table = self.table();
        let is_idle = table.wants.is_empty();
        let term = gate.term();
        if table.term != term {
            (table.term, table.since, table.said) = (term, now, None);
            table.wants.begin_term(now);
            (table.progress.ordered_at, table.progress.ordered_since) = (now, now);
            (table.progress.certified_since, table.due.1) = (now, now);
        }
        let progress = &mut table.progress;
        let moves = (ordered != progress.ordered, certified != progress.certified);
        if moves.0 {
            progress.ordered_at = now;
        }
        if moves.0 || last <= ordered {
            (progress.ordered, progress.ordered_since) = (ordered, now);
        }
        if moves.1 || uncertified == 0 {
            (progress.certified, progress.certified_since) = (certified, now);
        }
        let is_stuck = self.is_stuck(progress, now);
        drop(table);
        if (moves.0 || moves.1) && !is_stuck {
            gate.progressed();
            if is_idle {
                gate.eased();
            }
        }
        let (left, complains) = (gate.leaders_left(), gate.complains());
        self.parts.stats.update(|stats| stats.leaders_left = left);
        let complains = complains.map(words);
        self.parts.status.set_if(|status| {
            let is_new = status.complains.as_deref() != complains;
            status.complains = complains.map(str::to_owned);
            is_new
        });
    }

    fn is_stuck(&self, progress: &Progress, now: Instant) -> bool {
        let patience = self.patience();
        now >= progress.ordered_since + patience || now >= progress.certified_since + patience * CERTIFY
    }

    /// Returns whether so many members look for a leader that the present one has too few followers for anything to be ordered. It may send
    /// only to members of its choice. If it has ordered something meanwhile, they are fewer than they seem.
    fn is_deserted(&self, progress: &Progress, now: Instant) -> bool {
        let (patience, pause) = (self.patience(), self.election_max() * CANDIDATE_PAUSE);
        if now < progress.ordered_at + patience {
            return false;
        }
        let mut astray = self.parts.candidates.for_long(patience, pause, Instant::now());
        let members = self.parts.members.view().newest().clone();
        astray.retain(|member| members.contains(member));
        astray.len() >= self.parts.gate.joining().max(2)
    }

    /// Takes note of the step of a change of members that is due. Leaders alone take them, and each honest one does at once: they follow
    /// from the log, and, where a host is to come, from how far it has followed. Of that the leader knows by itself; here it is asked.
    fn follow_change(self: &Arc<Self>, raft: &RaftNode) {
        let now = self.now();
        let (state, epoch) = {
            let known = self.parts.members.view();
            (Arc::clone(&known.applied), known.chain.len() as u64)
        };
        let certified = Certified { epoch, block: self.parts.status.read().certified_block };
        let mut view = raft.view();
        let pending = state.pending.as_ref().filter(|pending| certified.block >= pending.block);
        let coming = pending.and_then(|pending| Some((pending.raft_id?, pending.change.newcomer()?.clone())));
        let mut ask = None;
        {
            let mut table = self.table();
            if let Some((raft_id, member)) = coming.filter(|(raft_id, _)| view.nodes.contains_key(raft_id)) {
                let newcomer = &mut table.newcomer;
                if newcomer.raft_id != raft_id {
                    *newcomer = Newcomer { raft_id, ..Newcomer::default() };
                }
                view.matched.insert(raft_id, newcomer.reached);
                if newcomer.asked.is_none_or(|asked| now >= asked + self.election_max()) {
                    newcomer.asked = Some(now);
                    ask = Some((raft_id, member));
                }
            }
            let step = next_step(&state, certified, &view);
            if table.due.0 != step {
                table.due = (step, now);
                self.parts.gate.changed();
            }
        }
        let (Some((raft_id, member)), Some(own)) = (ask, self.parts.gate.farthest()) else { return };
        let complaints = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(reply) = complaints.parts.share.exchange(&member, &ShareFrame::Led(own)).await else { return };
            let reached = reply.led.and_then(|lead| complaints.parts.gate.led_to(&lead));
            let newcomer = &mut complaints.table().newcomer;
            if newcomer.raft_id == raft_id {
                newcomer.reached = newcomer.reached.max(reached.unwrap_or(0));
            }
        });
    }

    /// Finds in the log what is wanted.
    fn search(&self, raft: &RaftNode) -> Result<(), String> {
        let (gate, begin) = (&self.parts.gate, raft.log_begin());
        loop {
            let Some(from) = self.table().wants.next().map(|next| next.max(begin + 1)) else { break };
            let (blocks, next) = raft.blocks(from, u64::MAX)?;
            if next == from {
                break;
            }
            let mut table = self.table();
            for (index, block) in blocks {
                if let Some(chain) = gate.chain_at(index) {
                    table.wants.look(index, chain, &block);
                }
            }
            table.wants.looked(next);
        }
        let settled = self.table().wants.settle(begin, gate.ordered(), |index| gate.chain_at(index));
        settled.iter().for_each(|name| gate.command_ordered(name));
        Ok(())
    }

    fn others(&self) -> Vec<Member> {
        let members = self.parts.members.view().newest().members.clone();
        members.into_iter().filter(|member| member.key != self.parts.identity.key).collect()
    }

    /// Tells others what is wanted; as the leader, orders it.
    fn tell(self: &Arc<Self>) {
        let (patience, now) = (self.patience(), self.now());
        let (leader, own) = (self.parts.gate.term().1, self.parts.identity.key);
        if self.table().wants.is_empty() {
            return;
        }
        if leader == Some(own) {
            let due = self.table().wants.to_order(patience, now);
            for payload in due {
                self.parts.stats.update(|stats| stats.put_first += 1);
                let (reply, _) = tokio::sync::oneshot::channel();
                // Full: the next time.
                let _ = self.parts.urgent.try_send(Proposal { payload, forwarded: true, reply });
            }
            return;
        }
        let others = self.others();
        let keys: Vec<HostId> = others.iter().map(|member| member.key).collect();
        let telling = self.table().wants.to_tell(&keys, leader, patience, now);
        for (to, payload, from) in telling {
            let Some(member) = others.iter().find(|member| member.key == to).cloned() else { continue };
            let complaints = Arc::clone(self);
            tokio::spawn(async move {
                let name = wants::name(&payload);
                let told = complaints.parts.share.exchange(&member, &ShareFrame::Wanted { payload, from }).await;
                if told.is_ok() {
                    complaints.table().wants.told(&name, to);
                }
            });
        }
    }

    /// Complains, if there is reason to, and tells the others of it as long as there is.
    fn judge(self: &Arc<Self>) {
        let (gate, now) = (&self.parts.gate, self.now());
        let (term, leader) = gate.term();
        let own = self.parts.identity.key;
        if leader.is_none() {
            return;
        }
        let patience = self.patience();
        let reason = {
            let table = self.table();
            let is_followed = table.term == (term, leader) && leader != Some(own) && self.is_member();
            let starved = table.wants.overdue(patience, now).map(Reason::Starved);
            let is_stuck = self.is_stuck(&table.progress, now) || self.is_deserted(&table.progress, now);
            let stuck = is_stuck.then_some(Reason::NoOrder);
            let is_late = table.due.0 != Step::Nothing && now >= table.due.1 + patience * CERTIFY;
            // A member that has left has no reason of its own any more. It repeats the complaints that ended the term.
            let has_left = gate.has_left().then_some(Reason::NoOrder);
            has_left.or(starved).or(stuck).or(is_late.then_some(Reason::NoChange)).filter(|_| is_followed)
        };
        let is_due = self.table().said.is_none_or(|said| now >= said + self.election_max());
        if is_due && let Some(reason) = gate.complains().or(reason) {
            gate.complain(reason);
        }
        if let Some(complaint) = gate.take_complaint() {
            if self.table().said.replace(now).is_none() {
                let Complaint { term, leader, reason, .. } = complaint.content;
                tracing::info!(vat = %self.parts.identity.vat, %leader, term, "wants another leader: {}", words(reason));
            }
            let (proven, proof) = gate.proof();
            let proof = proof.filter(|_| proven == term);
            self.say(ComplaintFrame { complaint, proof, order: gate.order_beyond(0), ended_by: gate.ended_by() });
        }
    }

    fn is_member(&self) -> bool {
        self.parts.members.view().newest().contains(&self.parts.identity.key)
    }

    /// Sends it to the other members and all other voters in Raft: a newcomer would else follow a leader that all others have left, and vote for
    /// none of them.
    fn say(self: &Arc<Self>, frame: ComplaintFrame) {
        self.parts.stats.update(|stats| stats.complaints += 1);
        let nodes = self.parts.raft.get().map(|raft| raft.view().nodes).unwrap_or_default();
        let mut told: BTreeMap<HostId, Member> = nodes.into_values().map(|member| (member.key, member)).collect();
        told.extend(self.others().into_iter().map(|member| (member.key, member)));
        told.remove(&self.parts.identity.key);
        for member in told.into_values() {
            let (complaints, frame) = (Arc::clone(self), ShareFrame::Complaint(Box::new(frame.clone())));
            tokio::spawn(async move {
                let reply = complaints.parts.share.exchange(&member, &frame).await;
                if let Some(order) = reply.ok().and_then(|reply| reply.order) {
                    complaints.parts.gate.learn(*order);
                }
            });
        }
    }
}

/// Returns what is wrong with a leader, for people.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Starved(_) => "it does not order what it was given",
        Reason::NoOrder => "what it sends is not proven, or not certified",
        Reason::Equivocated => "it showed two logs",
        Reason::NoChange => "a change of members is due, and it does not go on with it",
        Reason::BaseMissing => "its log lacks what its election is bound to",
    }
}
