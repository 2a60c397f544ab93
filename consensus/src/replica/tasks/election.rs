//! Standing for election when there is no leader: in turn with the other members, so that votes are not split.
//!
//! Openraft would do so by itself, but each of its pauses follows from the one configuration that has to hold for the longest
//! round trips as well. Here the pauses follow from the round trips that were measured: on a local network a leader is replaced
//! soon after it is not believed in any more, and members at the ends of the world don't get in each other's way.
//!
//! Each question is a pre-vote: it changes no term, and is refused by all who hear a leader and by all who know more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use crate::raft::role::Role;
use crate::raft::{RaftNode, RaftView};
use crate::replica::leader::LeaderSeen;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::tasks::own_key::OwnKey;
use crate::timing::Timing;

/// Round trips that an election takes: the question, the vote, the first word of the new leader, and one to spare.
const ROUND_TRIPS_PER_ELECTION: u32 = 4;
/// No turn is longer, whatever was measured.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// This member's place in the turn: how many others ask before it does, and how many there are. The present leader, as far as
/// one is known, is not among them: it is the one that fell silent. After a restart whoever led last comes first: its log is
/// likeliest to be the longest. `None`: this member does not vote, or Raft has not said yet.
fn place(view: &RaftView) -> Option<(u32, u32)> {
    let voters: BTreeSet<u64> = view.configs.iter().flatten().copied().collect();
    if !voters.contains(&view.id) {
        return None;
    }
    if view.leader == Some(view.id) {
        return Some((0, u32::try_from(voters.len()).unwrap_or(u32::MAX)));
    }
    let before = voters.range(..view.id).filter(|id| view.leader != Some(**id)).count();
    Some((u32::try_from(before).unwrap_or(u32::MAX) + 1, u32::try_from(voters.len()).unwrap_or(u32::MAX)))
}

/// How long one member's turn lasts.
fn turn(timing: &Timing, raft: &RaftNode, view: &RaftView) -> Duration {
    let round_trip = raft.longest_round_trip(view);
    timing.heartbeat.max(round_trip * ROUND_TRIPS_PER_ELECTION / 2).min(LONGEST_TURN)
}

/// What the task uses.
pub(crate) struct Election {
    pub(crate) timing: Timing,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) own_key: Arc<OwnKey>,
}

/// Asks whether this member may lead whenever no leader was heard for long enough, until Raft is gone. `patience`: how long to
/// wait for the first word of a leader.
pub(crate) async fn run(parts: Election, raft: RaftNode, patience: Duration) {
    let Election { timing, lifecycle, leader, own_key } = parts;
    let mut watch = raft.watch();
    let mut stopping = lifecycle.stopping();
    let mut silent_since = Instant::now() + patience;
    // How often this member asked since, and when it may ask again.
    let mut asked: u32 = 0;
    let mut again = silent_since;
    loop {
        let view = raft.view();
        let leads = view.role == Role::Leader;
        let last = if leads { Some(Instant::now()) } else { leader.at() };
        if let Some(silent) = last.map(|heard| heard + timing.election_max)
            && silent > silent_since
        {
            (silent_since, again, asked) = (silent, silent, 0);
        }
        let Some((place, voters)) = place(&view).filter(|_| !leads && !own_key.is_recovering()) else {
            // It does not stand for election, as things are.
            tokio::select! {
                () = stopping.wait() => return,
                alive = watch.changed() => if !alive { return },
            }
            continue;
        };
        let turn = turn(&timing, &raft, &view);
        let due = again.max(silent_since + turn * place);
        let now = Instant::now();
        if now < due {
            tokio::select! {
                () = stopping.wait() => return,
                () = tokio::time::sleep_until(due.min(now + timing.election_max)) => {}
            }
            continue;
        }
        // More and more seldom: what stands against it may take time.
        let round = turn * voters;
        again = now + (round * (1 << asked.min(4))).min(round.max(timing.election_max));
        asked += 1;
        raft.ask_to_lead().await;
    }
}
