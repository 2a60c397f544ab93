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
mod base;
mod boot;
mod calls;
mod cancel;
mod eventual;
mod harden;
mod inspect;
mod jobs;
mod marshal;
mod memory;
mod modules;
mod promises;
mod runtime;
mod start;
mod style;
mod tables;
mod tagged;
mod timers;
mod unmarshal;
mod vow;
mod weak;

use abi::{Delivery, MAX_DROPS, Outcome, Output, Slot, Turn};
use boa_engine::{Context, JsResult};
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
        deliver(turn, context)
    });
    abi::encode(&outcome)
}

fn deliver(turn: Turn, context: &mut Context) -> Outcome {
    let Turn { delivery, news } = turn;
    timers::set_now(news.now_ms);
    // Before anything runs: what is exported from now on must not be said under a number that the host has given up.
    tables::free(&news.freed);
    let mut started = None;
    let result = match delivery {
        Delivery::Start { bundle, argv, endowments } => {
            started = Some(bundle.entry.clone());
            start::start(bundle, &argv, &endowments, context)
        }
        Delivery::Call { target, method, args, result } => {
            calls::call(target, method, &args, result, context).map_err(start::Failure::Engine)
        }
        Delivery::Settle(settlements) => promises::settle(settlements, context).map_err(start::Failure::Engine),
        Delivery::Hold(slot) => {
            tables::hold_remote(slot);
            Ok(())
        }
        Delivery::Cancel(result) => cancel::cancelled(result, context).map_err(start::Failure::Engine),
        Delivery::Collect => collect().map_err(start::Failure::Engine),
        Delivery::MakeRoom => {
            boa_engine::gc::force_collect();
            Ok(())
        }
        Delivery::Wake { timer, failure } => timers::wake(timer, failure, context).map_err(start::Failure::Engine),
    };
    let result = result.and_then(|()| context.run_jobs().map_err(start::Failure::Engine));
    let result = result.and_then(|()| started.map_or(Ok(()), |entry| start::finish(&entry, context)));
    match result {
        Ok(()) => {
            tables::forget(&news.retired);
            promises::report_unhandled(context);
            assert!(jobs::none_left(context), "a job that is left would run at the cost of the next delivery's sender");
            let mut state = context.interpreter_state();
            // Values that nothing refers to any more: each frame has its own part of the stack.
            state.stack = 0;
            if !state.is_at_rest() {
                // A fault of the interpreter. What it kept would come out in a delivery of somebody else.
                runtime::log(runtime::ERROR, &format!("the interpreter is not at rest after a delivery: {state:?}"));
                return Outcome::Limit { name: "abort".to_owned() };
            }
            Outcome::Done { outputs: tables::take_outputs() }
        }
        Err(start::Failure::Refused(message)) => Outcome::StartFailed { message },
        Err(start::Failure::Engine(error)) => Outcome::Limit { name: jobs::limit_name(&error).to_owned() },
    }
}

/// Collects, and tells which presences are gone.
fn collect() -> JsResult<()> {
    boa_engine::gc::force_collect();
    let slots: Vec<Slot> = tables::take_gone(MAX_DROPS).into_iter().map(Slot::HostObject).collect();
    if !slots.is_empty() {
        tables::output(Output::Drop { slots })?;
    }
    Ok(())
}
