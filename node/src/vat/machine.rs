//! The machine that a vat's replicas run: `engine`'s, behind the evidence checks.
//!
//! Invariants: a pure function of the log; a slice is believed only by what this state knows of its sender; peers' epochs only
//! grow; the state root covers the engine's tables and heap and what is known of peers. A bad command is a result, never an
//! error: errors stop the replica and mean that this host is at fault.

use super::{
    command::{VatCommand, VatResult},
    view::{PeerView, RestoredOutbox, SharedView},
};
use crate::{
    codec,
    evidence::{KnownPeer, Slice, outbox_root},
};
use quorate_consensus::{
    AppliedBlock, BlockContext, CheckpointParts, FetchChunk, Hash, Machine, MachineFault, ManifestInfo,
};
use quorate_engine::{
    EngineError, Hash as EngineHash, VatId,
    comms::stream::{self, SliceError, StreamHead},
    heap::Limits,
    image::Image,
    machine::{BlockOutput, Command, CommandResult, Deliver, Summary},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

type EngineMachine = quorate_engine::machine::Machine<quorate_engine::heap::Heap>;

/// What a block brought about, for the parts of the node that act on it.
#[derive(Debug)]
pub struct BlockEffects {
    /// What the engine says of the block.
    pub output: BlockOutput,
    /// Wall time that applying took, in seconds. For the histogram only.
    pub seconds: f64,
    /// Slices that were refused when they were applied, with the reason.
    pub refused: Vec<String>,
}

/// A vat's machine.
pub struct VatMachine {
    vat: VatId,
    image: Arc<Image>,
    limits: Limits,
    engine: EngineMachine,
    known: BTreeMap<VatId, KnownPeer>,
    /// Heads of the newest block: a checkpoint keeps them, so that its certificate can be used after a restart.
    heads: Vec<StreamHead>,
    /// Kept apart from the engine's summary, which costs more with every peer.
    installed: bool,
    view: SharedView,
}

/// A checkpoint's manifest: hashes only, so that it stays small however much waits in the streams.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// The pieces of an encoded [`Tables`], in order. They commit to everything: the engine's manifest is in them.
    tables: Vec<EngineHash>,
    /// The pages of the heap: what else to fetch.
    pages: Vec<EngineHash>,
}

/// What a checkpoint holds beside the heap's pages.
#[derive(Serialize, Deserialize)]
struct Tables {
    /// The engine's manifest.
    engine: Vec<u8>,
    known: BTreeMap<VatId, KnownPeer>,
    heads: Vec<StreamHead>,
}

/// Size of a piece of the tables: several fit a frame of a snapshot.
const PIECE_BYTES: usize = 64 * 1024;

impl VatMachine {
    /// The machine of a vat in which nothing has happened. `view` is kept up to date from here on.
    pub fn new(vat: VatId, image: Arc<Image>, limits: Limits, view: SharedView) -> Result<Self, EngineError> {
        let engine = EngineMachine::for_image(vat, image.clone(), limits)?;
        let machine = VatMachine {
            vat,
            image,
            limits,
            engine,
            known: BTreeMap::new(),
            heads: Vec::new(),
            installed: false,
            view,
        };
        machine.publish(0, &machine.known.keys().copied().collect());
        Ok(machine)
    }

    fn apply_one(&mut self, bytes: &[u8], touched: &mut BTreeSet<VatId>) -> Result<VatResult, EngineError> {
        let command = match codec::decode::<VatCommand>(bytes) {
            Ok(command) => command,
            Err(error) => return Ok(VatResult::Refused { message: format!("the command does not decode: {error}") }),
        };
        let command = match command {
            VatCommand::Install(install) => Command::Install(*install),
            VatCommand::Grant { to } => Command::Grant { to },
            VatCommand::Tick { now_ms } => Command::Tick { now_ms },
            VatCommand::Deliver(slice) => {
                touched.insert(slice.sender());
                return self.deliver(*slice);
            }
        };
        Ok(match self.engine.apply(command)? {
            CommandResult::Installed => {
                self.installed = true;
                VatResult::Installed
            }
            CommandResult::InstallFailed { message } => VatResult::InstallFailed { message },
            CommandResult::Delivered { next } => VatResult::Delivered { next },
            CommandResult::Gap { next } => VatResult::NotYet { next },
            CommandResult::NotReady => VatResult::NotYet { next: 1 },
            CommandResult::Refused { message } => VatResult::Refused { message },
            CommandResult::Granted | CommandResult::Ticked => VatResult::Done,
        })
    }

    /// Checks a slice's evidence again, by this state alone, and hands its new messages to the engine.
    fn deliver(&mut self, slice: Slice) -> Result<VatResult, EngineError> {
        let from = slice.sender();
        let known = match slice.verify(self.known.get(&from), &self.vat) {
            Ok(known) => known,
            Err(error) => return Ok(VatResult::Refused { message: error.to_string() }),
        };
        let (next, hash) = self.engine.next_inbound(&from);
        let run = stream::Slice { begin: slice.begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
        match run.verify(next - 1, &hash) {
            Ok(()) => {}
            Err(SliceError::Stale { .. }) => return Ok(VatResult::Delivered { next }),
            Err(SliceError::Gap { next, .. }) => return Ok(VatResult::NotYet { next }),
            Err(error) => return Ok(VatResult::Refused { message: error.to_string() }),
        }
        let StreamHead { end, ack, .. } = slice.head;
        let deliver = Deliver { from, begin: slice.begin, messages: slice.messages, end, ack };
        Ok(match self.engine.apply(Command::Deliver(deliver))? {
            CommandResult::Delivered { next } => {
                // Only now: a stranger whom the engine has no room for leaves nothing behind.
                self.known.insert(from, known);
                VatResult::Delivered { next }
            }
            CommandResult::Gap { next } => VatResult::NotYet { next },
            CommandResult::NotReady => VatResult::NotYet { next },
            CommandResult::Refused { message } => VatResult::Refused { message },
            other => VatResult::Refused { message: format!("unexpected result of a delivery: {other:?}") },
        })
    }

    /// Counts for people and metrics.
    pub fn summary(&self) -> Summary {
        self.engine.summary()
    }

    /// Brings the shared view up to date for the peers that a block touched.
    fn publish(&self, block: u64, touched: &BTreeSet<VatId>) {
        let mut view = self.view.lock();
        view.block = block;
        view.installed = self.installed;
        for vat in touched {
            if let Some(known) = self.known.get(vat) {
                let (next_inbound, _) = self.engine.next_inbound(vat);
                let acknowledged = self.engine.acknowledged(vat);
                view.peers.insert(*vat, PeerView { known: known.clone(), next_inbound, acknowledged });
            }
        }
    }
}

impl Machine for VatMachine {
    type Effects = BlockEffects;

    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<BlockEffects>, MachineFault> {
        let started = Instant::now();
        let mut touched = BTreeSet::new();
        let (mut results, mut refused) = (Vec::with_capacity(commands.len()), Vec::new());
        for command in commands {
            let result = self.apply_one(command, &mut touched).map_err(fault)?;
            if let VatResult::Refused { message } = &result {
                refused.push(message.clone());
            }
            results.push(codec::encode(&result));
        }
        let output = self.engine.end_block(rehead);
        touched.extend(output.heads.iter().map(|head| head.peer));
        self.publish(context.block, &touched);
        let outbox_root = outbox_root(&output.heads).map(|root| Hash(root.0));
        self.heads.clone_from(&output.heads);
        let work = output.cranks.iter().map(|crank| crank.fuel).sum();
        let effects = BlockEffects { output, seconds: started.elapsed().as_secs_f64(), refused };
        Ok(AppliedBlock { results, outbox_root, work, effects })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let engine = self.engine.checkpoint().map_err(fault)?;
        let pages = EngineMachine::describe(&engine.manifest).map_err(fault)?.chunks;
        let tables = Tables { engine: engine.manifest, known: self.known.clone(), heads: self.heads.clone() };
        let pieces: Vec<(EngineHash, Vec<u8>)> = codec::encode(&tables)
            .chunks(PIECE_BYTES)
            .map(|piece| (EngineHash(Sha256::digest(piece).into()), piece.to_vec()))
            .collect();
        let tables: Vec<EngineHash> = pieces.iter().map(|(hash, _)| *hash).collect();
        let root = tables_root(&tables);
        let chunks = engine.new_chunks.into_iter().chain(pieces);
        let new_chunks = chunks.map(|(hash, bytes)| (Hash(hash.0), bytes)).collect();
        Ok(CheckpointParts { root, manifest: codec::encode(&Manifest { tables, pages }), new_chunks })
    }

    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault> {
        let manifest: Manifest = codec::decode(manifest).map_err(fault)?;
        let mut encoded = Vec::new();
        for hash in &manifest.tables {
            let piece = fetch(&Hash(hash.0))?;
            if <[u8; 32]>::from(Sha256::digest(&piece)) != hash.0 {
                return Err(MachineFault(format!(
                    "a piece of the checkpoint's tables is not what its hash {hash} says"
                )));
            }
            encoded.extend(piece);
        }
        let tables: Tables = codec::decode(&encoded).map_err(fault)?;
        let mut fetch =
            |hash: &EngineHash| fetch(&Hash(hash.0)).map_err(|error| EngineError::Checkpoint(error.to_string()));
        self.engine = EngineMachine::restore(self.vat, self.image.clone(), self.limits, &tables.engine, &mut fetch)
            .map_err(fault)?;
        self.known = tables.known;
        self.heads = tables.heads;
        self.installed = self.engine.summary().installed;
        let messages = self.engine.outbox().into_iter().flat_map(|stream| {
            let to = stream.head.peer;
            stream.messages.into_iter().map(move |(number, bytes)| (to, number, bytes))
        });
        let messages = messages.collect();
        {
            let mut view = self.view.lock();
            view.peers.clear();
            view.restored = Some(RestoredOutbox { heads: self.heads.clone(), messages });
        }
        self.publish(0, &self.known.keys().copied().collect());
        Ok(())
    }

    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault> {
        let manifest: Manifest = codec::decode(manifest).map_err(fault)?;
        let root = tables_root(&manifest.tables);
        let chunks = manifest.tables.into_iter().chain(manifest.pages).map(|hash| Hash(hash.0)).collect();
        Ok(ManifestInfo { root, chunks })
    }

    fn has_chunk(&self, hash: &Hash) -> bool {
        self.image.has_page(&EngineHash(hash.0))
    }
}

/// The root of the machine's state: it commits to the tables' pieces, which hold the engine's manifest, which names the pages.
fn tables_root(pieces: &[EngineHash]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(b"quorate/vat-state/1");
    hasher.update((pieces.len() as u64).to_be_bytes());
    pieces.iter().for_each(|piece| hasher.update(piece.0));
    Hash(hasher.finalize().into())
}

fn fault(error: impl std::fmt::Display) -> MachineFault {
    MachineFault(error.to_string())
}
