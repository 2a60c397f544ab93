//! The base heap: an interpreter that has run `lockdown()` of the npm package `ses` and holds the runtime's globals.
//!
//! Runs once per image on each host; what it leaves behind is the same bits everywhere. After it, every global is constant, and none is a
//! clock, a source of randomness, or observes the collector. While the vat starts, globals can be added, and `web` has what packages ask for then.

pub mod jobs;
pub mod modules;
mod powers;
pub mod swingset;
pub mod web;

use crate::objects::presence::{self, Presence};
use crate::objects::{base, far, harden, inspect, marks, weak};
use crate::pass::style;
use crate::runtime::{self, DEBUG, ERROR, INFO, WARN};
use crate::send::{e, handled, unhandled};
use crate::{durable, publisher, tables, timers};
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
const PUBLISHER: &str = include_str!("js/publisher.js");
const HANDLED: &str = include_str!("js/handled.js");
const SWINGSET: &str = include_str!("js/swingset.js");
const WEB: &str = include_str!("js/web.js");
const DURABLE: &str = include_str!("js/durable.js");
/// What is put in the place of what in `ses`.
///
/// - What can be assigned although `Object.prototype` is frozen: packages also set `constructor` of the plain object that becomes a prototype. All
///   that the option `severe` adds would make every method of arrays an accessor.
/// - `Object[Symbol.for('harden')]`, which packages look for: what is frozen by another function than the runtime's does not pass by reference.
/// - `Date.now`, which packages call when they are loaded: it gives the time of the log while the vat starts.
const ADAPTED: [(&str, &str); 3] = [
    (
        "...minEnablements['%ObjectPrototype%'],\n    valueOf: true,",
        "...minEnablements['%ObjectPrototype%'],\n    valueOf: true,\n    constructor: true,",
    ),
    (
        "intrinsics.Object[symbolForHarden] = tamedHarden;",
        "intrinsics.Object[symbolForHarden] = globalThis.quorateHarden;",
    ),
    (
        "throw TypeError('secure mode Calling %SharedDate%.now() throws');",
        "const time = OriginalDate.now();
      if (time >= 0) return time;
      throw TypeError('secure mode Calling %SharedDate%.now() throws');",
    ),
];

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
    let harden = function("harden", 1, harden::harden_function, context);
    context.register_global_property(js_string!("quorateHarden"), harden.clone(), Attribute::all())?;
    evaluate("ses.umd.js", &adapted_ses(), context)?;
    evaluate("lockdown.js", LOCKDOWN, context)?;
    context.run_jobs()?;
    marks::install(context)?;
    presence::install(context)?;
    let roots = evaluate("intrinsics.js", INTRINSICS, context)?;
    base::install(&roots, context)?;
    let powers = powers::powers(context)?;
    let e = e::make_e(context)?;
    let native: [(&str, JsValue); 4] = [
        ("E", e.into()),
        ("harden", harden),
        ("Far", function("Far", 2, far::far_function, context)),
        ("passStyle", function("passStyle", 1, style::pass_style_function, context)),
    ];
    for (name, value) in native {
        powers.create_data_property(JsString::from(name), value, context)?;
    }
    handled::powers(&powers, context)?;
    web::powers(&powers, context)?;
    for (name, file, text) in [("HandledPromise", "handled.js", HANDLED), ("web", "web.js", WEB)] {
        let made = made_by(file, text, &powers, context)?;
        powers.create_data_property(JsString::from(name), made, context)?;
    }
    durable::powers(&powers, context)?;
    let patterns = function("patterns", 0, modules::patterns_function, context);
    powers.create_data_property(js_string!("patterns"), patterns, context)?;
    let made = made_by("durable.js", DURABLE, &powers, context)?;
    let made = made.as_object().expect("durable.js returns a record");
    let exports = durable::install(&made, context)?;
    powers.create_data_property(js_string!("baggage"), durable::baggage()?, context)?;
    powers.create_data_property(js_string!("vatData"), exports, context)?;
    let builtins = made_by("runtime.js", RUNTIME, &powers, context)?;
    context.run_jobs()?;
    swingset::install(made_by("swingset.js", SWINGSET, &powers, context)?);
    let builtins = builtins.as_object().expect("runtime.js returns a record of modules");
    loader.set_builtins(read_builtins(&builtins, context)?);
    install_timer(&powers, context)?;
    install_publisher(&powers, context)
}

fn adapted_ses() -> String {
    ADAPTED.iter().fold(SES.to_owned(), |text, (before, after)| {
        assert_eq!(text.matches(before).count(), 1, "{before:?} is in `ses` once");
        text.replace(before, after)
    })
}

fn install_timer(powers: &JsObject, context: &mut Context) -> JsResult<()> {
    timers::powers(powers, context)?;
    let made = made_by("timer.js", TIMER, powers, context)?;
    timers::install(&made.as_object().expect("timer.js returns a record"), context)
}

fn install_publisher(powers: &JsObject, context: &mut Context) -> JsResult<()> {
    publisher::powers(powers, context)?;
    let made = made_by("publisher.js", PUBLISHER, powers, context)?;
    publisher::install(&made.as_object().expect("publisher.js returns an object"));
    Ok(())
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

/// What the one function expression that a file of the image is makes of the native powers.
fn made_by(name: &str, text: &str, powers: &JsObject, context: &mut Context) -> JsResult<JsValue> {
    let make = evaluate(name, text, context)?;
    let make = make.as_callable().expect("a file of the image is one function expression");
    make.call(&JsValue::undefined(), &[powers.clone().into()], context)
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

/// Time stands still; of the log's time, only a start learns.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> JsInstant {
        JsInstant::new(0, 0)
    }

    fn system_time_millis(&self) -> i64 {
        web::time_of_start().and_then(|time| time.try_into().ok()).unwrap_or(-1)
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
