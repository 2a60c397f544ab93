//! One delivery from beginning to end.

use crate::abi::{CapData, Delivery, MAX_DROPS, Method, Outcome, Output, Slot, Turn};
use crate::boot::jobs;
use crate::objects::promise;
use crate::pass::unmarshal;
use crate::runtime::{self, type_error};
use crate::send::dispatch::{Reach, Verb, invoke};
use crate::send::{answers, cancel, route, unhandled};
use crate::{durable, outputs, start, tables, timers};
use boa_engine::{Context, JsResult, JsValue};

/// Does what a turn asks for, and says what came of it.
pub fn deliver(turn: Turn, context: &mut Context) -> Outcome {
    let Turn { delivery, news } = turn;
    timers::set_now(news.now_ms);
    // Before anything runs: what is exported from now on must not be said under a number that the host has given up.
    tables::free(&news.freed);
    let (mut started, mut upgrading) = (None, false);
    let result = match delivery {
        Delivery::Start { bundle, argv, endowments } => {
            started = Some(bundle.entry.clone());
            start::start(bundle, &argv, &endowments, context)
        }
        Delivery::Call { target, method, args, result } => {
            call(target, method, &args, result, context).map_err(start::Failure::Engine)
        }
        Delivery::Settle(settlements) => answers::settle(settlements, context).map_err(start::Failure::Engine),
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
        Delivery::HandOver => {
            tables::forget(&news.retired);
            durable::hand_over(context).map_err(start::failure)
        }
        Delivery::Upgrade(upgrade) => {
            started = Some(upgrade.bundle.entry.clone());
            upgrading = true;
            start::upgrade(*upgrade, context)
        }
    };
    let result = result.and_then(|()| context.run_jobs().map_err(start::Failure::Engine));
    let result = result.and_then(|()| started.as_ref().map_or(Ok(()), |entry| start::finish(entry, context)));
    let result = match &started {
        Some(entry) if upgrading => result.and_then(|()| start::take_over(entry, context)),
        _ => result,
    };
    match result {
        Ok(()) => {
            tables::forget(&news.retired);
            unhandled::report(context);
            assert!(jobs::none_left(context), "a job that is left would run at the cost of the next delivery's sender");
            let mut state = context.interpreter_state();
            // Values that nothing refers to any more: each frame has its own part of the stack.
            state.stack = 0;
            if !state.is_at_rest() {
                // A fault of the interpreter. What it kept would come out in a delivery of somebody else.
                runtime::log(runtime::ERROR, &format!("the interpreter is not at rest after a delivery: {state:?}"));
                return Outcome::Limit { name: "abort".to_owned() };
            }
            Outcome::Done { outputs: outputs::take() }
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
        outputs::say(Output::Drop { slots })?;
    }
    Ok(())
}

/// An inbound call: done at once on an own object, after its settlement on an own promise.
fn call(
    target: Slot,
    method: Method,
    args: &CapData<Slot>,
    result: Option<Slot>,
    context: &mut Context,
) -> JsResult<()> {
    let verb = Verb::from(method);
    let outcome = cancel::during(result, || inbound(target, verb.clone(), args, context));
    let outcome = match outcome {
        Err(error) if error.as_engine().is_some() => return Err(error),
        other => other,
    };
    answers::settle_with(result, &verb, outcome, context)
}

fn inbound(slot: Slot, verb: Verb, args: &CapData<Slot>, context: &mut Context) -> JsResult<JsValue> {
    let known = match slot {
        Slot::VatPromise(_) | Slot::HostPromise(_) => tables::knows(slot),
        Slot::VatObject(_) => true,
        Slot::HostObject(_) => false,
    };
    if !known {
        return Err(type_error(format!("this vat does not know {slot:?}, or it was settled long ago")));
    }
    let target = unmarshal::slot(slot, None, context)?;
    let args = unmarshal::args(args, context)?;
    if promise::as_promise(&target).is_some() || route::remote_target(&target).is_some() {
        return route::send_for(&target, verb, &args, Reach::Outside(slot), context);
    }
    invoke(&target, &verb, &args, Reach::Outside(slot), context)
}
