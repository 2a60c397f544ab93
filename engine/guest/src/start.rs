//! The first delivery: evaluate the bundle, call its default export (or `buildRootObject`), keep what it returns as the root.

use crate::abi::{Bundle, CapData, Output, Slot, Upgrade};
use crate::boot::modules::Bundled;
use crate::boot::{swingset, web};
use crate::objects::presence::Presence;
use crate::objects::{harden, inspect, promise};
use crate::pass::{marshal, unmarshal};
use crate::places;
use crate::runtime::{self, type_error};
use crate::send::answers;
use crate::{durable, outputs, publisher, tables, timers};
use boa_engine::builtins::map::set_hash_seed;
use boa_engine::builtins::promise::PromiseState;
use boa_engine::object::builtins::JsPromise;
use boa_engine::object::{FunctionObjectBuilder, IntegrityLevel};
use boa_engine::{Context, JsArgs, JsError, JsObject, JsResult, JsString, JsValue, Module, NativeFunction, js_string};

/// Why a delivery did not end well.
pub enum Failure {
    /// The bundle cannot be started; text for people.
    Refused(String),
    /// What guest code cannot catch.
    Engine(JsError),
}

/// A failure that is no start's: what was thrown, as text.
pub fn failure(error: JsError) -> Failure {
    if error.as_engine().is_some() { Failure::Engine(error) } else { Failure::Refused(error.to_string()) }
}

/// Starts the vat.
pub fn start(
    bundle: Bundle,
    argv: &CapData<Slot>,
    endowments: &[String],
    context: &mut Context,
) -> Result<(), Failure> {
    if tables::root().is_some() {
        return Err(Failure::Refused("this vat was already started".to_owned()));
    }
    // Texts that collide in the hash tables of one vat need not do so in another.
    set_hash_seed(runtime::seed());
    web::begin_start();
    let loader = context.downcast_module_loader::<Bundled>();
    let loader = loader.expect("boot installs this loader");
    places::note_modules(bundle.modules.keys().cloned());
    loader.set_sources(bundle.modules);
    let entry = bundle.entry;
    let module = refuse(loader.module(&entry, context), &entry, context)?;
    evaluate(&module, &entry, context)?;
    let root = set_up(&module, &entry, argv, endowments, context)?;
    refuse(install_root(root, context), &entry, context)
}

/// Calls the default export with `argv`, or, in a module without one, `buildRootObject` with what SwingSet gives it.
fn set_up(
    module: &Module,
    entry: &str,
    argv: &CapData<Slot>,
    endowments: &[String],
    context: &mut Context,
) -> Result<JsValue, Failure> {
    let setup = refuse(module.get_value(js_string!("default"), context), entry, context)?;
    let build = refuse(module.get_value(js_string!("buildRootObject"), context), entry, context)?;
    let (function, of_swingset) = match (setup.as_callable(), build.as_callable()) {
        (Some(setup), _) => (setup, false),
        (None, Some(build)) if setup.is_undefined() => (build, true),
        _ => {
            let found = inspect::text(&setup, context);
            return Err(Failure::Refused(format!(
                "{entry}: the entry module must have a function as its default export \
                 (export default function (argv) {{ return root }}), found {found}; without a default export, \
                 buildRootObject(vatPowers, vatParameters, baggage) is called"
            )));
        }
    };
    let argv = refuse(make_argv(argv, endowments, context), entry, context)?;
    let args = if of_swingset {
        refuse(swingset::arguments(argv, endowments, context), entry, context)?
    } else {
        vec![argv, refuse(durable::baggage(), entry, context)?]
    };
    refuse(function.call(&JsValue::undefined(), &args, context), entry, context)
}

/// Starts the vat in this heap, which takes the place of another one.
pub fn upgrade(upgrade: Upgrade, context: &mut Context) -> Result<(), Failure> {
    let Upgrade { bundle, argv, endowments, durable, held, first_number } = upgrade;
    if tables::root().is_some() {
        return Err(Failure::Refused("this vat was already started".to_owned()));
    }
    let begun = durable::begin(durable, &held, first_number, context);
    refuse(begun, &bundle.entry, context)?;
    start(bundle, &argv, &endowments, context)
}

/// The end of such a start, which stands: all that was handed over is there.
pub fn take_over(entry: &str, context: &mut Context) -> Result<(), Failure> {
    let settled = durable::settle(context);
    refuse(settled, entry, context)?;
    context.run_jobs().map_err(Failure::Engine)
}

/// Whether the start stands, once all of its jobs have run: a setup that has been rejected by then never began.
pub fn finish(entry: &str, context: &mut Context) -> Result<(), Failure> {
    web::end_start();
    // What modules added to it stays.
    let global = context.global_object();
    refuse(global.set_integrity_level(IntegrityLevel::Frozen, context), entry, context)?;
    match tables::root().as_ref().and_then(promise::as_promise).map(|root| root.state()) {
        Some(PromiseState::Rejected(reason)) => refuse(Err(JsError::from_opaque(reason)), entry, context),
        _ => Ok(()),
    }
}

/// Makes what the setup function gave the root: at once if it is there, later if it is a promise.
fn install_root(root: JsValue, context: &mut Context) -> JsResult<()> {
    let Some(promise) = promise::as_promise(&root) else { return keep_root(root, context) };
    tables::set_root(JsObject::from(promise.clone()).into());
    let settled = runtime::native(context, |_, args, context| {
        let kept = keep_root(args.get_or_undefined(0).clone(), context);
        kept.or_else(|error| fail(runtime::thrown(error, context)?, context))?;
        Ok(JsValue::undefined())
    });
    let rejected = runtime::native(context, |_, args, context| {
        fail(args.get_or_undefined(0).clone(), context)?;
        Ok(JsValue::undefined())
    });
    promise.react(Some(settled), Some(rejected), context);
    Ok(())
}

/// There will be no root: every call to it is rejected with the reason.
fn fail(reason: JsValue, context: &mut Context) -> JsResult<()> {
    outputs::say(Output::Setup { failure: Some(inspect::text(&reason, context)) })?;
    let root = JsPromise::reject(JsError::from_opaque(reason), context)?;
    let heard = runtime::native(context, |_, _, _| Ok(JsValue::undefined()));
    root.react(None, Some(heard), context);
    tables::set_root(JsObject::from(root).into());
    Ok(())
}

fn keep_root(root: JsValue, context: &mut Context) -> JsResult<()> {
    if let Some(object) = root.as_object()
        && !object.is::<Presence>()
    {
        harden::harden(&object, context)?;
        if let Some(earlier) = tables::export_root(&object) {
            outputs::name_root(earlier);
        }
    }
    tables::set_root(root);
    outputs::say(Output::Setup { failure: None })
}

fn evaluate(module: &Module, entry: &str, context: &mut Context) -> Result<(), Failure> {
    let loaded = module.load(context);
    context.run_jobs().map_err(Failure::Engine)?;
    settled(&loaded, entry, context)?;
    refuse(module.link(context), entry, context)?;
    let evaluated = refuse(module.evaluate(context), entry, context)?;
    context.run_jobs().map_err(Failure::Engine)?;
    settled(&evaluated, entry, context)
}

fn settled(promise: &JsPromise, entry: &str, context: &mut Context) -> Result<(), Failure> {
    match promise.state() {
        PromiseState::Fulfilled(_) => Ok(()),
        PromiseState::Rejected(reason) => {
            // Someone listens: it is reported here.
            let ignore = runtime::native(context, |_, _, _| Ok(JsValue::undefined()));
            promise.react(None, Some(ignore), context);
            refuse(Err(JsError::from_opaque(reason)), entry, context)
        }
        PromiseState::Pending => Err(Failure::Refused(format!(
            "{entry}: a top-level await did not finish: modules may wait only for what settles by itself; \
             make the default export async instead"
        ))),
    }
}

fn make_argv(argv: &CapData<Slot>, endowments: &[String], context: &mut Context) -> JsResult<JsValue> {
    let object = unmarshal::open_record(argv, context)?;
    for name in endowments {
        let endowment = match name.as_str() {
            "exit" => {
                let exit = NativeFunction::from_fn_ptr(exit);
                FunctionObjectBuilder::new(context.realm(), exit).name(js_string!("exit")).length(1).build().into()
            }
            "timer" => timers::endowment()?,
            "publisher" => publisher::endowment()?,
            "console" => continue,
            _ => {
                let known = "exit, timer, publisher";
                return Err(type_error(format!("there is no endowment {name:?}; known ones are: {known}")));
            }
        };
        object.create_data_property(JsString::from(name.as_str()), endowment, context)?;
    }
    harden::harden(&object, context)?;
    Ok(object.into())
}

/// `exit(value)`; further arguments are logged.
fn exit(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    if args.len() > 1 {
        runtime::log(runtime::INFO, &format!("exit: {}", inspect::line(&args[1..], context)));
    }
    let value = marshal::value(args.get_or_undefined(0), "value", context)?;
    let value = answers::follow(value, context);
    outputs::say(Output::Exit { value })?;
    Ok(JsValue::undefined())
}

/// Turns what the bundle threw into text for people.
fn refuse<T>(result: JsResult<T>, entry: &str, context: &mut Context) -> Result<T, Failure> {
    let error = match result {
        Ok(value) => return Ok(value),
        Err(error) if error.as_engine().is_some() => return Err(Failure::Engine(error)),
        Err(error) => error,
    };
    let place = places::of(&error);
    let thrown = runtime::thrown(error, context).map_err(Failure::Engine)?;
    let text = inspect::text(&thrown, context);
    let place = place.or_else(|| places::of_reason(&thrown));
    let place = place.unwrap_or_else(|| entry.to_owned());
    let loader = context.downcast_module_loader::<Bundled>();
    let exports = loader.as_ref().and_then(|loader| loader.exports_named_in(&text, context));
    let named = loader.is_some_and(|loader| loader.is_named_in(&text));
    let text = exports.map_or(text.clone(), |exports| format!("{text}: {exports}"));
    Err(Failure::Refused(if named { text } else { format!("{text} (at {place})") }))
}
