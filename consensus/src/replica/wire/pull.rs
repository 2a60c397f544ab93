//! Pulls the chunks of a checkpoint from several members at once.
//!
//! Missing chunks are cut into pieces, and each member is asked for one piece at a time. A chunk is believed by its hash alone, which
//! follows from the certified root, so any member may give it. A member that gives a wrong chunk, nothing, or no answer is not asked
//! again. Its piece goes to others, and so does the piece of a slow member when everything else is there.
//!
//! Invariant: a source that lies or is slow costs its own pieces, once. If all fail, the leader pushes the missing chunks, as it
//! wants the checkpoint installed.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::snapshot::{SnapshotFrame, SnapshotReply, SnapshotStep};
use crate::codec::{self, Blob};
use crate::execution::place::{Execution, blocking};
use crate::proof::membership::Member;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::stats::StatsCell;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints};
use crate::timing::Timing;
use crate::transport::{Channel, Transport};
use quorate_ids::{Hash, HostId};

/// Chunks that a member is asked for at once.
pub(crate) const PIECE: usize = 16;
/// Missing chunks that are looked up at once.
const MAX_MISSING: usize = 4_096;

/// Why a source is not asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// It gave what it was not asked for.
    Lied,
    /// It gave no answer, or nothing.
    Silent,
}

/// Chunks that are wanted, and the sources that were asked for them.
#[derive(Clone, Debug, Default)]
struct Piece {
    chunks: BTreeSet<Hash>,
    asked: BTreeSet<usize>,
}

#[derive(Default)]
struct Pieces {
    open: VecDeque<Piece>,
    under_way: BTreeMap<u64, Piece>,
    next: u64,
}

impl Pieces {
    fn new(missing: &[Hash]) -> Pieces {
        let piece = |chunks: &[Hash]| Piece { chunks: chunks.iter().copied().collect(), asked: BTreeSet::new() };
        Pieces { open: missing.chunks(PIECE).map(piece).collect(), ..Pieces::default() }
    }

    /// Returns what a source is to be asked for next: what nobody is asked for, else what another one has not given yet.
    fn take(&mut self, source: usize) -> Option<(u64, BTreeSet<Hash>)> {
        if let Some(place) = self.open.iter().position(|piece| !piece.asked.contains(&source)) {
            let mut piece = self.open.remove(place)?;
            piece.asked.insert(source);
            let (number, chunks) = (self.next, piece.chunks.clone());
            self.next += 1;
            self.under_way.insert(number, piece);
            return Some((number, chunks));
        }
        let (number, piece) = self.under_way.iter_mut().find(|(_, piece)| !piece.asked.contains(&source))?;
        piece.asked.insert(source);
        Some((*number, piece.chunks.clone()))
    }

    /// A source has given these chunks of a piece. What is left of it is open again.
    fn given(&mut self, number: u64, given: &BTreeSet<Hash>, source: usize) {
        let Some(mut piece) = self.under_way.remove(&number) else { return };
        piece.chunks.retain(|chunk| !given.contains(chunk));
        if !given.is_empty() {
            // It has some, so it may have the rest, which did not fit its answer.
            piece.asked.remove(&source);
        }
        if !piece.chunks.is_empty() {
            self.open.push_back(piece);
        }
    }

    fn is_done(&self) -> bool {
        self.open.is_empty() && self.under_way.is_empty()
    }
}

/// Asks a source for chunks; and stores what came, unless that can't be.
type Ask<'a> = dyn Fn(usize, Vec<Hash>) -> BoxFuture<'a, Option<Vec<Blob>>> + Send + Sync + 'a;
type Keep<'a> = dyn Fn(Vec<Blob>) -> BoxFuture<'a, bool> + Send + Sync + 'a;

/// Fetches chunks from `sources`. Returns those that failed, and whether any chunk came.
async fn pull(
    missing: &[Hash],
    sources: &BTreeSet<usize>,
    ask: &Ask<'_>,
    keep: &Keep<'_>,
) -> (BTreeMap<usize, Failed>, bool) {
    let pieces = Mutex::new(Pieces::new(missing));
    let lock = || -> MutexGuard<'_, Pieces> { pieces.lock().unwrap_or_else(PoisonError::into_inner) };
    let work = |source: usize| async move {
        let mut came = false;
        loop {
            let taken = lock().take(source);
            let Some((number, wanted)) = taken else { return (source, None, came) };
            let answer = ask(source, wanted.iter().copied().collect()).await;
            let given: Option<Vec<(Hash, Blob)>> =
                answer.map(|chunks| chunks.into_iter().map(|chunk| (Hash::of(&chunk.0), chunk)).collect());
            let failed = match &given {
                Some(given) if given.iter().any(|(hash, _)| !wanted.contains(hash)) => Some(Failed::Lied),
                Some(given) if !given.is_empty() => None,
                _ => Some(Failed::Silent),
            };
            let given = given.filter(|_| failed.is_none()).unwrap_or_default();
            let hashes: BTreeSet<Hash> = given.iter().map(|(hash, _)| *hash).collect();
            if !given.is_empty() && !keep(given.into_iter().map(|(_, chunk)| chunk).collect()).await {
                return (source, Some(Failed::Silent), came);
            }
            came |= !hashes.is_empty();
            lock().given(number, &hashes, source);
            if failed.is_some() {
                return (source, failed, came);
            }
        }
    };
    let mut workers: FuturesUnordered<_> = sources.iter().map(|source| work(*source)).collect();
    let (mut failures, mut any) = (BTreeMap::new(), false);
    while let Some((source, failed, came)) = workers.next().await {
        any |= came;
        failures.extend(failed.map(|failed| (source, failed)));
        if lock().is_done() {
            // Members that have not answered yet are not waited for.
            any = true;
            break;
        }
    }
    (failures, any)
}

/// Pulls the chunks of the checkpoint that is being received.
pub(crate) struct Puller {
    pub(crate) key: HostId,
    pub(crate) timing: Timing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) execution: Arc<dyn Execution>,
    pub(crate) members: Arc<Members>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) stats: Arc<StatsCell>,
    /// The block of the checkpoint whose chunks are being pulled.
    pub(crate) running: Mutex<Option<u64>>,
}

impl Puller {
    /// Pulls what is missing of a checkpoint in the background, unless that is being done.
    pub(crate) fn begin(self: &Arc<Self>, record: Arc<CheckpointRecord>) {
        let block = record.block();
        if self.running().replace(block) == Some(block) {
            return;
        }
        let puller = Arc::clone(self);
        tokio::spawn(async move {
            puller.pull_all(&record).await;
            let mut running = puller.running();
            *running = running.filter(|running| *running != block);
        });
    }

    fn running(&self) -> MutexGuard<'_, Option<u64>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pull_all(&self, record: &Arc<CheckpointRecord>) {
        let members: Vec<Member> = {
            let view = self.members.view();
            view.newest().members.iter().filter(|member| member.key != self.key).cloned().collect()
        };
        let mut sources: BTreeSet<usize> = (0..members.len()).collect();
        let block = record.block();
        while !self.lifecycle.is_stopped() && *self.running() == Some(block) && !sources.is_empty() {
            let (checkpoints, wanted) = (Arc::clone(&self.checkpoints), Arc::clone(record));
            let missing = blocking(self.execution.as_ref(), move || checkpoints.missing(&wanted, MAX_MISSING)).await;
            let Ok(missing) = missing else { return };
            if missing.is_empty() {
                return;
            }
            let ask = |source: usize, chunks: Vec<Hash>| -> BoxFuture<'_, Option<Vec<Blob>>> {
                Box::pin(self.ask(&members[source], chunks))
            };
            let keep = |chunks: Vec<Blob>| -> BoxFuture<'_, bool> { Box::pin(self.keep(chunks)) };
            let (failed, any) = pull(&missing, &sources, &ask, &keep).await;
            for (source, how) in &failed {
                let member = &members[*source].key;
                tracing::info!(vat = %self.members.view().applied.membership.vat, %member, block, ?how, "a member gave no chunks");
            }
            sources.retain(|source| !failed.contains_key(source));
            if !any {
                return;
            }
        }
    }

    /// Fetches chunks that are damaged or missing here from members that have them.
    pub(crate) async fn fetch(&self, chunks: &[Hash]) {
        let members: Vec<Member> = {
            let view = self.members.view();
            view.newest().members.iter().filter(|member| member.key != self.key).cloned().collect()
        };
        let sources: BTreeSet<usize> = (0..members.len()).collect();
        let ask = |source: usize, chunks: Vec<Hash>| -> BoxFuture<'_, Option<Vec<Blob>>> {
            Box::pin(self.ask(&members[source], chunks))
        };
        let keep = |chunks: Vec<Blob>| -> BoxFuture<'_, bool> { Box::pin(self.mend(chunks)) };
        pull(chunks, &sources, &ask, &keep).await;
    }

    /// Returns whether they could be stored.
    async fn mend(&self, chunks: Vec<Blob>) -> bool {
        let checkpoints = Arc::clone(&self.checkpoints);
        let Ok(stored) = blocking(self.execution.as_ref(), move || checkpoints.mend(&chunks)).await else {
            return false;
        };
        self.lifecycle.check(stored).is_some()
    }

    async fn ask(&self, member: &Member, chunks: Vec<Hash>) -> Option<Vec<Blob>> {
        let frame = codec::encode(&SnapshotFrame { target: 0, step: SnapshotStep::Fetch { chunks } });
        let answer =
            self.transport.request(member, Channel::Snapshot, frame, self.timing.snapshot_request).await.ok()?;
        match codec::decode(&answer).ok()? {
            SnapshotReply::Chunks(chunks) => Some(chunks),
            _ => None,
        }
    }

    /// Returns whether they could be stored.
    async fn keep(&self, chunks: Vec<Blob>) -> bool {
        let bytes: usize = chunks.iter().map(|chunk| chunk.0.len()).sum();
        let checkpoints = Arc::clone(&self.checkpoints);
        let Ok(stored) = blocking(self.execution.as_ref(), move || checkpoints.receive(chunks)).await else {
            return false;
        };
        let is_kept = self.lifecycle.check(stored).is_some_and(|kept| kept.is_ok());
        if is_kept {
            self.stats.update(|stats| stats.snapshot_bytes_received += bytes as u64);
        }
        is_kept
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn content(number: u32) -> Blob {
        number.to_be_bytes().to_vec().into()
    }

    /// What a source does with a question.
    #[derive(Clone, Copy)]
    enum Source {
        Honest,
        /// Gives so few at once.
        Sparing(usize),
        Liar,
        Hung,
        Empty,
    }

    /// Pulls 500 chunks. Returns who failed how, how many questions each was asked, and how many chunks came.
    async fn pulled(sources: &[Source]) -> (BTreeMap<usize, Failed>, Vec<usize>, usize) {
        let all: BTreeMap<Hash, Blob> = (0..500).map(content).map(|chunk| (Hash::of(&chunk.0), chunk)).collect();
        let missing: Vec<Hash> = all.keys().copied().collect();
        let (kept, asked) = (Mutex::new(BTreeSet::new()), Mutex::new(vec![0; sources.len()]));
        let (all, kept_in, asked_in) = (&all, &kept, &asked);
        let ask = move |source: usize, chunks: Vec<Hash>| -> BoxFuture<'_, Option<Vec<Blob>>> {
            asked_in.lock().unwrap()[source] += 1;
            let kind = sources[source];
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let found = |most: usize| Some(chunks.iter().take(most).map(|hash| all[hash].clone()).collect());
                match kind {
                    Source::Honest => found(PIECE),
                    Source::Sparing(most) => found(most),
                    Source::Liar => Some(vec![content(1_000)]),
                    Source::Empty => Some(Vec::new()),
                    Source::Hung => {
                        tokio::time::sleep(Duration::from_secs(3_600)).await;
                        None
                    }
                }
            })
        };
        let keep = move |chunks: Vec<Blob>| -> BoxFuture<'_, bool> {
            kept_in.lock().unwrap().extend(chunks.iter().map(|chunk| Hash::of(&chunk.0)));
            Box::pin(std::future::ready(true))
        };
        let places = (0..sources.len()).collect();
        let within = tokio::time::timeout(Duration::from_secs(60), pull(&missing, &places, &ask, &keep)).await;
        let (failed, _) = within.expect("nobody who hangs is waited for");
        let came = kept.lock().unwrap().len();
        (failed, asked.lock().unwrap().clone(), came)
    }

    #[tokio::test(start_paused = true)]
    async fn several_sources_share_the_work_and_bad_ones_cost_their_pieces_only() {
        let (failed, asked, came) = pulled(&[Source::Honest, Source::Honest]).await;
        assert!(failed.is_empty() && came == 500 && asked.iter().all(|asked| *asked >= 7), "{asked:?}");
        let sources = [Source::Liar, Source::Honest, Source::Hung, Source::Empty, Source::Sparing(3)];
        let (failed, asked, came) = pulled(&sources).await;
        assert_eq!(came, 500);
        assert_eq!((failed.get(&0), failed.get(&3)), (Some(&Failed::Lied), Some(&Failed::Silent)));
        assert!(!failed.contains_key(&1) && !failed.contains_key(&4));
        assert_eq!((asked[0], asked[2], asked[3]), (1, 1, 1), "nobody is asked again who gave nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_gives_anything_it_ends() {
        let (failed, asked, came) = pulled(&[Source::Liar, Source::Empty]).await;
        assert_eq!((failed.len(), came), (2, 0));
        assert_eq!(asked, [1, 1]);
    }
}
