//! The example contracts of `testnet/examples`: in one vat, and between several without hosts or network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{World, root_of, vat as name};
use quorate_engine::abi::{Bundle, CapData, Delivery, Method, News, Slot, Value};
use quorate_engine::heap::{Heap, Limits, with_engine_stack};
use quorate_engine::machine::{ArgValue, Command, CommandResult, Guest, Install, Machine};
use quorate_engine::{Hash, VatId};
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
            let crank = Guest::deliver(&mut heap, &call, &News::default()).unwrap();
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
        self.begin(root, work);
        self.end()
    }

    fn begin(&mut self, root: &str, work: &str) {
        let source = format!(
            "import {{ E }} from '@endo/far';\n\
             const work = {work};\n\
             export default ({{ exit, root }}) => {{ work(root).then(exit, reason => exit(`failed: ${{reason}}`)); return harden(() => {{}}); }};\n"
        );
        self.start("script", &source, &[("root", root)], vec![]);
    }

    fn end(&mut self) -> Json {
        self.world.settle();
        let summary = self.world.machines[&self.names["script"]].summary();
        let exit = summary.exit.unwrap_or_else(|| panic!("the script waits for ever; {:?}", self.logs()));
        exit.value.value().unwrap().to_json()
    }

    /// A vat as a host has it that lost everything in memory: from a checkpoint.
    fn restore(&mut self, vat: &str, chunks: &mut BTreeMap<Hash, Vec<u8>>) {
        let machine = self.world.machines.get_mut(&self.names[vat]).unwrap();
        let checkpoint = machine.checkpoint().unwrap();
        chunks.extend(checkpoint.new_chunks);
        let mut fetch = |hash: &Hash| Ok(chunks[hash].clone());
        *machine = Machine::restore(self.names[vat], image(), LIMITS, &checkpoint.manifest, &mut fetch).unwrap();
        assert_eq!(machine.checkpoint().unwrap().root, checkpoint.root, "{vat}");
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
        assert_eq!(vats.script("checks", "checks => E(checks).run()"), json!([]));
    });
}

/// The five vats of the exchange, with this code in Bob's place.
fn exchange(seed: u64, bob: &str) -> Vats {
    let mut vats = Vats::new(seed, &["mint", "host", "alice", "bob", "driver", "script"]);
    let escrow = || contracts().into_iter().filter(|(name, _)| name == "escrow").collect::<Vec<_>>();
    vats.start("mint", &file("examples/mint/mint.js"), &[], vec![]);
    vats.start("host", &file("examples/contracts/host.js"), &[], vec![]);
    vats.start("alice", &file("examples/exchange/alice.js"), &[("host", "host")], escrow());
    vats.start("bob", &file(&format!("examples/exchange/{bob}.js")), &[("mint", "mint"), ("host", "host")], escrow());
    let roots = ["mint", "alice", "bob"].map(|vat| (vat, vat));
    vats.start("driver", &file("examples/exchange/driver.js"), &roots, vec![]);
    vats
}

#[test]
fn an_exchange_over_five_vats_ends_right_in_both_orders() {
    with_engine_stack(|| {
        for seed in 0..5 {
            let mut vats = exchange(seed, "bob");
            let trades = [("alice", 30), ("bob", 30), ("bob", 10), ("alice", 2000), ("bob", 2000)];
            let trades = trades.map(|(first, price)| format!("await E(driver).trade('{first}', {price})"));
            let found = vats.script("driver", &format!("async driver => harden([{}])", trades.join(", ")));
            let ended = |outcome: &str, bob: &str, of_alice: [u64; 2], of_bob: [u64; 2]| json!({ "outcome": outcome, "bob": bob, "balances": { "alice": of_alice, "bob": of_bob } });
            let wanted = [
                ended("traded", "offered", [970, 10], [30, 290]),
                ended("traded", "offered", [940, 20], [60, 280]),
                ended("cancelled", "refused: too cheap", [940, 20], [60, 280]),
                // More than Alice has: first she sees, then Bob has paid already and gets it back.
                ended("cancelled", "refused: not asked", [940, 20], [60, 280]),
                ended("cancelled", "offered", [940, 20], [60, 280]),
            ];
            assert_eq!(found, json!(wanted), "seed {seed}: {:?}", vats.logs());
        }
    });
}

/// Every lie, with how it ends for the liar.
const LIES: [(&str, &str); 6] = [
    ("silent", "did nothing"),
    ("forger", "refused: this is no purse of goods"),
    ("other mint", "refused: this is no purse of goods"),
    ("poor", "refused: 10 of goods are more than this purse holds"),
    ("thief", "refused: this token is for another contract or for another role; it was not used"),
    ("canceller", "cancelled"),
];

#[test]
fn who_trades_with_a_liar_gets_back_what_he_gave() {
    with_engine_stack(|| {
        for seed in 0..3 {
            for first in ["alice", "bob"] {
                let mut vats = exchange(seed, "liar");
                let lies: Vec<&str> =
                    LIES.iter().map(|(lie, _)| *lie).filter(|lie| *lie != "canceller" || first == "bob").collect();
                let work = format!(
                    "async driver => {{
                       const found = [];
                       for (const lie of {lies:?}) found.push(await E(driver).cheat('{first}', lie));
                       return harden(found);
                     }}"
                );
                let found = vats.script("driver", &work);
                let ends = LIES.iter().filter(|(lie, _)| lies.contains(lie));
                let wanted: Vec<Json> = ends
                    .map(|(_, end)| json!({ "outcome": "cancelled", "bob": end, "balances": { "alice": [1000, 0], "bob": [0, 300] } }))
                    .collect();
                assert_eq!(found, json!(wanted), "seed {seed}, {first} first: {:?}", vats.logs());
            }
        }
    });
}

/// Every vat is restored from a checkpoint, again and again, while messages are under way.
#[test]
fn an_exchange_goes_on_from_checkpoints_in_its_middle() {
    with_engine_stack(|| {
        for seed in 0..10 {
            let mut vats = exchange(seed, "bob");
            let first = if seed % 2 == 0 { "alice" } else { "bob" };
            vats.begin("driver", &format!("driver => E(driver).trade('{first}')"));
            let mut chunks = BTreeMap::new();
            for round in 0..8 {
                for _ in 0..20 + seed {
                    vats.world.step();
                }
                let vat = ["host", "mint", "alice", "bob", "driver"][(seed as usize + round) % 5];
                vats.restore(vat, &mut chunks);
            }
            let balances = json!({ "alice": [970, 10], "bob": [30, 290] });
            assert_eq!(
                vats.end(),
                json!({ "outcome": "traded", "bob": "offered", "balances": balances }),
                "seed {seed}"
            );
        }
    });
}
