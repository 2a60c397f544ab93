//! One vat's heap: an instance of the image, its limits, its rollback, its checkpoints.
//!
//! A delivery either happened whole ([`CrankOutcome::Done`]) or not at all. To undo one, the heap keeps a shadow of its
//! memory from some deliveries ago and a journal of the deliveries since: a new instance begins as the shadow and runs the
//! journal again. Execution is exact, so it arrives where the first one was; that is checked.
//!
//! Invariants: what an outcome, a fuel figure or a checkpoint's root is depends on the image, the limits and the deliveries
//! alone, never on when the shadow was refreshed, whether instances were made anew, or which host it is; a fault of the host
//! is an [`EngineError`] and leaves nothing that could be taken for the guest's doing. There are no threads in here, and
//! nothing that knows what a delivery means, but that collections have a budget of their own.

mod imports;
mod instance;
mod logs;
mod manifest;
mod mapping;
mod shadow;
mod stack;

pub(crate) use imports::{HostState, link};
pub(crate) use instance::{Instance, WASM_PAGE_BYTES};
pub use logs::{LogLevel, LogLine, MAX_LOG_BYTES, MAX_LOG_LINES};
pub use manifest::{GlobalValue, HeapManifest, ZERO_PAGE};
pub use mapping::PAGE_BYTES;
pub(crate) use mapping::{BaseFile, VatMemories};
pub use stack::{ENGINE_STACK_BYTES, MAX_WASM_STACK_BYTES, with_engine_stack};

use crate::abi::{self, Delivery, News, Outcome, Output, Turn};
use crate::error::EngineError;
use crate::image::Image;
use instance::Call;
use quorate_ids::Hash;
use serde::{Deserialize, Serialize};
use shadow::Shadow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Deliveries after which the shadow is refreshed, for each [`REBASE_SCALE_BYTES`] of memory: comparing takes as long as the
/// memory is large (0.3 to 1 ms for 10 MiB), and should be a small share of what the deliveries took.
const REBASE_DELIVERIES: u64 = 1000;
/// Fuel after which the shadow is refreshed, likewise: some 40 ms. Bounds how long a rollback takes.
const REBASE_FUEL: u64 = 200_000_000;
const REBASE_SCALE_BYTES: usize = 10 << 20;
/// Encoded deliveries that the journal holds at most.
const REBASE_JOURNAL_BYTES: usize = 4 << 20;

/// What one delivery may use. Part of a vat's genesis: they must be equal on all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// wasmtime's fuel, about one for each wasm instruction and each byte copied. Collections have a budget of their own:
    /// [`Limits::collection_fuel`].
    pub fuel_per_delivery: u64,
    /// Size of the vat's whole memory, its base heap included.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// About five seconds of plain loops on the machines that this was measured on, and 128 MiB.
    fn default() -> Limits {
        Limits { fuel_per_delivery: 25_000_000_000, memory_bytes: 128 << 20 }
    }
}

/// Fuel of a collection for each byte of memory that a vat may have: some twenty times what looking once at every object of a full heap takes.
const COLLECTION_FUEL_PER_BYTE: u64 = 128;

impl Limits {
    /// What a collection may burn, whatever a delivery may: its cost depends on the heap, not on who sent something.
    pub fn collection_fuel(&self) -> u64 {
        self.memory_bytes.saturating_mul(COLLECTION_FUEL_PER_BYTE)
    }

    fn fuel_for(&self, delivery: &Delivery) -> u64 {
        match delivery {
            Delivery::Collect | Delivery::MakeRoom => self.collection_fuel(),
            _ => self.fuel_per_delivery,
        }
    }
}

/// Which limit a delivery ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LimitKind {
    /// It used its whole budget.
    Fuel,
    /// It wanted more memory than the vat may have.
    Memory,
    /// It nested calls inside the interpreter too deeply, or had too many values on the interpreter's own stack.
    Stack,
    /// It nested JavaScript calls too deeply.
    Recursion,
    /// It said more than [`crate::abi::MAX_OUTPUTS`] things.
    Outputs,
    /// The interpreter gave up for another reason.
    Abort,
}

impl LimitKind {
    /// The one that the interpreter names in [`Outcome::Limit`].
    fn of_interpreter(name: &str) -> LimitKind {
        match name {
            "stack" => LimitKind::Stack,
            "recursion" => LimitKind::Recursion,
            "outputs" => LimitKind::Outputs,
            _ => LimitKind::Abort,
        }
    }

    /// The name that contract code, logs and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Fuel => "fuel",
            LimitKind::Memory => "memory",
            LimitKind::Stack => "stack",
            LimitKind::Recursion => "recursion",
            LimitKind::Outputs => "outputs",
            LimitKind::Abort => "abort",
        }
    }
}

/// What came of one delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum CrankOutcome {
    /// It ran to its end and this is what the guest said.
    Done { outputs: Vec<Output> },
    /// The vat's bundle does not start. The heap is as before.
    StartFailed { message: String },
    /// It exceeded a limit. The heap is as before.
    RolledBack { limit: LimitKind },
}

/// One delivery's outcome, price and console.
#[derive(Clone, Debug, PartialEq)]
pub struct Crank {
    pub outcome: CrankOutcome,
    /// Fuel used; the whole budget if it trapped.
    pub fuel: u64,
    pub logs: Vec<LogLine>,
}

/// A heap at one moment.
#[derive(Clone, Debug)]
pub struct HeapCheckpoint {
    pub manifest: HeapManifest,
    /// Pages that neither the previous checkpoint nor the image's base heap has.
    pub new_pages: Vec<(Hash, Vec<u8>)>,
}

struct JournalEntry {
    delivery: Vec<u8>,
    budget: u64,
    answer: Hash,
    fuel: u64,
}

/// Hashes of a heap's pages at its last checkpoint.
struct Checkpointed {
    pages: Vec<Hash>,
    /// How often each page that is not of the base heap occurs.
    stored: BTreeMap<Hash, u32>,
}

/// One vat's instance. Deliver on a thread with [`ENGINE_STACK_BYTES`].
pub struct Heap {
    image: Arc<Image>,
    limits: Limits,
    /// `None` once something of the host has failed.
    live: Option<Instance>,
    shadow: Shadow,
    journal: Vec<JournalEntry>,
    journal_bytes: usize,
    journal_fuel: u64,
    /// `None` until the first checkpoint of a heap that began as the base heap.
    checkpointed: Option<Checkpointed>,
}

impl Heap {
    /// A heap equal to the image's base heap.
    pub fn new(image: Arc<Image>, limits: Limits) -> Result<Heap, EngineError> {
        let shadow = Heap::base_shadow(&image, limits, image.base().file.len())?;
        Heap::over(image, limits, shadow)
    }

    /// The heap that `manifest` describes. `fetch` is asked for the pages that the image's base heap has not; what it gives
    /// is checked.
    pub fn restore(
        image: Arc<Image>,
        limits: Limits,
        manifest: &HeapManifest,
        fetch: &mut dyn FnMut(&Hash) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Heap, EngineError> {
        let base = image.base();
        if manifest.image != image.hash() {
            return Err(EngineError::ImageMismatch { expected: image.hash(), found: manifest.image });
        }
        let size = manifest.pages.len() * PAGE_BYTES;
        if size < base.file.len() || !size.is_multiple_of(WASM_PAGE_BYTES) {
            return Err(EngineError::Checkpoint(format!("{size} bytes is no size of a heap of this image")));
        }
        let same_globals = manifest.globals.len() == base.globals.len()
            && manifest.globals.iter().zip(&base.globals).all(|(one, other)| one.same_type(*other));
        if !same_globals {
            return Err(EngineError::Checkpoint("its globals are not those of this image".into()));
        }
        let mut shadow = Heap::base_shadow(&image, limits, size)?;
        shadow.grow(size);
        shadow.set_globals(manifest.globals.clone());
        for (page, hash) in manifest.pages.iter().enumerate() {
            let expected_already = base.page_hashes.get(page).unwrap_or(&ZERO_PAGE);
            if hash == expected_already {
                continue;
            }
            if let Some(bytes) = base.page_by_hash(hash) {
                shadow.set_page(page, bytes);
                continue;
            }
            let bytes = fetch(hash)?;
            if bytes.len() != PAGE_BYTES || Hash::of_parts(&[&bytes]) != *hash {
                return Err(EngineError::Checkpoint(format!("what was given as page {hash} is something else")));
            }
            shadow.set_page(page, &bytes);
        }
        shadow.take_changed();
        let mut heap = Heap::over(image, limits, shadow)?;
        heap.checkpointed = Some(Checkpointed::of(&heap.image, manifest.pages.clone()));
        Ok(heap)
    }

    fn base_shadow(image: &Image, limits: Limits, needed: usize) -> Result<Shadow, EngineError> {
        let base = image.base();
        let limit = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX).min(MAX_MEMORY_BYTES);
        if limit < needed {
            return Err(EngineError::MemoryLimit { limit: limits.memory_bytes, needed: needed as u64 });
        }
        // A limit that is no multiple of a page admits nothing between.
        Shadow::new(&base.file, &base.globals, limit / WASM_PAGE_BYTES * WASM_PAGE_BYTES)
    }

    fn over(image: Arc<Image>, limits: Limits, shadow: Shadow) -> Result<Heap, EngineError> {
        let mut heap = Heap {
            image,
            limits,
            live: None,
            shadow,
            journal: Vec::new(),
            journal_bytes: 0,
            journal_fuel: 0,
            checkpointed: None,
        };
        heap.live = Some(heap.instance_of_shadow()?);
        Ok(heap)
    }

    fn instance_of_shadow(&self) -> Result<Instance, EngineError> {
        let limit = self.limits.memory_bytes.min(MAX_MEMORY_BYTES as u64) as usize;
        let mut instance = self.image.instantiate(limit)?;
        self.shadow.pour_into(&mut instance, &self.image.base().file)?;
        Ok(instance)
    }

    /// Runs one delivery to its end. An error is a fault of the host only; the heap is then of no more use.
    pub fn deliver(&mut self, delivery: &Delivery) -> Result<Crank, EngineError> {
        self.deliver_with(delivery, &News::default())
    }

    /// The same; `news` is what the guest learns beside it. If the delivery is not done, the guest has learned nothing.
    pub fn deliver_with(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        stack::check()?;
        let encoded = Turn::encode_parts(delivery, news);
        let budget = self.limits.fuel_for(delivery);
        let mut live = self.live.take().ok_or(EngineError::Failed)?;
        let call = live.deliver(&encoded, budget)?;
        let mut logs = live.take_logs();
        let (outcome, fuel) = match call {
            Call::Trapped(limit) => (CrankOutcome::RolledBack { limit }, budget),
            Call::Answered { answer, fuel } => match abi::decode(&answer) {
                Ok(Outcome::Done { outputs }) => {
                    self.live = Some(live);
                    let answer = Hash::of_parts(&[&answer]);
                    self.record(JournalEntry { delivery: encoded, budget, answer, fuel });
                    return Ok(Crank { outcome: CrankOutcome::Done { outputs }, fuel, logs });
                }
                Ok(Outcome::StartFailed { message }) => (CrankOutcome::StartFailed { message }, fuel),
                Ok(Outcome::Limit { name }) => {
                    (CrankOutcome::RolledBack { limit: LimitKind::of_interpreter(&name) }, fuel)
                }
                Err(error) => {
                    let text = format!("the image's answer does not decode: {error:?}");
                    logs.push(LogLine { level: LogLevel::Error, text });
                    (CrankOutcome::RolledBack { limit: LimitKind::Abort }, fuel)
                }
            },
        };
        drop(live);
        self.roll_back()?;
        Ok(Crank { outcome, fuel, logs })
    }

    /// Remembers a delivery that happened, and refreshes the shadow when the journal is long enough.
    fn record(&mut self, entry: JournalEntry) {
        self.journal_bytes += entry.delivery.len();
        self.journal_fuel = self.journal_fuel.saturating_add(entry.fuel);
        self.journal.push(entry);
        let scale = (self.shadow.size() / REBASE_SCALE_BYTES).max(1) as u64;
        let long = self.journal.len() as u64 >= REBASE_DELIVERIES * scale
            || self.journal_fuel >= REBASE_FUEL * scale
            || self.journal_bytes >= REBASE_JOURNAL_BYTES;
        if long {
            self.rebase();
        }
    }

    /// Makes the shadow equal to the live memory and forgets the journal.
    fn rebase(&mut self) {
        if let Some(live) = &mut self.live
            && !self.journal.is_empty()
        {
            self.shadow.refresh(live);
            self.journal.clear();
            self.journal_bytes = 0;
            self.journal_fuel = 0;
        }
    }

    /// Makes the live instance anew, as it was after the last recorded delivery. The shadow follows at once, so that a
    /// sender of many bad deliveries cannot have the same journal run again for each.
    fn roll_back(&mut self) -> Result<(), EngineError> {
        let mut live = self.instance_of_shadow()?;
        for (index, entry) in self.journal.iter().enumerate() {
            let call = live.deliver(&entry.delivery, entry.budget)?;
            let same = matches!(&call, Call::Answered { answer, fuel }
                if *fuel == entry.fuel && Hash::of_parts(&[answer]) == entry.answer);
            if !same {
                return Err(EngineError::Replay { index, count: self.journal.len() });
            }
            live.take_logs();
        }
        self.live = Some(live);
        self.rebase();
        Ok(())
    }

    /// The heap as it is now, with the pages that are new since the last checkpoint.
    pub fn checkpoint(&mut self) -> Result<HeapCheckpoint, EngineError> {
        if self.live.is_none() {
            return Err(EngineError::Failed);
        }
        self.rebase();
        let base = self.image.base();
        let at_first = || Checkpointed { pages: base.page_hashes.clone(), stored: BTreeMap::new() };
        let Checkpointed { pages, stored } = self.checkpointed.get_or_insert_with(at_first);
        pages.resize(self.shadow.size() / PAGE_BYTES, *ZERO_PAGE);
        let changes: Vec<(usize, Hash)> = self
            .shadow
            .take_changed()
            .iter()
            .map(|page| (page, Hash::of_parts(&[self.shadow.page(page)])))
            .filter(|(page, hash)| pages[*page] != *hash)
            .collect();
        let mut new_pages = Vec::new();
        let mut seen = BTreeSet::new();
        for (page, hash) in &changes {
            if base.page_by_hash(hash).is_none() && !stored.contains_key(hash) && seen.insert(*hash) {
                new_pages.push((*hash, self.shadow.page(*page).to_vec()));
            }
        }
        for (page, hash) in changes {
            let old = std::mem::replace(&mut pages[page], hash);
            if let Some(count) = stored.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    stored.remove(&old);
                }
            }
            if base.page_by_hash(&hash).is_none() {
                *stored.entry(hash).or_insert(0) += 1;
            }
        }
        let manifest =
            HeapManifest { image: self.image.hash(), globals: self.shadow.globals().to_vec(), pages: pages.clone() };
        Ok(HeapCheckpoint { manifest, new_pages })
    }

    /// The manifest of the live memory, hashed anew from its first byte to its last: what a checkpoint taken now must say.
    /// Slow; for tests and audits.
    pub fn full_manifest(&mut self) -> Result<HeapManifest, EngineError> {
        let live = self.live.as_mut().ok_or(EngineError::Failed)?;
        let globals = live.globals();
        let pages = live.bytes().chunks_exact(PAGE_BYTES).map(|page| Hash::of_parts(&[page])).collect();
        Ok(HeapManifest { image: self.image.hash(), globals, pages })
    }

    /// Size of the vat's memory, its base heap included.
    pub fn memory_bytes(&self) -> u64 {
        self.live.as_ref().map_or(self.shadow.size(), Instance::size) as u64
    }

    /// The limits that this heap was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// What 32 bits of address reach.
const MAX_MEMORY_BYTES: usize = 4 << 30;

impl Checkpointed {
    fn of(image: &Image, pages: Vec<Hash>) -> Checkpointed {
        let base = image.base();
        let mut stored = BTreeMap::new();
        for hash in &pages {
            if base.page_by_hash(hash).is_none() {
                *stored.entry(*hash).or_insert(0) += 1;
            }
        }
        Checkpointed { pages, stored }
    }
}

impl std::fmt::Debug for Heap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Heap")
            .field("memory_bytes", &self.memory_bytes())
            .field("journal", &self.journal.len())
            .field("failed", &self.live.is_none())
            .finish()
    }
}
