//! Messages that wait for their certificate, by block.
//!
//! Invariants: the newest head of each peer stays until it is certified or covered by a checkpoint. Beside those, the number of kept
//! blocks is bounded.

use quorate_ids::VatId;
use quorate_protocol::evidence::Outbox;
use std::{collections::BTreeMap, sync::Arc};

/// Blocks kept while they wait, beside those that have some peer's newest head: older heads are covered by newer ones.
const PENDING_BLOCKS: usize = 1_024;

#[derive(Default)]
pub(super) struct Pending {
    blocks: BTreeMap<u64, Waiting>,
    /// The block of each peer's newest head here.
    newest: BTreeMap<VatId, u64>,
}

struct Waiting {
    outbox: Arc<Outbox>,
    /// How many of its heads are their peers' newest.
    current: usize,
}

impl Pending {
    /// A block has said this.
    pub(super) fn add(&mut self, block: u64, outbox: Arc<Outbox>) {
        if outbox.heads().is_empty() {
            return;
        }
        let mut current = 0;
        for head in outbox.heads().iter().filter(|head| !head.is_mark) {
            current += 1;
            if let Some(before) = self.newest.insert(head.peer, block) {
                self.supersede(before);
            }
        }
        self.blocks.insert(block, Waiting { outbox, current });
    }

    fn supersede(&mut self, block: u64) {
        let Some(waiting) = self.blocks.get_mut(&block) else { return };
        waiting.current = waiting.current.saturating_sub(1);
        if waiting.current == 0 && self.blocks.len() > PENDING_BLOCKS {
            self.blocks.remove(&block);
        }
    }

    /// A block is certified: what it said, and the places of those of its heads that still count: no newer one was certified, and
    /// its peer was not forgotten.
    pub(super) fn take(&mut self, block: u64) -> Option<(Arc<Outbox>, Vec<usize>)> {
        let outbox = self.blocks.remove(&block)?.outbox;
        let mut counts = Vec::new();
        for (index, head) in outbox.heads().iter().enumerate() {
            let newest = self.newest.get(&head.peer).copied();
            // Its marks come before it.
            if newest == Some(block) && !head.is_mark {
                self.newest.remove(&head.peer);
            }
            if newest.is_some() {
                counts.push(index);
            }
        }
        Some((outbox, counts))
    }

    /// A peer was forgotten: none of the heads that are here is for anybody.
    pub(super) fn forget(&mut self, peer: &VatId) {
        if let Some(block) = self.newest.remove(peer) {
            self.supersede(block);
        }
    }

    /// Nothing before this block is certified any more: a certified checkpoint covers it, but for heads that only acknowledge. Gives
    /// the peers whose newest head will so never be certified here.
    pub(super) fn forget_before(&mut self, block: u64) -> Vec<VatId> {
        self.blocks = self.blocks.split_off(&block);
        self.newest.extract_if(.., |_, newest| *newest < block).map(|(peer, _)| peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ids::Hash;
    use quorate_streams::stream::StreamHead;

    fn said(peers: &[u8]) -> Arc<Outbox> {
        let head = |peer: &u8| StreamHead {
            peer: VatId([*peer; 32]),
            end: 1,
            hash: Hash([0; 32]),
            ack: 0,
            ack_hash: Hash([0; 32]),
            is_mark: false,
        };
        Arc::new(Outbox::new(peers.iter().map(head).collect()))
    }

    #[test]
    fn a_silent_peers_head_outlives_any_number_of_others() {
        let mut pending = Pending::default();
        pending.add(1, said(&[1, 2]));
        pending.add(2, said(&[]));
        for block in 3..5_000 {
            pending.add(block, said(&[1]));
        }
        assert!(pending.blocks.len() <= PENDING_BLOCKS + 2, "{} blocks are kept", pending.blocks.len());
        assert!(pending.take(2).is_none(), "it said nothing");
        assert_eq!(pending.take(1).map(|(_, counts)| counts), Some(vec![0, 1]));
        assert!(pending.take(1).is_none(), "once is enough");
        assert!(pending.take(4_999).is_some(), "the newest");
    }

    #[test]
    fn heads_of_peers_that_were_forgotten_count_no_more() {
        let mut pending = Pending::default();
        pending.add(1, said(&[1, 2]));
        pending.add(2, said(&[1, 2]));
        pending.forget(&VatId([2; 32]));
        assert_eq!(pending.take(1).map(|(_, counts)| counts), Some(vec![0]));
        // The same VatId, should it ever be spoken to again.
        pending.add(3, said(&[2]));
        assert_eq!(pending.take(3).map(|(_, counts)| counts), Some(vec![0]));
        assert_eq!(pending.take(2).map(|(_, counts)| counts), Some(vec![0]), "one that was certified late");
        assert!(pending.blocks.is_empty() && pending.newest.is_empty());
    }

    #[test]
    fn a_checkpoint_covers_what_was_before_it() {
        let mut pending = Pending::default();
        pending.add(1, said(&[1]));
        pending.add(2, said(&[2]));
        pending.add(3, said(&[1]));
        assert_eq!(pending.forget_before(3), [VatId([2; 32])], "the other one is spoken to in block 3");
        assert!(pending.take(1).is_none() && pending.take(2).is_none());
        assert!(pending.take(3).is_some());
        assert!(pending.blocks.is_empty() && pending.newest.is_empty());
    }
}
