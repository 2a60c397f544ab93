//! What one vat's machine takes and refuses, without a replica around it.

use super::*;
use crate::run::engine_cache;
use ed25519_dalek::SigningKey;
use quorate_consensus::{Certificate, HostId, MemberSignature, Parameters, Statement, approve_motion};
use quorate_engine::{
    abi::{Bundle, Method, Value},
    comms::client::{ClientRef, ClientSession},
    image::Images,
    machine::Install,
};
use quorate_protocol::{
    authority::{AccessEvidence, AccessMotion},
    evidence::farewell_mark,
    sturdyref::Sturdyref,
};
use std::{cell::RefCell, collections::BTreeSet};

mod publishing;

#[test]
fn each_restored_state_tells_the_courier_where_to_start() {
    let image = Image::load(&engine_cache().expect("a place")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let view = SharedView::default();
    let mut machine =
        VatMachine::new(&target(), None, image.clone(), Arc::new(Images::from(image)), limits, view.clone())
            .expect("it starts");
    let CheckpointParts { manifest, new_chunks, .. } = machine.checkpoint().expect("it can be kept");
    let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
    let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
    // The second may come before the first was heard of: neither may be taken for the other.
    for restored in 1..=2 {
        machine.restore(&manifest, &mut fetch).expect("it can be restored");
        assert_eq!(view.lock().restored.len(), restored);
    }
}

/// A client that makes slices as one does.
struct Caller {
    key: SigningKey,
    genesis: Genesis,
    session: ClientSession,
    block: u64,
}

const CREATOR: [u8; 32] = [77; 32];

/// The vat whose machine is tried.
fn target() -> Genesis {
    let members = (1..=3)
        .map(|seed| Member {
            key: HostId(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()),
            name: format!("h{seed}"),
            addresses: vec![],
        })
        .collect();
    Genesis {
        members,
        threshold: 2,
        image: Hash([0; 32]),
        creator: SigningKey::from_bytes(&CREATOR).verifying_key().to_bytes(),
        bundle: None,
        nonce: [0; 32],
        expires: 0,
        parameters: quorate_config::provision::default_parameters(),
    }
}

impl Caller {
    fn new(seed: u8, expires: u64, bearer: &Sturdyref) -> Caller {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        let member = Member { key: HostId(public), name: "client".into(), addresses: vec![] };
        let genesis = Genesis {
            members: vec![member],
            threshold: 1,
            image: Hash([0; 32]),
            creator: public,
            bundle: None,
            nonce: [0; 32],
            expires,
            parameters: Parameters::default(),
        };
        let vat = genesis.vat_id();
        let mut session = ClientSession::new(vat, target().vat_id());
        let redemption = bearer.redeem_for(&vat).expect("a bearer");
        let signature = redemption.signature.try_into().expect("64 bytes");
        session.redeem(0, redemption.bearer, signature).expect("room");
        session.call(ClientRef::Object(0), Method::Call("add".into()), &Value::Array(vec![]), &[]).expect("room");
        Caller { key, genesis, session, block: 0 }
    }

    fn vat(&self) -> VatId {
        self.genesis.vat_id()
    }

    /// All messages with the newest head, or the farewell with this acknowledgement.
    fn slice(&mut self, farewell: Option<u64>) -> VatCommand {
        self.block += 1;
        let mut head = self.session.head();
        head.ack = farewell.unwrap_or(0);
        let outbox = Outbox::new(vec![head]);
        let statement = Statement {
            vat: self.genesis.vat_id(),
            epoch: 0,
            block: self.block,
            previous: Hash([0; 32]),
            chain: Hash::ZERO,
            outbox_root: Hash(outbox.root().expect("a head").0),
            published_root: Hash::ZERO,
            state_root: farewell.map(|_| farewell_mark()),
        };
        let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
        let messages: Vec<Vec<u8>> = match farewell {
            None => self.session.unacked().map(|(_, bytes)| bytes.to_vec()).collect(),
            Some(_) => vec![],
        };
        let begin = head.end + 1 - messages.len() as u64;
        let (genesis, path) = (Some(self.genesis.clone()), outbox.path(0));
        let certificate = Certificate { statement, signatures };
        let (chain, tail) = (vec![], vec![]);
        VatCommand::Deliver(Box::new(Slice { genesis, chain, certificate, head, path, begin, messages, tail }))
    }
}

fn signed(install: Install) -> SignedInstall {
    SignedInstall::sign(&target().vat_id(), install, &SigningKey::from_bytes(&CREATOR))
}

fn apply(machine: &mut VatMachine, block: u64, command: &VatCommand) -> (VatResult, BlockEffects) {
    let members = target().membership();
    let context = BlockContext { block, epoch: 0, membership: &members, now_ms: 0 };
    let applied = machine.apply(&context, &[codec::encode(command)], false).expect("no fault");
    (codec::decode(&applied.results[0]).expect("a result"), applied.effects)
}

#[test]
fn a_client_that_says_farewell_is_forgotten_at_once_and_never_heard_again() {
    quorate_engine::heap::with_engine_stack(farewells_are_final);
}

fn farewells_are_final() {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let view = SharedView::default();
    let mut machine =
        VatMachine::new(&target(), None, image.clone(), Arc::new(Images::from(image)), limits, view.clone())
            .expect("it starts");
    let bearer = Sturdyref::bearer(target().vat_id(), 0, [5; 32]);
    let install = adder(&bearer);
    assert_eq!(apply(&mut machine, 1, &VatCommand::Install(Box::new(signed(install)))).0, VatResult::Installed);
    let mut caller = Caller::new(7, 100_000, &bearer);
    let (call, farewell) = (caller.slice(None), caller.slice(Some(1)));
    // One that gives up without an answer.
    let mut other = Caller::new(8, 100_000, &bearer);
    let (other_call, other_farewell) = (other.slice(None), other.slice(Some(0)));
    assert_eq!(apply(&mut machine, 2, &call).0, VatResult::Delivered { next: 3 });
    assert_eq!(apply(&mut machine, 3, &other_call).0, VatResult::Delivered { next: 3 });
    let before = machine.summary();
    assert_eq!(before.peers.len(), 2);
    let (result, effects) = apply(&mut machine, 4, &farewell);
    assert_eq!((result, effects.forgotten), (VatResult::Delivered { next: 3 }, vec![caller.vat()]));
    assert_eq!(apply(&mut machine, 5, &other_farewell).1.forgotten, [other.vat()]);
    assert!(machine.summary().peers.is_empty() && machine.known.is_empty() && view.lock().peers.is_empty());
    assert!(view.lock().ended.contains(&caller.vat(), 100_000));

    // What it once said is played again, also to a replica that was restored.
    let CheckpointParts { manifest, new_chunks, .. } = machine.checkpoint().expect("it can be kept");
    let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
    let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
    for restored in [false, true] {
        if restored {
            machine.restore(&manifest, &mut fetch).expect("it can be restored");
            assert!(view.lock().ended.contains(&caller.vat(), 100_000));
        }
        for (block, old) in [(6, &call), (7, &farewell), (8, &other_call), (99_999, &call)] {
            let (result, effects) = apply(&mut machine, block, old);
            // A farewell alone is a stranger's.
            let skipped = result == VatResult::Delivered { next: 3 };
            assert!(skipped || *old == farewell, "{restored}, at {block}: {result:?}");
            assert!(effects.output.cranks.is_empty() && effects.outbox.heads().is_empty(), "it was done again");
            assert!(machine.summary().peers.is_empty());
        }
    }
    // Its lifetime is over: nothing is kept of it, and its genesis refuses it.
    let (result, _) = apply(&mut machine, 200_000, &call);
    assert!(matches!(result, VatResult::Refused { .. }), "{result:?}");
    assert!(machine.clients.ended().is_empty() && view.lock().ended.is_empty());
}

/// The root of all that a replica of the vat agrees on.
fn root(machine: &mut VatMachine) -> Hash {
    machine.checkpoint().expect("it can be kept").root
}

fn adder(bearer: &Sturdyref) -> Install {
    let source =
        "import { Far } from '@endo/far'; let n = 0; export default () => Far('adder', { add: () => (n += 1) });";
    Install {
        bundle: Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), source.into())]) },
        argv: vec![],
        endowments: vec![],
        grants: vec![],
        bearers: bearer.bearer_key().into_iter().collect(),
    }
}

#[test]
fn no_command_changes_anything_without_its_evidence() {
    quorate_engine::heap::with_engine_stack(forged_commands);
}

fn forged_commands() {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let view = SharedView::default();
    let mut machine = VatMachine::new(&target(), None, image.clone(), Arc::new(Images::from(image)), limits, view)
        .expect("it starts");
    let (vat, members) = (target().vat_id(), target().membership());
    let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
    let bearer = Sturdyref::bearer(vat, 0, [5; 32]);
    let tried = RefCell::new(BTreeSet::new());
    let refused = |machine: &mut VatMachine, what: &str, command: &VatCommand| {
        tried.borrow_mut().insert(kind(command));
        let before = root(machine);
        let (result, effects) = apply(machine, 1, command);
        assert!(matches!(result, VatResult::Refused { .. }), "{what}: {result:?}");
        assert!(effects.output.cranks.is_empty() && effects.outbox.heads().is_empty(), "{what}");
        assert_eq!(root(machine), before, "{what}");
    };
    let install = |signed| VatCommand::Install(Box::new(signed));
    let good = signed(adder(&bearer));
    let mut other_code = good.clone();
    other_code.install.bundle.modules.insert("main.js".into(), "export default () => 1;".into());
    let mut other_bearer = good.clone();
    other_bearer.install.bearers.push([9; 32]);
    for (what, forged) in [
        ("code that a member signs", SignedInstall::sign(&vat, adder(&bearer), &key(1))),
        (
            "code for another vat",
            SignedInstall::sign(&VatId([3; 32]), adder(&bearer), &SigningKey::from_bytes(&CREATOR)),
        ),
        ("other code than was signed", other_code),
        ("who may use it, other than was signed", other_bearer),
    ] {
        refused(&mut machine, what, &install(forged));
    }
    assert_eq!(apply(&mut machine, 2, &install(good)).0, VatResult::Installed);

    let to = VatId([7; 32]);
    let by = |change: AccessChange, seeds: &[u8], number| {
        let motion = AccessMotion { change, number }.encode();
        let approvals = seeds.iter().map(|seed| approve_motion(&members, &motion, &key(*seed))).collect();
        VatCommand::Access(AccessOrder { motion, evidence: AccessEvidence::Members(approvals) })
    };
    let grant = || AccessChange::Grant { to, expires_ms: None };
    let revoke = || AccessChange::Revoke { from: to };
    let reference = || AccessChange::NewReference { key: [6; 32], object: 0, expires_ms: None, note: String::new() };
    let by_creator = |change: AccessChange| {
        let motion = AccessMotion { change, number: 0 }.encode();
        let payload = AccessOrder::creator_payload(&target().vat_id(), &motion);
        let evidence = AccessEvidence::Creator(MemberSignature::sign(&SigningKey::from_bytes(&CREATOR), &payload));
        VatCommand::Access(AccessOrder { motion, evidence })
    };
    let other = |command: VatCommand, change: AccessChange| {
        let VatCommand::Access(order) = command else { unreachable!("an order") };
        VatCommand::Access(AccessOrder { motion: AccessMotion { change, number: 0 }.encode(), ..order })
    };
    for (what, forged) in [
        ("a grant by nobody", by(grant(), &[], 0)),
        ("a grant by one member", by(grant(), &[1], 0)),
        ("a grant by one member twice", by(grant(), &[1, 1], 0)),
        ("a grant by a stranger", by(grant(), &[1, 9], 0)),
        ("a revocation as a grant", other(by(revoke(), &[1, 2], 0), grant())),
        ("a grant as a revocation", other(by(grant(), &[1, 2], 0), revoke())),
        ("a grant as a reference", other(by(grant(), &[1, 2], 0), reference())),
        ("a grant out of order", by(grant(), &[1, 2], 1)),
        ("a revocation by one member", by(revoke(), &[1], 0)),
        ("a reference by one member", by(reference(), &[2], 0)),
        (
            "a reference to what nobody holds",
            by(
                AccessChange::NewReference { key: [6; 32], object: 5, expires_ms: None, note: String::new() },
                &[1, 2],
                0,
            ),
        ),
        ("a drop of a peer by one member", by(AccessChange::DropPeer { peer: to }, &[1], 0)),
        ("a drop of a vat that is no peer", by(AccessChange::DropPeer { peer: to }, &[1, 2], 0)),
        ("a drop of a peer by the creator alone", by_creator(AccessChange::DropPeer { peer: to })),
        ("the end of a reference that is not there", by(AccessChange::RevokeReference { key: [6; 32] }, &[1, 2], 0)),
    ] {
        refused(&mut machine, what, &forged);
    }
    let granted = |machine: &VatMachine| machine.engine.comms().peer(&to).is_some_and(|peer| peer.is_granted());
    let first = by(grant(), &[1, 3], 0);
    assert_eq!(apply(&mut machine, 3, &first).0, VatResult::Granted);
    assert!(granted(&machine));
    assert_eq!(apply(&mut machine, 4, &by(revoke(), &[2, 3], 1)).0, VatResult::Revoked);
    assert!(!granted(&machine));
    refused(&mut machine, "a grant that was revoked since", &first);

    assert_eq!(apply(&mut machine, 5, &by(AccessChange::DropPeer { peer: to }, &[1, 2], 2)).0, VatResult::Dropped);
    assert!(machine.engine.comms().peer(&to).is_none());
    refused(&mut machine, "a grant to a peer that was dropped", &by(grant(), &[1, 2], 3));
    refused(&mut machine, "a drop for the second time", &by(AccessChange::DropPeer { peer: to }, &[1, 2], 3));

    forged_upgrades(&mut machine, &members, &bearer, &refused);

    let mut caller = Caller::new(7, 100_000, &bearer);
    let VatCommand::Deliver(slice) = caller.slice(None) else { unreachable!("a slice") };
    let mut unsigned = slice.clone();
    unsigned.certificate.signatures.clear();
    refused(&mut machine, "messages that nobody signed", &VatCommand::Deliver(unsigned));
    assert_eq!(apply(&mut machine, 8, &VatCommand::Deliver(slice)).0, VatResult::Delivered { next: 3 });
    let all = ["deliver", "drop peer", "grant", "install", "new reference", "revoke", "revoke reference", "upgrade"];
    assert_eq!(tried.into_inner(), BTreeSet::from(all), "every command was tried without its evidence");
}

/// Upgrades that nobody wants, that others want, or that owners were told something else of.
fn forged_upgrades(
    machine: &mut VatMachine,
    members: &Membership,
    bearer: &Sturdyref,
    refused: &dyn Fn(&mut VatMachine, &str, &VatCommand),
) {
    let present = CodeDigest::of(&adder(bearer));
    let code = |source: &str| Upgrade {
        bundle: Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), source.into())]) },
        argv: vec![],
        endowments: vec![],
        image: None,
    };
    let wanted = code("import { Far } from '@endo/far'; export default () => Far('adder', { add: () => 7 });");
    let order = |upgrade: &Upgrade, motion: &UpgradeMotion, seeds: &[u8]| {
        let motion = motion.encode();
        let key = |seed: &u8| SigningKey::from_bytes(&[*seed; 32]);
        let approvals = seeds.iter().map(|seed| approve_motion(members, &motion, &key(seed))).collect();
        VatCommand::Upgrade(Box::new(UpgradeOrder { upgrade: upgrade.clone(), motion, approvals }))
    };
    let motion = |number| UpgradeMotion::of(&wanted, &present, number);
    assert_eq!(motion(0).changes, ["file main.js differs"]);
    let mut told_nothing = motion(0);
    told_nothing.changes.clear();
    let more = Upgrade { endowments: vec!["exit".into()], ..wanted.clone() };
    let moved = Upgrade { image: Some(Hash([7; 32])), ..wanted.clone() };
    let mut unsigned = order(&wanted, &motion(0), &[1, 2]);
    if let VatCommand::Upgrade(order) = &mut unsigned {
        order.motion = AccessMotion { change: AccessChange::RevokeReference { key: [6; 32] }, number: 2 }.encode();
    }
    for (what, forged) in [
        ("an upgrade by nobody", order(&wanted, &motion(0), &[])),
        ("an upgrade by one member", order(&wanted, &motion(0), &[1])),
        ("an upgrade by one member twice", order(&wanted, &motion(0), &[2, 2])),
        ("an upgrade by a stranger", order(&wanted, &motion(0), &[1, 9])),
        ("an upgrade out of order", order(&wanted, &motion(1), &[1, 2])),
        ("other code than was approved of", order(&code("export default () => 1;"), &motion(0), &[1, 2])),
        ("another endowment than was approved of", order(&more, &motion(0), &[1, 2])),
        ("another image than was approved of", order(&moved, &motion(0), &[1, 2])),
        ("an upgrade that the owners were told changes nothing", order(&wanted, &told_nothing, &[1, 2])),
        ("an upgrade with a change of access approved of", unsigned),
    ] {
        refused(machine, what, &forged);
    }
    // One that fails counts, and leaves the code.
    let bad = code("export default () => { throw Error('no'); };");
    let approved = order(&bad, &UpgradeMotion::of(&bad, &present, 0), &[1, 3]);
    assert!(matches!(apply(machine, 6, &approved).0, VatResult::UpgradeFailed { .. }));
    // Several members may have one ordered: it has the same answer again, and nothing happens.
    let failed = root(machine);
    assert!(matches!(apply(machine, 6, &approved).0, VatResult::UpgradeFailed { .. }));
    assert_eq!(root(machine), failed);
    refused(machine, "one that was approved of before another", &order(&wanted, &motion(0), &[1, 2]));
    let good = order(&wanted, &motion(1), &[2, 3]);
    assert_eq!(apply(machine, 7, &good).0, VatResult::Upgraded);
    let upgraded = root(machine);
    assert_eq!(apply(machine, 7, &good).0, VatResult::Upgraded);
    assert_eq!(root(machine), upgraded);
    refused(machine, "one that failed before another", &approved);
}

/// What a command wants. A new one does not compile until it is named here, and then the test fails until it was tried.
fn kind(command: &VatCommand) -> &'static str {
    match command {
        VatCommand::Install(_) => "install",
        VatCommand::Deliver(_) => "deliver",
        VatCommand::Upgrade(_) => "upgrade",
        VatCommand::Access(order) => match codec::decode::<AccessMotion>(&order.motion).expect("a motion").change {
            AccessChange::Grant { .. } => "grant",
            AccessChange::Revoke { .. } => "revoke",
            AccessChange::NewReference { .. } => "new reference",
            AccessChange::RevokeReference { .. } => "revoke reference",
            AccessChange::DropPeer { .. } => "drop peer",
        },
    }
}

#[test]
fn other_code_than_was_given_stops_the_replica_before_it_says_anything() {
    quorate_engine::heap::with_engine_stack(other_code);
}

fn other_code() {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let bearer = Sturdyref::bearer(target().vat_id(), 0, [5; 32]);
    let mut other = adder(&bearer);
    other.bundle.modules.insert("main.js".into(), "export default () => 1;".into());
    let given = Some(CodeDigest::of(&other));
    let command = codec::encode(&VatCommand::Install(Box::new(signed(adder(&bearer)))));
    let members = target().membership();
    let context = BlockContext { block: 1, epoch: 0, membership: &members, now_ms: 0 };
    let machine = |given| {
        VatMachine::new(
            &target(),
            given,
            image.clone(),
            Arc::new(Images::from(image.clone())),
            limits,
            SharedView::default(),
        )
        .expect("it starts")
    };
    let fault = machine(given.clone()).apply(&context, std::slice::from_ref(&command), false).expect_err("other code");
    assert!(fault.0.contains("Q-N009") && fault.0.contains("file main.js differs"), "{fault:?}");
    // Also where the state comes by a checkpoint.
    let mut good = machine(Some(CodeDigest::of(&adder(&bearer))));
    good.apply(&context, &[command], false).expect("the same code");
    let CheckpointParts { manifest, new_chunks, .. } = good.checkpoint().expect("it can be kept");
    let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
    let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
    let fault = machine(given).restore(&manifest, &mut fetch).expect_err("other code");
    assert!(fault.0.contains("Q-N009"), "{fault:?}");
    good.restore(&manifest, &mut fetch).expect("the same code");
}

#[test]
fn a_vat_with_other_fuel_prices_is_refused() {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let mut other = target();
    other.parameters.fuel_prices.0[0] ^= 1;
    let started =
        VatMachine::new(&other, None, image.clone(), Arc::new(Images::from(image)), limits, SharedView::default());
    let error = started.map(|_| ()).expect_err("it counts otherwise").to_string();
    for hash in [other.parameters.fuel_prices, fuel_prices_hash()] {
        assert!(error.contains(&hash.to_string()), "no {hash} in {error}");
    }
}

/// However a leader orders a block: who has burnt least is served first, and who has burnt much waits.
#[test]
fn a_block_serves_those_first_who_have_burnt_least() {
    quorate_engine::heap::with_engine_stack(least_first);
}

fn least_first() {
    let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
    let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
    let view = SharedView::default();
    let mut machine =
        VatMachine::new(&target(), None, image.clone(), Arc::new(Images::from(image)), limits, view.clone())
            .expect("it starts");
    let bearer = Sturdyref::bearer(target().vat_id(), 0, [5; 32]);
    let mut install = adder(&bearer);
    let source =
        "import { Far } from '@endo/far'; export default () => Far('root', { spin() { for (;;); }, add: () => 1 });";
    install.bundle.modules.insert("main.js".into(), source.into());
    let members = target().membership();
    let mut block = 0;
    let mut apply = |machine: &mut VatMachine, commands: &[&VatCommand]| -> (Vec<VatResult>, u64) {
        block += 1;
        let context = BlockContext { block, epoch: 0, membership: &members, now_ms: 0 };
        let commands: Vec<Vec<u8>> = commands.iter().map(|command| codec::encode(*command)).collect();
        let applied = machine.apply(&context, &commands, false).expect("no fault");
        let results = applied.results.iter().map(|result| codec::decode(result).expect("a result")).collect();
        (results, applied.effects.output.waited)
    };
    apply(&mut machine, &[&VatCommand::Install(Box::new(signed(install)))]);
    let spin = |caller: &mut Caller| {
        let args = Value::Array(vec![]);
        caller.session.send_only(ClientRef::Object(0), Method::Call("spin".into()), &args, &[]).expect("room");
    };
    let (mut greedy, mut honest) = (Caller::new(7, 100_000, &bearer), Caller::new(8, 100_000, &bearer));
    (0..5).for_each(|_| spin(&mut greedy));
    let (loops, call) = (greedy.slice(None), honest.slice(None));
    assert_eq!(apply(&mut machine, &[&call]).0, [VatResult::Delivered { next: 3 }]);
    let mut add = |machine: &mut VatMachine, loops: &VatCommand| {
        let args = Value::Array(vec![]);
        honest.session.send_only(ClientRef::Object(0), Method::Call("add".into()), &args, &[]).expect("room");
        apply(machine, &[loops, &honest.slice(None)])
    };
    // None is ahead, so the leader's order is the block's. After one loop the block has no fuel left, and it is the other one's turn.
    let (results, waited) = add(&mut machine, &loops);
    assert_eq!(results, [VatResult::Delivered { next: 4 }, VatResult::NotYet { next: 3 }]);
    assert_eq!((machine.summary().rolled_back, waited), (1, 1));
    assert_eq!(view.lock().waiting, BTreeSet::from([greedy.vat()]));
    for said in 5..=7 {
        let (results, waited) = add(&mut machine, &loops);
        assert_eq!(results, [VatResult::NotYet { next: 4 }, VatResult::Delivered { next: said }]);
        assert_eq!((machine.summary().rolled_back, waited), (1, 1));
    }
}
