//! What stands between a host and the network: a witness of what an honest host signs, who may cut its power at that moment, or the
//! mask of a liar.

use quorate_consensus::testing::{Liar, Lie, is_wanted, signed_statements};
use quorate_consensus::{Channel, HostId, Member, Membership, Transport};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::dice::Dice;
use crate::disk::{Disk, End};
use crate::net::{Interceptor, Process, Wire};
use crate::oracles::certified;
use crate::record::Record;

/// Longest wait for an answer to a frame that was made up.
const PATIENCE: Duration = Duration::from_millis(300);

/// Notes what an honest host signs and sends.
pub struct Witness {
    pub record: Record,
    pub key: HostId,
    pub process: Process,
    pub disk: Arc<Disk>,
    /// The power is cut when the next share has left.
    pub trap: Arc<AtomicBool>,
}

impl Witness {
    /// Returns whether there was anything to note.
    fn note(&self, channel: Channel, frame: &[u8], is_answer: bool) -> bool {
        let statements = signed_statements(channel, frame, is_answer);
        let any = !statements.is_empty();
        for statement in statements {
            certified::signed(&self.record, self.key, statement);
        }
        any
    }
}

impl Interceptor for Witness {
    fn request(&self, _to: &HostId, channel: Channel, frame: Vec<u8>) -> Option<Vec<u8>> {
        if self.note(channel, &frame, false) && self.process.is_alive() && self.trap.swap(false, Ordering::SeqCst) {
            self.record.trace().line(format_args!("host {} loses power as a share leaves", self.process.place));
            self.record.count("cuts after a share", 1);
            self.process.alive.store(false, Ordering::SeqCst);
            self.disk.end(End::PowerCut);
        }
        if is_wanted(channel, &frame) {
            self.record.count("wanted", 1);
        }
        Some(frame)
    }

    fn answer(&self, _to: &HostId, channel: Channel, _request: &[u8], answer: Vec<u8>) -> Vec<u8> {
        self.note(channel, &answer, true);
        answer
    }
}

/// A lying host: its replica is the production code, and the mask lies in its name.
pub struct Mask {
    liar: Mutex<Liar>,
    dice: Mutex<Dice>,
}

impl Mask {
    /// A mask that does not lie yet.
    pub fn new(liar: Liar, dice: Dice) -> Arc<Mask> {
        Arc::new(Mask { liar: Mutex::new(liar), dice: Mutex::new(dice) })
    }

    /// From now on it tells these lies, and no others.
    pub fn tell(&self, lies: &BTreeSet<Lie>) {
        lock(&self.liar).lies = lies.clone();
    }

    /// From now on it tells those of its lies that leaders tell, and no others.
    pub fn tell_as_a_leader(&self) {
        lock(&self.liar).lies.retain(|lie| Lie::OF_LEADERS.contains(lie));
    }

    /// Makes up frames for as long as the process runs.
    pub async fn fabricate(self: Arc<Mask>, wire: Wire, genesis: Membership) {
        while wire.process.is_alive() {
            let pause = lock(&self.dice).between(10, 120);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let place = lock(&self.dice).place(genesis.members.len());
            let to: &Member = &genesis.members[place];
            if to.key == wire.key {
                continue;
            }
            let made_up = {
                let mut dice = lock(&self.dice);
                lock(&self.liar).fabricate(&to.key, place as u64 + 1, &mut |bound| dice.below(bound))
            };
            if let Some((channel, frame)) = made_up {
                // Whatever the answer is.
                let _ = wire.request(to, channel, frame, PATIENCE).await;
            }
        }
    }
}

impl Interceptor for Mask {
    fn request(&self, to: &HostId, channel: Channel, frame: Vec<u8>) -> Option<Vec<u8>> {
        let mut dice = lock(&self.dice);
        lock(&self.liar).request(to, channel, frame, &mut |bound| dice.below(bound))
    }

    fn takes(&self, channel: Channel, frame: &[u8]) -> bool {
        lock(&self.liar).takes(channel, frame)
    }

    fn answer(&self, to: &HostId, channel: Channel, request: &[u8], answer: Vec<u8>) -> Vec<u8> {
        let mut dice = lock(&self.dice);
        lock(&self.liar).answer(to, channel, request, answer, &mut |bound| dice.below(bound))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
