//! `E`: sending messages to what may be here, elsewhere, or not yet anywhere.
//!
//! A message to an object of another vat, or to a pending promise that others decide, leaves at once (pipelining); one to
//! anything of this vat is done in a later turn. Messages to one target are done in the order in which they were sent.

use crate::abi::{Method, Output, Slot};
use crate::calls::{self, Reach, Verb, invoke, invoke_settled};
use crate::harden::Presence;
use crate::runtime::{self, native, type_error};
use crate::{cancel, inspect, marshal, promises, tables};
use boa_engine::builtins::promise::PromiseState;
use boa_engine::job::PromiseJob;
use boa_engine::object::FunctionObjectBuilder;
use boa_engine::object::builtins::{JsArray, JsFunction, JsPromise};
use boa_engine::property::PropertyKey;
use boa_engine::{
    Context, Finalize, JsArgs, JsError, JsNativeError, JsObject, JsResult, JsString, JsSymbol, JsValue, NativeFunction,
    Trace, js_string,
};
use std::cell::RefCell;

/// What kind of sender a proxy made by `E` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Trace, Finalize)]
#[boa_gc(empty_trace)]
enum Kind {
    Send,
    SendOnly,
    Get,
}

/// The parts that every `E(x)` shares.
struct Shared {
    /// Key of the property of the proxy's target that holds `x`. Guests never see the symbol.
    subject: JsSymbol,
    handlers: [JsObject; 3],
}

thread_local! {
    static SHARED: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

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
    match promises::as_promise(target) {
        Some(promise) => Ok(send_later(&promise, verb, args, wanted, reach, context)),
        None => send_here(target.clone(), verb, args.to_vec(), wanted, context),
    }
}

/// The slot of a target that is, or will be decided, elsewhere.
pub fn remote_target(target: &JsValue) -> Option<Slot> {
    let object = target.as_object()?;
    if let Some(presence) = object.downcast_ref::<Presence>() {
        return Some(Slot::HostObject(presence.id));
    }
    match promises::as_promise(target) {
        Some(promise) => tables::remote_slot(&promise.into()),
        None => None,
    }
}

fn send_out(slot: Slot, verb: &Verb, args: &[JsValue], wanted: bool, context: &mut Context) -> JsResult<JsValue> {
    let args = marshal::args(args, context)?;
    let text = |name: &JsString| {
        name.to_std_string().map_err(|_| type_error("a method name with a lone surrogate cannot be sent"))
    };
    let method = match verb {
        Verb::Call(name) => Method::Call(text(name)?),
        Verb::Apply => Method::Apply,
        Verb::Get(name) => Method::Get(text(name)?),
    };
    let result = wanted.then(tables::new_promise_slot);
    tables::output(Output::Send { target: slot, method, args, result })?;
    Ok(match result {
        Some(slot) => promises::new_remote(slot, context).into(),
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
            let outcome = invoke(&target, &verb, &args, Reach::Here, context);
            let outcome =
                outcome.or_else(|error| if error.as_engine().is_some() { Err(error) } else { fail(error, context) });
            outcome.map(|_| JsValue::undefined())
        });
        context.enqueue_job(job.into());
        return Ok(JsValue::undefined());
    }
    let (promise, functions) = JsPromise::new_pending(context);
    let job = PromiseJob::new(move |context| match invoke(&target, &verb, &args, Reach::Here, context) {
        Ok(value) => functions.resolve.call(&JsValue::undefined(), &[value], context),
        Err(error) => {
            let reason = runtime::thrown(error, context)?;
            functions.reject.call(&JsValue::undefined(), &[reason], context)
        }
    });
    context.enqueue_job(job.into());
    Ok(promise.into())
}

fn fail(error: JsError, context: &mut Context) -> JsResult<JsValue> {
    let reason = runtime::thrown(error, context)?;
    runtime::log(runtime::WARN, &format!("a one-way message failed: {}", inspect::text(&reason, context)));
    Ok(JsValue::undefined())
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
    let captures = (verb, args.to_vec(), wanted, reach);
    let function = NativeFunction::from_copy_closure_with_captures(
        |_, values, (verb, args, wanted, reach), context| {
            let target = values.get_or_undefined(0);
            if remote_target(target).is_some() {
                return deliver(target, verb.clone(), args, *wanted, *reach, context);
            }
            match invoke_settled(target, verb, args, *reach, context) {
                Err(error) if !wanted && error.as_engine().is_none() => fail(error, context),
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
    if let Some(promise) = promises::as_promise(target)
        && let PromiseState::Fulfilled(value) = promise.state()
    {
        return send(&value, verb, args, context);
    }
    send(target, verb, args, context)
}

/// Makes the global function `E`.
pub fn make_e(context: &mut Context) -> JsResult<JsFunction> {
    let subject = JsSymbol::new(Some(js_string!("subject")))
        .ok_or_else(|| JsError::from(JsNativeError::error().with_message("no more symbols")))?;
    let handlers = [handler(Kind::Send, context)?, handler(Kind::SendOnly, context)?, handler(Kind::Get, context)?];
    SHARED.with(|shared| *shared.borrow_mut() = Some(Shared { subject, handlers }));
    let function = |name: &str, kind: Kind, context: &mut Context| {
        let native =
            NativeFunction::from_copy_closure(move |_, args, context| sender(args.get_or_undefined(0), kind, context));
        FunctionObjectBuilder::new(context.realm(), native).name(JsString::from(name)).length(1).build()
    };
    let e = function("E", Kind::Send, context);
    for (name, kind) in [("sendOnly", Kind::SendOnly), ("get", Kind::Get)] {
        let member = function(name, kind, context);
        e.create_data_property(JsString::from(name), member, context)?;
    }
    cancel::install(&e, context)?;
    Ok(e)
}

/// `E(x)`: a callable proxy whose every property is a method that sends.
fn sender(subject: &JsValue, kind: Kind, context: &mut Context) -> JsResult<JsValue> {
    let (key, handler) = SHARED.with(|shared| {
        let shared = shared.borrow();
        let shared = shared.as_ref().expect("make_e ran before any E(x)");
        (shared.subject.clone(), shared.handlers[kind as usize].clone())
    });
    let target = native(context, |_, _, _| Ok(JsValue::undefined()));
    target.create_data_property(key, subject.clone(), context)?;
    let constructor = context.intrinsics().constructors().proxy().constructor();
    let proxy = constructor.construct(&[target.into(), handler.into()], None, context)?;
    Ok(proxy.into())
}

fn subject_of(args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let key = SHARED.with(|shared| shared.borrow().as_ref().map(|shared| shared.subject.clone()));
    match (key, args.get_or_undefined(0).as_object()) {
        (Some(key), Some(target)) => target.get(key, context),
        _ => Err(type_error("not a sender made by E")),
    }
}

fn handler(kind: Kind, context: &mut Context) -> JsResult<JsObject> {
    let handler = JsObject::with_object_proto(context.intrinsics());
    let get = native(context, move |_, args, context| {
        let subject = subject_of(args, context)?;
        let name = args.get_or_undefined(1);
        let name = name.as_string().or_else(|| name.as_symbol().and_then(|symbol| calls::name_of_symbol(&symbol)));
        let Some(name) = name else { return Ok(JsValue::undefined()) };
        if name == js_string!("then") {
            return Ok(no_then(kind, context).into());
        }
        if kind == Kind::Get {
            return send(&subject, Verb::Get(name), &[], context);
        }
        Ok(method(subject, Verb::Call(name), kind, context).into())
    });
    handler.create_data_property(js_string!("get"), get, context)?;
    if kind != Kind::Get {
        let apply = native(context, move |_, args, context| {
            let subject = subject_of(args, context)?;
            let list = args.get_or_undefined(2).as_object();
            let list = list.map(|list| list_items(&list, context)).transpose()?.unwrap_or_default();
            run(&subject, Verb::Apply, &list, kind, context)
        });
        handler.create_data_property(js_string!("apply"), apply, context)?;
    }
    let refuse = native(context, |_, _, _| Ok(false.into()));
    for trap in ["set", "defineProperty", "deleteProperty", "setPrototypeOf", "preventExtensions"] {
        handler.create_data_property(JsString::from(trap), refuse.clone(), context)?;
    }
    // What is behind a sender stays hidden: whoever can send to it need not be able to call it.
    let nothing = native(context, |_, _, _| Ok(JsValue::undefined()));
    handler.create_data_property(js_string!("getOwnPropertyDescriptor"), nothing, context)?;
    let none = native(context, |_, _, context| Ok(JsArray::new(context)?.into()));
    handler.create_data_property(js_string!("ownKeys"), none, context)?;
    let has = native(context, |_, _, _| Ok(true.into()));
    handler.create_data_property(js_string!("has"), has, context)?;
    Ok(handler)
}

/// What `await`, and the promise machinery wherever a sender is returned, finds as its `then`: a message of that name is never meant.
fn no_then(kind: Kind, context: &mut Context) -> JsFunction {
    native(context, move |_, _, _| {
        Err(type_error(match kind {
            Kind::Send => {
                "E(x) is not a promise: write E(x).method(...) to send a message; to wait for x, await x; to answer with it, return x"
            }
            Kind::SendOnly => "E.sendOnly(x) is not a promise: write E.sendOnly(x).method(...) to send a message",
            Kind::Get => "E.get(x) is not a promise: write E.get(x).name to read a property",
        }))
    })
}

fn list_items(list: &JsObject, context: &mut Context) -> JsResult<Vec<JsValue>> {
    let length = list.get(js_string!("length"), context)?.to_length(context)?;
    (0..length).map(|index| list.get(PropertyKey::from(index), context)).collect()
}

fn method(subject: JsValue, verb: Verb, kind: Kind, context: &mut Context) -> JsFunction {
    NativeFunction::from_copy_closure_with_captures(
        |_, args, (subject, verb, kind), context| run(subject, verb.clone(), args, *kind, context),
        (subject, verb, kind),
    )
    .to_js_function(context.realm())
}

fn run(subject: &JsValue, verb: Verb, args: &[JsValue], kind: Kind, context: &mut Context) -> JsResult<JsValue> {
    if kind == Kind::SendOnly { send_only(subject, verb, args, context) } else { send(subject, verb, args, context) }
}
