//! The native functions that `js/runtime.js` is built on.

use crate::objects::promise;
use crate::objects::vow::{self, Vow};
use crate::runtime::type_error;
use crate::send::dispatch::Verb;
use crate::send::route;
use boa_engine::builtins::promise::PromiseState;
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::object::IntegrityLevel;
use boa_engine::object::builtins::{JsArray, JsFunction};
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction};

/// By name.
const POWERS: [(&str, NativeFunctionPointer); 8] = [
    ("plainPromise", plain_promise),
    ("react", react),
    ("makeVow", make_vow),
    ("isVow", is_vow),
    ("promiseOf", promise_of),
    ("flowOf", flow_of),
    ("status", status),
    ("send", send),
];

/// An object with those functions.
pub fn powers(context: &mut Context) -> JsResult<JsObject> {
    let object = JsObject::with_object_proto(context.intrinsics());
    for (name, function) in POWERS {
        let function = NativeFunction::from_fn_ptr(function).to_js_function(context.realm());
        object.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(object)
}

/// `makeVow(prototype, promise, flow)`
fn make_vow(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let (Some(prototype), Some(promise)) = (args.get_or_undefined(0).as_object(), args.get_or_undefined(1).as_object())
    else {
        return Err(type_error("a vow needs a promise"));
    };
    let vow = JsObject::from_proto_and_data(prototype, Vow { promise, flow: args.get_or_undefined(2).clone() });
    vow.set_integrity_level(IntegrityLevel::Frozen, context)?;
    Ok(vow.into())
}

/// `plainPromise(value)`: see [`promise::plain`].
fn plain_promise(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    promise::plain(args.get_or_undefined(0), context).map(JsValue::from)
}

/// `react(promise, onFulfilled, onRejected)`: `then` of a promise that is just a promise.
fn react(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let promise = promise::as_promise(args.get_or_undefined(0)).ok_or_else(|| type_error("a promise is needed"))?;
    let function = |index: usize| args.get_or_undefined(index).as_callable().and_then(JsFunction::from_object);
    Ok(promise.react(function(1), function(2), context).into())
}

fn is_vow(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    Ok(args.get_or_undefined(0).as_object().is_some_and(|object| object.is::<Vow>()).into())
}

fn promise_of(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let promise = args.get_or_undefined(0).as_object().and_then(|object| vow::inner_promise(&object));
    promise.map(JsValue::from).ok_or_else(|| type_error("a vow is needed"))
}

fn flow_of(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let object = args.get_or_undefined(0).as_object();
    let flow = object.and_then(|object| object.downcast_ref::<Vow>().map(|vow| vow.flow.clone()));
    flow.ok_or_else(|| type_error("a vow is needed"))
}

/// 0: pending and decided here; 1: pending and decided elsewhere; 2: fulfilled; 3: rejected.
fn status(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let value = args.get_or_undefined(0);
    let promise = promise::as_promise(value).ok_or_else(|| type_error("a promise is needed"))?;
    Ok(JsValue::from(match promise.state() {
        PromiseState::Pending if route::remote_target(value).is_some() => 1,
        PromiseState::Pending => 0,
        PromiseState::Fulfilled(_) => 2,
        PromiseState::Rejected(_) => 3,
    }))
}

/// `send(promise, name, args)`: for a flow, which keeps the order itself.
fn send(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let name = args.get_or_undefined(1).as_string().ok_or_else(|| type_error("a method name is needed"))?;
    let list = args.get_or_undefined(2).as_object().ok_or_else(|| type_error("arguments are needed"))?;
    let list = JsArray::from_object(list)?;
    let length = list.length(context)?;
    let items = (0..length as i64).map(|index| list.at(index, context)).collect::<JsResult<Vec<_>>>()?;
    route::send_through(args.get_or_undefined(0), Verb::Call(name), &items, context)
}
