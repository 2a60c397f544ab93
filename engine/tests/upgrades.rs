//! Other code, and another image, in the place of a vat's present ones: what outlives that, what others hear of the rest, and that one that fails
//! changes nothing. On the real image.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
#[path = "upgrades/depth.rs"]
mod depth;
#[path = "upgrades/town.rs"]
mod town;

use quorate_engine::abi::Value;
use quorate_engine::heap::{Heap, HeapManifest, with_engine_stack};
use quorate_engine::image::{IMAGE_WASM, Image};
use quorate_engine::machine::{Command, CommandResult, CrankKind, FuelShares, Install, Machine, Upgrade};
use quorate_engine::{EngineError, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use town::*;

#[test]
fn state_and_references_outlive_an_upgrade_and_the_rest_is_said_to_have_ended() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let Held { purse, owner, desk, ticket } = open_accounts(&mut town);
        let (never, later, asked) = (
            town.say(ROOT, "never", vec![], &[]),
            town.say(ROOT, "later", vec![Value::Number(9e9)], &[]),
            town.say(ROOT, "ask", vec![], &[]),
        );
        town.settle();
        assert_eq!(town.answer(never), None);

        let before = town.heap_root();
        let forecast = town.bank().foresee(upgrade_to(BANK_2)).unwrap();
        assert_eq!((forecast.failure.clone(), forecast.hands_over, forecast.baggage), (None, true, 3));
        let kinds =
            [("@map", 1), ("Account", 1), ("Desk", 1), ("Purse", 2)].map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(forecast.kinds, BTreeMap::from(kinds));
        assert_eq!((forecast.kept, forecast.lost, forecast.timers), (4, 1, 1), "{forecast:?}");
        assert_eq!(forecast.lost_objects[0].1.as_deref(), Some("ticket"));
        assert_eq!((forecast.promises, forecast.calls), (3, 1));
        assert_eq!(town.heap_root(), before, "looking changes nothing");

        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        let cranks = &town.world.blocks.last().unwrap().1.cranks;
        assert_eq!(cranks.iter().map(|crank| crank.what).collect::<Vec<_>>(), [CrankKind::Upgrade, CrankKind::Upgrade]);
        assert_eq!(cranks.iter().map(|crank| crank.fuel).sum::<u64>(), forecast.fuel);
        town.settle();
        for promise in [never, later, asked] {
            let completion = town.answer(promise).expect("it is settled");
            assert!(!completion.fulfilled);
            assert_eq!(completion.value, Value::error("VatError", "the vat was upgraded before this was settled"));
        }
        assert_eq!(town.get(ROOT, "cancelled", vec![], &[]), Value::Number(1.0), "the shop hears that nobody waits");
        // The same references, the same state, other code.
        assert_eq!(town.get(ROOT, "version", vec![], &[]), Value::Number(2.0));
        assert_eq!(town.get(purse, "deposit", vec![big(1)], &[]), big(16));
        assert_eq!(town.get(purse, "owner", vec![], &[]), text("old"));
        assert_eq!(town.get(purse, "log", vec![], &[]), Value::Array(vec![big(5)]));
        assert_eq!(town.get(desk, "greet", vec![], &[]), text("late 2"));
        assert_eq!(town.get(ROOT, "count", vec![], &[]), big(2));
        assert_eq!(town.get(ROOT, "total", vec![], &[]), big(36));
        assert_eq!(town.get(ROOT, "shopping", vec![], &[]), text("the shop"));
        assert_eq!(town.object(ROOT, "find", vec![text("ann")]), purse, "it has the number that it had");
        assert_eq!(town.object(ROOT, "desk", vec![]), desk);
        assert_eq!(town.object(purse, "self", vec![]), purse);
        let same = town.get(ROOT, "same", vec![Value::Slot(0), Value::Slot(1)], &[purse, purse]);
        assert_eq!(same, Value::Bool(true));
        // A facet that nobody held comes with the one that was held.
        assert_eq!(town.get(owner, "close", vec![], &[]), Value::Undefined);
        let viewer = town.object(owner, "viewer", vec![]);
        let seen = town.ask(viewer, "see", vec![], &[]);
        assert_eq!(seen.slots, [purse], "{seen:?}");
        assert!(
            matches!(&seen.value, Value::Array(items) if items[0] == Value::Bool(true) && items[2] == text("seen by 2"))
        );
        // What was not kept has ended, can still be named, and is itself.
        let (name, message) = town.refused(ticket, "use");
        assert_eq!(name, "VatError");
        assert!(message.contains("upgraded"), "{message}");
        assert_eq!(town.get(ROOT, "same", vec![Value::Slot(0), Value::Slot(0)], &[ticket]), Value::Bool(true));
        assert_eq!(town.get(ROOT, "same", vec![Value::Slot(0), Value::Slot(1)], &[ticket, purse]), Value::Bool(false));
        // New things have numbers that nothing had.
        let fresh = town.object(ROOT, "ticket", vec![]);
        assert_eq!(town.get(fresh, "use", vec![], &[]), text("used"));
        let carl = town.object(ROOT, "open", vec![text("carl"), big(1)]);
        assert_eq!(town.get(carl, "owner", vec![], &[]), text("new"));
        assert_eq!(town.bank().summary().timers, 0);

        // Once more, and back.
        let forecast = town.bank().foresee(upgrade_to(BANK_2)).unwrap();
        assert_eq!((forecast.failure, forecast.kinds["Purse"]), (None, 3));
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        assert_eq!(town.get(purse, "balance", vec![], &[]), big(16));
        assert_eq!(town.get(carl, "owner", vec![], &[]), text("new"));
        assert_eq!(town.refused(fresh, "use").0, "VatError");
        assert_eq!(town.refused(ticket, "use").0, "VatError");
        let newest = town.object(ROOT, "ticket", vec![]);
        assert_eq!(town.get(newest, "use", vec![], &[]), text("used"));
        assert!(![fresh, ticket, carl].contains(&newest));
        town.settle();
        let summary = town.bank().summary();
        // The shop never answers what it was asked; nobody here waits for it.
        assert_eq!((summary.promises, summary.pending_refusals), (1, 0), "{summary:?}");
    });
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let Held { purse, ticket, .. } = open_accounts(&mut town);
        let waits = town.say(ROOT, "later", vec![Value::Number(50.0)], &[]);
        town.settle();
        for (source, why) in [
            ("export default () => { throw RangeError('no'); };", "RangeError: no"),
            ("export default async () => { await null; throw RangeError('no later'); };", "RangeError: no later"),
            ("export default () => { for (;;); };", "the start exceeded the fuel limit"),
            ("export default () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); };", "the start exceeded the memory limit"),
            ("syntax error", "main.js"),
            ("export default 1;", "default export"),
            (
                "import { Far } from '@endo/far'; export default () => Far('bank', {});",
                "these kinds have instances, and the code did not prepare them by the end of its start: Purse (2), Account (1), Desk (1)",
            ),
            (
                "import { Far } from '@endo/far'; export default (argv, baggage) => { baggage.get('purses').get('ann'); };",
                "an object of the kind Purse is needed before that is prepared",
            ),
            (
                "import { prepareExoClass } from '@agoric/vat-data';
                export default (argv, baggage) => { for (const name of ['Desk', 'Purse', 'Account']) prepareExoClass(baggage, name, undefined, () => ({}), {}); };",
                "the kind Account has facets that it does not have any more: owner, viewer",
            ),
            (
                "import { prepareExoClassKit, prepareExoClass } from '@agoric/vat-data';
                export default (argv, baggage) => {
                  prepareExoClass(baggage, 'Desk', undefined, () => ({}), {});
                  prepareExoClassKit(baggage, 'Account', undefined, () => ({}), { owner: {}, viewer: {} });
                  prepareExoClass(baggage, 'Purse', undefined, () => ({}), {}, { migrate: () => { throw Error('not so'); } });
                };",
                "Error: not so",
            ),
        ] {
            town.fails(upgrade_to(source), why);
        }
        town.fails(
            Upgrade { endowments: vec!["name".into()], ..upgrade_to(BANK_2) },
            "both an argument and an endowment",
        );
        town.fails(Upgrade { endowments: vec!["gun".into()], ..upgrade_to(BANK_2) }, "no endowment");
        // The vat goes on: its references, its timers, its state.
        assert_eq!(town.get(ROOT, "version", vec![], &[]), Value::Number(1.0));
        assert_eq!(town.get(ticket, "use", vec![], &[]), text("used"));
        assert_eq!(town.get(purse, "balance", vec![], &[]), big(15));
        town.world.apply(BANK, Command::Tick { now_ms: 5_000 });
        town.settle();
        assert!(town.answer(waits).expect("it fires").fulfilled);
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        assert_eq!(town.get(purse, "balance", vec![], &[]), big(15));
    });
}

#[test]
fn a_vat_without_code_or_that_has_exited_is_not_upgraded() {
    with_engine_stack(|| {
        let mut machine = Machine::for_image(BANK, own_image(), LIMITS).unwrap();
        let refused = machine.apply(Command::Upgrade(upgrade_to(BANK_2))).unwrap();
        assert!(matches!(refused, CommandResult::Refused { .. }), "{refused:?}");
        let install = Install {
            bundle: bundle("export default ({ exit }) => { exit(1); };"),
            argv: vec![],
            endowments: vec!["exit".into()],
            grants: vec![],
            bearers: vec![],
        };
        assert_eq!(machine.apply(Command::Install(install)).unwrap(), CommandResult::Installed);
        let refused = machine.apply(Command::Upgrade(upgrade_to(BANK_2))).unwrap();
        assert!(matches!(refused, CommandResult::Refused { .. }), "{refused:?}");
    });
}

/// What a crank changed before it was undone is not handed over, and what was refused was not kept.
#[test]
fn only_what_was_kept_by_cranks_that_were_done_is_handed_over() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let Held { purse, .. } = open_accounts(&mut town);
        assert_eq!(town.refused(purse, "fail").0, "VatError");
        let refusals = town.get(ROOT, "refusals", vec![], &[]);
        let Value::Array(refusals) = refusals else { panic!("{refusals:?}") };
        let parts = [
            "does not outlive an upgrade",
            "a promise does not outlive an upgrade",
            "the state's balance: ",
            "the kind Desk is prepared already",
            "with the baggage of the vat",
            "guards and shapes are checked by the package @endo/patterns",
            "was called on",
        ];
        for (refusal, part) in refusals.iter().zip(parts) {
            assert!(
                matches!(refusal, Value::String(text) if text.starts_with("TypeError: ") || text.starts_with("Error: ")),
                "{refusal:?}"
            );
            assert!(matches!(refusal, Value::String(text) if text.contains(part)), "no {part}: {refusal:?}");
        }
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        assert_eq!(town.get(purse, "balance", vec![], &[]), big(15));
    });
}

/// Calls that are sent to an answer arrive after the upgrade that came between: they go where the answer went.
#[test]
fn calls_to_answers_of_before_go_where_those_went() {
    with_engine_stack(|| {
        let mut town = Town::new();
        open_accounts(&mut town);
        let (found, ticket) = (town.say(ROOT, "find", vec![text("ann")], &[]), town.say(ROOT, "ticket", vec![], &[]));
        // The bank has the calls, and the client does not know what came of them.
        let deliver = town.deliver();
        let next = deliver.end + 1;
        assert_eq!(town.world.apply(BANK, Command::Deliver(deliver)), CommandResult::Delivered { next });
        let (balance, used) = (town.say(found, "balance", vec![], &[]), town.say(ticket, "use", vec![], &[]));
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        town.settle();
        assert_eq!(town.answer(balance).unwrap().value, big(15));
        let used = town.answer(used).unwrap();
        assert!(!used.fulfilled, "{used:?}");
        town.settle();
        assert_eq!(town.bank().summary().promises, 0);
    });
}

/// An upgrade has no sender who pays. What it burns is on the block: others wait for the next one.
#[test]
fn what_an_upgrade_burns_counts_for_its_block_also_if_it_fails() {
    with_engine_stack(|| {
        let mut town = Town::new();
        open_accounts(&mut town);
        let throws = upgrade_to("export default () => { throw Error('no'); };");
        // Much more than two calls burn.
        let per_block = town.bank().foresee(throws.clone()).unwrap().fuel / 2;
        let shares = FuelShares { per_turn: u64::MAX, per_block, host_work: false };
        let machine = town.world.machines.remove(&BANK).unwrap().with_fuel(shares);
        town.world.machines.insert(BANK, machine);
        for (upgrade, taken) in [(None, 2), (Some(throws), 1), (Some(upgrade_to(BANK_2)), 1)] {
            for _ in 0..2 {
                town.say(ROOT, "version", vec![], &[]);
            }
            let deliver = town.deliver();
            if let Some(upgrade) = upgrade {
                town.bank().apply(Command::Upgrade(upgrade)).unwrap();
            }
            let next = deliver.begin + taken;
            assert_eq!(town.bank().apply(Command::Deliver(deliver)).unwrap(), CommandResult::Delivered { next });
            town.world.end_block(BANK, false);
            town.settle();
        }
    });
}

/// Objects of other vats are held as long as something that is kept names them, and no longer.
#[test]
fn references_to_other_vats_that_nothing_keeps_are_dropped() {
    with_engine_stack(|| {
        let mut town = Town::new();
        open_accounts(&mut town);
        let imports = |town: &mut Town| town.bank().comms().peer(&SHOP).unwrap().imports().len();
        assert_eq!(imports(&mut town), 1, "the root of the shop");
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        assert_eq!(town.get(ROOT, "shopping", vec![], &[]), text("the shop"));
        assert_eq!(imports(&mut town), 1, "the baggage has it");
        assert_eq!(town.get(ROOT, "forget", vec![], &[]), Value::Undefined);
        assert_eq!(town.upgrade(upgrade_to(BANK_2)), CommandResult::Upgraded);
        assert_eq!(imports(&mut town), 0, "nothing has it");
    });
}

/// A replica that was restored between two upgrades is where those are that were not.
#[test]
fn replicas_agree_whenever_they_were_restored() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let Held { purse, .. } = open_accounts(&mut town);
        let restore = |machine: &mut Machine<Heap>, pages: &mut BTreeMap<Hash, Vec<u8>>| {
            let checkpoint = machine.checkpoint().unwrap();
            pages.extend(checkpoint.new_chunks);
            let make = |manifest: &HeapManifest| {
                let mut fetch = |hash: &Hash| pages.get(hash).cloned().ok_or(EngineError::NoImage { hash: *hash });
                let images = Arc::new(Both(own_image(), twin()));
                Heap::restore_moved(own_image(), images, LIMITS, manifest, &mut fetch)
            };
            let mut restored = Machine::restore_with(BANK, &checkpoint.manifest, make).unwrap();
            assert_eq!(restored.checkpoint().unwrap().root, checkpoint.root);
            restored
        };
        let mut pages = BTreeMap::new();
        let images = [None, Some(twin().hash()), None, Some(own_image().hash())];
        for (round, image) in images.into_iter().enumerate() {
            let mut other = restore(town.bank(), &mut pages);
            let upgrade = Upgrade { image, ..upgrade_to(BANK_2) };
            assert_eq!(town.upgrade(upgrade.clone()), CommandResult::Upgraded);
            assert_eq!(other.apply(Command::Upgrade(upgrade)).unwrap(), CommandResult::Upgraded);
            other.end_block(false);
            let roots = [town.bank().checkpoint().unwrap(), other.checkpoint().unwrap()];
            assert_eq!(roots[0].root, roots[1].root, "round {round}");
            pages.extend(roots.into_iter().flat_map(|checkpoint| checkpoint.new_chunks));
            let wanted = [own_image(), twin(), twin(), own_image()][round].hash();
            assert_eq!(manifest(town.bank()).image, wanted);
            assert_eq!(manifest(&mut other).image, wanted);
            let session = &town.world.clients[&CLIENT];
            assert_eq!(session.open_count(), 0);
            assert_eq!(town.get(purse, "deposit", vec![big(1)], &[]), big(16 + round as i64));
        }
    });
}

#[test]
fn an_image_that_is_not_here_is_a_fault_of_the_host() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let unknown = Upgrade { image: Some(Hash([7; 32])), ..upgrade_to(BANK_2) };
        let fault = town.bank().apply(Command::Upgrade(unknown));
        assert!(matches!(fault, Err(EngineError::NoImage { hash: Hash(bytes) }) if bytes == [7; 32]), "{fault:?}");
    });
}

/// Moves a vat out of each image of before upgrades whose bytes are at hand (see `golden_execution.rs`): nothing is handed over, and the root
/// stays the root.
#[test]
fn a_vat_of_an_older_image_moves_to_the_present_one() {
    let Some(folder) = std::env::var_os("QUORATE_IMAGES") else {
        println!("no image of before is run: QUORATE_IMAGES names a folder with their bytes");
        return;
    };
    with_engine_stack(move || {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "wasm")) {
            moves_to_the_present(&Image::from_wasm(&std::fs::read(&file).unwrap(), &cache()).unwrap());
        }
    });
}

/// The present image without the export that says that it hands over: as images of before upgrades are.
#[test]
fn a_vat_moves_out_of_an_image_of_before_upgrades_and_never_into_one() {
    with_engine_stack(|| {
        let name = b"quorate_hands_over";
        let mut wasm = IMAGE_WASM.to_vec();
        let places: Vec<usize> =
            wasm.windows(name.len()).enumerate().filter(|(_, part)| part == name).map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "the image has the export");
        for at in places {
            wasm[at + name.len() - 1] = b'x';
        }
        let older = Image::from_wasm(&wasm, &cache()).unwrap();
        assert!(!older.hands_over());
        moves_to_the_present(&older);
    });
}

/// Moves a vat of this image to the present one, and not back if that is of before upgrades.
fn moves_to_the_present(older: &Arc<Image>) {
    let images = Arc::new(Both(own_image(), older.clone()));
    let heap = Heap::new(older.clone(), LIMITS).unwrap().with_images(images);
    let mut machine = Machine::new(BANK, heap);
    let code = "import { Far } from '@endo/far'; export default () => Far('root', { version: () => 1 });";
    let install =
        Install { bundle: bundle(code), argv: vec![], endowments: vec![], grants: vec![CLIENT], bearers: vec![] };
    assert_eq!(machine.apply(Command::Install(install)).unwrap(), CommandResult::Installed);
    machine.end_block(false);
    let to_own = Upgrade { image: Some(own_image().hash()), ..upgrade_to(BANK_2) };
    let forecast = machine.foresee(to_own.clone()).unwrap();
    assert_eq!((forecast.hands_over, forecast.failure), (older.hands_over(), None));
    assert_eq!(machine.apply(Command::Upgrade(to_own)).unwrap(), CommandResult::Upgraded);
    machine.end_block(false);
    assert_eq!(manifest(&mut machine).image, own_image().hash());
    println!("{} moved to {}", older.hash(), own_image().hash());
    let back = Upgrade { image: Some(older.hash()), ..upgrade_to(BANK_2) };
    let failure = machine.foresee(back.clone()).unwrap().failure;
    if older.hands_over() {
        assert_eq!(failure, None);
        return;
    }
    assert!(failure.as_ref().is_some_and(|why| why.contains("of before upgrades")), "{failure:?}");
    let refused = machine.apply(Command::Upgrade(back)).unwrap();
    assert!(matches!(refused, CommandResult::Refused { .. }), "{refused:?}");
    assert_eq!(manifest(&mut machine).image, own_image().hash());
}
