//! Drives the real image with small scripts: see `guest_cases/README.md` for their form.

#![allow(dead_code, reason = "each test program uses a part")]

use quorate_engine::abi::{Bundle, CapData, Delivery, Method, News, Output, Resolution, Slot, Value};
use quorate_engine::heap::{Crank, CrankOutcome, Heap, Limits};
use quorate_engine::image::Image;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The program's own image, compiled once for all tests of this build, or the file that `QUORATE_TEST_IMAGE` names: to see what
/// an image without some defence makes of the same tests.
pub fn image() -> Arc<Image> {
    let cache = cache();
    let Some(other) = std::env::var_os("QUORATE_TEST_IMAGE") else {
        return Image::load(&cache).expect("the image loads");
    };
    Image::from_wasm(&std::fs::read(other).expect("the named image"), &cache).expect("the image loads")
}

/// Where compiled images are kept: the folder that cargo gives to tests, or, for an example, one beside the program.
fn cache() -> PathBuf {
    let given = option_env!("CARGO_TARGET_TMPDIR").map(PathBuf::from);
    let beside = || std::env::current_exe().expect("this program has a path").with_file_name("image-cache");
    given.map_or_else(beside, |folder| folder.join("images"))
}

/// Enough for any test that is meant to end, little enough that a loop is over soon.
pub const LIMITS: Limits = Limits { fuel_per_delivery: 400_000_000, memory_bytes: 64 << 20 };

/// A vat under test.
pub struct Vat {
    pub heap: Heap,
    next_result: u64,
    /// Time of the log for all further deliveries.
    now_ms: u64,
}

impl Vat {
    pub fn new() -> Vat {
        Vat::with_limits(LIMITS)
    }

    pub fn with_limits(limits: Limits) -> Vat {
        Vat::in_image(image(), limits)
    }

    /// A vat of any image.
    pub fn in_image(image: Arc<Image>, limits: Limits) -> Vat {
        Vat { heap: Heap::new(image, limits).expect("a heap"), next_result: 1, now_ms: 0 }
    }

    pub fn deliver(&mut self, delivery: &Delivery) -> Crank {
        self.deliver_with(delivery, News::default())
    }

    fn deliver_with(&mut self, delivery: &Delivery, news: News) -> Crank {
        let news = News { now_ms: self.now_ms, ..news };
        self.heap.deliver_with(delivery, &news).expect("the host is well")
    }

    /// Starts a bundle whose entry is `main.js`, with `argv.target` an object of another vat (`h1`), `argv.exit`, `argv.timer` and `argv.publisher`.
    pub fn start(&mut self, modules: BTreeMap<String, String>) -> Crank {
        let argv = Value::Record(vec![("name".into(), Value::String("bob".into())), ("target".into(), Value::Slot(0))]);
        self.deliver(&Delivery::Start {
            bundle: Bundle { entry: "main.js".into(), modules },
            argv: CapData::new(&argv, vec![Slot::HostObject(1)]),
            endowments: vec!["exit".into(), "timer".into(), "publisher".into()],
        })
    }

    /// Starts a bundle of one module, which must start.
    pub fn started(source: &str) -> Vat {
        let mut vat = Vat::new();
        let crank = vat.start(BTreeMap::from([("main.js".into(), source.into())]));
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        vat
    }

    /// Calls a method of the root.
    pub fn call(&mut self, method: &str, args: &Value) -> Crank {
        self.send(Slot::VatObject(0), Method::Call(method.into()), CapData::data(args))
    }

    /// A call of a method of the root that is not delivered yet.
    pub fn next_call(&mut self, method: &str, args: &Value) -> Delivery {
        let result = Some(Slot::HostPromise(self.next_result));
        self.next_result += 1;
        Delivery::Call {
            target: Slot::VatObject(0),
            method: Method::Call(method.into()),
            args: CapData::data(args),
            result,
        }
    }

    /// The same vat on another heap.
    pub fn on(&self, heap: Heap) -> Vat {
        Vat { heap, next_result: self.next_result, now_ms: self.now_ms }
    }

    pub fn send(&mut self, target: Slot, method: Method, args: CapData<Slot>) -> Crank {
        let result = Some(Slot::HostPromise(self.next_result));
        self.next_result += 1;
        self.deliver(&Delivery::Call { target, method, args, result })
    }

    /// Runs one command of a script; the words are explained in `guest_cases/README.md`.
    pub fn command(&mut self, line: &str) -> Crank {
        let (line, slots) = line.split_once(" | ").unwrap_or((line, ""));
        let slots = slots.split_whitespace().map(slot).collect();
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let value = |text: &str| Value::from_json(&serde_json::from_str(text).expect("JSON")).expect("a value");
        match words[..] {
            ["call", target, method, args] => {
                let method = match method.strip_prefix('.') {
                    Some(name) => Method::Get(name.into()),
                    None if method == "()" => Method::Apply,
                    None => Method::Call(method.into()),
                };
                self.send(slot(target), method, CapData::new(&value(args), slots))
            }
            ["settle", promise, how, data] => {
                let data = CapData::new(&value(data), slots);
                let resolution = if how == "ok" { Resolution::Fulfilled(data) } else { Resolution::Rejected(data) };
                self.deliver(&Delivery::Settle(vec![(slot(promise), resolution)]))
            }
            ["hold", promise] => self.deliver(&Delivery::Hold(slot(promise))),
            ["forget", promise] => {
                let news = News { retired: vec![slot(promise)], ..News::default() };
                self.deliver_with(&Delivery::Collect, news)
            }
            ["free", object] => {
                let Slot::VatObject(object) = slot(object) else { panic!("not an own object: {object}") };
                self.deliver_with(&Delivery::MakeRoom, News { freed: vec![object], ..News::default() })
            }
            ["now", ms] => {
                self.now_ms = ms.parse().expect("a number");
                self.deliver(&Delivery::MakeRoom)
            }
            ["cancel", promise] => self.deliver(&Delivery::Cancel(slot(promise))),
            ["wake", timer] => self.deliver(&Delivery::Wake { timer: timer.parse().expect("a number"), failure: None }),
            ["fail", timer] => {
                let (timer, failure) = (timer.parse().expect("a number"), Some("it was too much".to_owned()));
                self.deliver(&Delivery::Wake { timer, failure })
            }
            ["collect"] => self.deliver(&Delivery::Collect),
            _ => panic!("not a command: {line}"),
        }
    }
}

/// `o1`: object 1 of the vat; `h1`: of another; `v1`: promise that the vat spoke of first; `p1`: that the host did.
fn slot(text: &str) -> Slot {
    let number = text[1..].parse().expect("a number");
    match &text[..1] {
        "o" => Slot::VatObject(number),
        "h" => Slot::HostObject(number),
        "v" => Slot::VatPromise(number),
        "p" => Slot::HostPromise(number),
        _ => panic!("not a slot: {text}"),
    }
}

fn name(slot: &Slot) -> String {
    match slot {
        Slot::VatObject(number) => format!("o{number}"),
        Slot::HostObject(number) => format!("h{number}"),
        Slot::VatPromise(number) => format!("v{number}"),
        Slot::HostPromise(number) => format!("p{number}"),
    }
}

fn data(data: &CapData<Slot>) -> String {
    let json = data.value().expect("the guest's data decodes").to_json().to_string();
    let slots: Vec<String> = data.slots.iter().map(name).collect();
    if slots.is_empty() { json } else { format!("{json} | {}", slots.join(" ")) }
}

/// A text, or how long it is.
fn shortened(text: &str) -> String {
    if text.len() <= 80 { text.to_owned() } else { format!("{} bytes", text.len()) }
}

fn output(output: &Output) -> String {
    match output {
        Output::Send { target, method, args, result } => {
            let method = match method {
                Method::Call(name) => name.clone(),
                Method::Get(name) => format!(".{name}"),
                Method::Apply => "()".to_owned(),
            };
            let result = result.as_ref().map_or_else(|| "nothing".to_owned(), name);
            format!("send {} {method} {} -> {result}", name(target), data(args))
        }
        Output::Settle { promise, resolution } => {
            let (how, what) = match resolution {
                Resolution::Fulfilled(what) => ("ok", what),
                Resolution::Rejected(what) => ("no", what),
            };
            format!("settle {} {how} {}", name(promise), data(what))
        }
        Output::Exit { value } => format!("exit {}", data(value)),
        Output::Setup { failure: None } => "ready".to_owned(),
        Output::Setup { failure: Some(reason) } => format!("setup failed: {reason}"),
        Output::Drop { slots } => format!("drop {}", slots.iter().map(name).collect::<Vec<_>>().join(" ")),
        Output::SetTimer { timer, at_ms } => format!("timer {timer} at {at_ms}"),
        Output::Cancel { result } => format!("cancel {}", name(result)),
        Output::CancelTimer { timer } => format!("cancel timer {timer}"),
        Output::Publish { name, value: None } => format!("unpublish {:?}", shortened(name)),
        Output::Publish { name, value: Some(value) } => {
            let text =
                Value::decode(value).map_or_else(|error| format!("{error:?}"), |value| value.to_json().to_string());
            format!("publish {:?} {}", shortened(name), shortened(&text))
        }
        Output::HandOver(durable) => format!("hand over {durable:?}"),
    }
}

/// What a delivery came to, one line for each thing that the vat said.
pub fn describe(crank: &Crank) -> Vec<String> {
    let mut lines: Vec<String> =
        crank.logs.iter().map(|line| format!("log {} {}", line.level.as_str(), line.text)).collect();
    match &crank.outcome {
        CrankOutcome::Done { outputs } => lines.extend(outputs.iter().map(output)),
        CrankOutcome::StartFailed { message } => lines.push(format!("does not start: {message}")),
        CrankOutcome::RolledBack { limit } => lines.push(format!("rolled back: {}", limit.as_str())),
    }
    lines
}

/// Runs a script and gives it back with what `tell` says of each command, in lines that begin with `>`.
pub fn replay(script: &str, fresh: impl Fn() -> Vat, tell: impl Fn(&mut Vat, &Crank) -> Vec<String>) -> String {
    let mut out = String::new();
    let mut vat = fresh();
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut module = None;
    let mut running = false;
    for line in script.lines() {
        let mut said = Vec::new();
        if let Some(mark) = line.strip_prefix("@@ ") {
            module = None;
            match mark {
                "go" => {
                    let crank = vat.start(std::mem::take(&mut modules));
                    said = tell(&mut vat, &crank);
                    running = true;
                }
                "new" => {
                    vat = fresh();
                    running = false;
                }
                path => module = Some(modules.entry(path.to_owned()).or_default()),
            }
        } else if let Some(text) = module.as_mut() {
            text.push_str(line);
            text.push('\n');
        } else if running && line.starts_with('>') {
            continue;
        } else if running && !line.is_empty() && !line.starts_with('#') {
            let crank = vat.command(line);
            said = tell(&mut vat, &crank);
        }
        out.push_str(line);
        out.push('\n');
        for line in said {
            out.push_str(&format!("> {line}\n"));
        }
    }
    out
}
