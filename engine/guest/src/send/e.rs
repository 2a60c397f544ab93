//! `E`: sending messages to what may be here, elsewhere, or not yet anywhere.

use super::cancel;
use super::dispatch::{self, Verb};
use super::route::{send, send_only};
use crate::objects::sender::{Kind, Sender};
use crate::runtime::{native, type_error};
use boa_engine::object::builtins::JsFunction;
use boa_engine::object::{Facade, FunctionObjectBuilder, HostFunction, HostObjectMaker, InternalObjectMethods};
use boa_engine::property::PropertyKey;
use boa_engine::{
    Context, Finalize, JsArgs, JsData, JsObject, JsResult, JsString, JsValue, NativeFunction, Trace, js_string,
};
use std::cell::RefCell;

/// What makes the objects that there is one of for each message.
struct Makers {
    senders: HostObjectMaker,
    methods: HostObjectMaker,
}

thread_local! {
    static MAKERS: RefCell<Option<Makers>> = const { RefCell::new(None) };
}

/// `E(x).name`
#[derive(Debug, Trace, Finalize)]
struct Message {
    subject: JsValue,
    name: JsString,
    kind: Kind,
}

impl JsData for Sender {
    fn internal_methods(&self) -> &'static InternalObjectMethods {
        <Sender as Facade>::METHODS
    }
}

impl JsData for Message {
    fn internal_methods(&self) -> &'static InternalObjectMethods {
        <Message as HostFunction>::METHODS
    }
}

/// Makes the global function `E`.
pub fn make_e(context: &mut Context) -> JsResult<JsFunction> {
    let made =
        Makers { senders: HostObjectMaker::of_facades(context), methods: HostObjectMaker::of_functions(context) };
    MAKERS.with(|makers| *makers.borrow_mut() = Some(made));
    let function = |name: &str, kind: Kind, context: &mut Context| {
        let native = NativeFunction::from_copy_closure(move |_, args, _| {
            let subject = args.get_or_undefined(0).clone();
            Ok(make(|makers| makers.senders.make(Sender { subject, kind })).into())
        });
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

fn make(how: impl FnOnce(&Makers) -> JsObject) -> JsObject {
    MAKERS.with(|makers| how(makers.borrow().as_ref().expect("make_e ran before any E(x)")))
}

/// What a sender of this kind, if `object` is one, was made for.
fn parts(object: &JsObject) -> JsResult<(JsValue, Kind)> {
    let sender = object.downcast_ref::<Sender>();
    sender.map(|sender| (sender.subject.clone(), sender.kind)).ok_or_else(|| type_error("not a sender made by E"))
}

impl Facade for Sender {
    fn get(sender: &JsObject, key: &PropertyKey, context: &mut Context) -> JsResult<JsValue> {
        let name = match key {
            PropertyKey::String(name) => name.clone(),
            PropertyKey::Index(index) => index.get().to_string().into(),
            PropertyKey::Symbol(symbol) => match dispatch::name_of_symbol(symbol) {
                Some(name) => name,
                None => return Ok(JsValue::undefined()),
            },
        };
        let (subject, kind) = parts(sender)?;
        if name == js_string!("then") {
            return Ok(no_then(kind, context).into());
        }
        if kind == Kind::Get {
            return send(&subject, Verb::Get(name), &[], context);
        }
        Ok(make(|makers| makers.methods.make(Message { subject, name, kind })).into())
    }
}

impl HostFunction for Sender {
    fn call(sender: &JsObject, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        match parts(sender)? {
            (_, Kind::Get) => Err(type_error("E.get(x) is not a function: write E.get(x).name to read a property")),
            (subject, kind) => run(&subject, Verb::Apply, args, kind, context),
        }
    }
}

impl HostFunction for Message {
    fn call(function: &JsObject, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        let message = function.downcast_ref::<Message>();
        let message = message.map(|message| (message.subject.clone(), message.name.clone(), message.kind));
        let (subject, name, kind) = message.ok_or_else(|| type_error("not a method of a sender made by E"))?;
        run(&subject, Verb::Call(name), args, kind, context)
    }
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

fn run(subject: &JsValue, verb: Verb, args: &[JsValue], kind: Kind, context: &mut Context) -> JsResult<JsValue> {
    if kind == Kind::SendOnly { send_only(subject, verb, args, context) } else { send(subject, verb, args, context) }
}
