//! References come and go: what two vats of the real image have exchanged and let go of is held by neither.
//!
//! `make test` exchanges 180,000; `QUORATE_REFERENCES=1000000 cargo test --locked --workspace --test references -- --nocapture`
//! exchanges a million and prints the figures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::{World, root_of, vat};
use quorate_engine::VatId;
use quorate_engine::abi::{Bundle, Method, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession};
use quorate_engine::heap::{Heap, Limits, with_engine_stack};
use quorate_engine::image::Image;
use quorate_engine::machine::{Command, CommandResult, CrankKind, Install, Machine};
use std::collections::BTreeMap;
use std::path::Path;

const ALICE: VatId = vat(1);
const BOB: VatId = vat(2);
const CLIENT: VatId = vat(9);

/// Sends new objects to the other vat and gets new ones of it, holds them until the next round, and calls one of them.
const TRADER: &str = "
import { E, Far } from '@endo/far';
export default ({ peer }) => {
  let count = 0;
  let held = [];
  const tickets = many => Array.from({ length: many }, () => Far('Ticket', { number: () => many }));
  return Far('Trader', {
    async trade(many) {
      const theirs = await E(peer).swap(tickets(many));
      if (`${theirs[0]}` !== '[object Alleged: Ticket]') throw Error(`${theirs[0]}`);
      held = theirs;
      count += await E(theirs[0]).number();
      return count;
    },
    swap(theirs) {
      held = theirs;
      return harden(tickets(theirs.length));
    },
  });
};
";
/// References after which the sizes are those of whole cycles: vats collect at the latest after 8,192 that came in.
const WARM_UP: u64 = 60_000;
/// References in one message.
const BATCH: u64 = 500;
/// References after which a vat collects at the latest, and bytes of an entry in a table that is as large as they get here.
const MAX_NEW_IMPORTS: usize = 8_192;
const ENTRY_BYTES: usize = 24;
/// What tables and heap may have grown by at the end, in percent.
const SLACK_PERCENT: usize = 10;

fn trader(peer: Option<VatId>, grants: Vec<VatId>) -> Command {
    let modules = BTreeMap::from([("main.js".to_owned(), TRADER.to_owned())]);
    Command::Install(Install {
        bundle: Bundle { entry: "main.js".to_owned(), modules },
        argv: peer.map(|peer| ("peer".to_owned(), root_of(peer))).into_iter().collect(),
        endowments: Vec::new(),
        grants,
        bearers: Vec::new(),
    })
}

/// The largest sizes of what a vat kept over some rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    heap_bytes: usize,
    /// Tables and the list of pages.
    manifest_bytes: usize,
    /// Objects of the other vat that it held right after it had collected.
    imports: usize,
    /// Objects that the other vat still held of it right after that one had collected.
    exports: usize,
}

fn assert_flat(what: &str, before: usize, after: usize) {
    assert!(after <= before + before * SLACK_PERCENT / 100, "{what} grew from {before} to {after}");
}

struct Trade {
    world: World<Heap>,
    rounds: u64,
}

impl Trade {
    fn new() -> Trade {
        let image = Image::load(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")).unwrap();
        let mut world = World::new(1);
        for name in [ALICE, BOB] {
            world.machines.insert(name, Machine::for_image(name, image.clone(), Limits::default()).unwrap());
        }
        assert_eq!(world.apply(BOB, trader(None, vec![ALICE])), CommandResult::Installed);
        assert_eq!(world.apply(ALICE, trader(Some(BOB), vec![CLIENT])), CommandResult::Installed);
        world.clients.insert(CLIENT, ClientSession::new(CLIENT, ALICE));
        Trade { world, rounds: 0 }
    }

    /// Exchanges `references` and gives the largest sizes that either vat had on the way.
    fn run(&mut self, references: u64) -> BTreeMap<VatId, Sizes> {
        let mut largest: BTreeMap<VatId, Sizes> = BTreeMap::new();
        for _ in 0..references / (2 * BATCH) {
            self.rounds += 1;
            let session = self.world.clients.get_mut(&CLIENT).unwrap();
            let many = Value::Array(vec![Value::Number(BATCH as f64)]);
            session.call(ClientRef::Object(0), Method::Call("trade".to_owned()), &many, &[]).unwrap();
            self.world.post(CLIENT);
            self.world.settle();
            let answer = self.world.completions.pop().unwrap();
            assert_eq!(answer.value, Value::Number((self.rounds * BATCH) as f64));
            for (name, other) in [(ALICE, BOB), (BOB, ALICE)] {
                let (collected, other_collected) = (self.collected(name), self.collected(other));
                let sizes = largest.entry(name).or_default();
                let machine = self.world.machines.get_mut(&name).unwrap();
                sizes.heap_bytes = sizes.heap_bytes.max(machine.summary().heap_bytes as usize);
                sizes.manifest_bytes = sizes.manifest_bytes.max(machine.checkpoint().unwrap().manifest.len());
                let peer = machine.comms().peer(&other).unwrap();
                if collected {
                    sizes.imports = sizes.imports.max(peer.imports().len());
                }
                if other_collected {
                    sizes.exports = sizes.exports.max(peer.exports().len());
                }
            }
            self.world.blocks.clear();
        }
        largest
    }

    /// Whether a vat has collected in this round.
    fn collected(&self, name: VatId) -> bool {
        let mut blocks = self.world.blocks.iter().filter(|(of, _)| *of == name);
        blocks.any(|(_, block)| block.cranks.iter().any(|crank| crank.what == CrankKind::Collect))
    }
}

#[test]
fn what_was_exchanged_and_let_go_of_is_held_by_neither_vat() {
    let references: u64 = match std::env::var("QUORATE_REFERENCES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 3 * WARM_UP,
    };
    with_engine_stack(move || {
        let mut trade = Trade::new();
        let before = trade.run(WARM_UP);
        let after = trade.run(references.saturating_sub(WARM_UP));
        for name in [ALICE, BOB] {
            let (before, after) = (before[&name], after[&name]);
            println!("{name:?}: {before:?} in the first {WARM_UP}, {after:?} in all {references}");
            assert!(before.imports > 0 && after.imports > 0, "{name:?} has collected in both parts");
            assert_flat("the heap", before.heap_bytes, after.heap_bytes);
            assert_flat("the table of imports", before.imports, after.imports);
            assert_flat("the table of exports", before.exports, after.exports);
            // Between two collections of either vat they hold what came in since.
            let bound = 4 * (MAX_NEW_IMPORTS + BATCH as usize) * ENTRY_BYTES + after.heap_bytes / 4096 * 34;
            assert!(
                after.manifest_bytes < bound,
                "{} bytes of tables and pages, more than {bound}",
                after.manifest_bytes
            );
        }
    });
}
