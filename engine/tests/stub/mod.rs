//! A small guest for the heap's own tests: see `stub.wat`.

use quorate_engine::abi::{CapData, Delivery, Method, Output, Slot};
use quorate_engine::heap::{Crank, CrankOutcome, Heap, HeapCheckpoint, LimitKind, Limits};
use quorate_engine::image::Image;
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub mod command {
    pub const COUNT: u64 = 0;
    pub const LOOP: u64 = 1;
    pub const ABORT: u64 = 2;
    pub const GROW_FOR_EVER: u64 = 3;
    pub const RECURSE: u64 = 4;
    pub const FILL: u64 = 5;
    pub const LIMIT: u64 = 6;
    pub const START_FAILED: u64 = 7;
    pub const GROW: u64 = 8;
    pub const TALK: u64 = 9;
    pub const GARBAGE: u64 = 10;
    pub const PROCESS_EXIT: u64 = 11;
    pub const BAD_POINTER: u64 = 12;
    pub const TICK: u64 = 13;
    pub const WASI: u64 = 14;
    pub const CLEAR: u64 = 15;
}

pub const LIMITS: Limits = Limits { fuel_per_delivery: 2_000_000, memory_bytes: 4 << 20 };

pub fn stub_wasm() -> Vec<u8> {
    wat::parse_str(include_str!("stub.wat")).expect("the stub is well formed")
}

pub fn image() -> Arc<Image> {
    static IMAGE: LazyLock<Arc<Image>> = LazyLock::new(|| {
        let cache = tempfile::tempdir().expect("folder");
        Image::from_wasm(&stub_wasm(), cache.path()).expect("the stub is an image")
    });
    IMAGE.clone()
}

pub fn heap() -> Heap {
    Heap::new(image(), LIMITS).expect("a new heap")
}

pub fn delivery(command: u64, parameter: u8) -> Delivery {
    assert!(parameter.is_ascii(), "the encoding of a name is its bytes");
    Delivery::Call {
        target: Slot::VatObject(command),
        method: Method::Call(char::from(parameter).to_string()),
        args: CapData { body: vec![], slots: vec![] },
        result: None,
    }
}

pub fn run(heap: &mut Heap, command: u64, parameter: u8) -> Crank {
    heap.deliver(&delivery(command, parameter)).expect("no fault of the host")
}

/// The counter's value that a good delivery answers with.
pub fn counter(crank: &Crank) -> u64 {
    match &crank.outcome {
        CrankOutcome::Done { outputs } => match outputs.as_slice() {
            [Output::Send { target: Slot::HostObject(counter), .. }] => *counter,
            other => panic!("unexpected outputs {other:?}"),
        },
        other => panic!("not done: {other:?}"),
    }
}

pub fn limit(crank: &Crank) -> LimitKind {
    match &crank.outcome {
        CrankOutcome::RolledBack { limit } => *limit,
        other => panic!("not rolled back: {other:?}"),
    }
}

/// Keeps pages as a store would.
#[derive(Default)]
pub struct Pages(pub BTreeMap<Hash, Vec<u8>>);

impl Pages {
    pub fn keep(&mut self, checkpoint: &HeapCheckpoint) {
        self.0.extend(checkpoint.new_pages.iter().cloned());
    }

    pub fn restore(&self, checkpoint: &HeapCheckpoint) -> Heap {
        let mut fetch = |hash: &Hash| Ok(self.0.get(hash).expect("every page was kept").clone());
        Heap::restore(image(), LIMITS, &checkpoint.manifest, &mut fetch).expect("restores")
    }
}
