//! Entries of Raft's log from the leader, on the append channel.
//!
//! Invariant: no membership of Raft reaches openraft unless the replicated state allows it, as it follows from the log before it.
//! Openraft puts a membership into force when it is in the log, committed or not. So a made-up membership would give a
//! leader a quorum of its own choice.
//!
//! The log before the membership counts, not the part of it that is executed here. A leader that has restarted may not know
//! that its log is committed, and it can commit nothing before the members have accepted the memberships in it. So the member executes entries that are known to be
//! committed first, and judges the controls after them by their evidence.

use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

use crate::order::frames::{Header, RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::raft::RaftNode;
use crate::raft::gate::{Barred, NoVote};
use crate::replica::leader::{Candidates, LeaderSeen};
use crate::replica::membership_view::Members;
use crate::replica::rest::Rest;
use crate::replica::status::StatusCell;
use crate::state::{LogPosition, RaftMembership, ReplicatedState};
use crate::timing::Timing;
use quorate_ids::HostId;
use quorate_order::member::Stand;

/// Times `election_max`: for so long after a leader was last heard nobody votes for a convicted member.
const CONVICTED_PATIENCE: u32 = 8;
/// Likewise for one of the last leaders that were left.
const LEFT_PATIENCE: u32 = 4;

/// Times `election_max`: a member that has not asked for a vote for so long has found a leader.
pub(crate) const CANDIDATE_PAUSE: u32 = 4;

/// Serves the messages of Raft.
pub(crate) struct RaftServer {
    pub(crate) timing: Timing,
    pub(crate) members: Arc<Members>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) candidates: Arc<Candidates>,
    pub(crate) rest: Arc<Rest>,
    /// When the replica began.
    pub(crate) since: Instant,
}

impl RaftServer {
    /// Serves a message of Raft from a member.
    pub(crate) async fn serve(
        &self,
        raft: &RaftNode,
        from: &HostId,
        message: RaftMessage,
    ) -> Result<RaftReply, String> {
        raft.admissible(&message)?;
        match &message {
            RaftMessage::Append { entries, .. } if entries.is_empty() => self.rest.heard(from),
            _ => self.rest.wake(Some(from)),
        }
        if matches!(message, RaftMessage::Vote { .. }) {
            self.candidates.note(*from, self.timing.election_max * CANDIDATE_PAUSE, Instant::now());
        }
        match message {
            RaftMessage::Append { vote, prev, entries, commit, header } => {
                let message = Leading { from, vote, prev, header: header.as_deref() };
                self.lead(raft, message, entries, commit).await
            }
            RaftMessage::Vote { .. } if self.is_to_wait(raft, from) => {
                Ok(RaftReply::Vote { vote: raft.vote(), granted: false, last: None, grant: None, better: None })
            }
            RaftMessage::Vote { vote, last, pre: false, stand: Some(stand), .. } => {
                vote_for(raft, from, vote, last, &stand).await
            }
            RaftMessage::Vote { vote, last, pre: true, stand: Some(stand), .. } => {
                would_vote_for(raft, vote, last, &stand).await
            }
            RaftMessage::Vote { .. } => Err("Q-C050 a candidate that shows nothing of itself".into()),
            message => raft.handle(message).await,
        }
    }

    /// Returns whether a candidate is convicted or was left, and the others have not had the time yet to elect another one. It is not refused for
    /// ever: it may be the only one with a log that all can follow.
    fn is_to_wait(&self, raft: &RaftNode, candidate: &HostId) -> bool {
        if self.rest.woke_lately() && raft.view().leader_member().is_some_and(|leader| leader.key != *candidate) {
            // The leader that this member slept under may not have had the time to be heard.
            return true;
        }
        let silence = self.leader.at().unwrap_or(self.since).elapsed();
        let (gate, election_max) = (raft.gate(), self.timing.election_max);
        (silence < election_max * CONVICTED_PATIENCE && gate.is_convicted(candidate))
            || (silence < election_max * LEFT_PATIENCE && gate.is_delayed(candidate))
    }

    /// Serves a leader, if its election was or is shown.
    async fn lead(
        &self,
        raft: &RaftNode,
        message: Leading<'_>,
        entries: Vec<WireEntry>,
        commit: Option<LogPosition>,
    ) -> Result<RaftReply, String> {
        // Heartbeats don't wait: they change no log.
        let _turn = if entries.is_empty() {
            None
        } else {
            let turn = raft.gate().turn().await;
            raft.gate().trimmed(raft.log_end());
            Some(turn)
        };
        let Leading { vote, prev, .. } = message;
        match admit(raft, &message, &entries) {
            Ok(None) => {}
            Ok(Some(at)) => cut(raft, vote, at).await?,
            Err(Barred::WhoAreYou) => return Ok(RaftReply::WhoAreYou),
            Err(Barred::WhoElectedYou) => return Ok(RaftReply::WhoElectedYou),
            Err(Barred::Conflict) => return Ok(RaftReply::AppendConflict),
            Err(Barred::OldTerm(term)) => {
                let (proven, proof) = raft.gate().proof();
                return Ok(RaftReply::HigherVote(later(raft, term), proof.filter(|_| proven == term)));
            }
            Err(Barred::Refused(text)) => return Err(text),
        }
        let flushed = entries.last().map(|entry| entry.position().index);
        let commit = raft.gate().clamp(commit);
        match self.append(raft, vote, prev, entries, commit).await? {
            RaftReply::AppendSuccess(_) => Ok(RaftReply::AppendSuccess(raft.gate().acknowledge(flushed))),
            other => Ok(other),
        }
    }

    /// Hands entries to openraft up to the first membership that is not allowed. What comes before a membership has to be in the log
    /// to judge it: so the entries go in runs, each with a membership at its beginning at most.
    async fn append(
        &self,
        raft: &RaftNode,
        vote: WireVote,
        mut prev: Option<LogPosition>,
        entries: Vec<WireEntry>,
        commit: Option<LogPosition>,
    ) -> Result<RaftReply, String> {
        let until = Instant::now() + self.timing.request;
        let mut runs = in_runs(entries).into_iter().peekable();
        let mut taken = false;
        while let Some(run) = runs.next() {
            if let Some(WireEntry { log, content: WireContent::Membership(membership) }) = run.first()
                && !self.allows(raft, *log, membership, commit, until).await?
            {
                if taken {
                    return Ok(RaftReply::AppendPartial(prev));
                }
                return Err(format!("the vat's state does not allow raft's membership at {log:?}"));
            }
            let last = run.last().map(WireEntry::position).or(prev);
            let is_last = runs.peek().is_none();
            let commit = if is_last { commit } else { commit.min(last) };
            let message = RaftMessage::Append { vote, prev, entries: run, commit, header: None };
            let reply = raft.handle(message).await?;
            if is_last || !matches!(reply, RaftReply::AppendSuccess(_)) {
                return Ok(reply);
            }
            (prev, taken) = (last, true);
        }
        Ok(RaftReply::AppendSuccess(Vec::new()))
    }

    /// Returns whether the log before it allows a membership, which is as far as it is committed executed by then, if there is time.
    async fn allows(
        &self,
        raft: &RaftNode,
        at: LogPosition,
        membership: &RaftMembership,
        commit: Option<LogPosition>,
        until: Instant,
    ) -> Result<bool, String> {
        let before = at.index.saturating_sub(1);
        let reachable = before.min(commit.map_or(0, |commit| commit.index));
        let mut status = self.status.subscribe();
        // It fails only if the replica is gone. Late: judged by what is there.
        let _ = timeout_at(until, status.wait_for(|status| status.applied >= reachable)).await;
        // In this order: the state may have come farther meanwhile.
        let applied = self.status.read().applied;
        let state = Arc::clone(&self.members.view().applied);
        if applied > 0 && at.index <= applied {
            // What was executed here is sent again; openraft leaves it be.
            return Ok(true);
        }
        let executed = state.last_log.map_or(applied, |last| last.index.max(applied));
        let mut state = ReplicatedState::clone(&state);
        raft.foresee(&mut state, executed + 1, before)?;
        Ok(state.allows(membership))
    }
}

/// What a leader sends beside entries.
struct Leading<'a> {
    from: &'a HostId,
    vote: WireVote,
    prev: Option<LogPosition>,
    header: Option<&'a Header>,
}

/// Decides what openraft may learn of a leader. Returns where its log must be cut first.
fn admit(raft: &RaftNode, message: &Leading<'_>, entries: &[WireEntry]) -> Result<Option<u64>, Barred> {
    let Leading { from, vote, prev, header } = message;
    let proof = header.and_then(|header| header.proof.as_deref().cloned());
    raft.gate().follow(from, vote.term, proof)?;
    let header = header.ok_or_else(|| Barred::Refused("Q-C050 entries that nobody signed".into()))?;
    raft.gate().append(from, *prev, entries, header)
}

/// Cuts openraft's log before an index, from which on a leader has other entries.
async fn cut(raft: &RaftNode, vote: WireVote, index: u64) -> Result<(), String> {
    let heard = |prev| RaftMessage::Append { vote, prev, entries: Vec::new(), commit: None, header: None };
    // It follows the leader first: if it led, it could call more committed meanwhile.
    raft.handle(heard(None)).await?;
    if raft.committed().is_some_and(|committed| index <= committed.index) {
        // What openraft calls committed it never gives up.
        return raft.reopen(index).await;
    }
    // Openraft looks at terms alone: it would keep other content of one term.
    raft.handle(heard(Some(LogPosition { term: vote.term, index }))).await.map(|_| ())
}

/// The vote here, or that of a later term that openraft has not heard of.
fn later(raft: &RaftNode, term: u64) -> WireVote {
    let vote = raft.vote();
    if vote.term >= term { vote } else { WireVote { term, node: raft.id(), committed: false } }
}

/// Votes for a candidate, or not. Openraft is asked first whether it would; then this member's own rules decide, and openraft's vote,
/// which is on disk when it answers, goes with the signed one.
async fn vote_for(
    raft: &RaftNode,
    from: &HostId,
    vote: WireVote,
    last: Option<LogPosition>,
    stand: &Stand,
) -> Result<RaftReply, String> {
    let claimed = last.map_or((0, 0), |last| (last.term, last.index));
    if (stand.term, stand.last) != (vote.term, claimed) {
        return Err("Q-C050 a candidate that shows something else of itself than it says".into());
    }
    if raft.gate().is_strange(&stand.order) {
        return Ok(RaftReply::WhoAreYou);
    }
    let _turn = raft.gate().turn().await;
    raft.gate().trimmed(raft.log_end());
    if let Err(better @ Some(_)) = raft.gate().would_vote(stand) {
        return Ok(RaftReply::Vote { vote: raft.vote(), granted: false, last: None, grant: None, better });
    }
    // The proofs decide, and then the logs. Openraft looks at logs alone, so that it is shown one that it can vote for.
    let last = last.max(raft.last_position());
    let asked = |pre| RaftMessage::Vote { vote, last, transfer: false, pre, stand: None };
    let would = raft.handle(asked(true)).await?;
    if !matches!(would, RaftReply::Vote { granted: true, .. }) {
        return Ok(would);
    }
    let grant = match raft.gate().vote(from, stand) {
        Ok(grant) => Box::new(grant),
        Err(NoVote { term, why, better }) => {
            tracing::debug!(candidate = %from, %why, "no vote");
            return Ok(RaftReply::Vote { vote: later(raft, term), granted: false, last: None, grant: None, better });
        }
    };
    match raft.handle(asked(false)).await? {
        RaftReply::Vote { vote, granted, last, .. } => {
            Ok(RaftReply::Vote { vote, granted, last, grant: Some(grant).filter(|_| granted), better: None })
        }
        other => Ok(other),
    }
}

/// Returns whether a candidate would get a vote.
async fn would_vote_for(
    raft: &RaftNode,
    vote: WireVote,
    last: Option<LogPosition>,
    stand: &Stand,
) -> Result<RaftReply, String> {
    if raft.gate().is_strange(&stand.order) {
        return Ok(RaftReply::WhoAreYou);
    }
    if let Err(better) = raft.gate().would_vote(stand) {
        return Ok(RaftReply::Vote { vote: raft.vote(), granted: false, last: None, grant: None, better });
    }
    let last = last.max(raft.last_position());
    raft.handle(RaftMessage::Vote { vote, last, transfer: false, pre: true, stand: None }).await
}

/// Cuts entries so that each membership begins a run that is not the first. The first may be empty: then openraft is told the place
/// before the membership, and that it is committed up to there. A member that was away may have all entries up to that place
/// and not know that they are committed, and it has to execute them before it can judge.
fn in_runs(entries: Vec<WireEntry>) -> Vec<Vec<WireEntry>> {
    let mut runs = vec![Vec::new()];
    for entry in entries {
        match runs.last_mut() {
            Some(run) if !matches!(entry.content, WireContent::Membership(_)) => run.push(entry),
            _ => runs.push(vec![entry]),
        }
    }
    runs
}
