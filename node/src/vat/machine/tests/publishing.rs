//! What a vat publishes: the same root at each replica, over checkpoints, and not over upgrades.

use super::*;

const BOARD: &str = "import { Far } from '@endo/far';
export default ({ publisher }) => {
  let n = 0;
  publisher.publish('n', n);
  publisher.publish('name', 'board');
  return Far('board', { add() { n += 1; publisher.publish('n', n); return n; } });
};";

fn machine() -> (VatMachine, SharedView) {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let view = SharedView::default();
    let machine = VatMachine::new(&target(), None, image.clone(), Arc::new(Images::from(image)), limits, view.clone());
    (machine.expect("it starts"), view)
}

fn bundle(source: &str) -> Bundle {
    Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), source.into())]) }
}

/// Applies a block. Returns the root of what is published, and whether the block says that it changed that.
fn block(machine: &mut VatMachine, number: u64, commands: &[&VatCommand]) -> (Hash, bool) {
    let members = target().membership();
    let context = BlockContext { block: number, epoch: 0, membership: &members, now_ms: 0 };
    let commands: Vec<Vec<u8>> = commands.iter().map(codec::encode).collect();
    let applied = machine.apply(&context, &commands, false).expect("no fault");
    assert_eq!(applied.effects.published.root(), applied.published_root);
    (applied.published_root, applied.publishes)
}

fn tree(entries: &[(&str, Value)]) -> Hash {
    let entry = |(name, value): &(&str, Value)| (Arc::from(*name), Arc::from(value.encode()));
    let entries: BTreeMap<Arc<str>, Arc<[u8]>> = entries.iter().map(entry).collect();
    PublishedTree::new(Arc::new(entries)).root()
}

fn board(n: f64) -> Hash {
    tree(&[("n", Value::Number(n)), ("name", Value::String("board".into()))])
}

#[test]
fn replicas_publish_the_same_over_checkpoints_and_until_an_upgrade() {
    quorate_engine::heap::with_engine_stack(replicas_agree);
}

fn replicas_agree() {
    let bearer = Sturdyref::bearer(target().vat_id(), 0, [5; 32]);
    let mut install = adder(&bearer);
    (install.bundle, install.endowments) = (bundle(BOARD), vec!["publisher".into()]);
    let present = CodeDigest::of(&install);
    let install = VatCommand::Install(Box::new(signed(install)));
    let ((mut one, view), (mut other, other_view)) = (machine(), machine());
    assert_eq!((view.lock().published_block, one.published.root()), (Some(0), Hash::ZERO));
    for machine in [&mut one, &mut other] {
        assert_eq!(block(machine, 1, &[]), (Hash::ZERO, false));
        assert_eq!(block(machine, 2, &[&install]), (board(0.0), true));
    }
    assert_eq!(view.lock().published_block, Some(2));

    // One of them goes on from a checkpoint.
    let CheckpointParts { manifest, new_chunks, root: before } = other.checkpoint().expect("it can be kept");
    let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
    let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
    other.restore(&manifest, &mut fetch).expect("it can be restored");
    assert_eq!((other.published.root(), root(&mut other)), (board(0.0), before));
    {
        let mut view = other_view.lock();
        assert_eq!(view.published_block, None, "which block that is, the caller knows");
        assert_eq!(view.restored.pop_front().map(|restored| restored.published.root()), Some(board(0.0)));
    }
    let call = Caller::new(7, 100_000, &bearer).slice(None);
    for machine in [&mut one, &mut other] {
        assert_eq!(block(machine, 3, &[&call]), (board(1.0), true));
        assert_eq!(block(machine, 4, &[&call]), (board(1.0), false), "it is said once");
    }
    assert_eq!((view.lock().published_block, other_view.lock().published_block), (Some(3), Some(3)));
    assert_eq!(root(&mut one), root(&mut other));

    // Code that does not start leaves what is published; code that does publishes for itself.
    let members = target().membership();
    let upgrade = |source: &str, number| {
        let upgrade =
            Upgrade { bundle: bundle(source), argv: vec![], endowments: vec!["publisher".into()], image: None };
        let motion = UpgradeMotion::of(&upgrade, &present, number).encode();
        let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
        let approvals = [1, 2].map(|seed| approve_motion(&members, &motion, &key(seed))).to_vec();
        VatCommand::Upgrade(Box::new(UpgradeOrder { upgrade, motion, approvals }))
    };
    let bad = upgrade("export default ({ publisher }) => { publisher.publish('n', 9); throw Error('no'); };", 0);
    let next = "export default ({ publisher }) => { publisher.publish('version', 2); return harden({}); };";
    let good = upgrade(next, 1);
    for machine in [&mut one, &mut other] {
        assert_eq!(block(machine, 5, &[&bad]), (board(1.0), false));
        assert_eq!(block(machine, 6, &[&good]), (tree(&[("version", Value::Number(2.0))]), true));
    }
    assert_eq!(root(&mut one), root(&mut other));
}
