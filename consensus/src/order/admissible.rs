//! Checks that a message of Raft keeps Raft's rules, before openraft sees it.
//!
//! Openraft trusts every peer. An entry out of place leaves a hole in the log. A term without a successor ends all
//! elections for ever. A vote in this replica's own name makes it lead without an election. A log that does not begin with
//! the membership of the genesis has no voters. No replica that keeps the rules sends any of these.
//!
//! Absent: proofs. An admissible message may still be a lie. Raft tolerates crashes, not lies; others believe only signatures.

use super::frames::{RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::state::LogPosition;

/// How many terms a message may be ahead of the own one: more elections than a replica could sleep through, and so few that the
/// terms can't be used up by lies.
const MAX_TERMS_AHEAD: u64 = 1 << 24;

/// Where the replica stands that was sent the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameCheck {
    pub(crate) id: u64,
    pub(crate) term: u64,
    pub(crate) committed: Option<LogPosition>,
}

impl FrameCheck {
    fn term(&self, term: u64) -> Result<(), String> {
        if term > self.term.saturating_add(MAX_TERMS_AHEAD) {
            return Err(format!("term {term} is too far beyond the present one, {}", self.term));
        }
        Ok(())
    }

    /// Checks the vote of a leader or a candidate.
    fn claim(&self, vote: &WireVote, leads: bool) -> Result<(), String> {
        self.term(vote.term)?;
        if vote.node == self.id {
            return Err("a vote in the receiver's own name".into());
        }
        if vote.committed != leads {
            let what = if leads { "a leader without an election" } else { "an election that is over" };
            return Err(what.into());
        }
        Ok(())
    }

    /// Checks a message. Its sender is checked elsewhere.
    pub(crate) fn message(&self, message: &RaftMessage) -> Result<(), String> {
        match message {
            RaftMessage::Append { vote, prev, entries, commit, .. } => {
                self.claim(vote, true)?;
                in_order(vote.term, *prev, entries)?;
                not_after(vote.term, *commit)
            }
            RaftMessage::Vote { vote, last, .. } => {
                self.claim(vote, false)?;
                not_after(vote.term, *last)
            }
            RaftMessage::Transfer { from, last, .. } => {
                self.claim(from, true)?;
                not_after(from.term, *last)
            }
        }
    }

    /// Checks that a checkpoint which ends at `last` may be installed by the order of this leader. One that is not newer than the
    /// state may come late; openraft leaves it be.
    pub(crate) fn install(&self, vote: &WireVote, last: Option<LogPosition>) -> Result<(), String> {
        self.claim(vote, true)?;
        not_after(vote.term, last)?;
        let index = |position: Option<LogPosition>| position.map(|position| position.index);
        if last > self.committed && index(last) <= index(self.committed) {
            return Err("a checkpoint that contradicts the log that was executed here".into());
        }
        Ok(())
    }

    /// Checks the vote in an answer.
    pub(crate) fn answered(&self, vote: &WireVote) -> Result<(), String> {
        self.term(vote.term)?;
        if vote.node == self.id && vote.committed && vote.term > self.term {
            return Err("an election that this replica knows nothing of".into());
        }
        Ok(())
    }

    /// Checks an answer to `asked`.
    pub(crate) fn reply(&self, asked: &RaftMessage, reply: &RaftReply) -> Result<(), String> {
        match (asked, reply) {
            (RaftMessage::Append { prev: None, .. }, RaftReply::AppendConflict) => {
                Err("a contradiction to nothing".into())
            }
            (RaftMessage::Append { prev, entries, .. }, RaftReply::AppendPartial(taken)) => {
                let sent = entries.last().map(WireEntry::position).max(*prev);
                if *taken > sent { Err("more was taken than was sent".into()) } else { Ok(()) }
            }
            (_, RaftReply::HigherVote(vote, _) | RaftReply::Vote { vote, .. }) => self.answered(vote),
            _ => Ok(()),
        }
    }
}

/// A log has no position of a later term than that of the leader or candidate, and its first position is the same in all logs: that of
/// the entry which follows from the genesis. Without it a replica would not know who the voters are, and have no voice.
fn not_after(term: u64, position: Option<LogPosition>) -> Result<(), String> {
    match position {
        Some(LogPosition { term: first, index: 0 }) if first > 0 => {
            Err(format!("a first place of term {first} in the log, which nobody was elected for"))
        }
        Some(position) if position.term > term => {
            Err(format!("a place of term {} in the log of one of term {term}", position.term))
        }
        _ => Ok(()),
    }
}

/// Entries follow each other and what comes before them, without gaps and without going back to an earlier term.
fn in_order(term: u64, prev: Option<LogPosition>, entries: &[WireEntry]) -> Result<(), String> {
    not_after(term, prev)?;
    let mut before = prev;
    for entry in entries {
        let position = entry.position();
        let next = before.map_or(Some(0), |before| before.index.checked_add(1));
        if next != Some(position.index) || before.is_some_and(|before| position.term < before.term) {
            return Err(format!("entry {position:?} after {before:?}"));
        }
        if position.index == 0 {
            not_after(term, Some(position))?;
            if !matches!(entry.content, WireContent::Membership(_)) {
                return Err("a log that does not begin with a membership".into());
            }
        }
        before = Some(position);
    }
    not_after(term, before)
}
