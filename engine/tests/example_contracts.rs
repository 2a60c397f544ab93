//! The example contracts of `testnet/examples`: in one vat, and between several without hosts or network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{World, root_of, vat as name};
use quorate_engine::VatId;
use quorate_engine::abi::{Bundle, CapData, Delivery, Method, Slot, Value};
use quorate_engine::heap::{Heap, Limits, with_engine_stack};
use quorate_engine::machine::{ArgValue, Command, CommandResult, Guest, Install};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use vat::{image, settled};

/// What a vat has by default.
const LIMITS: Limits = Limits { fuel_per_delivery: 5_000_000_000, memory_bytes: 128 << 20 };

/// Everything in one vat, whose root is the checks.
const ALL_IN_ONE: &str = "
    import mints from './mint.js';
    import contractHost from './host.js';
    import names from './names.js';
    import chat from './chat.js';
    import clock from './clock.js';
    import checks from './checks.js';
    export default texts => {
      const timer = clock();
      const host = contractHost({ timer });
      return checks({ mint: mints(), host, names: names(), chat: chat({ timer }), clock: timer, ...texts });
    };
";

const PARTS: [&str; 8] = ["mints", "hosts", "escrows", "options", "auctions", "registries", "chats", "floods"];

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sources of the contracts, as arguments.
fn contracts() -> Vec<(String, Value)> {
    let texts = [("escrow", "escrow.js"), ("coveredCall", "covered-call.js"), ("auction", "auction.js")];
    let text = |path: &str| Value::String(file(&format!("examples/contracts/{path}")));
    texts.map(|(name, path)| (name.to_owned(), text(path))).to_vec()
}

#[test]
fn the_contracts_keep_their_promises_in_one_vat() {
    let paths = ["examples/mint/mint", "examples/contracts/host", "examples/names/names", "examples/chat/chat"];
    let paths = paths.into_iter().chain(["tests/examples/clock", "tests/examples/checks"]);
    let named = paths.map(|path| (format!("{}.js", path.rsplit('/').next().unwrap()), file(&format!("{path}.js"))));
    let main = ("main.js".to_owned(), ALL_IN_ONE.to_owned());
    let bundle = Bundle { entry: "main.js".into(), modules: named.chain([main]).collect() };
    let argv = CapData::data(&Value::Record(contracts()));
    with_engine_stack(|| {
        let mut heap = Heap::new(image(), LIMITS).unwrap();
        heap.deliver(&Delivery::Start { bundle, argv, endowments: vec![] }).unwrap();
        for (number, part) in (1..).zip(PARTS) {
            let args = Value::Array(vec![Value::Array(vec![Value::String(part.to_owned())])]);
            let call = Delivery::Call {
                target: Slot::VatObject(0),
                method: Method::Call("run".into()),
                args: CapData::data(&args),
                result: Some(Slot::HostPromise(number)),
            };
            let crank = Guest::deliver(&mut heap, &call, &[]).unwrap();
            assert_eq!(settled(&crank), Ok(Value::Array(vec![])), "{part}: {:?}", crank.logs);
        }
    });
}

/// Vats on heaps of their own, and what is under way between them.
struct Vats {
    world: World<Heap>,
    names: BTreeMap<&'static str, VatId>,
}

impl Vats {
    fn new(seed: u64, names: &[&'static str]) -> Vats {
        let ids = (1..).zip(names).map(|(number, vat)| (*vat, name(number)));
        let mut vats = Vats { world: World::new(seed), names: ids.collect() };
        for id in vats.names.values() {
            vats.world.add(*id, Heap::new(image(), LIMITS).unwrap());
        }
        vats
    }

    /// Gives a vat its code, and the roots of others. All may use its root: who gets it is what the tests say.
    fn start(&mut self, vat: &str, source: &str, roots: &[(&str, &str)], data: Vec<(String, Value)>) {
        let root = |(field, vat): &(&str, &str)| ((*field).to_owned(), root_of(self.names[vat]));
        let argv = roots.iter().map(root).chain(data.into_iter().map(|(name, value)| (name, ArgValue::Data(value))));
        let modules = BTreeMap::from([("main.js".to_owned(), source.to_owned())]);
        let install = Install {
            bundle: Bundle { entry: "main.js".into(), modules },
            argv: argv.collect(),
            endowments: if vat == "script" { vec!["exit".to_owned()] } else { vec![] },
            grants: self.names.values().copied().filter(|id| *id != self.names[vat]).collect(),
            bearers: vec![],
        };
        assert_eq!(self.world.apply(self.names[vat], Command::Install(install)), CommandResult::Installed, "{vat}");
    }

    /// Runs the vat `script`, an asynchronous function of the root of another vat, to its end. Returns what it exits with.
    fn script(&mut self, root: &str, work: &str) -> Json {
        let source = format!(
            "import {{ E }} from '@endo/far';\n\
             const work = {work};\n\
             export default ({{ exit, root }}) => {{ work(root).then(exit, reason => exit(`failed: ${{reason}}`)); return harden(() => {{}}); }};\n"
        );
        self.start("script", &source, &[("root", root)], vec![]);
        self.world.settle();
        let summary = self.world.machines[&self.names["script"]].summary();
        let exit = summary.exit.unwrap_or_else(|| panic!("the script waits for ever; {:?}", self.logs()));
        exit.value.value().unwrap().to_json()
    }

    fn logs(&self) -> Vec<(u8, String)> {
        let lines = |(vat, block): &(VatId, _)| (vat.0[0], block_logs(block));
        self.world
            .blocks
            .iter()
            .map(lines)
            .flat_map(|(vat, lines)| lines.into_iter().map(move |line| (vat, line)))
            .collect()
    }
}

fn block_logs(block: &quorate_engine::machine::BlockOutput) -> Vec<String> {
    block.logs.iter().map(|line| format!("{line:?}")).collect()
}

#[test]
fn the_contracts_keep_their_promises_between_six_vats() {
    with_engine_stack(|| {
        let mut vats = Vats::new(1, &["mint", "host", "names", "chat", "clock", "checks", "script"]);
        vats.start("clock", &file("tests/examples/clock.js"), &[], vec![]);
        vats.start("mint", &file("examples/mint/mint.js"), &[], vec![]);
        vats.start("host", &file("examples/contracts/host.js"), &[("timer", "clock")], vec![]);
        vats.start("names", &file("examples/names/names.js"), &[], vec![]);
        vats.start("chat", &file("examples/chat/chat.js"), &[("timer", "clock")], vec![]);
        let roots = ["mint", "host", "names", "chat", "clock"].map(|vat| (vat, vat));
        vats.start("checks", &file("tests/examples/checks.js"), &roots, contracts());
        // The others pass references to objects of a third vat.
        let parts = json!(["mints", "registries", "chats", "floods"]);
        assert_eq!(vats.script("checks", &format!("checks => E(checks).run(harden({parts}))")), json!([]));
    });
}
