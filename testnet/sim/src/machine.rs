//! A small deterministic machine: registers, and a session for each client so that a command that is ordered twice counts once.
//!
//! What it says (the outbox root) covers the writes alone. So there are blocks without a statement, and blocks that members can
//! execute in another order without any difference in what they sign, as with vats.

use quorate_consensus::{
    AppliedBlock, BlockContext, CheckpointParts, FetchChunk, Hash, Machine, MachineFault, ManifestInfo, TimeWanted,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes in one chunk of a checkpoint.
const CHUNK_BYTES: usize = 64;

/// What a client wants of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Read,
    Write(u64),
    /// Writes the second if it finds the first.
    Swap(u64, u64),
}

/// A command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    pub client: u8,
    /// Its number among the client's commands, from 1.
    pub number: u64,
    /// How often the client has tried before: no two proposals are equal.
    pub attempt: u32,
    pub register: u8,
    pub op: Op,
}

impl Command {
    /// Bytes of every command.
    pub const BYTES: usize = 31;

    /// As it is ordered.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, one, other) = match self.op {
            Op::Read => (0, 0, 0),
            Op::Write(value) => (1, value, 0),
            Op::Swap(old, new) => (2, old, new),
        };
        let mut bytes = vec![self.client, self.register, kind];
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&one.to_be_bytes());
        bytes.extend_from_slice(&other.to_be_bytes());
        bytes
    }

    /// `None`: bytes that no client makes.
    pub fn decode(bytes: &[u8]) -> Option<Command> {
        if bytes.len() != Self::BYTES {
            return None;
        }
        let word = |from: usize| Some(u64::from_be_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
        let op = match bytes[2] {
            0 => Op::Read,
            1 => Op::Write(word(15)?),
            2 => Op::Swap(word(15)?, word(23)?),
            _ => return None,
        };
        let attempt = u32::from_be_bytes(bytes.get(11..15)?.try_into().ok()?);
        Some(Command { client: bytes[0], number: word(3)?, attempt, register: bytes[1], op })
    }
}

/// What a command's client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, now or when it was ordered first: what was in the register before.
    Done(u64),
    /// A later command of the client is done already.
    Late,
    /// An earlier command of the client is missing.
    Early,
    Malformed,
}

impl Answer {
    fn encode(self) -> Vec<u8> {
        let (kind, value) = match self {
            Answer::Done(value) => (0, value),
            Answer::Late => (1, 0),
            Answer::Early => (2, 0),
            Answer::Malformed => (3, 0),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&value.to_be_bytes());
        bytes
    }

    /// `None`: no answer of this machine.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        let value = u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?);
        match bytes[0] {
            0 => Some(Answer::Done(value)),
            1 => Some(Answer::Late),
            2 => Some(Answer::Early),
            3 => Some(Answer::Malformed),
            _ => None,
        }
    }
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Last block with commands, or at which time passed.
    pub block: u64,
    pub registers: BTreeMap<u8, u64>,
    /// By client: the number of its last command, and what that one found.
    pub sessions: BTreeMap<u8, (u64, u64)>,
    /// The log's time.
    pub now_ms: u64,
    /// When the bell is to ring: a write sets it, if it is not set.
    pub bell_ms: Option<u64>,
    /// How often it has rung.
    pub bells: u64,
    /// When the last one was to ring, and when it did.
    pub last_bell: Option<(u64, u64)>,
    said: Hash,
}

impl Registers {
    /// Tells the time of the log at a block. Pure.
    pub fn tell(&mut self, block: u64, now_ms: u64) {
        if now_ms == self.now_ms {
            return;
        }
        (self.block, self.now_ms) = (block, now_ms);
        if let Some(due) = self.bell_ms.filter(|due| *due <= now_ms) {
            (self.bell_ms, self.last_bell) = (None, Some((due, now_ms)));
            self.bells += 1;
            self.said = Hash::of(&[&self.said.0[..], &now_ms.to_be_bytes()].concat());
        }
    }

    /// Executes one command. Pure.
    pub fn execute(&mut self, command: &[u8]) -> Answer {
        let Some(command) = Command::decode(command) else { return Answer::Malformed };
        let (last, found) = self.sessions.get(&command.client).copied().unwrap_or_default();
        if command.number == last && last > 0 {
            return Answer::Done(found);
        }
        if command.number != last + 1 {
            return if command.number <= last { Answer::Late } else { Answer::Early };
        }
        let register = self.registers.entry(command.register).or_default();
        let before = *register;
        let written = match command.op {
            Op::Read => None,
            Op::Write(value) => Some(value),
            Op::Swap(old, new) => (old == before).then_some(new),
        };
        if let Some(value) = written {
            *register = value;
            let said = [&self.said.0[..], &[command.register], &value.to_be_bytes()].concat();
            self.said = Hash::of(&said);
            self.bell_ms = self.bell_ms.or(Some(self.now_ms + 100 + value % 900));
        }
        self.sessions.insert(command.client, (command.number, before));
        Answer::Done(before)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.block.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.said.0);
        let (due, rung) = self.last_bell.unwrap_or_default();
        for word in [self.now_ms, self.bell_ms.unwrap_or(0), self.bells, due, rung] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend([self.registers.len() as u8, self.sessions.len() as u8]);
        for (register, value) in &self.registers {
            bytes.push(*register);
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        for (client, (number, found)) in &self.sessions {
            bytes.push(*client);
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&found.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Registers> {
        let word = |from: usize| Some(u64::from_be_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
        let mut state = Registers { block: word(0)?, ..Registers::default() };
        state.said = Hash(bytes.get(8..40)?.try_into().ok()?);
        (state.now_ms, state.bells) = (word(40)?, word(56)?);
        state.bell_ms = Some(word(48)?).filter(|due| *due > 0);
        state.last_bell = Some((word(64)?, word(72)?)).filter(|_| state.bells > 0);
        let (registers, sessions) = (*bytes.get(80)?, *bytes.get(81)?);
        let mut place = 82;
        for _ in 0..registers {
            state.registers.insert(*bytes.get(place)?, word(place + 1)?);
            place += 9;
        }
        for _ in 0..sessions {
            state.sessions.insert(*bytes.get(place)?, (word(place + 1)?, word(place + 9)?));
            place += 17;
        }
        (place == bytes.len()).then_some(state)
    }

    /// Identifies the state.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }
}

/// Notes what one life of a host executes.
pub trait Watcher: Send + Sync {
    /// A block was executed: its commands, their answers, and the state after it.
    fn executed(&self, block: u64, commands: &[Vec<u8>], answers: &[Vec<u8>], state: &Registers);

    /// The state of a checkpoint was taken over.
    fn restored(&self, state: &Registers);
}

/// The machine of one life of a host.
pub struct RegisterMachine {
    pub state: Registers,
    known: BTreeSet<Hash>,
    watcher: Arc<dyn Watcher>,
}

impl RegisterMachine {
    /// A machine in its first state.
    pub fn new(watcher: Arc<dyn Watcher>) -> RegisterMachine {
        RegisterMachine { state: Registers::default(), known: BTreeSet::new(), watcher }
    }
}

fn chunks(state: &[u8]) -> impl Iterator<Item = (Hash, Vec<u8>)> + '_ {
    state.chunks(CHUNK_BYTES).map(|chunk| (Hash::of(chunk), chunk.to_vec()))
}

impl Machine for RegisterMachine {
    type Effects = ();

    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<()>, MachineFault> {
        let said = self.state.said;
        self.state.tell(context.block, context.now_ms);
        if !commands.is_empty() {
            self.state.block = context.block;
        }
        let results: Vec<Vec<u8>> = commands.iter().map(|command| self.state.execute(command).encode()).collect();
        self.watcher.executed(context.block, commands, &results, &self.state);
        let says = rehead || self.state.said != said;
        let outbox_root = says.then_some(self.state.said);
        let work = commands.len() as u64;
        Ok(AppliedBlock { results, outbox_root, published_root: Hash::ZERO, publishes: false, work, effects: () })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let state = self.state.encode();
        let all: BTreeMap<Hash, Vec<u8>> = chunks(&state).collect();
        let manifest: Vec<u8> = chunks(&state).flat_map(|(hash, _)| hash.0).collect();
        let known = std::mem::replace(&mut self.known, all.keys().copied().collect());
        let new_chunks = all.into_iter().filter(|(hash, _)| !known.contains(hash)).collect();
        Ok(CheckpointParts { root: Hash::of(&manifest), manifest, new_chunks })
    }

    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault> {
        let info = Self::describe(manifest)?;
        let mut bytes = Vec::new();
        for hash in &info.chunks {
            bytes.extend(fetch(hash)?);
        }
        let fault = || MachineFault("the chunks are no state of this machine".into());
        self.state = Registers::decode(&bytes).ok_or_else(fault)?;
        self.known = info.chunks.into_iter().collect();
        self.watcher.restored(&self.state);
        Ok(())
    }

    fn time_wanted(&self) -> TimeWanted {
        TimeWanted { with_commands: true, at_ms: self.state.bell_ms }
    }

    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault> {
        if !manifest.len().is_multiple_of(32) {
            return Err(MachineFault("not a manifest".into()));
        }
        let hash = |bytes: &[u8]| bytes.try_into().map(Hash).map_err(|_| MachineFault("not a manifest".into()));
        let chunks = manifest.chunks(32).map(hash).collect::<Result<_, _>>()?;
        Ok(ManifestInfo { root: Hash::of(manifest), chunks })
    }
}
