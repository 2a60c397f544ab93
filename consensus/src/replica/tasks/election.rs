//! Stands for election when there is no leader: in turn with the other members, so that votes are not split.
//!
//! Openraft's own election timers are off: their pauses come from one configuration, which would have to fit the longest
//! round trips and the slowest disks. Here the pauses follow from measured round trips. On a local network members replace a leader
//! soon after they have lost it; members at the ends of the world do not disturb each other.
//!
//! First comes a pre-vote. It changes no term. Members refuse it if they hear a leader or have a better log.
//!
//! A member that would be elected still has to get votes, and another candidate may take them away in the meantime. With slow disks, two members could do that to each
//! other for ever, at the same distances each time. So the pause after a round of turns grows with each election that failed. It does
//! not grow while nobody could be elected at all, so that returning members find a leader soon.
//!
//! The candidates of a host take turns ([`Pace`]). A member whose timer is late adds that to its patience with the leader: the machine is busy, and the leader's heartbeats may be
//! here already, and wait like the timer.
//!
//! Members in a later term refuse the pre-vote for that alone. The candidate asks again in their term, soon and once. Otherwise a member that
//! stands again and again in vain would always be ahead of one with a longer log, which gives it no vote and could be elected.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use crate::raft::role::Role;
use crate::raft::{RaftNode, RaftView};
use crate::replica::leader::LeaderSeen;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::pace::Pace;
use crate::replica::tasks::own_key::OwnKey;
use crate::timing::Timing;

/// Round trips that an election takes: the question, the vote, the first word of the new leader, and one to spare.
const ROUND_TRIPS_PER_ELECTION: u32 = 4;
/// No turn is longer, whatever was measured.
const LONGEST_TURN: Duration = Duration::from_secs(2);
/// How often the longest pause doubles at most.
const MAX_DOUBLINGS: u32 = 3;

/// This member's place in the turn: how many others ask before it does, and how many there are. The present leader, as far as
/// one is known, is not among them: it is the one that fell silent. After a restart the last leader comes first: its log is
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

/// Returns how long one member's turn lasts.
fn turn(timing: &Timing, raft: &RaftNode, view: &RaftView) -> Duration {
    let round_trip = raft.longest_round_trip(view);
    timing.heartbeat.max(round_trip * ROUND_TRIPS_PER_ELECTION / 2).min(LONGEST_TURN)
}

/// Returns how long a member pauses until it asks again. `round`: as long as all take their turns; `own`: as long as those before it do. `asked`: how
/// often it did since a leader fell silent; `failed`: after how many of these an election had come to nothing.
///
/// No two pauses are equal: members that stood at the same moment, and took each other's votes, would do that for ever.
fn pause((round, own): (Duration, Duration), election_max: Duration, asked: u32, failed: u32) -> Duration {
    let longest = election_max * (1 << failed.min(MAX_DOUBLINGS));
    // More and more seldom: what stands against it may take time.
    (round * (1 << asked.min(4))).min(round.max(longest)) + own
}

/// What the task uses.
pub(crate) struct Election {
    pub(crate) timing: Timing,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) own_key: Arc<OwnKey>,
    pub(crate) pace: Arc<Pace>,
}

/// Asks whether this member may lead whenever no leader was heard for long enough, until Raft is gone. `patience`: how long to
/// wait for the first word of a leader; without it, this member asks at once.
pub(crate) async fn run(parts: Election, raft: RaftNode, patience: Option<Duration>) {
    let Election { timing, lifecycle, leader, own_key, pace } = parts;
    let mut watch = raft.watch();
    let mut stopping = lifecycle.stopping();
    let mut silent_since = Instant::now() + patience.unwrap_or_default();
    let mut at_once = patience.is_none();
    // How often this member asked since, and when it may ask again.
    let mut asked: u32 = 0;
    let mut again = silent_since;
    // How often an election had been held since it asked before, and the term then.
    let (mut failed, mut term) = (0, raft.view().term);
    // Since when it knows of a later term that it was only told of; and whether it asked for that reason before.
    let (mut told, mut caught_up): (Option<Instant>, bool) = (None, false);
    loop {
        tokio::select! {
            () = stopping.wait() => return,
            () = lifecycle.awake() => {}
        }
        let view = raft.view();
        let leads = view.role == Role::Leader;
        let last = if leads { Some(Instant::now()) } else { leader.at() };
        if let Some(silent) = last.map(|heard| heard + timing.election_max)
            && silent > silent_since
        {
            (silent_since, again, asked, failed) = (silent, silent, 0, 0);
        }
        let Some((place, voters)) = place(&view).filter(|_| !leads && !own_key.is_recovering()) else {
            // It does not stand for election, as things are.
            tokio::select! {
                () = stopping.wait() => return,
                alive = watch.changed() => if !alive { return },
                // Whether it recovers is not Raft's to tell.
                () = lifecycle.pause(timing.election_max) => {}
            }
            continue;
        };
        let turn = turn(&timing, &raft, &view);
        let now = Instant::now();
        // One that has voted in it gives that election its time.
        let is_behind = asked > 0 && !caught_up && view.term > term && !raft.has_voted(view.term);
        let soon = is_behind.then(|| *told.get_or_insert(now) + turn);
        let due = again.min(soon.unwrap_or(again)).max(silent_since + turn * place);
        if now < due && !at_once {
            let until = due.min(now + timing.election_max);
            tokio::select! {
                () = stopping.wait() => return,
                alive = watch.changed(), if asked > 0 => if !alive { return },
                () = tokio::time::sleep_until(until) => {
                    let late = until.elapsed();
                    (silent_since, again) = (silent_since + late, again + late);
                }
            }
            continue;
        }
        let heard = leader.at();
        let waiting = tokio::select! {
            () = stopping.wait() => return,
            waiting = pace.turn() => waiting,
        };
        if leader.at() != heard || lifecycle.is_asleep() {
            continue;
        }
        at_once = false;
        failed += u32::from(asked > 0 && view.term > term);
        term = view.term;
        again = Instant::now() + pause((turn * voters, turn * place), timing.election_max, asked, failed);
        (told, caught_up) = (None, is_behind);
        asked += 1;
        raft.ask_to_lead().await;
        waiting.ends_with(&raft, &leader, term, (turn.max(timing.heartbeat), timing.election_min));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_elections_that_came_to_nothing_and_not_with_questions_alone() {
        let ms = Duration::from_millis;
        let pauses = |failed: fn(u32) -> u32| -> Vec<u64> {
            (0..9).map(|asked| pause((ms(600), ms(0)), ms(1_250), asked, failed(asked)).as_millis() as u64).collect()
        };
        assert_eq!(pauses(|_| 0), [600, 1_200, 1_250, 1_250, 1_250, 1_250, 1_250, 1_250, 1_250]);
        assert_eq!(pauses(|asked| asked), [600, 1_200, 2_400, 4_800, 9_600, 9_600, 9_600, 9_600, 9_600]);
        assert_eq!(pauses(|asked| asked.min(1)), [600, 1_200, 2_400, 2_500, 2_500, 2_500, 2_500, 2_500, 2_500]);
        // Round trips that take longer than that count in any case.
        assert_eq!(pause((ms(16_000), ms(0)), ms(1_250), 1, 0), ms(16_000));
        // Two that stood at the same moment stand a turn apart the next time.
        let next = |own| pause((ms(600), ms(own)), ms(1_250), 3, 2);
        assert_eq!(next(300) - next(150), ms(150));
    }
}
