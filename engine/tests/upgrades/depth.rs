//! What an upgrade hands over at length: state in depth, starts that are long or wait, heaps that are full.

use crate::town::*;
use quorate_engine::abi::Value;
use quorate_engine::heap::{Limits, with_engine_stack};
use quorate_engine::machine::{CommandResult, Setup, Upgrade};

/// A tree whose leaves are shared, of which the root reads nothing by itself.
const TREE: &str = "
import { Far } from '@endo/far';
import { prepareExoClass, prepareExoClassKit, provideDurableMapStore, provideDurableSetStore } from '@agoric/vat-data';
export default (argv, baggage) => {
  const makeLeaf = prepareExoClass(baggage, 'Leaf', undefined, () => ({ count: 0, log: ['new'] }), {
    bump() { this.state.count += 1; this.state.log = [...this.state.log, this.state.count]; return this.state.count; },
    look() { return [this.state.count, this.state.log, this.state.log === this.state.log]; },
  });
  const makeBranch = prepareExoClassKit(baggage, 'Branch', undefined, (name, leaves) => ({ name, leaves }), {
    reader: { leaves() { return this.state.leaves; }, name() { return this.state.name; } },
    writer: { rename(name) { this.state.name = name; }, reader() { return this.facets.reader; } },
  });
  const branches = provideDurableMapStore(baggage, 'branches');
  const marked = provideDurableSetStore(baggage, 'marked');
  return Far('tree', {
    grow() {
      const shared = makeLeaf();
      branches.init('left', makeBranch('l', [shared, makeLeaf()]).writer);
      branches.init('right', makeBranch('r', { only: shared }).writer);
      branches.init(shared, harden({ deep: [[{ leaf: shared }]], word: 'kept' }));
      marked.add(shared);
    },
    bump: () => branches.get('left').reader().leaves()[0].bump(),
    look() {
      const [left, right] = [branches.get('left'), branches.get('right')];
      const shared = left.reader().leaves()[0];
      const deep = branches.get(shared);
      return [
        shared.look(), left.reader().leaves()[1].look(), right.reader().leaves().only === shared, marked.has(shared),
        marked.getSize(), deep.deep[0][0].leaf === shared, deep.word, left.reader().name(), right.reader().name(),
        branches.get('left') === left, left.reader() === branches.get('left').reader(), deep === branches.get(shared),
      ];
    },
    rename: name => branches.get('right').rename(name),
    reader: () => branches.get('left').reader(),
  });
};
";

fn numbers(list: &[f64]) -> Vec<Value> {
    list.iter().map(|number| Value::Number(*number)).collect()
}

#[test]
fn what_is_kept_in_depth_and_shared_is_so_after_many_upgrades() {
    with_engine_stack(|| {
        let mut town = Town::with(TREE);
        assert_eq!(town.get(ROOT, "grow", vec![], &[]), Value::Undefined);
        let leaf = |count: f64, log: &[f64]| {
            let log = [vec![text("new")], numbers(log)].concat();
            Value::Array(vec![Value::Number(count), Value::Array(log), Value::Bool(true)])
        };
        let yes = Value::Bool(true);
        let looks = |count, log: &[f64], right: &str| {
            Value::Array(vec![
                leaf(count, log),
                leaf(0.0, &[]),
                yes.clone(),
                yes.clone(),
                Value::Number(1.0),
                yes.clone(),
                text("kept"),
                text("l"),
                text(right),
                yes.clone(),
                yes.clone(),
                yes.clone(),
            ])
        };
        assert_eq!(town.get(ROOT, "look", vec![], &[]), looks(0.0, &[], "r"));
        // Nothing is read between the first two.
        for _ in 0..2 {
            assert_eq!(town.upgrade(upgrade_to(TREE)), CommandResult::Upgraded);
        }
        assert_eq!(town.get(ROOT, "look", vec![], &[]), looks(0.0, &[], "r"));
        assert_eq!(town.get(ROOT, "bump", vec![], &[]), Value::Number(1.0));
        assert_eq!(town.get(ROOT, "rename", vec![text("east")], &[]), Value::Undefined);
        assert_eq!(town.upgrade(upgrade_to(TREE)), CommandResult::Upgraded);
        assert_eq!(town.get(ROOT, "bump", vec![], &[]), Value::Number(2.0));
        assert_eq!(town.get(ROOT, "look", vec![], &[]), looks(2.0, &[1.0, 2.0], "east"));
    });
}

#[test]
fn objects_that_nobody_held_get_new_numbers() {
    with_engine_stack(|| {
        let mut town = Town::with(TREE);
        town.get(ROOT, "grow", vec![], &[]);
        assert_eq!(town.upgrade(upgrade_to(TREE)), CommandResult::Upgraded);
        let reader = town.object(ROOT, "reader", vec![]);
        let held: Vec<u64> = town.bank().comms().held_objects().collect();
        assert!(held.len() == 1 && held[0] >= 1 << 32, "{held:?}");
        assert_eq!(town.upgrade(upgrade_to(TREE)), CommandResult::Upgraded);
        assert_eq!(town.object(ROOT, "reader", vec![]), reader, "and keep them once somebody holds them");
        let forecast = town.bank().foresee(upgrade_to(TREE)).unwrap();
        assert_eq!((forecast.kept, forecast.lost), (1, 0));
    });
}

#[test]
fn a_start_that_waits_for_others_says_so_until_it_is_done() {
    with_engine_stack(|| {
        let mut town =
            Town::with("import { Far } from '@endo/far'; export default () => Far('root', { version: () => 1 });");
        assert_eq!(town.bank().summary().setup, Setup::Ready);
        let waits = "
import { E, Far } from '@endo/far';
export default async ({ shop }) => { const name = await E(shop).name(); return Far('root', { version: () => name }); };
";
        let argv = [named("late"), vec![("shop".to_owned(), crate::comms_support::root_of(SHOP))]].concat();
        assert_eq!(town.upgrade(Upgrade { argv, ..upgrade_to(waits) }), CommandResult::Upgraded);
        assert_eq!(town.bank().summary().setup, Setup::Waiting);
        let version = town.say(ROOT, "version", vec![], &[]);
        town.settle();
        assert_eq!(town.answer(version).unwrap().value, text("the shop"));
        assert_eq!(town.bank().summary().setup, Setup::Ready);
    });
}

#[test]
fn an_upgrade_may_burn_what_a_start_may() {
    with_engine_stack(|| {
        let code = |rounds: u32| {
            format!(
                "import {{ Far }} from '@endo/far';
                export default () => {{ let n = 0; for (let i = 0; i < {rounds}; i += 1) n += i; return Far('root', {{ sum: () => n }}); }};"
            )
        };
        let mut town = Town::with(&code(1));
        let forecast = town.bank().foresee(upgrade_to(&code(200_000))).unwrap();
        assert_eq!(forecast.failure, None);
        assert!((LIMITS.fuel_per_delivery..LIMITS.start_fuel()).contains(&forecast.fuel), "{}", forecast.fuel);
        assert_eq!(town.upgrade(upgrade_to(&code(200_000))), CommandResult::Upgraded);
        assert_eq!(town.get(ROOT, "sum", vec![], &[]), Value::Number(19_999_900_000.0));
    });
}

/// Keeps texts.
const ARCHIVE: &str = "
import { Far } from '@endo/far';
import { provideDurableMapStore } from '@agoric/vat-data';
export default (argv, baggage) => {
  const texts = provideDurableMapStore(baggage, 'texts');
  return Far('archive', {
    keep(from, count, bytes) { for (let n = from; n < from + count; n += 1) texts.init(n, `${n}`.padEnd(bytes, 'x')); return texts.getSize(); },
    read: n => texts.get(n).length,
    size: () => texts.getSize(),
  });
};
";

/// Saying what is kept takes more memory than there is left, and is undone.
#[test]
fn a_vat_whose_memory_is_full_can_be_upgraded() {
    with_engine_stack(|| {
        let limits = Limits { fuel_per_delivery: 100_000_000_000, memory_bytes: 64 << 20 };
        let mut town = Town::within(ARCHIVE, limits);
        assert_eq!(town.get(ROOT, "keep", numbers(&[0.0, 2_000.0, 10_000.0]), &[]), Value::Number(2_000.0));
        let heap = town.bank().summary().heap_bytes;
        assert!(heap > 56 << 20, "{heap} of {} bytes", limits.memory_bytes);
        let forecast = town.bank().foresee(upgrade_to(ARCHIVE)).unwrap();
        assert_eq!(forecast.failure, None);
        assert!(heap + 2 * forecast.bytes > limits.memory_bytes, "it has no room for what is said");
        assert_eq!(town.upgrade(upgrade_to(ARCHIVE)), CommandResult::Upgraded);
        assert_eq!(town.get(ROOT, "size", vec![], &[]), Value::Number(2_000.0));
        assert_eq!(town.get(ROOT, "read", numbers(&[1_999.0]), &[]), Value::Number(10_000.0));
        assert!(town.bank().summary().heap_bytes <= limits.memory_bytes);
    });
}

/// Arguments name vats that nobody here knew.
#[test]
fn what_an_upgrade_names_that_fails_or_is_only_foreseen_stays_unknown() {
    with_engine_stack(|| {
        let mut town = Town::new();
        let other = crate::comms_support::vat(5);
        let argv = [named("late"), vec![("other".to_owned(), crate::comms_support::root_of(other))]].concat();
        let upgrade = |source: &str| Upgrade { argv: argv.clone(), ..upgrade_to(source) };
        let knows = |town: &mut Town| town.bank().comms().peers().any(|(vat, _)| *vat == other);
        assert_eq!(town.bank().foresee(upgrade(BANK_2)).unwrap().failure, None);
        assert!(!knows(&mut town));
        let failed = town.upgrade(upgrade("export default () => { throw Error('no'); };"));
        assert!(matches!(failed, CommandResult::UpgradeFailed { .. }), "{failed:?}");
        assert!(!knows(&mut town));
        assert_eq!(town.upgrade(upgrade(BANK_2)), CommandResult::Upgraded);
        assert!(knows(&mut town));
    });
}
