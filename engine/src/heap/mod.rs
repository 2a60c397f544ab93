//! One vat's heap: an instance of the image, its limits, its rollback, its checkpoints.
//!
//! A delivery happens whole ([`CrankOutcome::Done`]) or not at all. To undo one, the heap keeps a shadow of its
//! memory from some deliveries ago, and a journal of the deliveries since. A new instance begins as the shadow and runs the
//! journal again. Execution is exact, so it arrives at the same state; that is checked.
//!
//! Invariants: an outcome, a fuel figure and a checkpoint's root depend on the image, the limits and the deliveries
//! alone. They never depend on when the shadow was refreshed, whether instances were rebuilt, or on the host. A fault of the host
//! is an [`EngineError`] and leaves nothing that could be taken for the guest's action. There are no threads here. Nothing here
//! depends on the meaning of a delivery, except that collections have a budget of their own.

mod checkpoint;
mod limits;
mod manifest;
mod shadow;

/// What callers of a heap need of the layer below it.
pub use crate::sandbox::{
    ENGINE_STACK_BYTES, GlobalValue, LimitKind, LogLevel, LogLine, MAX_LOG_BYTES, MAX_LOG_LINES, MAX_WASM_STACK_BYTES,
    PAGE_BYTES, ZERO_PAGE, with_engine_stack,
};
pub use checkpoint::HeapCheckpoint;
pub use limits::Limits;
pub use manifest::HeapManifest;

use crate::abi::{self, Delivery, News, Outcome, Output, Turn};
use crate::error::EngineError;
use crate::image::{Image, ImageSource};
use crate::sandbox::{Call, Instance, WASM_PAGE_BYTES, check_stack};
use checkpoint::Checkpointed;
use quorate_ids::Hash;
use shadow::Shadow;
use std::sync::Arc;

/// Deliveries after which the shadow is refreshed, for each [`REBASE_SCALE_BYTES`] of memory: comparing takes as long as the
/// memory is large (0.3 to 1 ms for 10 MiB), and should be a small share of what the deliveries took.
const REBASE_DELIVERIES: u64 = 1000;
/// Fuel after which the shadow is refreshed, likewise: some 40 ms. Bounds how long a rollback takes.
const REBASE_FUEL: u64 = 200_000_000;
const REBASE_SCALE_BYTES: usize = 10 << 20;
/// Encoded deliveries that the journal holds at most.
const REBASE_JOURNAL_BYTES: usize = 4 << 20;

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

struct JournalEntry {
    delivery: Vec<u8>,
    budget: u64,
    answer: Hash,
    fuel: u64,
}

/// One vat's instance. Deliver on a thread with [`ENGINE_STACK_BYTES`].
pub struct Heap {
    image: Arc<Image>,
    /// The image whose pages every host of the vat has by itself: that of the vat's genesis.
    origin: Arc<Image>,
    /// Where other images come from, for a heap that takes the place of this one.
    images: Option<Arc<dyn ImageSource>>,
    limits: Limits,
    /// `None` once something of the host has failed, and while the heap rests.
    live: Option<Instance>,
    /// See [`Heap::rest`].
    rests: bool,
    /// What the guest's source of randomness gives, which is none: see [`Heap::set_seed`].
    seed: u64,
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
        Heap::over(image.clone(), image, limits, shadow)
    }

    /// The same heap, whose vat can move to images of this source.
    pub fn with_images(self, images: Arc<dyn ImageSource>) -> Heap {
        Heap { images: Some(images), ..self }
    }

    /// A heap equal to the base heap of the image with this hash, or of this one's, to take the place of this one. `None`: that image cannot take
    /// over what another one hands over.
    pub fn successor(&self, image: Option<&Hash>) -> Result<Option<Heap>, EngineError> {
        let image = match image.filter(|hash| **hash != self.image.hash()) {
            None => self.image.clone(),
            Some(hash) if *hash == self.origin.hash() => self.origin.clone(),
            Some(hash) => self.images.as_ref().ok_or(EngineError::NoImage { hash: *hash })?.image(hash)?,
        };
        if !image.hands_over() {
            return Ok(None);
        }
        let shadow = Heap::base_shadow(&image, self.limits, image.base().file.len())?;
        let mut heap = Heap::over(image, self.origin.clone(), self.limits, shadow)?;
        heap.images.clone_from(&self.images);
        Ok(Some(heap))
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

    fn over(image: Arc<Image>, origin: Arc<Image>, limits: Limits, shadow: Shadow) -> Result<Heap, EngineError> {
        let mut heap = Heap {
            image,
            origin,
            images: None,
            limits,
            live: None,
            rests: false,
            seed: 0,
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
        instance.set_seed(self.seed);
        self.shadow.pour_into(&mut instance, &self.image.base().file)?;
        Ok(instance)
    }

    /// Sets what hash tables of the guest are seeded with, beside a constant: the guest asks once, when it is started. It must be equal on
    /// all replicas, and be set before the first delivery.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        if let Some(live) = &mut self.live {
            live.set_seed(seed);
        }
    }

    /// Gives back most of the memory, until the heap is used again. It changes nothing that can be observed, but how long the next use takes.
    pub fn rest(&mut self) -> Result<(), EngineError> {
        if self.live.is_none() {
            return Ok(());
        }
        self.rebase();
        self.shadow.pack(&self.image.base().file)?;
        (self.live, self.rests) = (None, true);
        self.journal = Vec::new();
        Ok(())
    }

    /// Makes the heap usable again after [`Heap::rest`].
    fn rouse(&mut self) -> Result<(), EngineError> {
        if self.rests {
            self.shadow.unpack()?;
            (self.live, self.rests) = (Some(self.instance_of_shadow()?), false);
        }
        Ok(())
    }

    /// Runs one delivery to its end. An error is a fault of the host only; the heap is then of no more use.
    pub fn deliver(&mut self, delivery: &Delivery) -> Result<Crank, EngineError> {
        self.deliver_with(delivery, &News::default())
    }

    /// The same; `news` is what the guest learns beside it. If the delivery is not done, the guest has learned nothing.
    pub fn deliver_with(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let (crank, happened) = self.run(delivery, news)?;
        match happened {
            Some((live, entry)) => {
                self.live = Some(live);
                self.record(entry);
            }
            None => self.roll_back()?,
        }
        Ok(crank)
    }

    /// The same, and whatever comes of it is undone.
    pub fn look(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let (crank, happened) = self.run(delivery, news)?;
        drop(happened);
        self.roll_back()?;
        Ok(crank)
    }

    /// Runs one delivery on the live instance, and takes that out. It is given back if the delivery is done.
    fn run(
        &mut self,
        delivery: &Delivery,
        news: &News,
    ) -> Result<(Crank, Option<(Instance, JournalEntry)>), EngineError> {
        check_stack()?;
        self.rouse()?;
        let encoded = Turn::encode_parts(delivery, news);
        let budget = self.limits.fuel_for(delivery);
        let mut live = self.live.take().ok_or(EngineError::Failed)?;
        live.set_memory_limit(self.limits.memory_for(delivery).min(MAX_MEMORY_BYTES as u64) as usize);
        let call = live.deliver(&encoded, budget)?;
        let mut logs = live.take_logs();
        let (outcome, fuel) = match call {
            Call::Trapped(limit) => (CrankOutcome::RolledBack { limit }, budget),
            Call::Answered { answer, fuel } => match abi::decode(&answer) {
                Ok(Outcome::Done { outputs }) => {
                    let answer = Hash::of_parts(&[&answer]);
                    let entry = JournalEntry { delivery: encoded, budget, answer, fuel };
                    let crank = Crank { outcome: CrankOutcome::Done { outputs }, fuel, logs };
                    return Ok((crank, Some((live, entry))));
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
        Ok((Crank { outcome, fuel, logs }, None))
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

    /// Size of the vat's memory, its base heap included.
    pub fn memory_bytes(&self) -> u64 {
        self.live.as_ref().map_or(self.shadow.size(), Instance::size) as u64
    }

    /// The image that this heap is of.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The limits that this heap was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// What 32 bits of address reach.
const MAX_MEMORY_BYTES: usize = 4 << 30;

impl std::fmt::Debug for Heap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Heap")
            .field("memory_bytes", &self.memory_bytes())
            .field("journal", &self.journal.len())
            .field("failed", &self.live.is_none())
            .finish()
    }
}
