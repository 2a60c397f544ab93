//! References come and go: what two or three vats of the real image have exchanged and let go of is held by none.
//!
//! `make test` exchanges 180,000 of each; `make references` a million, and prints the figures.

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
use std::time::Instant;

const ALICE: VatId = vat(1);
const BOB: VatId = vat(2);
const CAROL: VatId = vat(3);
const CLIENT: VatId = vat(9);

/// Sends new objects to the other vat and gets new ones of it, holds them until the next round, and calls one of them. `circle` hands
/// new objects of each of two vats on to the other one, too.
const TRADER: &str = "
import { E, Far } from '@endo/far';
export default ({ peer, third }) => {
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
    async circle(many) {
      const [ofPeer, ofThird] = await Promise.all([E(peer).swap(tickets(many)), E(third).swap(tickets(many))]);
      const [a, b] = await Promise.all([E(third).swap(ofPeer), E(peer).swap(ofThird)]);
      held = [a, b];
      for (const [ticket] of held) count += await E(ticket).number();
      return count / 2;
    },
    async swap(theirs) {
      // What is handed on is a promise until it was withdrawn.
      held = await Promise.all(theirs);
      if ((await E(held[0]).number()) !== theirs.length) throw Error('not the same');
      return harden(tickets(theirs.length));
    },
  });
};
";
/// References after which the sizes are those of whole cycles: vats collect at the latest after 8,192 that came in.
const WARM_UP: u64 = 60_000;
/// The same among three vats, where each message brings fewer.
const WARM_UP_OF_THREE: u64 = 120_000;
/// References in one message, and in one of three vats'.
const BATCH: u64 = 500;
const SMALL_BATCH: u64 = 250;
/// References after which a vat collects at the latest, and bytes of an entry in a table that is as large as they get here.
const MAX_NEW_IMPORTS: usize = 8_192;
const ENTRY_BYTES: usize = 24;
/// What tables and heap may have grown by at the end, in percent: by one step of a heap, which is 3 MiB at this size.
const SLACK_PERCENT: usize = 15;

fn trader(peers: &[(&str, VatId)], grants: Vec<VatId>) -> Command {
    let modules = BTreeMap::from([("main.js".to_owned(), TRADER.to_owned())]);
    Command::Install(Install {
        bundle: Bundle { entry: "main.js".to_owned(), modules },
        argv: peers.iter().map(|(name, peer)| ((*name).to_owned(), root_of(*peer))).collect(),
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
    /// Objects of one other vat that it held right after it had collected.
    imports: usize,
    /// Objects that one other vat still held of it right after that one had collected.
    exports: usize,
    /// Promises that were not retired at the end of a round.
    promises: usize,
}

fn assert_flat(what: &str, before: usize, after: usize) {
    assert!(after <= before + before * SLACK_PERCENT / 100, "{what} grew from {before} to {after}");
}

struct Trade {
    world: World<Heap>,
    vats: Vec<VatId>,
    method: &'static str,
    batch: u64,
    /// References that one round passes from one vat to another.
    references: u64,
    rounds: u64,
}

impl Trade {
    fn new(vats: &[VatId]) -> Trade {
        let image = Image::load(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")).unwrap();
        let mut world = World::new(1);
        for name in vats {
            world.machines.insert(*name, Machine::for_image(*name, image.clone(), Limits::default()).unwrap());
        }
        for name in &vats[1..] {
            assert_eq!(world.apply(*name, trader(&[], vec![ALICE])), CommandResult::Installed);
        }
        let peers: Vec<_> = ["peer", "third"].into_iter().zip(vats[1..].iter().copied()).collect();
        assert_eq!(world.apply(ALICE, trader(&peers, vec![CLIENT])), CommandResult::Installed);
        world.clients.insert(CLIENT, ClientSession::new(CLIENT, ALICE));
        let (method, batch, messages) = if vats.len() == 2 { ("trade", BATCH, 2) } else { ("circle", SMALL_BATCH, 8) };
        Trade { world, vats: vats.to_vec(), method, batch, references: messages * batch, rounds: 0 }
    }

    /// Exchanges `references` and gives the largest sizes that each vat had on the way.
    fn run(&mut self, references: u64) -> BTreeMap<VatId, Sizes> {
        let mut largest: BTreeMap<VatId, Sizes> = BTreeMap::new();
        for _ in 0..references / self.references {
            self.rounds += 1;
            let session = self.world.clients.get_mut(&CLIENT).unwrap();
            let many = Value::Array(vec![Value::Number(self.batch as f64)]);
            session.call(ClientRef::Object(0), Method::Call(self.method.to_owned()), &many, &[]).unwrap();
            self.world.post(CLIENT);
            self.world.settle();
            let answer = self.world.completions.pop().unwrap();
            assert_eq!(answer.value, Value::Number((self.rounds * self.batch) as f64));
            for name in self.vats.clone() {
                self.measure(name, largest.entry(name).or_default());
            }
            self.world.blocks.clear();
        }
        largest
    }

    fn measure(&mut self, name: VatId, sizes: &mut Sizes) {
        let collected: Vec<VatId> = self.vats.iter().copied().filter(|vat| self.collected(*vat)).collect();
        let machine = self.world.machines.get_mut(&name).unwrap();
        sizes.heap_bytes = sizes.heap_bytes.max(machine.summary().heap_bytes as usize);
        sizes.promises = sizes.promises.max(machine.summary().promises as usize);
        sizes.manifest_bytes = sizes.manifest_bytes.max(machine.checkpoint().unwrap().manifest.len());
        for other in self.vats.iter().filter(|other| **other != name) {
            let Some(peer) = machine.comms().peer(other) else { continue };
            if collected.contains(&name) {
                sizes.imports = sizes.imports.max(peer.imports().len());
            }
            if collected.contains(other) {
                sizes.exports = sizes.exports.max(peer.exports().len());
            }
        }
    }

    /// Whether a vat has collected in this round.
    fn collected(&self, name: VatId) -> bool {
        let mut blocks = self.world.blocks.iter().filter(|(of, _)| *of == name);
        blocks.any(|(_, block)| block.cranks.iter().any(|crank| crank.what == CrankKind::Collect))
    }
}

/// Exchanges so many references, the first of them to warm up, and sees that the rest has left nothing.
fn assert_nothing_stays(vats: &'static [VatId], warm_up: u64) {
    let references: u64 = match std::env::var("QUORATE_REFERENCES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 180_000,
    };
    with_engine_stack(move || {
        let mut trade = Trade::new(vats);
        let before = trade.run(warm_up);
        let began = Instant::now();
        let rest = references.saturating_sub(warm_up);
        let after = trade.run(rest);
        let took = began.elapsed().as_secs_f64() * 1e6 / rest as f64;
        println!("{} vats, {rest} references after {warm_up}: {took:.1} ms a thousand", vats.len());
        for name in vats {
            let (before, after) = (before[name], after[name]);
            println!("vat {}: {before:?} in the first {warm_up}, {after:?} in the rest", name.0[0]);
            assert!(before.imports > 0 && after.imports > 0, "{name:?} has collected in both parts");
            assert_flat("the heap", before.heap_bytes, after.heap_bytes);
            assert_flat("the table of imports", before.imports, after.imports);
            assert_flat("the table of exports", before.exports, after.exports);
            assert_flat("the table of promises", before.promises, after.promises);
            // Between two collections of any vat they hold what came in since, of each other vat.
            let others = vats.len() - 1;
            let bound = others * 4 * (MAX_NEW_IMPORTS + BATCH as usize) * ENTRY_BYTES + after.heap_bytes / 4096 * 34;
            let bytes = after.manifest_bytes;
            assert!(bytes < bound, "{bytes} bytes of tables and pages, more than {bound}");
        }
    });
}

#[test]
fn what_was_exchanged_and_let_go_of_is_held_by_neither_vat() {
    assert_nothing_stays(&[ALICE, BOB], WARM_UP);
}

#[test]
fn what_was_handed_on_among_three_vats_is_held_by_none() {
    assert_nothing_stays(&[ALICE, BOB, CAROL], WARM_UP_OF_THREE);
}
