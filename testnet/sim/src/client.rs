//! A client: proposes one command after the other, each again and again until it is answered.

use quorate_consensus::{ProposeError, ReplicaHandle};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dice::Dice;
use crate::machine::{Answer, Command, Op};
use crate::record::{Operation, Record};

/// The replicas that run, by their places; those of liars are left out.
pub type Doors = Arc<Mutex<Vec<Option<ReplicaHandle>>>>;

/// See the head of the module.
pub struct Client {
    pub name: u8,
    pub registers: u8,
    pub think_ms: u64,
    pub doors: Doors,
    pub record: Record,
    pub dice: Dice,
    /// After this the client begins no further command.
    pub stop: Arc<AtomicBool>,
    /// How many commands were answered.
    pub done: Arc<AtomicU64>,
}

impl Client {
    /// Goes on until it is stopped.
    pub async fn run(mut self) {
        for number in 1.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let think = self.dice.between(0, self.think_ms);
            tokio::time::sleep(Duration::from_millis(think)).await;
            self.operate(number).await;
            self.done.store(number, Ordering::SeqCst);
        }
    }

    async fn operate(&mut self, number: u64) {
        let register = u8::try_from(self.dice.below(u64::from(self.registers))).unwrap_or(0);
        let value = u64::from(self.name) << 32 | number;
        let op = match self.dice.below(4) {
            0 => Op::Read,
            1 => Op::Swap(self.guess(register), value),
            _ => Op::Write(value),
        };
        let mut command = Command { client: self.name, number, attempt: 0, register, op };
        let trace = self.record.trace().clone();
        let (invoked_ms, place) = {
            let now = trace.now_ms();
            let mut seen = self.record.seen();
            let operation = Operation { command, invoked_ms: now, answered_ms: None, found: None };
            seen.operations.push(operation);
            (now, seen.operations.len() - 1)
        };
        let mut door = None;
        loop {
            let Some(handle) = self.door(&mut door) else {
                tokio::time::sleep(Duration::from_millis(40)).await;
                continue;
            };
            let deadline = Duration::from_millis(self.dice.between(200, 2_500));
            let answer = handle.propose(command.encode(), deadline).await;
            match answer {
                Ok(proposed) => {
                    let answer = Answer::decode(&proposed.result);
                    let Some(Answer::Done(before)) = answer else {
                        let text = format!("{command:?} was answered with {answer:?} in block {}", proposed.block);
                        self.record.violation("exactly once", text);
                        return;
                    };
                    let now = trace.now_ms();
                    let waited = now - invoked_ms;
                    trace.line(format_args!("client {} {number}: {before} ({waited} ms)", self.name));
                    let operation = &mut self.record.seen().operations[place];
                    (operation.answered_ms, operation.found) = (Some(now), Some((proposed.block, before)));
                    return;
                }
                Err(error) => {
                    trace.line(format_args!("client {} {number}: {error}", self.name));
                    if !matches!(error, ProposeError::Unknown) || self.dice.chance(500) {
                        door = None;
                        let pause = self.dice.between(5, 80);
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                }
            }
            command.attempt += 1;
        }
    }

    /// A value that may be in a register.
    fn guess(&mut self, register: u8) -> u64 {
        let seen = self.record.seen();
        let written = seen.operations.iter().rev().find_map(|operation| match operation.command.op {
            Op::Write(value) | Op::Swap(_, value) if operation.command.register == register => Some(value),
            _ => None,
        });
        written.unwrap_or(0)
    }

    /// The replica to propose at: the same again, as long as it runs, once one was chosen.
    fn door(&mut self, door: &mut Option<usize>) -> Option<ReplicaHandle> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<usize> = (0..doors.len()).filter(|place| doors[*place].is_some()).collect();
        if open.is_empty() {
            return None;
        }
        let place = door.filter(|place| open.contains(place)).unwrap_or_else(|| *self.dice.pick(&open));
        *door = Some(place);
        doors[place].clone()
    }
}
