//! The base heap: an interpreter that has run `lockdown()` of the npm package `ses` and holds the runtime's globals.
//!
//! Runs once per image on each host; what it leaves behind is the same bits everywhere. After it, `globalThis` is frozen and
//! holds no clock, no randomness, and nothing that observes the collector.

pub mod jobs;
pub mod modules;
mod powers;

use crate::objects::presence::{self, Presence};
use crate::objects::{base, far, harden, inspect, weak};
use crate::pass::{style, tagged};
use crate::runtime::{self, DEBUG, ERROR, INFO, WARN};
use crate::send::{e, unhandled};
use crate::{tables, timers};
use boa_engine::builtins::promise::{OperationType, Promise};
use boa_engine::context::HostHooks;
use boa_engine::context::time::{Clock, JsInstant};
use boa_engine::object::FunctionObjectBuilder;
use boa_engine::property::{Attribute, PropertyKey};
use boa_engine::{Context, JsObject, JsResult, JsString, JsValue, NativeFunction, Source, js_string};
use jobs::Queue;
use modules::Bundled;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Embedded at build time from the version that `js/package-lock.json` pins.
const SES: &str = include_str!("../../js/node_modules/ses/dist/ses.umd.js");
const BEFORE_LOCKDOWN: &str = include_str!("js/before-lockdown.js");
const LOCKDOWN: &str = include_str!("js/lockdown.js");
const INTRINSICS: &str = include_str!("js/intrinsics.js");
const RUNTIME: &str = include_str!("js/runtime.js");
const TIMER: &str = include_str!("js/timer.js");

/// Calls of JavaScript functions within one another. The interpreter's frames are on the wasm stack only for native calls.
const MAX_RECURSION: usize = 512;
/// Values on the interpreter's stack, which is in the heap.
const MAX_STACK_VALUES: usize = 256 * 1024;
/// Frames that an error remembers; they are shown only when a bundle does not start.
const MAX_BACKTRACE: usize = 8;

/// Makes the interpreter. A failure is a fault of the image and ends in a trap.
pub fn boot() -> Context {
    let loader = Rc::new(Bundled::default());
    let context = Context::builder()
        .job_executor(Rc::new(Queue::default()))
        .module_loader(Rc::clone(&loader))
        .host_hooks(Rc::new(Hooks))
        .clock(Rc::new(NoClock))
        .build();
    let mut context = context.unwrap_or_else(|error| fault("the interpreter", &error));
    let limits = context.runtime_limits_mut();
    limits.set_recursion_limit(MAX_RECURSION);
    limits.set_stack_size_limit(MAX_STACK_VALUES);
    limits.set_backtrace_limit(MAX_BACKTRACE);
    if let Err(error) = install(&loader, &mut context) {
        fault("the runtime", &error);
    }
    boa_engine::gc::force_collect();
    context
}

fn fault(what: &str, error: &boa_engine::JsError) -> ! {
    runtime::log(ERROR, &format!("{what} does not come up: {error}"));
    panic!("boot");
}

fn install(loader: &Bundled, context: &mut Context) -> JsResult<()> {
    install_console(context)?;
    weak::install(context)?;
    evaluate("before-lockdown.js", BEFORE_LOCKDOWN, context)?;
    evaluate("ses.umd.js", SES, context)?;
    evaluate("lockdown.js", LOCKDOWN, context)?;
    context.run_jobs()?;
    presence::install(context)?;
    tagged::install(context)?;
    let roots = evaluate("intrinsics.js", INTRINSICS, context)?;
    base::install(&roots, context)?;
    let powers = powers::powers(context)?;
    let e = e::make_e(context)?;
    let native: [(&str, JsValue); 4] = [
        ("E", e.into()),
        ("harden", function("harden", 1, harden::harden_function, context)),
        ("Far", function("Far", 2, far::far_function, context)),
        ("passStyle", function("passStyle", 1, style::pass_style_function, context)),
    ];
    for (name, value) in native {
        powers.create_data_property(JsString::from(name), value, context)?;
    }
    let runtime = evaluate("runtime.js", RUNTIME, context)?;
    let runtime = runtime.as_callable().expect("runtime.js is one function expression");
    let builtins = runtime.call(&JsValue::undefined(), &[powers.clone().into()], context)?;
    context.run_jobs()?;
    let builtins = builtins.as_object().expect("runtime.js returns a record of modules");
    loader.set_builtins(read_builtins(&builtins, context)?);
    install_timer(&powers, context)
}

fn install_timer(powers: &JsObject, context: &mut Context) -> JsResult<()> {
    timers::powers(powers, context)?;
    let make = evaluate("timer.js", TIMER, context)?;
    let make = make.as_callable().expect("timer.js is one function expression");
    let made = make.call(&JsValue::undefined(), &[powers.clone().into()], context)?;
    timers::install(&made.as_object().expect("timer.js returns a record"), context)
}

fn read_builtins(builtins: &JsObject, context: &mut Context) -> JsResult<BTreeMap<String, JsObject>> {
    let mut map = BTreeMap::new();
    for key in builtins.own_property_keys(context)? {
        let PropertyKey::String(name) = &key else { continue };
        if let Some(exports) = builtins.get(key.clone(), context)?.as_object() {
            map.insert(name.to_std_string_lossy(), exports);
        }
    }
    Ok(map)
}

/// Evaluates a file of the image. No path of a bundle begins as these do, so that no place in them is taken for one in a contract.
fn evaluate(name: &str, text: &str, context: &mut Context) -> JsResult<JsValue> {
    let path = format!("/quorate/{name}");
    context.eval(Source::from_bytes(text.as_bytes()).with_path(Path::new(&path)))
}

fn function(
    name: &str,
    length: usize,
    function: fn(&JsValue, &[JsValue], &mut Context) -> JsResult<JsValue>,
    context: &mut Context,
) -> JsValue {
    let native = NativeFunction::from_fn_ptr(function);
    FunctionObjectBuilder::new(context.realm(), native).name(JsString::from(name)).length(length).build().into()
}

/// A console whose every function writes one line to the host.
fn install_console(context: &mut Context) -> JsResult<()> {
    let console = JsObject::with_object_proto(context.intrinsics());
    for (name, level) in
        [("log", INFO), ("info", INFO), ("warn", WARN), ("error", ERROR), ("debug", DEBUG), ("trace", DEBUG)]
    {
        let native = NativeFunction::from_copy_closure(move |_, args, context| {
            runtime::log(level, &inspect::line(args, context));
            Ok(JsValue::undefined())
        });
        let function = FunctionObjectBuilder::new(context.realm(), native).name(JsString::from(name)).build();
        console.create_data_property(JsString::from(name), function, context)?;
    }
    context.register_global_property(js_string!("console"), console, Attribute::all())
}

/// Time stands still.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> JsInstant {
        JsInstant::new(0, 0)
    }

    fn system_time_millis(&self) -> i64 {
        0
    }
}

struct Hooks;

impl HostHooks for Hooks {
    fn promise_rejection_tracker(&self, promise: &JsObject<Promise>, operation: OperationType, _: &mut Context) {
        unhandled::track(&promise.clone().upcast(), operation);
    }

    /// A presence with a private name would be recognised by it, so it must not be collected and made anew.
    fn ensure_can_add_private_element(&self, object: &JsObject, _: &mut Context) -> JsResult<()> {
        if let Some(presence) = object.downcast_ref::<Presence>() {
            tables::mark_presence(presence.id, object);
        }
        Ok(())
    }

    fn local_timezone_offset_seconds(&self, _: i64) -> i32 {
        0
    }

    fn max_buffer_size(&self, _: &mut Context) -> u64 {
        1 << 30
    }
}
