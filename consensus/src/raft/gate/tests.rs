//! What the gate makes of entries of the log by itself, without a Raft that runs.
#![allow(clippy::unwrap_used)]

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};

use super::*;
use crate::raft::types::{BlockData, Entry, log_id};
use crate::state::RaftMembership;
use crate::state::block::Activation;
use crate::stats::StatsCell;
use crate::storage::{MemoryStore, Store};
use crate::tests::{acknowledged, certificate, genesis, key, sign, statement};

/// The same members count for ever.
struct Fixed(Counted);

impl Voters for Fixed {
    fn counted(&self) -> Counted {
        self.0.clone()
    }
}

/// A block may end a membership, and only executing it shows whether it does. Until then its members prove nothing behind it.
#[tokio::test]
async fn members_prove_no_order_behind_an_entry_that_may_end_their_membership_before_it_is_executed() {
    let genesis = genesis(4, 3);
    let members = genesis.membership();
    let store = VatStore::new(Arc::new(MemoryStore::new()) as Arc<dyn Store>, genesis.vat_id());
    let mut log = LogStore::open(store.clone(), Arc::new(StatsCell::default())).unwrap();
    let first = WireEntry::first(RaftMembership::of_genesis(&genesis));
    log.begin(&first).unwrap();
    let present = (members.members.iter().map(|member| member.key).collect(), 3);
    let voters = Arc::new(Fixed(Counted { present, ..Counted::default() }));
    let gate = GateParts { key: key(1), store, voters, first, convictions: Box::new(|_| ()) };
    let gate = Arc::new(OrderGate::open(gate, &log).unwrap());
    log.guarded_by(Arc::clone(&gate));
    let activation = Activation {
        epoch: 1,
        admitted: 1,
        certificate: certificate(statement(&members, 1), &[1, 2, 3]),
        present: vec![sign(1, b"present")],
    };
    let ends = Block { commands: Vec::new(), control: Some(Control::Activate(activation)) };
    let blocks = [Block::default(), ends, Block::default()];
    let entry = |(index, block): (u64, &Block)| Entry {
        log_id: log_id(LogPosition { term: 1, index }),
        payload: EntryPayload::Normal(BlockData(block.encode())),
    };
    let entries: Vec<Entry> = (1..).zip(&blocks).map(entry).collect();
    log.append(entries, IOFlushed::noop()).await.unwrap();
    let lead = Lead { epoch: 0, term: 1, last: 3, chain: gate.chain_at(3).unwrap() };
    gate.learn(acknowledged(&genesis, &lead, &[1, 2, 3]));
    assert_eq!(gate.ordered(), 2, "the entry that may end it, and no more");
    gate.executed(2);
    assert_eq!(gate.ordered(), 3, "it has ended nothing");
}
