//! Questions for votes that are not answered yet.
//!
//! Whoever names a later term in its answer would end an election that the others are about to decide, and it may be the one that answers
//! first: it is heard when the others have had their say.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// An election: its term, and whether it only asks who would vote.
type Election = (u64, bool);

/// See the head of the module.
#[derive(Default)]
pub(crate) struct Ballots {
    open: Mutex<BTreeMap<Election, usize>>,
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
}
