//! Proposals that this member has handed on to a leader, until it has executed them itself.
//!
//! Invariant: what a proposer gets of a block and a result comes from this member's own execution. The leader's word is no evidence: a
//! leader that lies can execute a log that it shows to nobody else.
//!
//! Bounded by the proposals that are under way at a leader.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

use super::handle::Proposed;
use super::wire::propose::Payload;
use crate::codec;
use crate::state::block::{Block, BlockReply, LogContent, LogItem};
use quorate_ids::Hash;

/// Stands for something that was proposed. The flag is set for controls.
type Name = (bool, Hash);
type Reply = oneshot::Sender<Proposed>;

fn name_of(payload: &Payload) -> Name {
    match payload {
        Payload::Command(bytes) => (false, Hash::of(&bytes.0)),
        Payload::Control(control) => (true, Hash::of(&codec::encode(control))),
    }
}

/// See the head of the module.
#[derive(Default)]
pub(crate) struct Awaited(Mutex<BTreeMap<Name, Vec<Reply>>>);

/// A proposal that an entry has which is executed next.
pub(crate) struct Due {
    index: u64,
    /// Which of the block's commands it is; none for its control.
    command: Option<usize>,
    reply: Reply,
}

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<Reply>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what tells of the execution of each of these here. A receiver that is dropped waits no more; one whose sender is dropped
    /// will not be told: the state of a checkpoint has taken the place of the entry, or the replica stops.
    pub(crate) fn expect(&self, payloads: &[Payload]) -> Vec<oneshot::Receiver<Proposed>> {
        let mut known = self.lock();
        known.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
        let expect = |payload| {
            let (reply, executed) = oneshot::channel();
            known.entry(name_of(payload)).or_default().push(reply);
            executed
        };
        payloads.iter().map(expect).collect()
    }

    /// Takes out what these entries have of it.
    pub(crate) fn take(&self, items: &[LogItem]) -> Vec<Due> {
        let mut known = self.lock();
        let mut due = Vec::new();
        for item in items {
            if known.is_empty() {
                break;
            }
            let LogContent::Block(bytes) = &item.content else { continue };
            let Block { commands, control } = Block::decode(bytes);
            let commands = commands.into_iter().map(Payload::Command).enumerate().map(|(place, it)| (Some(place), it));
            let control = control.into_iter().map(|control| (None, Payload::Control(control)));
            for (command, payload) in commands.chain(control) {
                let replies = known.remove(&name_of(&payload)).unwrap_or_default();
                due.extend(replies.into_iter().map(|reply| Due { index: item.index, command, reply }));
            }
        }
        due
    }

    /// The state of a checkpoint has taken the place of entries that this member never executes.
    pub(crate) fn skipped(&self) {
        self.lock().clear();
    }
}

impl Due {
    /// Returns the log index of its entry.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Its entry was executed, which is the block of this number, and came to this.
    pub(crate) fn executed(self, reply: &BlockReply) {
        if let Some(result) = reply.result_of(self.command) {
            // The caller may have given up.
            let _ = self.reply.send(Proposed { block: self.index, result });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Blob;

    fn command(letter: u8) -> Payload {
        Payload::Command(Blob::from(vec![letter; 3]))
    }

    fn item(index: u64, letters: &[u8]) -> LogItem {
        let commands = letters.iter().map(|letter| Blob::from(vec![*letter; 3])).collect();
        let content = LogContent::Block(Block { commands, control: None }.encode());
        LogItem { term: 1, index, chain: Hash::ZERO, content }
    }

    fn reply(results: &[&[u8]]) -> BlockReply {
        BlockReply { results: results.iter().map(|result| result.to_vec()).collect(), refused: None }
    }

    #[test]
    fn each_gets_its_own_result_of_the_entry_that_has_it_and_nobody_anything_of_another() {
        let awaited = Awaited::default();
        let mut receivers = awaited.expect(&[command(b'a'), command(b'b'), command(b'a')]);
        assert!(awaited.take(&[item(3, b"cd")]).is_empty());
        let due = awaited.take(&[item(4, b"d"), item(5, b"cba")]);
        assert_eq!(due.len(), 3);
        due.into_iter().for_each(|due| due.executed(&reply(&[b"C", b"B", b"A"])));
        let mut next = || receivers.remove(0).try_recv().expect("told");
        assert_eq!((next().result, next().result, next().result), (b"A".to_vec(), b"B".to_vec(), b"A".to_vec()));
        assert!(awaited.lock().is_empty());
    }

    #[test]
    fn who_waits_no_more_is_forgotten_and_who_waits_for_what_is_skipped_is_told_nothing() {
        let awaited = Awaited::default();
        drop(awaited.expect(&[command(b'a')]));
        let mut waits = awaited.expect(&[command(b'b')]);
        assert_eq!(awaited.lock().len(), 1);
        awaited.skipped();
        assert!(waits.remove(0).try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        // A block that has fewer results than commands.
        let mut waits = awaited.expect(&[command(b'c')]);
        awaited.take(&[item(7, b"c")]).into_iter().for_each(|due| due.executed(&reply(&[])));
        assert!(waits.remove(0).try_recv().is_err());
    }
}
