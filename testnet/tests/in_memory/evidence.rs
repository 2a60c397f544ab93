//! Who is believed: forged statements, lying members, strangers, and those whose time is over.

use super::{LEDGER, notes, of, ordered, texts};
use quorate_consensus::{
    Certificate, Genesis, Hash, HostId, MemberSignature, Membership, MembershipCertificate, Statement,
};
use quorate_engine::{
    VatId,
    abi::{Method, Value},
    comms::client::{ClientRef, ClientSession},
};
use quorate_node::vat::machine::STRANGER;
use quorate_protocol::{
    command::{VatCommand, VatResult},
    evidence::{Slice, outbox_path, outbox_root},
    proof::{ProofFile, check},
    sturdyref::Sturdyref,
    wire::SliceReply,
};
use quorate_testnet::world::{VatPlan, World};
use serde_json::json;
use std::{sync::Arc, time::Duration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_member_convinces_nobody_and_does_not_count_towards_the_threshold() {
    let mut world = World::new(15).await;
    world.hosts(&["a", "c", "outside"]).await;
    world.host("liar", Some(Arc::new(|statement| statement.outbox_root = Hash([0x66; 32])))).await;
    world.vat(VatPlan::new("ledger", &["a", "liar", "c"], 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 5)).await, json!([1, 2, 3, 4, 5]));
    for honest in ["a", "c"] {
        let told = async || (world.status(honest, "ledger").await.disagreements > 0).then_some(());
        world.wait("disagreement", told).await;
        assert_eq!(world.status(honest, "ledger").await.equivocations, 0, "nobody is accused of that");
    }
    // One honest member and the liar are a majority for the log, but no threshold for what the vat says.
    world.network.isolate(world.id("c"));
    let script = world.begin_script("outside", &["ledger"], &notes(5, 1)).await;
    world.wait("note", async || (world.status("a", "ledger").await.deliveries >= 6).then_some(())).await;
    // Long enough for an answer that could be given to have been given.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.script_result("outside", &script).await, None);
    world.network.heal();
    assert_eq!(world.script_done("outside", &script).await, json!([6]));
}

/// Messages that a 2-of-3 vat never said, with a statement that these of its members signed. They begin with the use of the
/// bearer, if there is one.
fn forged(world: &World, signers: &[&str], bearer: Option<&Sturdyref>) -> Slice {
    expiring(world, signers, bearer, 0)
}

/// As [`forged`], of a vat that is heard until a block only.
fn expiring(world: &World, signers: &[&str], bearer: Option<&Sturdyref>, expires: u64) -> Slice {
    let genesis = Genesis { expires, ..world.genesis("forged", &["a", "b", "c"], 2, 10) };
    let own = genesis.vat_id();
    let mut session = ClientSession::new(own, world.sturdyref("ledger").vat);
    if let Some(redemption) = bearer.and_then(|bearer| bearer.redeem_for(&own)) {
        let signature = redemption.signature.try_into().expect("64 bytes");
        session.redeem(0, redemption.bearer, signature).expect("room");
    }
    let arguments = Value::Array(vec![Value::String("forger".into()), Value::Number(1.0)]);
    session.call(ClientRef::Object(0), Method::Call("note".into()), &arguments, &[]).expect("a message");
    let head = session.head();
    let root = outbox_root(&[head]).expect("there is a head");
    let statement = Statement {
        vat: genesis.vat_id(),
        epoch: 0,
        block: 1,
        previous: Hash([0; 32]),
        chain: Hash([7; 32]),
        outbox_root: root,
        published_root: Hash::ZERO,
        state_root: None,
    };
    let mut signatures: Vec<MemberSignature> =
        signers.iter().map(|host| MemberSignature::sign(world.key(host), &statement.payload())).collect();
    signatures.sort_by_key(|signature| signature.key);
    Slice {
        genesis: Some(genesis),
        chain: vec![],
        certificate: Certificate { statement, signatures },
        path: outbox_path(&[head], 0),
        begin: 1,
        messages: session.unacked().map(|(_, message)| message.to_vec()).collect(),
        tail: vec![],
        head,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_too_few_have_signed_is_refused_by_every_replica_even_if_the_leader_orders_it() {
    let mut world = World::new(16).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    let service = world.service(&leader, "ledger");
    let bearer = world.sturdyref("ledger");
    let mut twice = forged(&world, &["a"], Some(&bearer));
    twice.certificate.signatures.push(twice.certificate.signatures[0]);
    let doubtful = [
        ("nobody", forged(&world, &[], Some(&bearer))),
        ("one of two", forged(&world, &["a"], Some(&bearer))),
        ("one and a stranger", forged(&world, &["a", "outside"], Some(&bearer))),
        ("one, twice", twice),
    ];
    for (who, slice) in doubtful {
        let deliveries = world.status(&leader, "ledger").await.deliveries;
        // Past the inbox, which would have stopped it: as a leader does that lies.
        let result = ordered(&service, &VatCommand::Deliver(Box::new(slice))).await;
        assert!(matches!(result, VatResult::Refused { .. }), "signed by {who}: {result:?}");
        assert_eq!(world.status(&leader, "ledger").await.deliveries, deliveries, "signed by {who}");
    }
    // The same with the threshold is taken: nothing else was wrong with it.
    let good = VatCommand::Deliver(Box::new(forged(&world, &["a", "b"], Some(&bearer))));
    assert_eq!(ordered(&service, &good).await, VatResult::Delivered { next: 3 });
    // It was the second note.
    assert_eq!(world.script("outside", &["ledger"], &notes(1, 12)).await, json!((3..=14).collect::<Vec<_>>()));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
    for host in ["a", "b", "c"] {
        let status = world.status(host, "ledger").await;
        assert_eq!((status.equivocations, status.disagreements), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_that_nobody_named_leaves_nothing_behind_however_well_certified_it_speaks() {
    let mut world = World::new(17).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    let service = world.service(&leader, "ledger");
    let peers = world.status(&leader, "ledger").await.streams.len();
    let full = ["a", "b", "c"];
    // Another vat's bearer is none here.
    let wrong = Sturdyref::bearer(world.sturdyref("ledger").vat, 0, [7; 32]);
    let mut silent = forged(&world, &full, None);
    silent.messages.clear();
    silent.head.end = 0;
    let path = outbox_path(&[silent.head], 0);
    let root = Hash(outbox_root(&[silent.head]).expect("there is a head").0);
    silent.path = path;
    silent.certificate.statement.outbox_root = root;
    let payload = silent.certificate.statement.payload();
    silent.certificate.signatures = full.map(|host| MemberSignature::sign(world.key(host), &payload)).to_vec();
    for (what, slice) in [
        ("a call", forged(&world, &full, None)),
        ("a call with a wrong bearer", forged(&world, &full, Some(&wrong))),
        ("nothing", silent),
    ] {
        let refused = VatResult::Refused { message: STRANGER.to_owned() };
        assert_eq!(ordered(&service, &VatCommand::Deliver(Box::new(slice))).await, refused, "{what}");
        assert_eq!(world.status(&leader, "ledger").await.streams.len(), peers, "{what}");
    }
    assert_eq!(world.script("outside", &["ledger"], &notes(1, 12)).await, json!((2..=13).collect::<Vec<_>>()));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_believed_about_itself_is_not_believed_about_others() {
    let mut world = World::new(24).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    world.vat(VatPlan::new("victim", &["outside"], 1, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let (leader, victim) = (world.leader("ledger", &["a", "b", "c"]).await, world.sturdyref("victim").vat);
    // A vat in epoch 1 that shows, behind the proof of that, what need not be looked at any more: who another vat's members are.
    let mut slice = forged(&world, &[], Some(&world.sturdyref("ledger")));
    let before = slice.genesis.as_ref().expect("it introduces itself").membership();
    let next = Membership { epoch: 1, previous: before.hash(), ..before };
    let sign = |payload: &[u8]| ["a", "b"].map(|host| MemberSignature::sign(world.key(host), payload)).to_vec();
    let lie = Membership { vat: victim, ..next.clone() };
    slice.certificate.statement.epoch = 1;
    slice.certificate.signatures = sign(&slice.certificate.statement.payload());
    let proof = MembershipCertificate { signatures: sign(&next.payload()), membership: next };
    slice.chain = vec![proof, MembershipCertificate { membership: lie, signatures: vec![] }];
    let sender = slice.sender();
    // As a leader orders it that lies, or one whose inbox believes it.
    let ordered = ordered(&world.service(&leader, "ledger"), &VatCommand::Deliver(Box::new(slice))).await;
    assert_eq!(ordered, VatResult::Delivered { next: 3 });
    let directory = world.running(&leader).expect("it runs").directory();
    let epoch = |vat: &VatId| directory.membership(vat).map(|membership| membership.epoch);
    world.wait("the sender's members", async || epoch(&sender).filter(|epoch| *epoch == 1)).await;
    assert_eq!(epoch(&victim), Some(0), "whoever speaks to it would speak to others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_for_a_time_is_forgotten_after_it_and_never_heard_again() {
    let hosts = ["a", "b", "c"];
    let mut world = World::new(21).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &hosts).await;
    let service = world.service(&leader, "ledger");
    let bearer = world.sturdyref("ledger");
    let until = world.status(&leader, "ledger").await.applied_block + 12;
    let deliver = |slice: &Slice| VatCommand::Deliver(Box::new(slice.clone()));
    let too_long = expiring(&world, &hosts, Some(&bearer), until + 10_000_000);
    let refused = ordered(&service, &deliver(&too_long)).await;
    assert!(matches!(&refused, VatResult::Refused { message } if message.contains("too long")), "{refused:?}");

    let visit = expiring(&world, &hosts, Some(&bearer), until);
    let visitor = visit.sender().to_string();
    assert_eq!(ordered(&service, &deliver(&visit)).await, VatResult::Delivered { next: 3 });
    assert_eq!(ordered(&service, &deliver(&visit)).await, VatResult::Delivered { next: 3 }, "once is enough");
    let knows = async |world: &World, host: &str| {
        let streams = world.status(host, "ledger").await.streams;
        streams.iter().any(|stream| stream.peer == visitor)
    };
    assert!(knows(&world, &leader).await);
    assert_eq!(world.script("outside", &["ledger"], &notes(1, 30)).await, json!((3..=32).collect::<Vec<_>>()));
    assert!(world.status(&leader, "ledger").await.applied_block > until);
    assert!(!knows(&world, &leader).await, "its time is over");
    let over = ordered(&service, &deliver(&visit)).await;
    assert!(matches!(&over, VatResult::Refused { message } if message.contains("time is over")), "{over:?}");

    // Nor is it known after a restart from a checkpoint, wherever that lies.
    world.agreement("ledger", &hosts, until).await;
    for host in hosts {
        world.crash(host).await;
    }
    for host in hosts {
        world.restart(host).await;
    }
    let leader = world.leader("ledger", &hosts).await;
    assert!(!knows(&world, &leader).await);
    let over = ordered(&world.service(&leader, "ledger"), &deliver(&visit)).await;
    assert!(matches!(&over, VatResult::Refused { message } if message.contains("time is over")), "{over:?}");
    let entries = "async ({ ledger }) => harden(await E(ledger).entries())";
    let entries = texts(&world.script("outside", &["ledger"], entries).await);
    assert_eq!(of(&entries, "forger").len(), 1, "{entries:?}");
    world.agreement("ledger", &hosts, until).await;
}

/// More members lie than the vat is built for: nobody in it may say so. Its receivers see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stories_of_one_vat_are_kept_by_whoever_hears_both_and_convict_those_who_signed_both() {
    let mut world = World::new(26).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    let service = world.service(&leader, "ledger");
    let first = forged(&world, &["a", "b"], Some(&world.sturdyref("ledger")));
    let reply = service.inbox.take(first.clone()).await;
    assert!(matches!(reply, SliceReply::Taken { .. }), "{reply:?}");
    let evidence = || world.running(&leader).expect("it runs").evidence().expect("it is read");
    assert!(evidence().vats.is_empty(), "one story is no evidence");
    // The same messages, which it has already, by another order of things.
    let signed_by = |signers: &[&str], outside: bool| {
        let mut second = first.clone();
        second.certificate.statement.chain = Hash([8; 32]);
        let payload = second.certificate.statement.payload();
        second.certificate.signatures =
            signers.iter().map(|host| MemberSignature::sign(world.key(host), &payload)).collect();
        if outside {
            second.certificate.signatures[0].key = second.certificate.signatures[1].key;
        }
        second
    };
    // A forged signature of a member is none.
    service.inbox.take(signed_by(&["outside", "c"], true)).await;
    assert!(evidence().vats.is_empty(), "c alone signed something else than a and b did");
    service.inbox.take(signed_by(&["a", "c"], false)).await;
    let found = world.wait("the evidence", async || Some(evidence()).filter(|file| !file.vats.is_empty())).await;
    let checked = check(&found, Some(&first.sender())).expect("it convinces others");
    let guilty = [world.key("a")].map(|key| HostId(key.verifying_key().to_bytes()));
    assert_eq!(checked.accused().into_iter().collect::<Vec<_>>(), guilty);
    let kinds: Vec<&str> = checked.vats[0].findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&"contradiction") && kinds.contains(&"equivocation"), "{kinds:?}");
    // It is on disk.
    world.crash(&leader).await;
    world.restart(&leader).await;
    let kept = world.running(&leader).expect("it runs").evidence().expect("it is read");
    assert_eq!(kept, found);
}

/// Certificates, checkpoints, chains and slices, for somebody who has a VatId and a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vat_certified_and_what_it_was_told_is_proven_to_others() {
    let mut world = World::new(27).await;
    let hosts = ["a", "b", "c"];
    world.hosts(&hosts).await;
    world.hosts(&["outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    let script = world.begin_script("outside", &["ledger"], &notes(0, 12)).await;
    world.script_done("outside", &script).await;
    world.agreement("ledger", &hosts, 0).await;
    let (ledger, caller) = (world.service("a", "ledger"), world.service("outside", &script));
    // As it travels: encoded, and read again.
    let proven = |file: ProofFile, vat: &VatId| {
        let read = ProofFile::decode(&file.encode()).expect("it is a file of proofs");
        let checked = check(&read, Some(vat)).expect("it convinces others");
        let findings = checked.vats.into_iter().flat_map(|vat| vat.findings);
        findings.map(|finding| (finding.kind, finding.proven.join("\n"))).collect::<Vec<_>>()
    };
    let certified = proven(ledger.proof().expect("it is read"), &ledger.vat);
    assert_eq!(certified.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["certificate", "checkpoint"]);
    assert!(certified[1].1.contains("whole state"), "{certified:?}");
    let called = proven(ledger.proof_of(&caller.vat).expect("it was called"), &caller.vat);
    assert!(called.len() == 1 && called[0].0 == "slice", "{called:?}");
    assert!(called[0].1.contains("a call of"), "{called:?}");
    let answered = proven(caller.proof_of(&ledger.vat).expect("it was answered"), &ledger.vat);
    assert!(answered[0].0 == "slice" && answered[0].1.contains("the result"), "{answered:?}");
    assert_eq!(ledger.proof_of(&VatId([9; 32])), None, "nobody said that");
}
