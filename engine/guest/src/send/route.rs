//! Where a message goes.
//!
//! One to an object of another vat, or to a pending promise that others decide, leaves at once (pipelining), also if a promise of this vat
//! stands between that was resolved with it; one to
//! anything of this vat is done in a later turn. Messages to one target are done in the order in which they were sent.

use super::dispatch::{Reach, Verb, invoke, invoke_settled};
use super::{answers, handled};
use crate::abi::{Method, Output, Slot};
use crate::objects::presence::Presence;
use crate::objects::{inspect, promise};
use crate::pass::marshal;
use crate::runtime::{self, native, type_error};
use crate::{outputs, tables};
use boa_engine::builtins::promise::PromiseState;
use boa_engine::job::PromiseJob;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsArgs, JsResult, JsString, JsValue, NativeFunction};

/// Sends and gives the promise of the result.
pub fn send(target: &JsValue, verb: Verb, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    send_for(target, verb, args, Reach::Here, context)
}

/// Sends for somebody who may not reach everything, and gives the promise of the result.
pub fn send_for(
    target: &JsValue,
    verb: Verb,
    args: &[JsValue],
    reach: Reach,
    context: &mut Context,
) -> JsResult<JsValue> {
    match deliver(target, verb, args, true, reach, context) {
        Ok(result) => Ok(result),
        Err(error) if error.as_engine().is_some() => Err(error),
        Err(error) => Ok(JsPromise::reject(error, context)?.into()),
    }
}

/// Sends without asking for the result; a failure on this side is logged.
pub fn send_only(target: &JsValue, verb: Verb, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    match deliver(target, verb, args, false, Reach::Here, context) {
        Ok(_) => {}
        Err(error) if error.as_engine().is_some() => return Err(error),
        Err(error) => {
            let reason = runtime::thrown(error, context)?;
            runtime::log(
                runtime::WARN,
                &format!("a one-way message was not sent: {}", inspect::text(&reason, context)),
            );
        }
    }
    Ok(JsValue::undefined())
}

fn deliver(
    target: &JsValue,
    verb: Verb,
    args: &[JsValue],
    wanted: bool,
    reach: Reach,
    context: &mut Context,
) -> JsResult<JsValue> {
    if let Some(slot) = remote_target(target) {
        return send_out(slot, &verb, args, wanted, context);
    }
    match promise::as_promise(target) {
        Some(promise) => match way(&promise, reach, context)? {
            Way::Out(slot) => send_out(slot, &verb, args, wanted, context),
            Way::Handled(handled) => handled::send(&promise, &handled, &verb, args, wanted, context),
            Way::Here => Ok(send_later(&promise, verb, args, wanted, reach, context)),
        },
        None => send_here(target.clone(), verb, args.to_vec(), wanted, context),
    }
}

/// The slot of a target that is, or will be decided, elsewhere.
pub fn remote_target(target: &JsValue) -> Option<Slot> {
    let object = target.as_object()?;
    if let Some(presence) = object.downcast_ref::<Presence>() {
        return Some(Slot::HostObject(presence.id));
    }
    match promise::as_promise(target) {
        Some(promise) => tables::remote_slot(&promise.into()),
        None => None,
    }
}

/// How many promises that were resolved with one another are followed.
const MOST_FOLLOWED: usize = 64;

/// Where what is sent to a promise of this vat goes.
pub enum Way {
    /// To a promise that another vat decides.
    Out(Slot),
    /// To the handler that a program gave this promise.
    Handled(JsPromise),
    /// To what the promise will be fulfilled with.
    Here,
}

/// Where what is sent to a promise of this vat goes: a pending one may have been resolved with another, as that of an async function that
/// returned it. Nowhere else if earlier messages wait for a promise on the way: they must not be overtaken.
pub fn way(promise: &JsPromise, reach: Reach, context: &mut Context) -> JsResult<Way> {
    let mut promise = promise.clone();
    for _ in 0..MOST_FOLLOWED {
        if promise.is_waited_for() {
            break;
        }
        if reach == Reach::Here && handled::handler_of(&promise, context)?.is_some() {
            return Ok(Way::Handled(promise));
        }
        match promise.resolved_to() {
            Some(next) => promise = next,
            None => break,
        }
        if let Some(slot) = tables::remote_slot(&promise.clone().into()) {
            return Ok(Way::Out(slot));
        }
    }
    Ok(Way::Here)
}

fn send_out(slot: Slot, verb: &Verb, args: &[JsValue], wanted: bool, context: &mut Context) -> JsResult<JsValue> {
    let text = |name: &JsString| {
        name.to_std_string().map_err(|_| type_error("a method name with a lone surrogate cannot be sent"))
    };
    let method = match verb {
        Verb::Call(name) => Method::Call(text(name)?),
        Verb::Apply => Method::Apply,
        Verb::Get(name) => Method::Get(text(name)?),
    };
    let args = marshal::args(args, context)?;
    let args = answers::follow(args, context);
    let result = wanted.then(tables::new_promise_slot);
    outputs::say(Output::Send { target: slot, method, args, result })?;
    Ok(match result {
        Some(slot) => promise::new_remote(slot, context).into(),
        None => JsValue::undefined(),
    })
}

/// Queues the delivery to a target of this vat.
fn send_here(
    target: JsValue,
    verb: Verb,
    args: Vec<JsValue>,
    wanted: bool,
    context: &mut Context,
) -> JsResult<JsValue> {
    if !wanted {
        let job = PromiseJob::new(move |context| {
            match invoke(&target, &verb, &args, Reach::Here, context) {
                Err(error) if error.as_engine().is_some() => return Err(error),
                Err(error) => answers::tell_lost(&verb, error, context)?,
                Ok(_) => {}
            }
            Ok(JsValue::undefined())
        });
        context.enqueue_job(job.into());
        return Ok(JsValue::undefined());
    }
    let promise = JsPromise::new_by_host(false, context);
    let result = promise.clone();
    let job = PromiseJob::new(move |context| {
        match invoke(&target, &verb, &args, Reach::Here, context) {
            Ok(value) => result.resolve_by_host(&value, context)?,
            Err(error) => {
                let reason = runtime::thrown(error, context)?;
                result.reject_by_host(reason, context);
            }
        }
        Ok(JsValue::undefined())
    });
    context.enqueue_job(job.into());
    Ok(promise.into())
}

/// Sends to what a promise of this vat will be fulfilled with. The promise's own reactions keep the order.
fn send_later(
    promise: &JsPromise,
    verb: Verb,
    args: &[JsValue],
    wanted: bool,
    reach: Reach,
    context: &mut Context,
) -> JsValue {
    promise.mark_waited_for();
    let captures = (verb, args.to_vec(), wanted, reach);
    let function = NativeFunction::from_copy_closure_with_captures(
        |_, values, (verb, args, wanted, reach), context| {
            let target = values.get_or_undefined(0);
            if remote_target(target).is_some() {
                return deliver(target, verb.clone(), args, *wanted, *reach, context);
            }
            match invoke_settled(target, verb, args, *reach, context) {
                Err(error) if !wanted && error.as_engine().is_none() => {
                    answers::tell_lost(verb, error, context)?;
                    Ok(JsValue::undefined())
                }
                outcome => outcome,
            }
        },
        captures,
    );
    let function = function.to_js_function(context.realm());
    let rejected = (!wanted).then(|| native(context, |_, _, _| Ok(JsValue::undefined())));
    let result = promise.react(Some(function), rejected, context);
    if wanted { result.into() } else { JsValue::undefined() }
}

/// Sends to a promise that has settled as if to its value: only for callers who keep the order themselves.
pub fn send_through(target: &JsValue, verb: Verb, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    if let Some(promise) = promise::as_promise(target)
        && let PromiseState::Fulfilled(value) = promise.state()
    {
        return send(&value, verb, args, context);
    }
    send(target, verb, args, context)
}
