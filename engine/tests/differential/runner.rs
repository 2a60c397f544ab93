//! Runs generated programs in Node and in a vat on the real image, and finds where they differ.
//!
//! `oracle.mjs` writes the programs of a range of seeds and says what Node makes of them; here a vat imports each as a module
//! in a delivery of its own. A program gives one text: its trace, and how it ended. Equal seeds give equal programs.

#![allow(dead_code, reason = "the test and the example each use a part")]

use quorate_engine::abi::{Bundle, CapData, Delivery, Method, Output, Resolution, Slot, Value};
use quorate_engine::heap::{CrankOutcome, Heap, Limits, with_engine_stack};
use quorate_engine::image::Image;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Programs that share a vat.
const PROGRAMS_PER_VAT: usize = 100;
/// Programs use up to some 100 million. What uses this much does not end.
const LIMITS: Limits = Limits { fuel_per_delivery: 4_000_000_000, memory_bytes: 512 << 20 };
/// The vat's entry: imports one program and runs it.
const ENTRY: &str = "
    import { Far } from '@endo/far';
    import { run } from './lib.js';
    export default () => Far('root', { go(name) { return run(() => import(`./${name}`)); } });
";
/// Smaller programs that are tried at once.
const CANDIDATES: usize = 100;

/// Results by the name of the program.
pub type Results = BTreeMap<String, String>;

/// A program whose results differ.
pub struct Difference {
    pub name: String,
    pub node: String,
    pub vat: String,
}

impl Difference {
    /// The first lines that are not alike: Node's and the vat's.
    pub fn first_lines(&self) -> (&str, &str) {
        let (mut node, mut vat) = (self.node.lines(), self.vat.lines());
        loop {
            match (node.next(), vat.next()) {
                (Some(left), Some(right)) if left == right => {}
                (left, right) => return (left.unwrap_or("(nothing)"), right.unwrap_or("(nothing)")),
            }
        }
    }

    /// What kind of difference it is: the first lines without their numbers, which change when a program gets smaller.
    fn kind(&self) -> String {
        let (node, vat) = self.first_lines();
        format!("{node}\n{vat}").replace(|c: char| c.is_ascii_digit(), "")
    }
}

/// Where generated programs are compared.
pub struct Comparison {
    image: Arc<Image>,
    folder: PathBuf,
}

impl Comparison {
    /// Works in `folder`, which is emptied again and again; `image_cache` keeps the compiled image.
    pub fn new(folder: PathBuf, image_cache: &Path) -> Result<Comparison, String> {
        Ok(Comparison { image: image(image_cache)?, folder })
    }

    /// Writes the programs of `count` seeds from `first` on into the folder.
    pub fn generate(&self, first: u32, count: u32) -> Result<(), String> {
        self.empty()?;
        self.oracle(&["generate"], &[&first.to_string(), &count.to_string()]).map(drop)
    }

    /// The programs in the folder that do not end alike.
    pub fn differences(&self) -> Result<Vec<Difference>, String> {
        let node = self.node_results()?;
        let names: Vec<&String> = node.keys().collect();
        let mut vat = Results::new();
        for some in names.chunks(PROGRAMS_PER_VAT) {
            vat.extend(with_engine_stack(|| self.vat_results(some))?);
        }
        let differ = |(name, node): (String, String)| {
            let vat = vat.remove(&name).unwrap_or_default();
            (node != vat).then_some(Difference { name, node, vat })
        };
        Ok(node.into_iter().filter_map(differ).collect())
    }

    /// What Node makes of the programs in the folder.
    pub fn node_results(&self) -> Result<Results, String> {
        let text = self.oracle(&["run"], &[])?;
        serde_json::from_slice(&text).map_err(|error| format!("what Node printed is not JSON: {error}"))
    }

    /// What a vat makes of these programs.
    fn vat_results(&self, names: &[&String]) -> Result<Results, String> {
        let mut modules = BTreeMap::from([("main.js".to_owned(), ENTRY.to_owned())]);
        for name in names.iter().map(|name| name.as_str()).chain(["lib.js"]) {
            modules.insert(name.to_owned(), read(&self.folder.join(name))?);
        }
        let bundle = Bundle { entry: "main.js".into(), modules };
        let argv = CapData::data(&Value::Record(vec![]));
        let mut heap = Heap::new(self.image.clone(), LIMITS).map_err(|error| error.to_string())?;
        let crank = heap.deliver(&Delivery::Start { bundle, argv, endowments: vec![] });
        let crank = crank.map_err(|error| error.to_string())?;
        if !matches!(crank.outcome, CrankOutcome::Done { .. }) {
            return Err(format!("the vat does not start: {:?}", crank.outcome));
        }
        let mut results = Results::new();
        for (number, name) in (1..).zip(names) {
            let crank = heap.deliver(&Delivery::Call {
                target: Slot::VatObject(0),
                method: Method::Call("go".into()),
                args: CapData::data(&Value::Array(vec![Value::String((*name).clone())])),
                result: Some(Slot::HostPromise(number)),
            });
            results.insert((*name).clone(), text_of(&crank.map_err(|error| error.to_string())?.outcome));
        }
        Ok(results)
    }

    /// The smallest program that was found to differ in the same way, and how.
    pub fn shrink(&self, difference: Difference) -> Result<(String, Difference), String> {
        let original = read(&self.folder.join(&difference.name))?;
        let (mut text, mut found) = (original, difference);
        let (mut round, mut idle) = (0, 0);
        while idle < 12 {
            self.empty()?;
            let current = self.folder.join("current.js");
            fs::write(&current, &text).map_err(|error| at(&current, &error))?;
            self.oracle(&["smaller"], &[&found.name, &CANDIDATES.to_string(), &round.to_string()])?;
            // A candidate may not end in Node: then this round finds nothing.
            let same = self
                .differences()
                .unwrap_or_default()
                .into_iter()
                .filter(|one| one.kind() == found.kind() && !one.node.ends_with("error SyntaxError!"));
            let smaller = same.map(|one| read(&self.folder.join(&one.name)).map(|text| (text, one)));
            match smaller.collect::<Result<Vec<_>, _>>()?.into_iter().min_by_key(|(text, _)| text.len()) {
                Some((smallest, one)) if smallest.len() < text.len() => (text, found, idle) = (smallest, one, 0),
                _ => (round, idle) = (round + 1, idle + 1),
            }
        }
        Ok((text, found))
    }

    fn empty(&self) -> Result<(), String> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(|error| at(&self.folder, &error))?;
        }
        fs::create_dir_all(&self.folder).map_err(|error| at(&self.folder, &error))
    }

    /// Runs `oracle.mjs TASK FOLDER …` and returns what it printed.
    fn oracle(&self, task: &[&str], arguments: &[&str]) -> Result<Vec<u8>, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/oracle.mjs");
        let mut command = Command::new("node");
        command.arg(script).args(task).arg(&self.folder).args(arguments);
        let output = command.output().map_err(|error| format!("node does not start: {error}; run `make setup`"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The program's own image, or the file that `QUORATE_TEST_IMAGE` names: to see what another image makes of the same programs.
fn image(cache: &Path) -> Result<Arc<Image>, String> {
    let Some(other) = std::env::var_os("QUORATE_TEST_IMAGE") else {
        return Image::load(cache).map_err(|error| error.to_string());
    };
    let wasm = fs::read(&other).map_err(|error| at(Path::new(&other), &error))?;
    Image::from_wasm(&wasm, cache).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The program's text, or what became of the delivery instead.
fn text_of(outcome: &CrankOutcome) -> String {
    let CrankOutcome::Done { outputs } = outcome else { return format!("{outcome:?}") };
    let settled = outputs.iter().find_map(|output| match output {
        Output::Settle { resolution: Resolution::Fulfilled(data), .. } => data.value().ok(),
        _ => None,
    });
    match settled {
        Some(Value::String(text)) => text,
        _ => format!("{outcome:?}"),
    }
}
