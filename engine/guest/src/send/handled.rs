//! Promises and presences that a program handles itself, as `HandledPromise` of Endo's packages has it: what is sent to them goes to the
//! program's handler. The other half is `boot/js/handled.js`.
//!
//! Invariants: only the vat's own sends go to the handler of a pending promise: what other vats send waits for the settlement, so that they reach
//! no more than the answer gives them. Messages to one promise are done in the order in which they were sent, whether a handler or the
//! settlement takes them.

use super::dispatch::{Reach, Verb, invoke, name_of_symbol, symbol_of};
use super::route;
use crate::objects::promise;
use crate::runtime::type_error;
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::object::builtins::{JsArray, JsPromise, JsWeakMap};
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsSymbol, JsValue, NativeFunction, js_string};
use std::cell::{Cell, RefCell};

struct Tables {
    /// Pending promise → handler.
    promises: JsWeakMap,
    /// Pending promises to whose handlers something was sent → true.
    used: JsWeakMap,
    /// Presence made by `resolveWithPresence` → handler.
    presences: JsWeakMap,
    /// `dispatch(handler, operation, target, key, args, result, only)` and `send(target, operation, key, args, only)` of `boot/js/handled.js`.
    functions: Option<(JsObject, JsObject)>,
}

thread_local! {
    static TABLES: RefCell<Option<Tables>> = const { RefCell::new(None) };
    /// Whether there ever was a handler: until then nobody pays for looking.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

const POWERS: [(&str, NativeFunctionPointer); 7] = [
    ("handlePromise", handle_promise),
    ("unhandlePromise", unhandle_promise),
    ("handlePresence", handle_presence),
    ("handlerFor", handler_for),
    ("invokeNow", invoke_now),
    ("eventual", eventual),
    ("installHandled", install_functions),
];

/// Adds the native functions that `boot/js/handled.js` is built on.
pub fn powers(object: &JsObject, context: &mut Context) -> JsResult<()> {
    let tables = Tables {
        promises: JsWeakMap::new(context),
        used: JsWeakMap::new(context),
        presences: JsWeakMap::new(context),
        functions: None,
    };
    TABLES.with(|slot| *slot.borrow_mut() = Some(tables));
    for (name, function) in POWERS {
        let function = NativeFunction::from_fn_ptr(function).to_js_function(context.realm());
        object.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(())
}

/// One of the tables. They are collections of the interpreter's, so that a borrow ends before it is used.
fn table(which: impl FnOnce(&Tables) -> &JsWeakMap) -> JsResult<JsWeakMap> {
    let found = TABLES.with(|slot| slot.borrow().as_ref().map(|tables| which(tables).clone()));
    found.ok_or_else(|| type_error("handled promises are not ready yet"))
}

fn functions() -> JsResult<(JsObject, JsObject)> {
    let found = TABLES.with(|slot| slot.borrow().as_ref().and_then(|tables| tables.functions.clone()));
    found.ok_or_else(|| type_error("handled promises are not ready yet"))
}

/// The handler that what is sent to a pending promise goes to.
pub fn handler_of(promise: &JsPromise, context: &mut Context) -> JsResult<Option<JsObject>> {
    if !ANY.with(Cell::get) {
        return Ok(None);
    }
    let handler = table(|tables| &tables.promises)?.get(&JsObject::from(promise.clone()), context)?;
    Ok(handler.as_object())
}

/// Sends to a promise at the end of whose way is a handler.
pub fn send(
    target: &JsPromise,
    handled: &JsPromise,
    verb: &Verb,
    args: &[JsValue],
    wanted: bool,
    context: &mut Context,
) -> JsResult<JsValue> {
    table(|tables| &tables.used)?.set(&JsObject::from(handled.clone()), true.into(), context)?;
    let (_, send) = functions()?;
    let (operation, key) = parts(verb);
    let args = JsArray::from_iter(args.iter().cloned(), context);
    let all = [target.clone().into(), operation, key, args.into(), (!wanted).into()];
    send.call(&JsValue::undefined(), &all, context)
}

/// Does `verb` to a presence by its handler, if `target` is one that a program made.
pub fn invoke_presence(
    target: &JsValue,
    verb: &Verb,
    args: &[JsValue],
    context: &mut Context,
) -> JsResult<Option<JsValue>> {
    if !ANY.with(Cell::get) {
        return Ok(None);
    }
    let Some(object) = target.as_object() else { return Ok(None) };
    let handler = table(|tables| &tables.presences)?.get(&object, context)?;
    if !handler.is_object() {
        return Ok(None);
    }
    let (dispatch, _) = functions()?;
    let (operation, key) = parts(verb);
    let args = JsArray::from_iter(args.iter().cloned(), context);
    let all = [handler, operation, target.clone(), key, args.into(), JsValue::undefined(), false.into()];
    dispatch.call(&JsValue::undefined(), &all, context).map(Some)
}

/// The operation of a handler that a verb is, and the property.
fn parts(verb: &Verb) -> (JsValue, JsValue) {
    let key = |name: &JsString| symbol_of(name).map_or_else(|| JsValue::from(name.clone()), JsValue::from);
    match verb {
        Verb::Call(name) => (js_string!("applyMethod").into(), key(name)),
        Verb::Apply => (js_string!("applyFunction").into(), JsValue::undefined()),
        Verb::Get(name) => (js_string!("get").into(), key(name)),
    }
}

/// The same backwards.
fn verb_of(operation: &JsValue, key: &JsValue, context: &mut Context) -> JsResult<Verb> {
    let operation = operation.as_string().unwrap_or_default();
    if operation == js_string!("applyFunction") {
        return Ok(Verb::Apply);
    }
    let name = match key.as_symbol() {
        Some(symbol) => named(&symbol)?,
        None => key.to_string(context)?,
    };
    Ok(if operation == js_string!("get") { Verb::Get(name) } else { Verb::Call(name) })
}

fn named(symbol: &JsSymbol) -> JsResult<JsString> {
    name_of_symbol(symbol).ok_or_else(|| {
        let symbol = symbol.descriptive_string().to_std_string_escaped();
        type_error(format!(
            "a message named by {symbol} cannot be sent: of symbols only Symbol.asyncIterator names a method"
        ))
    })
}

fn list(value: &JsValue, context: &mut Context) -> JsResult<Vec<JsValue>> {
    let list = value.as_object().ok_or_else(|| type_error("arguments are needed"))?;
    let list = JsArray::from_object(list)?;
    let length = list.length(context)?;
    (0..length as i64).map(|index| list.at(index, context)).collect()
}

fn needed(value: &JsValue) -> JsResult<JsObject> {
    value.as_object().ok_or_else(|| type_error("an object is needed"))
}

/// `handlePromise(promise, handler)`
fn handle_promise(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    ANY.with(|any| any.set(true));
    let handler = args.get_or_undefined(1).clone();
    table(|tables| &tables.promises)?.set(&needed(args.get_or_undefined(0))?, handler, context)
}

/// `unhandlePromise(promise)`: it is being resolved. Something may be on its way to the handler still, which what comes later must not overtake.
fn unhandle_promise(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let promise = needed(args.get_or_undefined(0))?;
    table(|tables| &tables.promises)?.delete(&promise, context)?;
    if table(|tables| &tables.used)?.delete(&promise, context)?
        && let Ok(promise) = JsPromise::from_object(promise)
    {
        promise.mark_waited_for();
    }
    Ok(JsValue::undefined())
}

/// `handlePresence(presence, handler)`
fn handle_presence(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    ANY.with(|any| any.set(true));
    let handler = args.get_or_undefined(1).clone();
    table(|tables| &tables.presences)?.set(&needed(args.get_or_undefined(0))?, handler, context)
}

/// `handlerFor(target)`: `[promise, handler]` where what is sent to this promise goes now, if that is a handler.
fn handler_for(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let Some(target) = promise::as_promise(args.get_or_undefined(0)) else { return Ok(JsValue::undefined()) };
    let route::Way::Handled(promise) = route::way(&target, Reach::Here, context)? else {
        return Ok(JsValue::undefined());
    };
    let handler = handler_of(&promise, context)?.map_or_else(JsValue::undefined, JsValue::from);
    Ok(JsArray::from_iter([promise.into(), handler], context).into())
}

/// `invokeNow(target, operation, key, args)`: in a turn of its own already.
fn invoke_now(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let target = args.get_or_undefined(0);
    let verb = verb_of(args.get_or_undefined(1), args.get_or_undefined(2), context)?;
    let list = list(args.get_or_undefined(3), context)?;
    if route::remote_target(target).is_some() {
        return route::send(target, verb, &list, context);
    }
    invoke(target, &verb, &list, Reach::Here, context)
}

/// `eventual(target, operation, key, args, only)`: what `E` does.
fn eventual(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let target = args.get_or_undefined(0);
    let verb = verb_of(args.get_or_undefined(1), args.get_or_undefined(2), context)?;
    let list = list(args.get_or_undefined(3), context)?;
    if args.get_or_undefined(4).to_boolean() {
        route::send_only(target, verb, &list, context)
    } else {
        route::send(target, verb, &list, context)
    }
}

/// `installHandled(dispatch, send)`
fn install_functions(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let functions = (needed(args.get_or_undefined(0))?, needed(args.get_or_undefined(1))?);
    TABLES.with(|slot| {
        if let Some(tables) = slot.borrow_mut().as_mut() {
            tables.functions = Some(functions);
        }
    });
    Ok(JsValue::undefined())
}
