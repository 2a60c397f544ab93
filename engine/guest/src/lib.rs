//! The guest image: a JavaScript interpreter with a vat runtime in it, compiled to `wasm32-wasip1`.
//!
//! Exports (all state is in linear memory): `quorate_abi`, `quorate_boot` (once; what it leaves behind is the base heap of
//! every vat), `quorate_alloc`, `quorate_deliver`. Imports: `quorate.log`, and what the standard library needs of WASI.
//!
//! Invariants: nothing here reads a clock or a random source; a panic aborts, which the host sees as a trap and rolls back;
//! between two calls no job is left, and the interpreter is at rest: no frame, value, exception or iterator of one delivery is there in
//! the next. Nothing here knows of peers or streams.

#[path = "../../src/abi.rs"]
#[allow(dead_code, reason = "the host uses the other half")]
mod abi;
mod boot;
mod delivery;
mod durable;
mod memory;
mod objects;
mod outputs;
mod pass;
mod places;
mod publisher;
mod runtime;
mod send;
mod start;
mod tables;
mod timers;

use abi::Turn;
use boa_engine::Context;
use std::cell::RefCell;

thread_local! {
    /// The one interpreter of this instance, made by `quorate_boot`.
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// The encoded outcome of the last delivery, read by the host after `quorate_deliver` has returned.
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The version of the protocol that this image speaks.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_abi() -> i32 {
    i32::from(abi::ABI_VERSION)
}

/// Makes the interpreter, locks it down and installs the runtime. Called once, when the base heap is made.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_boot() {
    let context = boot::boot();
    CONTEXT.with(|slot| *slot.borrow_mut() = Some(context));
}

/// That this export is there says that the image knows upgrades: `HandOver` and `Upgrade`. Images of before have the same version.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_hands_over() -> i32 {
    1
}

/// Reserves a buffer that the host fills and hands to `quorate_deliver`.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_alloc(length: usize) -> *mut u8 {
    let mut buffer = Vec::<u8>::with_capacity(length.max(1));
    let pointer = buffer.as_mut_ptr();
    std::mem::forget(buffer);
    pointer
}

/// Runs one encoded [`Turn`] and returns where its encoded [`Outcome`] is: `pointer << 32 | length`.
///
/// # Safety
///
/// `pointer` came from `quorate_alloc(length)`, was filled, and is not used by the host again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quorate_deliver(pointer: *mut u8, length: usize) -> u64 {
    // SAFETY: the caller's promise: this is the whole of one allocation, all of it initialised.
    let bytes = unsafe { Vec::from_raw_parts(pointer, length, length.max(1)) };
    let outcome = deliver_encoded(bytes);
    ANSWER.with(|answer| {
        let mut answer = answer.borrow_mut();
        *answer = outcome;
        ((answer.as_ptr() as u64) << 32) | answer.len() as u64
    })
}

/// Runs one encoded [`Turn`] and returns its encoded [`Outcome`]. Public for native builds of the guest, which tests of the
/// interpreter use.
pub fn deliver_encoded(bytes: Vec<u8>) -> Vec<u8> {
    let turn: Turn = abi::decode(&bytes).expect("the host encodes with this very module");
    drop(bytes);
    let outcome = CONTEXT.with(|slot| {
        let mut slot = slot.borrow_mut();
        let context = slot.as_mut().expect("the host calls quorate_boot before anything else");
        delivery::deliver(turn, context)
    });
    abi::encode(&outcome)
}
