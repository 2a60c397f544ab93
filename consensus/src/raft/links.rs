//! The links to the other members: their round-trip times, and the heartbeats under way.
//!
//! Openraft drops a heartbeat that is not answered within the heartbeat interval, and sends one at a time to each member. On a
//! line whose round trip is longer than the interval, no heartbeat would ever count. The leader's lease would run out as soon
//! as there are no entries to acknowledge, and the leader would refuse everything from then on. So heartbeats go on independently
//! here, several at once, and the answer of an earlier one answers a later one.
//!
//! Invariant: an answer serves for a later heartbeat only if it states for the later one what it states for its own. It must be of
//! the same leadership. An acknowledgement must be of a log position at or after the one that the later heartbeat asks about: a member with
//! the later position of a leader's log also has the earlier ones. Hence it makes no
//! difference that openraft also uses such messages to find where two logs part.
//!
//! Openraft takes the send time of the later heartbeat for the time of the acknowledgement. So the leader's lease may
//! be longer by one round trip than Raft's rules say. The lease decides only when a leader stops taking
//! proposals and when it refuses votes; no read relies on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

use crate::order::frames::{RaftMessage, RaftReply, WireVote};
use crate::state::LogPosition;
use quorate_ids::HostId;

/// Heartbeats to one member that are under way at most: those of more than two seconds.
pub(crate) const MAX_HEARTBEATS: usize = 16;
/// No estimate is longer, whatever a member makes of it by answering late.
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// An estimate of round trips and how much they vary, by RFC 6298.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoundTrip(Option<(Duration, Duration)>);

impl RoundTrip {
    /// Takes a measurement into account (section 2 of the RFC: alpha 1/8, beta 1/4).
    pub(crate) fn sample(&mut self, measured: Duration) {
        self.0 = Some(match self.0 {
            None => (measured, measured / 2),
            Some((smoothed, variation)) => {
                let variation = (variation * 3 + smoothed.abs_diff(measured)) / 4;
                ((smoothed * 7 + measured) / 8, variation)
            }
        });
    }

    /// Returns how long an answer takes at most, as a rule; zero while nothing was measured.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |(smoothed, variation)| (smoothed + variation * 4).min(MAX_TIMEOUT))
    }
}

/// What identifies a heartbeat: the leadership that it is of, and the place in the log that it asks about.
pub(crate) type Question = (WireVote, Option<LogPosition>);

/// Returns what a message asks, if it is a heartbeat.
pub(crate) fn question(message: &RaftMessage) -> Option<Question> {
    match message {
        RaftMessage::Append { vote, prev, entries, .. } if entries.is_empty() => Some((*vote, *prev)),
        _ => None,
    }
}

/// Returns whether the answer to an earlier heartbeat answers a later one. See the head of the module.
pub(crate) fn stands_for(earlier: &Question, reply: &RaftReply, later: &Question) -> bool {
    let same_leader = earlier.0 == later.0;
    match reply {
        RaftReply::AppendSuccess(_) => same_leader && earlier.1 >= later.1,
        RaftReply::AppendConflict => same_leader && earlier.1 == later.1,
        RaftReply::HigherVote(..) => same_leader,
        _ => false,
    }
}

#[derive(Default)]
struct State {
    round_trip: RoundTrip,
    under_way: usize,
    /// The newest answer that nobody waited for.
    answer: Option<(Question, RaftReply)>,
}

/// The way to one member.
#[derive(Default)]
pub(crate) struct Link {
    state: Mutex<State>,
    answered: Notify,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer took so long.
    pub(crate) fn sample(&self, measured: Duration) {
        self.lock().round_trip.sample(measured);
    }

    /// See [`RoundTrip::timeout`].
    pub(crate) fn timeout(&self) -> Duration {
        self.lock().round_trip.timeout()
    }

    /// Returns whether one more heartbeat may be sent; it then counts until [`Link::ended`].
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        let room = state.under_way < MAX_HEARTBEATS;
        state.under_way += usize::from(room);
        room
    }

    /// A heartbeat has ended; with its answer, if nobody waited for that.
    pub(crate) fn ended(&self, answer: Option<(Question, RaftReply)>) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if let Some((asked, reply)) = answer {
            let deposed = state
                .answer
                .as_ref()
                .is_some_and(|(kept, reply)| matches!(reply, RaftReply::HigherVote(..)) && kept.0 == asked.0);
            if !deposed {
                state.answer = Some((asked, reply));
            }
        }
        drop(state);
        self.answered.notify_one();
    }

    /// Takes an answer that stands for this heartbeat, if one has come.
    pub(crate) fn take(&self, asked: &Question) -> Option<RaftReply> {
        self.lock().answer.take_if(|(earlier, reply)| stands_for(earlier, reply, asked)).map(|(_, reply)| reply)
    }

    /// Returns when a heartbeat has ended.
    pub(crate) async fn answered(&self) {
        self.answered.notified().await;
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Links(Mutex<BTreeMap<HostId, Arc<Link>>>);

impl Links {
    /// The way to a member.
    pub(crate) fn to(&self, member: &HostId) -> Arc<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(*member).or_default())
    }

    /// The longest round trip to be expected to any of these members; zero while nothing was measured.
    pub(crate) fn longest<'a>(&self, members: impl Iterator<Item = &'a HostId>) -> Duration {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.filter_map(|member| links.get(member)).map(|link| link.timeout()).max().unwrap_or_default()
    }
}
