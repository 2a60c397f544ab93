//! Times each crank: a guest around a guest that notes how long its deliveries take. The engine itself has no clock. For people who look at a
//! log it also keeps each delivery and its outcome.
//!
//! Invariant: times go only to metrics. No decision, output or commitment of the machine depends on them, or on the kept deliveries.

use quorate_engine::{
    EngineError, Hash, VatId,
    abi::{Delivery, News},
    heap::{Crank, Heap},
    machine::{Guest, GuestCheckpoint},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the cranks since the last [`CrankTimes::take`] took, in their order; a clone is the same list.
#[derive(Clone, Debug, Default)]
pub struct CrankTimes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    times: Vec<Duration>,
    /// What was delivered, and what came of it; `None`: nobody looks.
    seen: Option<Vec<(Delivery, Crank)>>,
}

impl CrankTimes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, time: Duration, delivery: &Delivery, crank: Option<&Crank>) {
        let mut noted = self.lock();
        noted.times.push(time);
        if let (Some(seen), Some(crank)) = (&mut noted.seen, crank) {
            seen.push((delivery.clone(), crank.clone()));
        }
    }

    /// Takes the times out.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().times)
    }

    /// From now on, deliveries are kept until [`CrankTimes::take_seen`].
    pub fn see(&self) {
        self.lock().seen = Some(Vec::new());
    }

    /// Takes out what was delivered since [`CrankTimes::see`], or since this was last called, with what came of each.
    pub fn take_seen(&self) -> Vec<(Delivery, Crank)> {
        self.lock().seen.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// See the head of the module.
#[derive(Debug)]
pub struct Timed<G> {
    pub guest: G,
    pub times: CrankTimes,
}

/// The guest that replicas run.
pub type TimedHeap = Timed<Heap>;

impl<G: Guest> Guest for Timed<G> {
    type Manifest = G::Manifest;

    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let began = Instant::now();
        let crank = self.guest.deliver(delivery, news);
        self.times.note(began.elapsed(), delivery, crank.as_ref().ok());
        crank
    }

    fn hand_over(&mut self, news: &News) -> Result<Option<Crank>, EngineError> {
        let began = Instant::now();
        let crank = self.guest.hand_over(news)?;
        if let Some(crank) = &crank {
            self.times.note(began.elapsed(), &Delivery::HandOver, Some(crank));
        }
        Ok(crank)
    }

    fn successor(&self, image: Option<&Hash>) -> Result<Option<Self>, EngineError> {
        let guest = self.guest.successor(image)?;
        Ok(guest.map(|guest| Timed { guest, times: self.times.clone() }))
    }

    fn checkpoint(&mut self) -> Result<GuestCheckpoint<G::Manifest>, EngineError> {
        self.guest.checkpoint()
    }

    fn set_vat(&mut self, vat: &VatId) {
        self.guest.set_vat(vat);
    }

    fn rest(&mut self) -> Result<(), EngineError> {
        self.guest.rest()
    }

    fn memory_bytes(&self) -> u64 {
        self.guest.memory_bytes()
    }

    fn memory_limit(&self) -> u64 {
        self.guest.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_engine::{
        abi::{Bundle, Method, Value},
        comms::client::{ClientRef, ClientSession},
        heap::{CrankOutcome, HeapManifest},
        machine::{Command, CommandResult, Deliver, Install, Machine},
    };
    use std::collections::BTreeMap;

    const HEAVY: Duration = Duration::from_millis(5);

    /// Works for [`HEAVY`] on the third delivery, and not at all on the others.
    struct Third(u64, u8);

    impl Guest for Third {
        type Manifest = HeapManifest;

        fn deliver(&mut self, _: &Delivery, _: &News) -> Result<Crank, EngineError> {
            self.0 += 1;
            let began = Instant::now();
            while self.0 == 3 && began.elapsed() < HEAVY {}
            Ok(Crank { outcome: CrankOutcome::Done { outputs: Vec::new() }, fuel: self.0, logs: Vec::new() })
        }

        fn checkpoint(&mut self) -> Result<GuestCheckpoint<HeapManifest>, EngineError> {
            Err(EngineError::Checkpoint("there is nothing to keep".to_owned()))
        }

        fn set_vat(&mut self, vat: &VatId) {
            self.1 = vat.0[0];
        }

        fn memory_bytes(&self) -> u64 {
            77
        }

        fn memory_limit(&self) -> u64 {
            79
        }
    }

    #[test]
    fn the_limits_of_a_vat_hold_for_a_guest_whose_cranks_are_timed() {
        let mut timed = Timed { guest: Third(0, 0), times: CrankTimes::default() };
        assert_eq!((timed.memory_bytes(), timed.memory_limit()), (77, 79));
        timed.set_vat(&VatId([5; 32]));
        assert_eq!(timed.guest.1, 5);
    }

    #[test]
    fn each_crank_of_a_block_has_its_own_time() {
        let (vat, caller) = (VatId([1; 32]), VatId([2; 32]));
        let times = CrankTimes::default();
        let mut machine = Machine::new(vat, Timed { guest: Third(0, 0), times: times.clone() });
        let bundle = Bundle { entry: "main.js".to_owned(), modules: BTreeMap::new() };
        let (argv, endowments, bearers) = (Vec::new(), Vec::new(), Vec::new());
        let install = Install { bundle, argv, endowments, grants: vec![caller], bearers };
        assert_eq!(machine.apply(Command::Install(install)).expect("it is applied"), CommandResult::Installed);
        assert_eq!((machine.end_block(false).cranks.len(), times.take().len()), (1, 1));

        let mut session = ClientSession::new(caller, vat);
        for _ in 0..3 {
            let args = Value::Array(Vec::new());
            session.send_only(ClientRef::Object(0), Method::Call("go".into()), &args, &[]).expect("it is sent");
        }
        let messages: Vec<Vec<u8>> = session.unacked().map(|(_, message)| message.to_vec()).collect();
        let deliver = Deliver { from: caller, begin: 1, messages, end: 3, ack: 0 };
        let result = machine.apply(Command::Deliver(deliver)).expect("it is applied");
        assert_eq!(result, CommandResult::Delivered { next: 4 });
        let fuel: Vec<u64> = machine.end_block(false).cranks.iter().map(|crank| crank.fuel).collect();
        let block = times.take();
        assert_eq!((fuel, block.len()), (vec![2, 3, 4], 3));
        assert!(block[1] >= HEAVY, "{block:?}");
        assert!(times.take().is_empty(), "each time is told once");
        assert!(times.take_seen().is_empty(), "nobody looks");
        assert_eq!(machine.summary().heap_bytes, 77);
    }
}
