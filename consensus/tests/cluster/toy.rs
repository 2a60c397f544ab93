//! A machine that counts commands, and what its members can decide on.

use quorate_consensus::*;
use std::collections::BTreeSet;
use std::sync::Mutex;

pub const PAGES: usize = 24;
pub const PAGE_BYTES: usize = 512;

/// A counter, a hash chain over all commands, pages that commands write to, and alarms.
pub struct Toy {
    pub counter: u64,
    pub chain: Hash,
    /// The log's time.
    pub now_ms: u64,
    /// Commands are to find the time of the present: the command `timed` was given.
    pub timed: bool,
    /// When alarms are to ring: set by commands `alarm MS`, from now.
    pub alarms: Vec<u64>,
    /// When those that have rung were to do so, and when they did.
    pub rung: Vec<(u64, u64)>,
    pub pages: Vec<Vec<u8>>,
    known: BTreeSet<Hash>,
    /// How the commands begin that this instance has executed.
    pub commands: Vec<Vec<u8>>,
    /// Blocks applied by this instance: a restart from a checkpoint must not begin at the beginning.
    pub applied: u64,
}

impl Default for Toy {
    fn default() -> Self {
        let pages = vec![vec![0; PAGE_BYTES]; PAGES];
        Self {
            counter: 0,
            chain: Hash::ZERO,
            now_ms: 0,
            timed: false,
            alarms: Vec::new(),
            rung: Vec::new(),
            pages,
            known: BTreeSet::new(),
            commands: Vec::new(),
            applied: 0,
        }
    }
}

impl Toy {
    fn manifest(&self) -> Vec<u8> {
        let mut bytes = self.counter.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.chain.0);
        for page in &self.pages {
            bytes.extend_from_slice(&Hash::of(page).0);
        }
        let rung = self.rung.iter().flat_map(|(at_ms, rung_ms)| [*at_ms, *rung_ms]);
        let times = [self.now_ms, self.timed.into(), self.alarms.len() as u64];
        for word in times.into_iter().chain(self.alarms.iter().copied()).chain(rung) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Takes over what a manifest says of times.
    fn restore_times(&mut self, words: &[u8]) {
        let words = words.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()));
        let words: Vec<u64> = words.collect();
        (self.now_ms, self.timed) = (words[0], words[1] > 0);
        let (alarms, rung) = words[3..].split_at(words[2] as usize);
        self.alarms = alarms.to_vec();
        self.rung = rung.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    }

    fn published_root(&self) -> Hash {
        Hash(self.pages[1][PUBLISHED].try_into().unwrap())
    }

    /// Rings what is due. Returns whether anything was.
    fn ring(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        let (due, later): (Vec<u64>, _) = self.alarms.iter().partition(|at_ms| **at_ms <= now_ms);
        self.alarms = later;
        self.rung.extend(due.iter().map(|at_ms| (*at_ms, now_ms)));
        !due.is_empty()
    }
}

/// Where in the second page the hash is of what was published last.
const PUBLISHED: std::ops::Range<usize> = 32..64;

/// Bytes of a manifest before the times.
const FIXED_BYTES: usize = 40 + 32 * PAGES;

fn fault(text: &str) -> MachineFault {
    MachineFault(text.into())
}

impl Machine for Toy {
    type Effects = u64;

    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<u64>, MachineFault> {
        self.applied += 1;
        let rang = self.ring(context.now_ms);
        let published_before = self.published_root();
        let mut results = Vec::new();
        for command in commands {
            self.timed |= command == b"timed";
            let alarm = command.strip_prefix(b"alarm ").and_then(|ms| std::str::from_utf8(ms).ok());
            self.alarms.extend(alarm.and_then(|ms| ms.parse::<u64>().ok()).map(|ms| self.now_ms + ms));
            if command == b"fault" {
                return Err(fault("asked to fault"));
            }
            if command == b"panic" {
                panic!("asked to panic");
            }
            self.counter += 1;
            self.commands.push(command.iter().copied().take(16).collect());
            if command.starts_with(b"publish") {
                self.pages[1][PUBLISHED].copy_from_slice(&Hash::of(command).0);
                results.push(self.counter.to_be_bytes().to_vec());
                continue;
            }
            if command.starts_with(b"quiet") {
                // It changes the state, and nothing that the block says.
                self.pages[0][..32].copy_from_slice(&Hash::of(command).0);
                results.push(self.counter.to_be_bytes().to_vec());
                continue;
            }
            let mut bytes = self.chain.0.to_vec();
            bytes.extend_from_slice(command);
            self.chain = Hash::of(&bytes);
            let page = usize::from(self.chain.0[0]) % PAGES;
            self.pages[page][..32].copy_from_slice(&self.chain.0);
            results.push(self.counter.to_be_bytes().to_vec());
        }
        let said = commands.iter().any(|command| !command.starts_with(b"publish")) || rehead || rang;
        let outbox_root = said.then(|| Hash::of(&[&self.chain.0[..], &context.epoch.to_be_bytes()].concat()));
        Ok(AppliedBlock {
            results,
            outbox_root,
            published_root: self.published_root(),
            publishes: self.published_root() != published_before,
            work: commands.len() as u64,
            effects: self.counter,
        })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let pages: Vec<(Hash, Vec<u8>)> = self.pages.iter().map(|page| (Hash::of(page), page.clone())).collect();
        let now: BTreeSet<Hash> = pages.iter().map(|(hash, _)| *hash).collect();
        let known = std::mem::replace(&mut self.known, now);
        let mut new_chunks: Vec<_> = pages.into_iter().filter(|(hash, _)| !known.contains(hash)).collect();
        new_chunks.sort();
        new_chunks.dedup();
        let manifest = self.manifest();
        Ok(CheckpointParts { root: Hash::of(&manifest), manifest, new_chunks })
    }

    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault> {
        let info = Self::describe(manifest)?;
        self.counter = u64::from_be_bytes(manifest[..8].try_into().unwrap());
        self.chain = Hash(manifest[8..40].try_into().unwrap());
        self.restore_times(&manifest[FIXED_BYTES..]);
        self.pages = info.chunks.iter().map(&mut *fetch).collect::<Result<_, _>>()?;
        self.known = info.chunks.into_iter().collect();
        self.applied = 0;
        Ok(())
    }

    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault> {
        if manifest.len() < FIXED_BYTES + 24 {
            return Err(fault("not a manifest"));
        }
        let chunks = manifest[40..FIXED_BYTES].chunks_exact(32).map(|hash| Hash(hash.try_into().unwrap())).collect();
        Ok(ManifestInfo { root: Hash::of(manifest), chunks })
    }

    fn time_wanted(&self) -> TimeWanted {
        TimeWanted { with_commands: self.timed, at_ms: self.alarms.iter().min().copied() }
    }
}

/// Motions of the toy: it wants all of them but one.
#[derive(Default)]
pub struct ToyMotions(Mutex<Vec<(Vec<u8>, Vec<MemberSignature>)>>);

/// The motion that the toy does not want.
pub const UNWANTED: &[u8] = b"unwanted";

impl ToyMotions {
    /// The motions that commands were made of, with their approvals.
    pub fn carried_out(&self) -> Vec<(Vec<u8>, Vec<MemberSignature>)> {
        self.0.lock().unwrap().clone()
    }
}

impl Motions for ToyMotions {
    fn refuses(&self, motion: &[u8]) -> Option<String> {
        (motion == UNWANTED).then(|| "the toy does not want it".to_owned())
    }

    fn command(&self, motion: &[u8], approvals: Vec<MemberSignature>) -> Vec<u8> {
        self.0.lock().unwrap().push((motion.to_vec(), approvals));
        motion.to_vec()
    }
}
