//! Clock statements: signs this member's own, and collects those of the others.
//!
//! Invariants: a member signs only what its clock shows, for the epoch that it has applied, and a bounded number of times a
//! second. Nobody is asked unless the machine or a command wants the time. A caller waits a bounded time.

use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

use super::identity::Identity;
use super::membership_view::Members;
use super::wire::share::{ShareClient, ShareFrame};
use crate::execution::machine::LogTime;
use crate::proof::clock::ClockStatement;
use crate::proof::membership::{Member, Membership};
use crate::state::block::Tick;

/// The clock of a host.
pub trait Clock: Send + Sync {
    /// Returns what it shows, in ms since the Unix epoch. It may go wrong, and back.
    fn now_ms(&self) -> u64;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// How old a statement may be that is given once more: no asker makes a member sign more often.
const SAME_FOR: Duration = Duration::from_millis(5);
/// How far behind this host's clock the log's time may be where commands want to find that of the present.
const FRESH_MS: u64 = 1_000;
/// A clock that is no further behind is worth being asked again, rather than to wait for others.
const NEAR_MS: u64 = 1_000;
/// Times the wait for answers: how long nobody is asked for the sake of commands after a wait in vain.
const PAUSE: u32 = 16;

/// See the head of the module.
pub(crate) struct Clocks {
    pub(crate) identity: Arc<Identity>,
    pub(crate) members: Arc<Members>,
    share: ShareClient,
    /// The log's time, and what the machine wants of it.
    pub(crate) time: watch::Receiver<LogTime>,
    /// The epoch and this host's latest statement, with the time at which it was made.
    stated: Mutex<Option<(u64, ClockStatement, Instant)>>,
    /// Until then nobody is asked for the sake of commands.
    next_fresh: Mutex<Option<Instant>>,
}

impl Clocks {
    /// Those of a replica, whose executor tells the log's time.
    pub(crate) fn new(
        identity: Arc<Identity>,
        members: Arc<Members>,
        share: ShareClient,
        time: watch::Receiver<LogTime>,
    ) -> Self {
        Self { identity, members, share, time, stated: Mutex::default(), next_fresh: Mutex::default() }
    }

    /// The log's time, as executed here.
    pub(crate) fn log_time(&self) -> LogTime {
        *self.time.borrow()
    }

    /// Since how many milliseconds the log's time is due, by this host's clock; 0 if it is not.
    pub(crate) fn overdue_ms(&self) -> u64 {
        let wanted = self.log_time().wanted.at_ms;
        wanted.map_or(0, |at_ms| self.identity.clock.now_ms().saturating_sub(at_ms))
    }

    fn present(&self) -> Membership {
        self.members.view().applied.membership.clone()
    }

    /// Returns what this host's clock shows. `None`: it is no member of the present epoch.
    pub(crate) fn state(&self) -> Option<ClockStatement> {
        let present = self.present();
        if !present.contains(&self.identity.key) {
            return None;
        }
        let mut stated = self.stated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((epoch, statement, at)) = *stated
            && epoch == present.epoch
            && at.elapsed() < SAME_FOR
        {
            return Some(statement);
        }
        let statement = ClockStatement::sign(&self.identity.signing, &present, self.identity.clock.now_ms());
        *stated = Some((present.epoch, statement, Instant::now()));
        Some(statement)
    }

    /// Asks all members what their clocks show, until as many as are needed say that it is about `at_ms` or later, or none is left to
    /// answer, or patience ends. Returns the latest that were found, as many as are needed, and the time that follows. `None`: fewer
    /// have answered.
    pub(crate) async fn ask(&self, at_ms: u64, patience: Duration) -> Option<(Tick, u64)> {
        let until = Instant::now() + patience;
        let present = self.present();
        let needed = present.one_is_honest();
        let others = present.members.iter().filter(|member| member.key != self.identity.key);
        let mut answers: FuturesUnordered<_> = others.map(|member| self.ask_one(member, &present)).collect();
        let mut clocks: Vec<ClockStatement> = self.state().into_iter().collect();
        // Asking again takes no longer than waiting for a member that may be down. A member whose clock is far behind is not waited for.
        let near_ms = at_ms.saturating_sub(NEAR_MS);
        while clocks.iter().filter(|clock| clock.ms >= near_ms).count() < needed {
            let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await else { break };
            clocks.extend(answer);
        }
        clocks.sort_by_key(|clock| std::cmp::Reverse((clock.ms, clock.signature.key)));
        clocks.truncate(needed);
        let reached_ms = clocks.last().filter(|_| clocks.len() == needed)?.ms;
        Some((Tick { clocks }, reached_ms))
    }

    /// By how many milliseconds the clock of each other member is ahead of this host's, about: the way of the question is taken to be half of
    /// the round trip. `None`: it does not answer in time.
    pub(crate) async fn compare(&self, patience: Duration) -> Vec<(Member, Option<i64>)> {
        let present = self.present();
        let present = &present;
        let others = present.members.iter().filter(|member| member.key != self.identity.key);
        let asked = others.map(|member| async move {
            let (asked_ms, began) = (self.identity.clock.now_ms(), Instant::now());
            let answer = tokio::time::timeout(patience, self.ask_one(member, present)).await.ok().flatten();
            let half_ms = began.elapsed().as_millis() as u64 / 2;
            let ahead_ms = answer.map(|clock| clock.ms.wrapping_sub(asked_ms.saturating_add(half_ms)) as i64);
            (member.clone(), ahead_ms)
        });
        futures::future::join_all(asked).await
    }

    async fn ask_one(&self, member: &Member, present: &Membership) -> Option<ClockStatement> {
        let answer = self.share.exchange(member, &ShareFrame::Clock).await.ok()?.clock?;
        (answer.signature.key == member.key && answer.verify(present).is_ok()).then_some(answer)
    }

    /// The time that commands want to find, if the machine wants that and the log's time is old. To be asked by the leader, which puts it
    /// before them. Asks at most once a second, and waits for a bounded time: commands go on without if too few members answer.
    pub(crate) async fn for_commands(&self) -> Option<Tick> {
        let LogTime { now_ms, wanted } = self.log_time();
        let own_ms = self.identity.clock.now_ms();
        // Whatever time it is, the first command finds one.
        let is_fresh = now_ms > 0 && own_ms < now_ms.saturating_add(FRESH_MS);
        if !wanted.with_commands || is_fresh || !self.begin_fresh() {
            return None;
        }
        let (began, patience) = (Instant::now(), self.identity.timing.request / 4);
        let found = self.ask(own_ms, patience).await;
        let is_quick = found.is_some() && began.elapsed() < patience;
        let pause = if is_quick { Duration::from_millis(FRESH_MS) } else { patience * PAUSE };
        *self.next_fresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        found.filter(|(_, reached_ms)| *reached_ms > now_ms).map(|(tick, _)| tick)
    }

    fn begin_fresh(&self) -> bool {
        let next = self.next_fresh.lock().unwrap_or_else(PoisonError::into_inner);
        next.is_none_or(|next| Instant::now() >= next)
    }
}
