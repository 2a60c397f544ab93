//! The first delivery: evaluate the bundle, call its default export, keep what it returns as the root.

use crate::abi::{Bundle, CapData, Output, Slot};
use crate::modules::Bundled;
use crate::runtime::{self, type_error};
use crate::{calls, harden, inspect, marshal, tables, unmarshal};
use boa_engine::builtins::promise::PromiseState;
use boa_engine::object::FunctionObjectBuilder;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsArgs, JsError, JsResult, JsString, JsValue, Module, NativeFunction, js_string};

/// Why a delivery did not end well.
pub enum Failure {
    /// The bundle cannot be started; text for people.
    Refused(String),
    /// What guest code cannot catch.
    Engine(JsError),
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
    let loader = context.downcast_module_loader::<Bundled>();
    let loader = loader.expect("boot installs this loader");
    loader.set_sources(bundle.modules);
    let entry = bundle.entry;
    let module = refuse(loader.module(&entry, context), &entry, context)?;
    evaluate(&module, &entry, context)?;
    let setup = refuse(module.get_value(js_string!("default"), context), &entry, context)?;
    let Some(setup) = setup.as_callable() else {
        let found = inspect::text(&setup, context);
        return Err(Failure::Refused(format!(
            "{entry}: the entry module must have a function as its default export \
             (export default function (argv) {{ return root }}), found {found}"
        )));
    };
    let argv = refuse(make_argv(argv, endowments, context), &entry, context)?;
    let root = setup.call(&JsValue::undefined(), &[argv], context);
    let root = refuse(root, &entry, context)?;
    refuse(calls::install_root(root, context), &entry, context)
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
            promise.catch(ignore, context).map_err(Failure::Engine)?;
            refuse(Err(JsError::from_opaque(reason)), entry, context)
        }
        PromiseState::Pending => Err(Failure::Refused(format!(
            "{entry}: a top-level await did not finish: modules may wait only for what settles by itself; \
             make the default export async instead"
        ))),
    }
}

fn make_argv(argv: &CapData<Slot>, endowments: &[String], context: &mut Context) -> JsResult<JsValue> {
    let argv = unmarshal::value(argv, context)?;
    let object = argv.as_object().ok_or_else(|| type_error("argv must be a record"))?;
    for name in endowments {
        let endowment = match name.as_str() {
            "exit" => {
                let exit = NativeFunction::from_fn_ptr(exit);
                FunctionObjectBuilder::new(context.realm(), exit).name(js_string!("exit")).length(1).build()
            }
            "console" => continue,
            _ => return Err(type_error(format!("there is no endowment {name:?}; known ones are: exit"))),
        };
        object.create_data_property(JsString::from(name.as_str()), endowment, context)?;
    }
    harden::harden(&object, context)?;
    Ok(argv)
}

/// `exit(value)`; further arguments are logged.
fn exit(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    if args.len() > 1 {
        runtime::log(runtime::INFO, &format!("exit: {}", inspect::line(&args[1..], context)));
    }
    let value = marshal::value(args.get_or_undefined(0), "value", context)?;
    tables::output(Output::Exit { value });
    Ok(JsValue::undefined())
}

/// Turns what the bundle threw into text for people.
fn refuse<T>(result: JsResult<T>, entry: &str, context: &mut Context) -> Result<T, Failure> {
    let error = match result {
        Ok(value) => return Ok(value),
        Err(error) if error.as_engine().is_some() => return Err(Failure::Engine(error)),
        Err(error) => error,
    };
    let place = place_of(&error);
    let thrown = runtime::thrown(error, context).map_err(Failure::Engine)?;
    let text = inspect::text(&thrown, context);
    let place = place.or_else(|| place_of(&JsError::from_opaque(thrown)));
    let place = place.unwrap_or_else(|| entry.to_owned());
    Err(Failure::Refused(if text.contains(entry) { text } else { format!("{text} (at {place})") }))
}

/// Where an error was thrown, from the interpreter's own backtrace: `src/main.js:3:5`.
fn place_of(error: &JsError) -> Option<String> {
    let text = error.to_string();
    text.lines().find_map(|line| {
        let place = line.trim().strip_prefix("at ")?;
        let inner = place.rsplit_once('(').map_or(place, |(_, rest)| rest.trim_end_matches(')'));
        inner.contains(".js:").then(|| inner.to_owned())
    })
}
