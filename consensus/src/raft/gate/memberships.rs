//! Whose votes and acknowledgements count, and from where up to where: by what was executed, and by what the log has beyond that.
//!
//! Invariants: each membership proves the order up to the entry that ends it, and the next one from there. As long as the members before elect,
//! the next ones prove nothing without them. From the entry on by which Raft has only the next ones' votes, they prove it alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::State;
use crate::order::frames::{WireContent, WireEntry};
use crate::raft::ports::{Counted, Voters};
use crate::state::RaftMembership;
use crate::state::block::{Block, Control};
use crate::storage::VatStore;
use quorate_ids::{Hash, HostId};
use quorate_order::chain::Point;
use quorate_order::epoch::{Epoch, Quorum};

/// What an entry may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::raft) enum Turn {
    /// It may end a membership. Whether it does is known when it is executed.
    Ends,
    /// From it on, these alone vote in Raft.
    Voters(BTreeSet<HostId>),
}

/// An entry that may change who counts: its index, the chain up to it, and how.
pub(in crate::raft) type Turning = (u64, Hash, Turn);

/// Returns what an entry may change in who counts.
pub(in crate::raft) fn turn(entry: &WireEntry) -> Option<Turn> {
    match &entry.content {
        WireContent::Blank => None,
        WireContent::Block(bytes) => {
            let control = Block::decode(bytes).control;
            matches!(control, Some(Control::Activate(_) | Control::Recover(_))).then_some(Turn::Ends)
        }
        WireContent::Membership(RaftMembership { configs, nodes }) => {
            let [voters] = &configs[..] else { return None };
            Some(Turn::Voters(voters.iter().filter_map(|id| nodes.get(id)).map(|member| member.key).collect()))
        }
    }
}

/// What an [`Epoch`] is made of.
#[derive(PartialEq, Eq)]
pub(super) struct Counting {
    pub(super) counted: Counted,
    /// Of entries of the log that are not executed, by index.
    pub(super) turns: Vec<(u64, Turn)>,
}

/// Takes in who counts now, and up to where: `coming` are entries that the log may have after this.
pub(super) fn refresh(state: &mut State, store: &VatStore, voters: &dyn Voters, root: Point, coming: &[Turning]) {
    let (log, executed) = (&state.member.durable().log, state.executed);
    let known = state.turns.iter().filter(|(index, chain, _)| log.holds(*index, chain));
    // A leader may send again what was executed long ago.
    let turns = known.chain(coming).filter(|(index, ..)| *index > executed);
    let mut turns: Vec<(u64, Turn)> = turns.map(|(index, _, turn)| (*index, turn.clone())).collect();
    turns.sort_unstable();
    turns.dedup();
    let counting = Counting { counted: voters.counted(), turns };
    if state.counting != counting {
        state.member.set_epoch(Arc::new(epoch_of(store, root, &counting)));
        state.counting = counting;
    }
}

/// See the head of the module.
pub(super) fn epoch_of(store: &VatStore, root: Point, Counting { counted, turns }: &Counting) -> Epoch {
    let mut ends = turns.iter().filter(|(_, turn)| *turn == Turn::Ends).map(|(index, _)| *index);
    // From which index on only these vote in Raft, who became members after `began`.
    let alone_from = |members: &[HostId], began: Option<u64>| {
        let members: BTreeSet<HostId> = members.iter().copied().collect();
        let mut later = turns.iter().filter(|(index, _)| began.is_some_and(|began| *index > began));
        later.find(|(_, turn)| matches!(turn, Turn::Voters(voters) if *voters == members)).map(|(index, _)| *index)
    };
    let (members, threshold) = counted.present.clone();
    let before = counted.before.clone().map(|((members, threshold), through)| Quorum {
        members,
        threshold,
        through: Some(through),
        elects: counted.before_elects,
        alone_from: Some(0),
    });
    let own_alone = match &before {
        Some(before) if before.elects => alone_from(&members, before.through),
        _ => Some(0),
    };
    let through = counted.through.or_else(|| ends.next());
    let mut began = through;
    let coming = counted.coming.iter().cloned().map(|(members, threshold)| {
        let (alone_from, through) = (alone_from(&members, began), ends.next());
        began = through;
        Quorum { members, threshold, through, elects: true, alone_from }
    });
    let coming = coming.collect();
    Epoch { vat: store.vat(), number: 0, members, threshold, through, alone_from: own_alone, before, coming, root }
}
