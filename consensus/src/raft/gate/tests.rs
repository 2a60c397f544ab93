//! What the gate makes of entries of the log by itself, without a Raft that runs.
#![allow(clippy::unwrap_used)]

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};

use super::*;
use crate::proof::membership::{Genesis, Member};
use crate::raft::ports::Counted;
use crate::raft::types::{BlockData, Entry, TypeConfig, log_id, open_membership};
use crate::state::RaftMembership;
use crate::state::block::{Activation, Block, Control};
use crate::stats::StatsCell;
use crate::storage::{MemoryStore, Store};
use crate::tests::{acknowledged, certificate, genesis, key, sign, statement};

type Payload = openraft::type_config::alias::EntryPayloadOf<TypeConfig>;

/// The same members count for ever.
struct Fixed(Counted);

impl Voters for Fixed {
    fn counted(&self) -> Counted {
        self.0.clone()
    }
}

struct Made {
    genesis: Genesis,
    gate: Arc<OrderGate>,
    log: LogStore,
}

/// Four members, of whom three must, in whose log these entries follow the first one.
async fn made(counted: Counted, entries: Vec<Payload>) -> Made {
    let genesis = genesis(4, 3);
    let store = VatStore::new(Arc::new(MemoryStore::new()) as Arc<dyn Store>, genesis.vat_id());
    let mut log = LogStore::open(store.clone(), Arc::new(StatsCell::default())).unwrap();
    let first = WireEntry::first(RaftMembership::of_genesis(&genesis));
    log.begin(&first).unwrap();
    let voters = Arc::new(Fixed(counted));
    let gate = GateParts { key: key(1), store, voters, first, convictions: Box::new(|_| ()) };
    let gate = Arc::new(OrderGate::open(gate, &log).unwrap());
    log.guarded_by(Arc::clone(&gate));
    let entry = |(index, payload)| Entry { log_id: log_id(LogPosition { term: 1, index }), payload };
    log.append((1..).zip(entries).map(entry).collect::<Vec<Entry>>(), IOFlushed::noop()).await.unwrap();
    Made { genesis, gate, log }
}

impl Made {
    /// These acknowledge the log up to there. Returns up to where the order is proven.
    fn acknowledge(&self, index: u64, seeds: &[u8]) -> u64 {
        let lead = Lead { epoch: 0, term: 1, last: index, chain: self.gate.chain_at(index).unwrap() };
        self.gate.learn(acknowledged(&self.genesis, &lead, seeds));
        self.gate.ordered()
    }
}

fn block(control: Option<Control>) -> Payload {
    EntryPayload::Normal(BlockData(Block { commands: Vec::new(), control }.encode()))
}

fn keys(seeds: &[u8]) -> Vec<HostId> {
    seeds.iter().map(|seed| HostId(key(*seed).verifying_key().to_bytes())).collect()
}

/// A block may end a membership, and only executing it shows whether it does. Until then its members prove nothing behind it.
#[tokio::test]
async fn members_prove_no_order_behind_an_entry_that_may_end_their_membership_before_it_is_executed() {
    let members = genesis(4, 3).membership();
    let activation = Activation {
        epoch: 1,
        admitted: 1,
        certificate: certificate(statement(&members, 1), &[1, 2, 3]),
        present: vec![sign(1, b"present")],
    };
    let entries = vec![block(None), block(Some(Control::Activate(activation))), block(None)];
    let made = made(Counted { present: (keys(&[1, 2, 3, 4]), 3), ..Counted::default() }, entries).await;
    assert_eq!(made.acknowledge(3, &[1, 2, 3]), 2, "the entry that may end it, and no more");
    made.gate.executed(2);
    assert_eq!(made.gate.ordered(), 3, "it has ended nothing");
}

/// Members may have acknowledged something when a leader is elected by those before them, who never saw it.
#[tokio::test]
async fn new_members_alone_prove_no_order_before_they_alone_elect() {
    let voters: BTreeMap<u64, Member> = (2..).zip(genesis(5, 3).members.into_iter().skip(1)).collect();
    let only = open_membership(&RaftMembership { configs: vec![voters.keys().copied().collect()], nodes: voters });
    let entries = vec![block(None), block(None), EntryPayload::Membership(only.unwrap()), block(None)];
    let counted = Counted {
        present: (keys(&[2, 3, 4, 5]), 3),
        before: Some(((keys(&[1, 2, 3, 4]), 3), 1)),
        before_elects: true,
        ..Counted::default()
    };
    let made = made(counted, entries).await;
    assert_eq!(made.acknowledge(1, &[1, 2, 4]), 1);
    assert_eq!(made.acknowledge(2, &[3, 4, 5]), 1, "three of the new ones, and two of those before");
    assert_eq!(made.acknowledge(2, &[2, 3, 4, 5]), 2, "three of both");
    assert_eq!(made.acknowledge(4, &[1, 2, 3]), 2, "of those before");
    assert_eq!(made.acknowledge(3, &[3, 4, 5]), 3, "here only they vote");
    assert_eq!(made.acknowledge(4, &[3, 4, 5]), 4);
    assert_eq!(made.log.ends().0, 4);
}
