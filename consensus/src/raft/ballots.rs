//! Votes and pre-votes that are not answered yet, and the members that would vote for this one.
//!
//! An answer with a later term ends an election that the others are about to decide, and it may be the first answer to come. So such an answer
//! counts only after the others have answered, or have had their time.
//!
//! Openraft stands for election when a majority would vote for it, which may be fewer than the threshold. Each such election changes the term
//! in vain. Members with longer logs, which give no vote in it, fall behind in terms, and the others then refuse them for that, for ever. So
//! openraft learns of the pre-votes only when they reach the threshold.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

use quorate_ids::HostId;

/// An election: its term, and whether it only asks who would vote.
type Election = (u64, bool);

/// See the head of the module.
#[derive(Default)]
pub(crate) struct Ballots {
    open: Mutex<BTreeMap<Election, usize>>,
    /// The members that would vote for this one, with the term and time of their answers.
    willing: Mutex<BTreeMap<HostId, (u64, Instant)>>,
    answered: Notify,
}

/// A question that is open until this is dropped.
pub(crate) struct Ballot<'a> {
    ballots: &'a Ballots,
    election: Election,
}

impl Ballots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Election, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member is asked for its vote in a term; `pre`: whether it would give it.
    pub(crate) fn open(&self, term: u64, pre: bool) -> Ballot<'_> {
        *self.lock().entry((term, pre)).or_default() += 1;
        Ballot { ballots: self, election: (term, pre) }
    }

    /// Returns when no question of an election is open.
    pub(crate) async fn closed(&self, term: u64, pre: bool) {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // Before it looks: an answer in between is not missed.
            answered.as_mut().enable();
            if !self.lock().contains_key(&(term, pre)) {
                return;
            }
            answered.await;
        }
    }

    /// A member has said whether it would vote for this one in a term.
    pub(crate) fn said(&self, by: HostId, term: u64, would: bool) {
        {
            let mut willing = self.willing.lock().unwrap_or_else(PoisonError::into_inner);
            willing.remove(&by);
            if would {
                willing.insert(by, (term, Instant::now()));
            }
        }
        self.answered.notify_waiters();
    }

    /// Returns when enough members would vote for this one in a term, as far as they have said so within `memory`.
    pub(crate) async fn enough_are_willing(&self, term: u64, memory: Duration, enough: impl Fn(&[HostId]) -> bool) {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // Before it looks: an answer in between is not missed.
            answered.as_mut().enable();
            let now = Instant::now();
            let willing: Vec<HostId> = {
                let willing = self.willing.lock().unwrap_or_else(PoisonError::into_inner);
                let is_one = |(of, at): (u64, Instant)| of == term && now <= at + memory;
                willing.iter().filter(|(_, said)| is_one(**said)).map(|(by, _)| *by).collect()
            };
            if enough(&willing) {
                return;
            }
            answered.await;
        }
    }
}

impl Drop for Ballot<'_> {
    fn drop(&mut self) {
        let mut open = self.ballots.lock();
        if let Some(count) = open.get_mut(&self.election) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.election);
            }
        }
        drop(open);
        self.ballots.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn an_election_is_over_when_each_question_of_it_is_answered_or_given_up() {
        let ballots = Ballots::default();
        assert!(ballots.closed(7, false).now_or_never().is_some(), "nobody was asked");
        let (first, second) = (ballots.open(7, false), ballots.open(7, false));
        let _other = (ballots.open(7, true), ballots.open(8, false));
        let mut closed = std::pin::pin!(ballots.closed(7, false));
        assert!(closed.as_mut().now_or_never().is_none());
        drop(first);
        assert!(closed.as_mut().now_or_never().is_none(), "another is open");
        drop(second);
        assert!(closed.now_or_never().is_some());
        assert!(ballots.closed(8, false).now_or_never().is_none());
        assert_eq!(ballots.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_would_vote_are_enough_when_as_many_have_said_so_of_one_term_lately() {
        let (ballots, memory) = (Ballots::default(), Duration::from_secs(1));
        let [first, second, third] = [1, 2, 3].map(|seed| HostId([seed; 32]));
        let mut two = std::pin::pin!(ballots.enough_are_willing(7, memory, |willing| willing.len() == 2));
        ballots.said(first, 7, true);
        ballots.said(second, 6, true);
        ballots.said(third, 7, false);
        assert!(two.as_mut().now_or_never().is_none(), "one would vote in this term");
        ballots.said(first, 7, true);
        assert!(two.as_mut().now_or_never().is_none(), "it has said so again");
        tokio::time::sleep(memory * 2).await;
        ballots.said(second, 7, true);
        assert!(two.as_mut().now_or_never().is_none(), "the other has said so long ago");
        ballots.said(third, 7, true);
        assert!(two.as_mut().now_or_never().is_some());
        ballots.said(third, 7, false);
        let again = ballots.enough_are_willing(7, memory, |willing| willing.len() == 2);
        assert!(again.now_or_never().is_none(), "it has thought better of it");
    }
}
