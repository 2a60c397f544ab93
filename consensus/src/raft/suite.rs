//! Openraft's own conformance suite for log storage, on a store of any kind. Its state machine here is a minimal one: ours makes no
//! snapshots on demand, which the suite asks for; the cluster tests cover it.
#![allow(clippy::unwrap_used)]

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};
use std::io;
use std::sync::Arc;

use super::log::LogStore;
use super::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::state::block::BlockReply;
use crate::stats::StatsCell;
use crate::storage::{Store, VatStore};
use quorate_ids::VatId;

type PlainSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, ()>;

#[derive(Clone, Default)]
struct PlainMachine {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

impl RaftSnapshotBuilder<TypeConfig> for PlainMachine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<PlainSnapshot, io::Error> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Ok(PlainSnapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for PlainMachine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(BlockReply::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.snapshot = Some(SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() });
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<PlainSnapshot>, io::Error> {
        Ok(self.snapshot.clone().map(|meta| PlainSnapshot { meta, snapshot: () }))
    }
}

fn log_on(store: Arc<dyn Store>) -> LogStore {
    // Not the first vat of the store: its records have neighbours on both sides.
    for vat in [[4; 32], [6; 32]] {
        let neighbour = VatStore::new(Arc::clone(&store), VatId(vat));
        let log = crate::storage::Write::Put(crate::storage::Family::Log, neighbour.numbered(3), vec![255]);
        neighbour.write(vec![log, neighbour.put_named("purged", &1u8)]).unwrap();
    }
    let log = LogStore::open(VatStore::new(store, VatId([5; 32])), Arc::new(StatsCell::default())).unwrap();
    // The suite leaves holes where Raft never does.
    log.allow_holes();
    log
}

struct On<F>(F);

impl<F: Fn() -> (G, Arc<dyn Store>) + Send + Sync, G: Send + Sync + 'static>
    StoreBuilder<TypeConfig, LogStore, PlainMachine, G> for On<F>
{
    async fn build(&self) -> Result<(G, LogStore, PlainMachine), StorageError<TypeConfig>> {
        let (guard, store) = (self.0)();
        Ok((guard, log_on(store), PlainMachine::default()))
    }
}

/// Checks that the log behaves as openraft needs it on these stores. `open` makes an empty one, and what has to live as long as it.
///
/// # Panics
/// If it does not.
pub async fn log_conforms<G: Send + Sync + 'static>(open: impl Fn() -> (G, Arc<dyn Store>) + Send + Sync) {
    Suite::test_all(On(open)).await.unwrap();
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_conforms_on_memory() {
    log_conforms(|| ((), Arc::new(crate::storage::MemoryStore::new()) as Arc<dyn Store>)).await;
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_conforms_on_rocksdb() {
    log_conforms(|| {
        let directory = tempfile::tempdir().unwrap();
        let store = crate::storage::RocksStore::open(directory.path()).unwrap();
        (directory, Arc::new(store) as Arc<dyn Store>)
    })
    .await;
}
