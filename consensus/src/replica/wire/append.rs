//! Entries of Raft's log from the leader, on the append channel.
//!
//! Invariant: no membership of Raft reaches openraft unless the replicated state allows it, as the log before it makes that state.
//! Openraft puts a membership into force when it is in the log, committed or not, so one that a leader made up would give that
//! leader a quorum of its own choice.
//!
//! What counts is the log before the membership, and not how much of it is executed here. A leader that has restarted may not know
//! that its log is committed, and it can commit nothing before the members have taken the memberships in it. So what is known to be
//! committed is executed first, and the controls after it are judged by the evidence that they carry.

use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

use crate::order::frames::{RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::raft::RaftNode;
use crate::replica::membership_view::Members;
use crate::replica::status::StatusCell;
use crate::state::{LogPosition, RaftMembership, ReplicatedState};
use crate::timing::Timing;

/// Serves the messages of Raft.
pub(crate) struct RaftServer {
    pub(crate) timing: Timing,
    pub(crate) members: Arc<Members>,
    pub(crate) status: Arc<StatusCell>,
}

impl RaftServer {
    /// Serves a message of Raft.
    pub(crate) async fn serve(&self, raft: &RaftNode, message: RaftMessage) -> Result<RaftReply, String> {
        match message {
            RaftMessage::Append { vote, prev, entries, commit } => self.append(raft, vote, prev, entries, commit).await,
            message => raft.handle(message).await,
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
            let reply = raft.handle(RaftMessage::Append { vote, prev, entries: run, commit }).await?;
            if is_last || reply != RaftReply::AppendSuccess {
                return Ok(reply);
            }
            (prev, taken) = (last, true);
        }
        Ok(RaftReply::AppendSuccess)
    }

    /// Whether the log before it allows a membership, which is as far as it is committed executed by then, if there is time.
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
