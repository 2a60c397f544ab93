//! What the guest says in a delivery, and how much that may be.

use crate::abi::{MAX_OUTPUTS, Output, Resolution, Slot};
use crate::tables;
use boa_engine::JsResult;
use boa_engine::error::RuntimeLimitError;
use std::cell::RefCell;

#[derive(Default)]
struct Said {
    outputs: Vec<Output>,
    /// How many of them count against [`MAX_OUTPUTS`].
    counted: usize,
}

thread_local! {
    static SAID: RefCell<Said> = RefCell::default();
}

fn with<T>(action: impl FnOnce(&mut Said) -> T) -> T {
    SAID.with(|said| action(&mut said.borrow_mut()))
}

/// The error by which a delivery ends that says more than [`MAX_OUTPUTS`] things. Guest code cannot catch it. Of the interpreter's own limits
/// this one is set nowhere, so that the name is free.
pub const TOO_MANY_OUTPUTS: RuntimeLimitError = RuntimeLimitError::LoopIteration;

/// Says something at the end of this delivery.
pub fn say(output: Output) -> JsResult<()> {
    with(|said| {
        let counts = match &output {
            Output::Settle { promise: Slot::VatPromise(id), .. } => tables::is_new_promise(*id),
            Output::Settle { .. }
            | Output::Setup { .. }
            | Output::SetTimer { .. }
            | Output::Drop { .. }
            | Output::HandOver(_) => false,
            Output::Send { .. }
            | Output::Exit { .. }
            | Output::Cancel { .. }
            | Output::CancelTimer { .. }
            | Output::Publish { .. } => true,
        };
        said.counted += usize::from(counts);
        if said.counted > MAX_OUTPUTS {
            return Err(TOO_MANY_OUTPUTS.into());
        }
        said.outputs.push(output);
        Ok(())
    })
}

/// What was said in this delivery, which is over.
pub fn take() -> Vec<Output> {
    tables::end_of_delivery();
    with(|said| {
        said.counted = 0;
        std::mem::take(&mut said.outputs)
    })
}

/// Own objects are named in data only: a target is never one.
fn rename_object(output: &mut Output, from: u64, to: u64) {
    let data = match output {
        Output::Send { args, .. } => args,
        Output::Settle { resolution: Resolution::Fulfilled(data) | Resolution::Rejected(data), .. } => data,
        Output::Exit { value } => value,
        Output::Cancel { .. }
        | Output::Setup { .. }
        | Output::Drop { .. }
        | Output::SetTimer { .. }
        | Output::CancelTimer { .. }
        | Output::Publish { .. }
        | Output::HandOver(_) => return,
    };
    for slot in data.slots.iter_mut().filter(|slot| **slot == Slot::VatObject(from)) {
        *slot = Slot::VatObject(to);
    }
}

/// Puts right what was said of an own object in this delivery under the number `from`: it is the root.
pub fn name_root(from: u64) {
    with(|said| said.outputs.iter_mut().for_each(|output| rename_object(output, from, 0)));
}
