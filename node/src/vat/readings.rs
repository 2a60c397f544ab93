//! Readings of a vat: its published data, by the newest certificate that is here.
//!
//! A replica executes ahead of certificates. So it keeps the published data of each block that has a statement until the block's certificate is
//! there, or that of a later block.
//!
//! Invariants: every answer is proven by a certificate. The data that waits for certificates is bounded. Nothing here is ever an input to
//! replicated state.

use super::view::SharedView;
use quorate_consensus::{Certificate, ReplicaHandle};
use quorate_protocol::{
    published::{PublishedTree, Reading},
    wire::{ReadReply, ReadRequest},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Statements that wait for their certificates at most; beyond them the oldest cannot be read any more. Trees share what they have in common, and
/// a tree of its own takes some 200 KiB.
const WAITING: usize = 256;
/// How long a question waits for a certificate that is new enough. Below the caller's deadline.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often it is looked whether a restored state has been heard of.
const RESTORED_POLL: Duration = Duration::from_millis(10);

/// See the head of the module; cheap to clone.
#[derive(Clone)]
pub struct Readings(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// The block of the newest certificate that is here.
    newest: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, Arc<PublishedTree>>,
    certified: Option<(Certificate, Arc<PublishedTree>)>,
}

impl Default for Readings {
    fn default() -> Self {
        Readings(Arc::new(Inner { state: Mutex::default(), newest: watch::Sender::new(None) }))
    }
}

impl Readings {
    /// A block has a statement, and after it that is published.
    pub fn stated(&self, block: u64, published: Arc<PublishedTree>) {
        let mut state = self.lock();
        state.waiting.insert(block, published);
        if state.waiting.len() > WAITING {
            state.waiting.pop_first();
        }
    }

    /// A statement has its certificate.
    pub fn certified(&self, certificate: &Certificate) {
        let (block, root) = (certificate.statement.block, certificate.statement.published_root);
        {
            let mut state = self.lock();
            let Some(published) = state.waiting.get(&block).filter(|published| published.root() == root).cloned()
            else {
                return;
            };
            if state.certified.as_ref().is_some_and(|(known, _)| known.statement.block >= block) {
                return;
            }
            state.certified = Some((certificate.clone(), published));
            state.waiting = state.waiting.split_off(&block);
        }
        self.0.newest.send_replace(Some(block));
    }

    /// Answers a question.
    pub async fn read(&self, replica: &ReplicaHandle, view: &SharedView, request: &ReadRequest) -> ReadReply {
        let found = tokio::time::timeout(PATIENCE, self.find(replica, view, request)).await;
        let why = match found {
            Ok(Ok((reading, epoch))) => return ReadReply::Reading { reading: Box::new(reading), epoch },
            Ok(Err(why)) => why,
            Err(_) => "nothing so new is certified here yet",
        };
        ReadReply::NotYet { block: *self.0.newest.borrow(), why: why.to_owned() }
    }

    async fn find(
        &self,
        replica: &ReplicaHandle,
        view: &SharedView,
        request: &ReadRequest,
    ) -> Result<(Reading, u64), &'static str> {
        let (mut least, mut epoch) = (request.at_least, replica.status().epoch);
        if request.current {
            epoch = replica.execute_all().await.ok_or("this member does not run, or lacks what it has signed")?;
            least = least.max(published_block(view).await);
        }
        let mut newest = self.0.newest.subscribe();
        let found = newest.wait_for(|block| block.is_some_and(|block| block >= least)).await;
        found.map_err(|_| "this host is stopping")?;
        let (certificate, published) = self.lock().certified.clone().ok_or("nothing is certified here yet")?;
        Ok((published.read(&request.name, certificate), epoch))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest executed block that changed what is published.
async fn published_block(view: &SharedView) -> u64 {
    loop {
        let known = view.lock().published_block;
        match known {
            Some(block) => return block,
            // What the loop of events hears next says it.
            None => tokio::time::sleep(RESTORED_POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Hash, Statement, VatId};
    use quorate_engine::abi::Value;

    fn tree(number: u64) -> Arc<PublishedTree> {
        let value: Arc<[u8]> = Value::Number(number as f64).encode().into();
        Arc::new(PublishedTree::new(Arc::new(BTreeMap::from([(Arc::from("n"), value)]))))
    }

    fn certificate(block: u64, root: Hash) -> Certificate {
        let statement = Statement {
            vat: VatId([1; 32]),
            epoch: 0,
            block,
            previous: Hash::ZERO,
            chain: Hash::ZERO,
            outbox_root: Hash::ZERO,
            published_root: root,
            state_root: None,
        };
        Certificate { statement, signatures: vec![] }
    }

    fn newest(readings: &Readings) -> Option<(u64, usize)> {
        let state = readings.lock();
        state.certified.as_ref().map(|(certificate, _)| (certificate.statement.block, state.waiting.len()))
    }

    #[test]
    fn what_is_answered_is_what_the_newest_certificate_proves() {
        let readings = Readings::default();
        for block in [3, 5, 9] {
            readings.stated(block, tree(block));
        }
        assert_eq!(newest(&readings), None, "executed, and not certified");
        readings.certified(&certificate(5, tree(5).root()));
        assert_eq!(newest(&readings), Some((5, 2)));
        // Of an earlier block, of one that said nothing here, and of one that says something else.
        readings.certified(&certificate(3, tree(3).root()));
        readings.certified(&certificate(7, tree(7).root()));
        readings.certified(&certificate(9, tree(8).root()));
        assert_eq!(newest(&readings), Some((5, 2)));
        assert_eq!(*readings.0.newest.borrow(), Some(5));
        readings.certified(&certificate(9, tree(9).root()));
        assert_eq!(newest(&readings), Some((9, 1)));
    }

    #[test]
    fn what_waits_for_certificates_is_bounded() {
        let readings = Readings::default();
        for block in 0..WAITING as u64 + 10 {
            readings.stated(block, tree(block));
        }
        assert_eq!(readings.lock().waiting.len(), WAITING);
        readings.certified(&certificate(5, tree(5).root()));
        assert_eq!(newest(&readings), None);
        readings.certified(&certificate(20, tree(20).root()));
        assert!(newest(&readings).is_some_and(|(block, _)| block == 20));
    }
}
