//! Executes a stored log again, block by block, from a checkpoint or from the beginning.
//!
//! Makes each block's statement anew and compares it with the records: the members' certificate, this host's checkpoint,
//! or the hash in its signed watermark. What was cut from the log comes from the host's archive, if there is one.
//!
//! Invariants: nothing is written. Certificates count only with signatures of their epoch's members. The chain over the log is computed
//! from the entries, so that a change on disk shows.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

use crate::error::{ConsensusError, MachineFault, StoreError};
use crate::execution::executor::{Executed, Executor};
use crate::execution::machine::{LogTime, Machine};
use crate::order::chain;
use crate::order::frames::{WireContent, WireEntry};
use crate::proof::certificate::{Statement, verify_certificate};
use crate::proof::membership::Genesis;
use crate::state::LogPosition;
use crate::state::ReplicatedState;
use crate::state::block::{Block, Control, LogContent, LogItem};
use crate::stats::StatsCell;
use crate::storage::archive::{ArchiveReader, ArchivedCheckpoint};
use crate::storage::checkpoints::{CheckpointRecord, Describe};
use crate::storage::{ArchiveError, Family, SCAN_BYTES, Store, VatStore, read};
use quorate_ids::{Hash, VatId};

/// Why a vat's log can't be executed again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine stopped at a block.
    #[error("block {block} can't be executed: {fault}")]
    Fault { block: u64, fault: MachineFault },
    /// There is nothing of the vat.
    #[error("the store has nothing of vat {0}")]
    Nothing(VatId),
    /// The blocks that are wanted were cut from the log.
    #[error(
        "the log is kept from block {first} on; what came before was cut when the checkpoint at block {checkpoint} was certified"
    )]
    Cut { first: u64, checkpoint: u64 },
    /// Neither the log nor the archive leads to the block that is wanted.
    #[error(
        "block {from} can't be executed: the archive {archive} has blocks {kept}, and the log is kept from block {first} on; begin at a block of the archive, or take another member's (`--archive`)"
    )]
    NotArchived { from: u64, archive: String, kept: String, first: u64 },
    /// The archive can't be read.
    #[error(
        "{0}; put a whole copy of the file in its place from a backup, take another member's archive (`--archive`), or begin at a later checkpoint (`--from`)"
    )]
    Archive(#[from] ArchiveError),
    /// The log has a hole.
    #[error("the log is damaged: entry {0} is not there")]
    Hole(u64),
    /// A checkpoint is not what it should be.
    #[error("the checkpoint at block {block} is damaged: {why}")]
    Checkpoint { block: u64, why: String },
    /// The genesis is not one.
    #[error(transparent)]
    Genesis(ConsensusError),
}

/// How a block's statement compares with what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The block states nothing.
    Nothing,
    /// It is the one that so many of so many members have certified.
    Certified { signers: usize, members: usize },
    /// It is the one that this host has made or signed before; no certificate of it is kept.
    Own,
    /// Nothing of it is kept to compare with.
    NotKept,
    /// It is another one.
    Differs {
        /// What is kept: `the certificate`, `the checkpoint` or `the signature`.
        kept: &'static str,
        /// In what they differ, with the value that is kept and the one of this execution.
        parts: Vec<(&'static str, String, String)>,
    },
}

/// An entry of the log, executed again.
#[derive(Debug)]
pub struct Replayed<E> {
    pub block: u64,
    pub term: u64,
    /// The epoch after it.
    pub epoch: u64,
    /// The log's time after it, in ms since the Unix epoch.
    pub now_ms: u64,
    /// Its commands, encoded, in their order in the block.
    pub commands: Vec<Vec<u8>>,
    /// What each came to, encoded.
    pub results: Vec<Vec<u8>>,
    /// What the agreement itself did with it, in words.
    pub note: Option<String>,
    pub statement: Option<Statement>,
    pub verdict: Verdict,
    /// What the machine says of it; none of an entry that is no block for it.
    pub effects: Option<E>,
}

/// See the head of the module.
pub struct Replay<M: Machine> {
    store: VatStore,
    executor: Executor<M>,
    checkpoints: Vec<CheckpointRecord>,
    archive: Option<ArchiveReader>,
    /// Entries that were read and not executed.
    read: VecDeque<WireEntry>,
    /// Certificates of blocks that were read from the archive.
    archived: BTreeMap<u64, Vec<u8>>,
    started: Option<u64>,
    next: u64,
    last: u64,
    chain: Hash,
}

impl<M: Machine> Replay<M> {
    /// Begins at the newest state that is kept from before block `from`; without it, at the oldest of the store. `machine` is one in which nothing
    /// has happened. `archive` is the folder of the archives of all vats, which has what the store has not from `from` on.
    ///
    /// # Errors
    /// The store has nothing of the vat, or neither has it from that block on, or what they have is damaged.
    pub fn begin(
        store: Arc<dyn Store>,
        genesis: &Genesis,
        machine: M,
        archive: Option<&Path>,
        from: Option<u64>,
    ) -> Result<Replay<M>, ReplayError> {
        genesis.validate().map_err(|error| ReplayError::Genesis(ConsensusError::Genesis(error)))?;
        let vat = genesis.vat_id();
        let store = VatStore::new(store, vat);
        let checkpoints = checkpoints(&store)?;
        let before = |record: &&CheckpointRecord| from.is_none_or(|from| record.block() < from);
        let started = match from {
            Some(_) => checkpoints.iter().rev().find(before),
            None => checkpoints.first(),
        };
        let mut begin = match started {
            Some(record) => Begin::Stored(Box::new(record.clone())),
            None => Begin::Genesis,
        };
        let archive = archive.map(|folder| ArchiveReader::open(folder, vat)).transpose()?;
        let mut gap = None;
        if let (None, Some(first)) = (started, checkpoints.first()) {
            // From the genesis, if the log still has its beginning.
            if !store.has_entry(0)? {
                let (Some(archive), Some(from)) = (&archive, from) else {
                    return Err(ReplayError::Cut { first: first.block() + 1, checkpoint: first.block() });
                };
                (begin, gap) = begin_archived(&store, archive, from)?;
                if let Begin::Archived(checkpoint) = &begin {
                    verify(&checkpoint.record, genesis, &store, M::describe)?;
                }
            }
        }
        let state = match begin.record() {
            None => ReplicatedState::of_genesis(genesis),
            Some(record) => {
                record.restored_state().map_err(|why| ReplayError::Checkpoint { block: record.block(), why })?
            }
        };
        let (next, chain) = match begin.record() {
            None => (0, chain::root(&vat)),
            Some(record) => (record.block() + 1, record.statement.chain),
        };
        let last = last_executed(&store, &checkpoints)?;
        let last = gap.map_or(last, |gap| last.min(gap - 1));
        let is_archived = archive.as_ref().is_some_and(|archive| archive.catalogue.end_from(0) > 0);
        if matches!(begin, Begin::Genesis) && !is_archived && !store.has_entry(0)? {
            return Err(ReplayError::Nothing(vat));
        }
        let executor = Executor {
            vat,
            parameters: genesis.parameters,
            machine,
            state,
            report: Box::new(|_| Box::pin(std::future::ready(()))),
            stats: Arc::new(StatsCell::default()),
            time: watch::channel(LogTime::default()).0,
        };
        let mut replay = Replay {
            store,
            executor,
            started: begin.record().map(CheckpointRecord::block),
            checkpoints,
            archive,
            read: VecDeque::new(),
            archived: BTreeMap::new(),
            next,
            last,
            chain,
        };
        if let Some(record) = begin.record() {
            replay.restore(record, &begin)?;
        }
        Ok(replay)
    }

    fn restore(&mut self, record: &CheckpointRecord, begin: &Begin) -> Result<(), ReplayError> {
        let store = self.store.clone();
        let mut fetch = |hash: &Hash| {
            let missing = || MachineFault(format!("chunk {hash} is not there"));
            let found = match begin {
                Begin::Archived(checkpoint) => checkpoint.chunk(hash).map_err(|error| error.to_string()),
                _ => store.get_bytes(Family::Chunk, &store.key(&hash.0)).map_err(|error| error.to_string()),
            };
            let content = found.map_err(MachineFault)?.ok_or_else(missing)?;
            if Hash::of(&content) == *hash {
                Ok(content)
            } else {
                Err(MachineFault(format!("chunk {hash} is damaged")))
            }
        };
        let restored = self.executor.machine.restore(&record.manifest.0, &mut fetch);
        restored.map_err(|fault| ReplayError::Checkpoint { block: record.block(), why: fault.to_string() })
    }

    /// The block of the checkpoint that it began at; none: at the beginning of the log.
    pub fn started_at(&self) -> Option<u64> {
        self.started
    }

    /// The next block, and the last one that is known to be agreed upon.
    pub fn bounds(&self) -> (u64, u64) {
        (self.next, self.last)
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &M {
        &self.executor.machine
    }

    /// Executes the next entry; nothing after the last one.
    ///
    /// # Errors
    /// The entry is not there or damaged, or the machine stops.
    pub fn step(&mut self) -> Result<Option<Replayed<M::Effects>>, ReplayError> {
        if self.next > self.last {
            return Ok(None);
        }
        let entry = self.entry()?;
        let position = entry.position();
        if position.index != self.next {
            return Err(ReplayError::Hole(self.next));
        }
        self.chain = chain::next(&self.chain, &entry);
        self.next += 1;
        let (content, commands, note) = read_content(entry.content);
        let item = LogItem { term: position.term, index: position.index, chain: self.chain, content };
        let fault = |fault| ReplayError::Fault { block: position.index, fault };
        let (outcome, executed) = self.executor.apply_one(item).map_err(fault)?;
        let effects = match executed {
            Some(Executed::Applied { effects, .. }) => Some(effects),
            Some(Executed::Restored { .. }) | None => None,
        };
        let verdict = self.compare(position.index, outcome.statement.as_ref())?;
        let state = &self.executor.state;
        let note = match (&outcome.reply.refused, note) {
            (Some(refused), Some(note)) => Some(format!("{note}, which is refused: {refused}")),
            (_, note) => note,
        };
        Ok(Some(Replayed {
            block: position.index,
            term: position.term,
            epoch: state.membership.epoch,
            now_ms: state.now_ms,
            commands,
            results: outcome.reply.results,
            note,
            statement: outcome.statement,
            verdict,
            effects,
        }))
    }

    fn entry(&mut self) -> Result<WireEntry, ReplayError> {
        if self.read.is_empty() {
            let mut values: Vec<Vec<u8>> = Vec::new();
            if self.store.has_entry(self.next)? {
                let records = self.store.scan_log(self.next, None, SCAN_BYTES)?;
                values.extend(records.into_iter().map(|(_, value)| value));
            } else if let Some(archive) = &self.archive {
                self.archived.clear();
                let entries = archive.entries(self.next)?.unwrap_or_default();
                for (block, entry) in (self.next..).zip(entries) {
                    self.archived.extend(entry.certificate.map(|certificate| (block, certificate)));
                    values.push(entry.entry);
                }
            }
            for value in values {
                let (_, entry): (Hash, WireEntry) = read(Family::Log, &value)?;
                self.read.push_back(entry);
            }
        }
        self.read.pop_front().ok_or(ReplayError::Hole(self.next))
    }

    /// Compares a statement with what is kept.
    fn compare(&self, block: u64, statement: Option<&Statement>) -> Result<Verdict, ReplayError> {
        let archived = self.archived.get(&block).map(|bytes| read(Family::Certificate, bytes)).transpose()?;
        let certificate = self.store.certificate(block)?.or(archived);
        let record = self.checkpoints.iter().find(|record| record.block() == block);
        let certificate = certificate.or_else(|| record.and_then(|record| record.certificate.clone()));
        let members = &self.executor.state.membership;
        if let Some(certificate) = certificate.filter(|certificate| verify_certificate(certificate, members).is_ok()) {
            let differences = differences(&certificate.statement, statement, &self.chain);
            if differences.is_empty() {
                let (signers, members) = (certificate.signatures.len(), members.members.len());
                return Ok(Verdict::Certified { signers, members });
            }
            return Ok(Verdict::Differs { kept: "the certificate", parts: differences });
        }
        if let Some(record) = record {
            let parts = differences(&record.statement, statement, &self.chain);
            return Ok(if parts.is_empty() {
                Verdict::Own
            } else {
                Verdict::Differs { kept: "the checkpoint", parts }
            });
        }
        if let Some(signed) = self.store.watermark()?.filter(|watermark| watermark.block == block) {
            let own = statement.map_or(Hash::ZERO, Statement::hash);
            if own == signed.statement {
                return Ok(Verdict::Own);
            }
            let parts = vec![("statement", signed.statement.to_string(), own.to_string())];
            return Ok(Verdict::Differs { kept: "the signature", parts });
        }
        Ok(if statement.is_some() { Verdict::NotKept } else { Verdict::Nothing })
    }
}

/// Checkpoints that are kept, in order.
fn checkpoints(store: &VatStore) -> Result<Vec<CheckpointRecord>, StoreError> {
    let (from, to) = store.bounds();
    let records = store.scan(Family::Checkpoint, &from, &to, usize::MAX)?;
    records.iter().map(|(_, value)| read(Family::Checkpoint, value)).collect()
}

/// Checks the certificate of a checkpoint that another host may have given, by the memberships that are kept here.
fn verify(
    record: &CheckpointRecord,
    genesis: &Genesis,
    store: &VatStore,
    describe: Describe,
) -> Result<(), ReplayError> {
    let epoch = record.statement.epoch;
    let chain = store.chain()?.into_iter().map(|certificate| certificate.membership);
    let membership = std::iter::once(genesis.membership()).chain(chain).find(|membership| membership.epoch == epoch);
    let verified = membership
        .ok_or_else(|| format!("the members of epoch {epoch} are not known here"))
        .and_then(|membership| record.verify(&membership, describe));
    verified.map(drop).map_err(|why| ReplayError::Checkpoint { block: record.block(), why })
}

/// What execution begins with.
enum Begin {
    Genesis,
    Stored(Box<CheckpointRecord>),
    Archived(Box<ArchivedCheckpoint>),
}

impl Begin {
    fn record(&self) -> Option<&CheckpointRecord> {
        match self {
            Begin::Genesis => None,
            Begin::Stored(record) => Some(record),
            Begin::Archived(checkpoint) => Some(&checkpoint.record),
        }
    }
}

/// Returns the newest start of the archive from which it leads to a block; and the first block after that which neither it nor the log has, if there
/// is one.
fn begin_archived(store: &VatStore, archive: &ArchiveReader, from: u64) -> Result<(Begin, Option<u64>), ReplayError> {
    let kept = store.scan_log(0, None, 1)?;
    let first = kept.first().and_then(|(key, _)| store.number_of(key));
    let catalogue = &archive.catalogue;
    let start = catalogue.starts().range(..=from).next_back().copied();
    let reaches = start.map(|start| (start, catalogue.end_from(start)));
    let Some((start, end)) = reaches.filter(|(_, end)| from < *end || first.is_some_and(|first| first <= *end)) else {
        let (archive, kept) = (archive.to_string(), catalogue.to_string());
        return Err(ReplayError::NotArchived { from, archive, kept, first: first.unwrap_or(0) });
    };
    let gap = Some(end).filter(|end| first.is_none_or(|first| *end < first));
    Ok(match start.checked_sub(1) {
        None => (Begin::Genesis, gap),
        Some(block) => (Begin::Archived(Box::new(archive.checkpoint(block)?)), gap),
    })
}

/// The last entry that is known to be agreed upon: by Raft's own note, by what this host signed, or by a checkpoint.
fn last_executed(store: &VatStore, checkpoints: &[CheckpointRecord]) -> Result<u64, StoreError> {
    let noted: Option<Option<LogPosition>> = store.named("committed")?;
    let noted = noted.flatten().map(|position| position.index);
    let signed = store.watermark()?.map(|watermark| watermark.block);
    let kept = checkpoints.last().map(CheckpointRecord::block);
    let known = [noted, signed, kept].into_iter().flatten().max().unwrap_or(0);
    // The marks may be ahead of a database that was rolled back.
    let end = match store.last(Family::Log)? {
        None => kept.unwrap_or(0),
        Some((_, value)) => {
            let (_, entry): (Hash, WireEntry) = read(Family::Log, &value)?;
            entry.position().index
        }
    };
    Ok(known.min(end))
}

/// Returns what an entry holds: for the executor, its commands, and in words what the agreement does with it.
fn read_content(content: WireContent) -> (LogContent, Vec<Vec<u8>>, Option<String>) {
    match content {
        WireContent::Blank => (LogContent::Blank, Vec::new(), Some("a leader begins its term".to_owned())),
        WireContent::Membership(membership) => {
            let voters = membership.configs.iter().map(|config| config.len().to_string()).collect::<Vec<_>>();
            let note = format!("Raft's membership: voters {}", voters.join(" and "));
            (LogContent::Raft(membership), Vec::new(), Some(note))
        }
        WireContent::Block(bytes) => {
            let block = Block::decode(&bytes);
            let commands = block.commands.iter().map(|command| command.0.to_vec()).collect();
            let note = block.control.as_ref().map(|control| match control {
                Control::Admit(_) => "a change of the members is recorded".to_owned(),
                Control::Activate(activation) => format!("epoch {} begins", activation.epoch),
                Control::Recover(certificate) => {
                    format!("certified order is broken by hand: epoch {} begins", certificate.membership.epoch)
                }
                Control::Tick(_) => "time passes".to_owned(),
            });
            (LogContent::Block(bytes), commands, note)
        }
    }
}

/// In what two statements differ. `chain` is that over the log up to the block, also where the block states nothing.
fn differences(kept: &Statement, own: Option<&Statement>, chain: &Hash) -> Vec<(&'static str, String, String)> {
    let Some(own) = own else {
        let chains = (kept.chain != *chain).then(|| ("chain", kept.chain.to_string(), chain.to_string()));
        let none = ("statement", kept.hash().to_string(), "none: the block states nothing".to_owned());
        return chains.into_iter().chain([none]).collect();
    };
    let root = |root: &Option<Hash>| root.map_or_else(|| "none".to_owned(), |root| root.to_string());
    let parts = [
        ("vat", kept.vat.to_string(), own.vat.to_string()),
        ("epoch", kept.epoch.to_string(), own.epoch.to_string()),
        ("block", kept.block.to_string(), own.block.to_string()),
        ("chain", kept.chain.to_string(), own.chain.to_string()),
        ("outbox root", kept.outbox_root.to_string(), own.outbox_root.to_string()),
        ("published root", kept.published_root.to_string(), own.published_root.to_string()),
        ("state root", root(&kept.state_root), root(&own.state_root)),
        ("previous statement", kept.previous.to_string(), own.previous.to_string()),
    ];
    parts.into_iter().filter(|(_, kept, own)| kept != own).collect()
}
