//! Answers: how promises at the border settle, those that others decide and those that this guest decides.

use crate::abi::{CapData, Output, Resolution, Slot};
use crate::objects::inspect;
use crate::objects::promise::{as_promise, plain};
use crate::pass::marshal::{self, Marshalled};
use crate::pass::unmarshal;
use crate::runtime::{self, native};
use crate::send::dispatch::Verb;
use crate::tables::{self, Settled};
use crate::{outputs, places};
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsArgs, JsError, JsObject, JsResult, JsValue, NativeFunction, js_string};

/// Delivers settlements of promises that others decide.
pub fn settle(settlements: Vec<(Slot, Resolution)>, context: &mut Context) -> JsResult<()> {
    // All are read before any is applied: one may speak of another of the same batch.
    let mut read = Vec::with_capacity(settlements.len());
    for (slot, resolution) in settlements {
        let (fulfilled, data) = match &resolution {
            Resolution::Fulfilled(data) => (true, data),
            Resolution::Rejected(data) => (false, data),
        };
        match unmarshal::value(data, context) {
            Ok(value) => read.push((slot, fulfilled, value)),
            Err(error) => read.push((slot, false, runtime::thrown(error, context)?)),
        }
    }
    for (slot, fulfilled, value) in read {
        let Some(promise) = tables::take_remote(slot) else { continue };
        let how = if fulfilled { Settled::Fulfilled(value.clone()) } else { Settled::Rejected(value.clone()) };
        tables::remember(slot, how);
        if fulfilled {
            promise.resolve_by_host(&value, context)?;
        } else {
            promise.reject_by_host(value, context);
        }
    }
    Ok(())
}

/// Follows the promises that a value named, and gives the value for the host.
pub fn follow(marshalled: Marshalled, context: &mut Context) -> CapData<Slot> {
    for (promise, slot) in &marshalled.promises {
        observe(promise, *slot, None, context);
    }
    marshalled.data
}

/// Tells the host of `promise` under `slot` once it settles; if it is the answer to a call, with what was called, also of its failure.
fn observe(promise: &JsPromise, slot: Slot, called: Option<&Verb>, context: &mut Context) {
    let object: JsObject = promise.clone().into();
    tables::add_own(slot, &object);
    let fulfilled = native(context, move |_, args, context| {
        announce(slot, Settled::Fulfilled(args.get_or_undefined(0).clone()), context)
    });
    let rejected = match called {
        None => native(context, move |_, args, context| {
            announce(slot, Settled::Rejected(args.get_or_undefined(0).clone()), context)
        }),
        Some(called) => NativeFunction::from_copy_closure_with_captures(
            move |_, args, called, context| {
                let reason = args.get_or_undefined(0).clone();
                tell_failure(called, &reason, places::of_reason(&reason), context);
                announce(slot, Settled::Rejected(reason), context)
            },
            called.clone(),
        )
        .to_js_function(context.realm()),
    };
    promise.follow(fulfilled, rejected, context);
}

fn announce(slot: Slot, how: Settled, context: &mut Context) -> JsResult<JsValue> {
    match settled(slot, how, context) {
        Err(error) if error.as_engine().is_none() => {
            // A reaction of the host throws nothing.
            runtime::log(runtime::ERROR, &format!("an answer could not be given: {error}"));
        }
        outcome => outcome?,
    }
    Ok(JsValue::undefined())
}

/// Tells the host that a promise that this guest decides has settled, and keeps the answer for late messages.
pub fn settled(slot: Slot, how: Settled, context: &mut Context) -> JsResult<()> {
    let (resolution, how) = match how {
        Settled::Fulfilled(value) => match marshal::result(&value, slot, context) {
            Ok(marshalled) => {
                let data = follow(marshalled, context);
                let kept = as_told(value, &data, context)?;
                (Resolution::Fulfilled(data), Settled::Fulfilled(kept))
            }
            Err(error) => {
                let reason = runtime::thrown(error, context)?;
                (Resolution::Rejected(rejection(&reason, slot, context)?), Settled::Rejected(reason))
            }
        },
        Settled::Rejected(reason) => {
            (Resolution::Rejected(rejection(&reason, slot, context)?), Settled::Rejected(reason))
        }
    };
    tables::settle_own(slot, how);
    outputs::say(Output::Settle { promise: slot, resolution })
}

fn rejection(reason: &JsValue, slot: Slot, context: &mut Context) -> JsResult<CapData<Slot>> {
    let marshalled = marshal::reason(reason, slot, context)?;
    Ok(follow(marshalled, context))
}

/// The value that others were told: a copy of what may still change here, since it will be read as what it was.
fn as_told(value: JsValue, data: &CapData<Slot>, context: &mut Context) -> JsResult<JsValue> {
    match value.as_object() {
        Some(object) if !object.is_hardened() => unmarshal::value(data, context),
        _ => Ok(value),
    }
}

/// Says on the host's console that the vat's own code failed in a call, and where. Of what failed elsewhere the author has no line, and a
/// caller's mistake is for the caller.
fn tell_failure(called: &Verb, reason: &JsValue, place: Option<String>, context: &Context) {
    if place.is_some() {
        let text = format!("{called} failed: {}{}", inspect::text(reason, context), places::suffix(place));
        runtime::log(runtime::WARN, &text);
    }
}

/// The same of a message whose sender asked for no answer: nobody else hears of it, wherever it failed.
pub fn tell_lost(called: &Verb, error: JsError, context: &mut Context) -> JsResult<()> {
    let (reason, place) = thrown_at(error, context)?;
    let text = inspect::text(&reason, context);
    runtime::log(runtime::WARN, &format!("a one-way message failed: {called}: {text}{}", places::suffix(place)));
    Ok(())
}

/// What was thrown, and where.
fn thrown_at(error: JsError, context: &mut Context) -> JsResult<(JsValue, Option<String>)> {
    let place = places::of(&error);
    let reason = runtime::thrown(error, context)?;
    let place = place.or_else(|| places::of_reason(&reason));
    Ok((reason, place))
}

/// Settles `slot` with what a call gave: now if it is plain, later if it is a promise.
pub fn settle_with(
    slot: Option<Slot>,
    called: &Verb,
    outcome: Result<JsValue, JsError>,
    context: &mut Context,
) -> JsResult<()> {
    let Some(slot) = slot else {
        return match outcome {
            Ok(_) => Ok(()),
            Err(error) => tell_lost(called, error, context),
        };
    };
    match outcome {
        Err(error) => {
            let (reason, place) = thrown_at(error, context)?;
            tell_failure(called, &reason, place, context);
            settled(slot, Settled::Rejected(reason), context)
        }
        Ok(value) => match as_promise(&value) {
            Some(promise) => {
                observe(&promise, slot, Some(called), context);
                Ok(())
            }
            None if is_thenable(&value, context)? => {
                let promise = plain(&value, context)?;
                observe(&promise, slot, Some(called), context);
                Ok(())
            }
            None => settled(slot, Settled::Fulfilled(value), context),
        },
    }
}

fn is_thenable(value: &JsValue, context: &mut Context) -> JsResult<bool> {
    let Some(object) = value.as_object() else { return Ok(false) };
    match object.get(js_string!("then"), context) {
        Ok(then) => Ok(then.is_callable()),
        Err(error) if error.as_engine().is_some() => Err(error),
        // It cannot be followed; whether it passes is for the marshaller to say.
        Err(_) => Ok(false),
    }
}
