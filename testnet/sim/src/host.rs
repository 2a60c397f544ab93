//! A host of a world: what outlives its processes, and the process that runs.

use ed25519_dalek::SigningKey;
use quorate_consensus::{
    Approve, Clock, ConsensusError, Event, Genesis, Hash, HostId, MAX_UNCERTIFIED, Member, MembershipCertificate,
    NoMotions, Pace, Replica, ReplicaHandle, ReplicaOptions, Role, Timing,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

use crate::dice::Dice;
use crate::disk::{Disk, End};
use crate::execution::Inline;
use crate::lies::{Mask, Witness};
use crate::machine::{RegisterMachine, Registers, Watcher};
use crate::net::{Interceptor, Net, Process, Wire};
use crate::oracles::{accused, certified, equal_state, exactly_once, progress, time};
use crate::plan::FirstStart;
use crate::record::Record;
use crate::trace::Trace;

/// Events that wait for the host at most.
const EVENTS: usize = 16;
/// What right clocks show when a world begins.
pub const EPOCH_MS: u64 = 1_000_000_000_000;
/// How far the clock of an honest host is wrong at most.
pub const MOST_AHEAD_MS: u64 = 2_000;
/// Longest pause of work for the disk.
const WORK_MS: u64 = 3;

/// In some worlds clients that think for a moment find the vat asleep, in others never.
const REST_MS: [u64; 3] = [50, 200, 3_600_000];

/// Pauses of a world: short, so that much happens in little time.
/// `rest_ms`: after how long a vat in which nothing happens falls asleep.
pub fn timing(rate_percent: u32, rest_ms: u64) -> Timing {
    let ms = |ms: u64| Duration::from_millis(ms) * 100 / rate_percent;
    Timing {
        heartbeat: ms(60),
        election_min: ms(250),
        election_max: ms(450),
        share_retry: ms(200),
        rest_after: ms(rest_ms),
        reconcile: ms(100),
        request: ms(500),
        snapshot_request: ms(1_500),
    }
}

/// Whether a host goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Why its replica stopped, in this life.
    pub fault: Option<String>,
    /// It is no member any more.
    pub removed: bool,
}

/// See the head of the module.
pub struct Host {
    pub place: usize,
    pub key: SigningKey,
    pub disk: Arc<Disk>,
    /// What lies in its name, unless it is honest.
    pub mask: Option<Arc<Mask>>,
    /// It is not in the genesis.
    pub learner: bool,
    pub running: Option<(Process, ReplicaHandle)>,
    /// Its power is cut when its next share has left.
    pub trap: Arc<AtomicBool>,
    /// What befalls its first start, until it has begun.
    pub first: FirstStart,
    fate: Arc<Mutex<Fate>>,
    lives: u64,
    seed: u64,
}

impl Host {
    /// A host that was never started.
    pub fn new(seed: u64, place: usize, learner: bool, record: &Record) -> Host {
        let key = Hash::of(format!("host {place} of seed {seed}").as_bytes()).0;
        let name = format!("host {place}");
        let disk = Disk::new(&name, Dice::new(seed, &name), record.trace().clone());
        Host {
            place,
            key: SigningKey::from_bytes(&key),
            disk,
            mask: None,
            learner,
            running: None,
            trap: Arc::default(),
            first: FirstStart::Well,
            fate: Arc::default(),
            lives: 0,
            seed,
        }
    }

    /// Returns whether it is no liar.
    pub fn is_honest(&self) -> bool {
        self.mask.is_none()
    }

    fn interceptor(&self, record: &Record, process: &Process) -> Arc<dyn Interceptor> {
        match &self.mask {
            Some(mask) => Arc::clone(mask) as Arc<dyn Interceptor>,
            None => Arc::new(Witness {
                record: record.clone(),
                key: self.id(),
                process: process.clone(),
                disk: Arc::clone(&self.disk),
                trap: Arc::clone(&self.trap),
            }),
        }
    }

    /// Returns whether a process runs.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|(process, _)| process.is_alive())
    }

    /// Its name among members.
    pub fn id(&self) -> HostId {
        HostId(self.key.verifying_key().to_bytes())
    }

    /// Itself as a member.
    pub fn member(&self) -> Member {
        Member { key: self.id(), name: format!("host{}", self.place), addresses: Vec::new() }
    }

    /// Returns whether it goes on.
    pub fn fate(&self) -> Fate {
        lock(&self.fate).clone()
    }

    /// Its replica, if it runs.
    pub fn handle(&self) -> Option<&ReplicaHandle> {
        let running = self.running.as_ref().filter(|(process, _)| process.is_alive()).map(|(_, handle)| handle);
        running.filter(|handle| !matches!(handle.status().role, Role::Stopped | Role::Faulted))
    }

    /// Starts a process. A host that waits for its admission was introduced with `chain`.
    ///
    /// # Errors
    /// What the replica says, unless its disk is at fault.
    pub async fn start(
        &mut self,
        genesis: &Genesis,
        chain: &[MembershipCertificate],
        net: &Net,
        record: &Record,
        rate_percent: u32,
    ) -> Result<(), ConsensusError> {
        self.lives += 1;
        lock(&self.fate).fault = None;
        let process = Process { place: self.place, alive: Arc::new(AtomicBool::new(true)) };
        let label = format!("life {} of host {}", self.lives, self.place);
        record.trace().line(format_args!("{label} begins"));
        let (events, receiver) = mpsc::channel(EVENTS);
        let watch = Watch { record: record.clone(), process: process.clone(), honest: self.is_honest() };
        let pump = Pump {
            watch: watch.clone(),
            fate: Arc::clone(&self.fate),
            dice: Dice::new(self.seed, &label),
            disk: Arc::clone(&self.disk),
        };
        tokio::spawn(pump.run(receiver));
        let store = self.disk.open();
        match std::mem::replace(&mut self.first, FirstStart::Well) {
            FirstStart::Well => {}
            FirstStart::PowerCut(writes) => self.disk.cut_after(writes, &process.alive),
            FirstStart::FailSync => self.disk.fail_next_sync(),
        }
        let interceptor = self.interceptor(record, &process);
        let options = ReplicaOptions {
            genesis: genesis.clone(),
            chain: if self.learner { chain.to_vec() } else { Vec::new() },
            key: self.key.clone(),
            machine: RegisterMachine::new(Arc::new(watch)),
            store,
            archive: None,
            transport: Arc::new(Wire {
                net: net.clone(),
                process: process.clone(),
                key: self.id(),
                interceptor: Some(Arc::clone(&interceptor)),
            }),
            execution: Inline::new(Dice::new(self.seed, &format!("work of {label}")), WORK_MS),
            events,
            pace: Arc::new(Pace::new(1)),
            timing: timing(rate_percent, *Dice::new(self.seed, "rest").pick(&REST_MS)),
            clock: Arc::new(HostClock::new(self.seed, &label, record.trace().clone())),
            learner: self.learner,
            approve: Approve::Auto,
            max_uncertified: MAX_UNCERTIFIED,
            motions: Arc::new(NoMotions),
        };
        let handle = match Replica::start(options).await {
            Ok(handle) => handle,
            Err(error) => {
                let disk_failed = self.disk.has_failed() || !process.is_alive();
                process.alive.store(false, Ordering::SeqCst);
                self.disk.end(End::Killed);
                return if disk_failed { Ok(()) } else { Err(error) };
            }
        };
        net.join(self.id(), process.clone(), handle.clone(), Some(interceptor));
        if let Some(mask) = &self.mask {
            let wire = Wire { net: net.clone(), process: process.clone(), key: self.id(), interceptor: None };
            tokio::spawn(Arc::clone(mask).fabricate(wire, genesis.membership()));
        }
        self.running = Some((process, handle));
        Ok(())
    }

    /// Ends the process, wherever it is.
    pub fn end(&mut self, how: End, net: &Net, record: &Record) {
        let Some((process, handle)) = self.running.take() else { return };
        record.trace().line(format_args!("life {} of host {} ends: {how:?}", self.lives, self.place));
        process.alive.store(false, Ordering::SeqCst);
        record.count(exactly_once::PUT_FIRST, handle.status().stats.put_first);
        net.leave(&self.id());
        self.disk.end(how);
        // What is left of it in this thread writes and sends nothing any more, and goes.
        tokio::spawn(async move { handle.shutdown().await });
    }

    /// Returns how many commands it has put first in its present life.
    pub fn put_first(&self) -> u64 {
        self.handle().map_or(0, |handle| handle.status().stats.put_first)
    }

    /// The state of its machine.
    pub async fn state(&self) -> Option<Registers> {
        self.handle()?.inspect(|machine: &mut RegisterMachine| machine.state.clone()).await
    }
}

/// The clock of one life of a host: that of the world, set wrong.
struct HostClock {
    trace: Trace,
    ahead_ms: i64,
}

impl HostClock {
    fn new(seed: u64, life: &str, trace: Trace) -> HostClock {
        let mut dice = Dice::new(seed, &format!("clock of {life}"));
        let most = *dice.pick(&[0, 100, MOST_AHEAD_MS]);
        let ahead_ms = dice.below(2 * most + 1) as i64 - most as i64;
        HostClock { trace, ahead_ms }
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> u64 {
        (EPOCH_MS + self.trace.now_ms()).saturating_add_signed(self.ahead_ms)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one life of a host shows.
#[derive(Clone)]
struct Watch {
    record: Record,
    process: Process,
    honest: bool,
}

impl Watcher for Watch {
    fn executed(&self, block: u64, commands: &[Vec<u8>], answers: &[Vec<u8>], state: &Registers) {
        if !self.process.is_alive() {
            return;
        }
        let shown = &state.hash().to_string()[..8];
        let (place, count) = (self.process.place, commands.len());
        let time = state.now_ms.saturating_sub(EPOCH_MS);
        self.record
            .trace()
            .line(format_args!("host {place} executed block {block}: {count} commands, time {time}, state {shown}"));
        if self.honest {
            equal_state::executed(&self.record, place, block, commands, answers, state);
            time::executed(&self.record, place, state);
        }
    }

    fn restored(&self, state: &Registers) {
        if self.process.is_alive() && self.honest {
            self.record.count("restores", 1);
            equal_state::restored(&self.record, self.process.place, state);
        }
    }
}

/// Takes the events of one life.
struct Pump {
    watch: Watch,
    fate: Arc<Mutex<Fate>>,
    dice: Dice,
    disk: Arc<Disk>,
}

impl Pump {
    async fn run(mut self, mut events: mpsc::Receiver<Event<()>>) {
        let record = self.watch.record.clone();
        let (place, honest) = (self.watch.process.place, self.watch.honest);
        while let Some(event) = events.recv().await {
            if !self.watch.process.is_alive() {
                continue;
            }
            if self.dice.chance(20) {
                // The host is busy; the replica has to wait.
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, 60))).await;
            }
            match event {
                Event::Applied { .. } => {}
                Event::Restored { block } => record.trace().line(format_args!("host {place} restored block {block}")),
                Event::Certified(certificate) => {
                    let block = certificate.statement.block;
                    record.trace().line(format_args!("host {place} certified block {block}"));
                    if honest {
                        certified::certificate(&record, place, certificate);
                    }
                }
                Event::Reconfigured(certificate) => {
                    let epoch = certificate.membership.epoch;
                    record.trace().line(format_args!("host {place} certified epoch {epoch}"));
                    if honest {
                        certified::membership(&record, place, certificate);
                    }
                }
                Event::Evidence(evidence) => {
                    let (kind, block) = (evidence.kind(), evidence.place().1);
                    record.trace().line(format_args!("host {place} keeps a {kind} of block {block:?}"));
                    // A disagreement and a divergence accuse nobody.
                    for member in evidence.accused() {
                        record.trace().line(format_args!("host {place} accuses {member}"));
                        if honest {
                            accused::conflict(&record, place, &member, &format!("{evidence:?}"));
                        }
                    }
                }
                Event::Removed => {
                    record.trace().line(format_args!("host {place} is removed"));
                    lock(&self.fate).removed = true;
                }
                Event::Fault(text) => {
                    record.trace().line(format_args!("host {place} faults: {text}"));
                    if honest && !self.disk.has_failed() {
                        progress::fault(&record, place, &text);
                    }
                    lock(&self.fate).fault = Some(text);
                }
            }
        }
    }
}
