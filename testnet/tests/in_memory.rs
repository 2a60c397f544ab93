//! Production hosts in one process, over a network that loses and parts and disks that forget what was not synced.

use bytes::Bytes;
use quorate_consensus::{
    Certificate, Genesis, Hash, MAX_COMMAND_BYTES, MemberSignature, Membership, MembershipCertificate, MemoryStore,
    Statement, Timing,
};
use quorate_engine::{
    VatId,
    abi::{Method, Value},
    comms::client::{ClientRef, ClientSession},
    image::Image,
};
use quorate_net::{Handler, HostId, LinkOptions, MemoryNetwork, Purpose};
use quorate_node::{
    codec,
    evidence::{Slice, outbox_path, outbox_root},
    host::{Host, HostOptions},
    run::engine_cache,
    sturdyref::Sturdyref,
    vat::{
        VatService,
        command::{VatCommand, VatResult},
        machine::STRANGER,
    },
};
use quorate_testnet::world::{VatPlan, World};
use serde_json::{Value as Json, json};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Remembers what it is told, in order.
const LEDGER: &str = "
import { Far } from '@endo/far';
export default function ledger() {
  const entries = [];
  return Far('ledger', {
    note(who, number) {
      entries.push(`${who} ${number}`);
      return entries.length;
    },
    entries() {
      return harden([...entries]);
    },
  });
}
";

/// Tells the ledger, on behalf of whoever asks.
const RELAY: &str = "
import { E, Far } from '@endo/far';
export default function relay({ ledger }) {
  return Far('relay', {
    ping() {
      return 'pong';
    },
    tell(number) {
      E.sendOnly(ledger).note('relay', number);
    },
    pass(from, count) {
      const answers = [];
      for (let number = from; number < from + count; number += 1) {
        answers.push(E(ledger).note('relay', number));
      }
      return Promise.all(answers).then(all => harden(all));
    },
  });
}
";

fn numbered(who: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{who} {number}")).collect()
}

fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn of<'a>(entries: &'a [String], who: &str) -> Vec<&'a String> {
    entries.iter().filter(|entry| entry.starts_with(who)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_between_clusters_come_once_and_in_order_through_loss_and_delay() {
    let mut world = World::new(11).await;
    world.hosts(&["a", "b", "c", "d", "e", "f", "outside"]).await;
    let delay = Duration::from_millis(1)..=Duration::from_millis(15);
    world.network.set_default_link(LinkOptions { delay, loss: 0.02 });
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    let relay = VatPlan::new("relay", &["d", "e", "f"], 2, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    // A solo vat and a quorum vat talk to the same quorum vat at once, in several rounds.
    let found = world
        .errand(
            "outside",
            &["ledger", "relay"],
            "async ({ ledger, relay }) => {
               const answers = [];
               for (let round = 0; round < 4; round += 1) {
                 const relayed = E(relay).pass(round * 25, 25);
                 const own = [];
                 for (let number = 0; number < 25; number += 1) {
                   own.push(E(ledger).note('errand', round * 25 + number));
                 }
                 answers.push(...(await Promise.all(own)), ...(await relayed));
               }
               return harden({ answers, entries: await E(ledger).entries() });
             }",
        )
        .await;
    let entries = texts(&found["entries"]);
    assert_eq!(entries.len(), 200, "{found}");
    assert_eq!(of(&entries, "errand"), numbered("errand", 100).iter().collect::<Vec<_>>());
    assert_eq!(of(&entries, "relay"), numbered("relay", 100).iter().collect::<Vec<_>>());
    // Every call has its own answer.
    let mut answers: Vec<u64> = found["answers"].as_array().into_iter().flatten().filter_map(Json::as_u64).collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=200).collect::<Vec<u64>>());
    world.agreement("ledger", &["a", "b", "c"], 0).await;
    world.agreement("relay", &["d", "e", "f"], 0).await;
}

/// Has a command ordered past the inbox, as a leader can that lies.
async fn ordered(service: &VatService, command: &VatCommand) -> VatResult {
    codec::decode(&service.propose(command).await.expect("it is ordered")).expect("a result")
}

/// Notes `count` numbers from `from` on, one after the other, and exits with the answers.
fn notes(from: usize, count: usize) -> String {
    format!(
        "async ({{ ledger }}) => {{
           const answers = [];
           for (let number = {from}; number < {from} + {count}; number += 1) {{
             answers.push(await E(ledger).note('errand', number));
           }}
           return harden(answers);
         }}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_cut_off_comes_back_to_the_same_state() {
    let hosts = ["a", "b", "c"];
    let mut world = World::new(12).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 20)).await, json!((1..=20).collect::<Vec<_>>()));
    let before = world.agreement("ledger", &hosts, 0).await;
    // The leader, so that the others must find a new one.
    let leader = world.leader("ledger", &hosts).await;
    world.network.isolate(world.id(&leader));
    assert_eq!(world.errand("outside", &["ledger"], &notes(20, 20)).await, json!((21..=40).collect::<Vec<_>>()));
    let behind = world.status(&leader, "ledger").await;
    let others: Vec<&str> = hosts.into_iter().filter(|host| *host != leader).collect();
    let ahead = world.agreement("ledger", &others, before).await;
    assert!(behind.certified_checkpoint_block < ahead, "the isolated member cannot have known");
    world.network.heal();
    assert_eq!(world.errand("outside", &["ledger"], &notes(40, 20)).await, json!((41..=60).collect::<Vec<_>>()));
    world.agreement("ledger", &hosts, ahead).await;
    let entries = world.errand("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("errand", 60));
    for host in hosts {
        assert_eq!(world.status(host, "ledger").await.conflicts, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_on_both_sides_lose_and_double_nothing() {
    let mut world = World::new(13).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    let errand = world.begin_errand("outside", &["ledger"], &notes(0, 200)).await;
    let noted = async |world: &World, wanted: u64| {
        world.wait("notes", async || (world.status("a", "ledger").await.deliveries >= wanted).then_some(())).await;
    };
    // One member, all members at once, and the caller while it waits for an answer.
    noted(&world, 20).await;
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    world.crash(&leader).await;
    world.restart(&leader).await;
    noted(&world, 60).await;
    for host in ["a", "b", "c"] {
        world.crash(host).await;
    }
    for host in ["a", "b", "c"] {
        world.restart(host).await;
    }
    noted(&world, 100).await;
    world.crash("outside").await;
    world.restart("outside").await;
    // Each call was answered with the next number: none was lost, none counted twice, and no answer was given twice.
    assert_eq!(world.errand_done("outside", &errand).await, json!((1..=200).collect::<Vec<_>>()));
    let entries = world.errand("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("errand", 200));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solo_vat_forgets_nothing_that_it_answered() {
    let mut world = World::new(14).await;
    world.hosts(&["alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["alone"], 1, LEDGER)).await;
    for round in 0..4 {
        let from = round * 15;
        let answers = world.errand("outside", &["ledger"], &notes(from, 15)).await;
        assert_eq!(answers, json!((from + 1..=from + 15).collect::<Vec<_>>()));
        // The answer is known outside: nothing that it rests on may be lost now.
        world.crash("alone").await;
        world.restart("alone").await;
    }
    let entries = world.errand("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("errand", 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_member_convinces_nobody_and_does_not_count_towards_the_threshold() {
    let mut world = World::new(15).await;
    world.hosts(&["a", "c", "outside"]).await;
    world.host("liar", Some(Arc::new(|statement| statement.outbox_root = Hash([0x66; 32])))).await;
    world.vat(VatPlan::new("ledger", &["a", "liar", "c"], 2, LEDGER)).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 5)).await, json!([1, 2, 3, 4, 5]));
    for honest in ["a", "c"] {
        world.wait("conflict", async || (world.status(honest, "ledger").await.conflicts > 0).then_some(())).await;
    }
    // One honest member and the liar are a majority for the log, but no threshold for what the vat says.
    world.network.isolate(world.id("c"));
    let errand = world.begin_errand("outside", &["ledger"], &notes(5, 1)).await;
    world.wait("note", async || (world.status("a", "ledger").await.deliveries >= 6).then_some(())).await;
    // Long enough for an answer that could be given to have been given.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.errand_result("outside", &errand).await, None);
    world.network.heal();
    assert_eq!(world.errand_done("outside", &errand).await, json!([6]));
}

/// Messages that a 2-of-3 vat never said, with a statement that these of its members signed. They begin with the use of the
/// bearer, if there is one.
fn forged(world: &World, signers: &[&str], bearer: Option<&Sturdyref>) -> Slice {
    expiring(world, signers, bearer, 0)
}

/// As [`forged`], of a vat that is heard until a block only.
fn expiring(world: &World, signers: &[&str], bearer: Option<&Sturdyref>, expires: u64) -> Slice {
    let genesis = Genesis { expires, ..world.genesis("forged", &["a", "b", "c"], 2, 10) };
    let own = VatId(genesis.vat_id().0);
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
        outbox_root: Hash(root.0),
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
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
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
    assert_eq!(world.errand("outside", &["ledger"], &notes(1, 12)).await, json!((3..=14).collect::<Vec<_>>()));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
    for host in ["a", "b", "c"] {
        assert_eq!(world.status(host, "ledger").await.conflicts, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_that_nobody_named_leaves_nothing_behind_however_well_certified_it_speaks() {
    let mut world = World::new(17).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
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
    assert_eq!(world.errand("outside", &["ledger"], &notes(1, 12)).await, json!((2..=13).collect::<Vec<_>>()));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_believed_about_itself_is_not_believed_about_others() {
    let mut world = World::new(24).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    world.vat(VatPlan::new("victim", &["outside"], 1, LEDGER)).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let (leader, victim) = (world.leader("ledger", &["a", "b", "c"]).await, world.sturdyref("victim").vat);
    // A vat in epoch 1 that shows, behind the proof of that, what need not be looked at any more: who another vat's members are.
    let mut slice = forged(&world, &[], Some(&world.sturdyref("ledger")));
    let before = slice.genesis.as_ref().expect("it introduces itself").membership();
    let next = Membership { epoch: 1, previous: before.hash(), ..before };
    let sign = |payload: &[u8]| ["a", "b"].map(|host| MemberSignature::sign(world.key(host), payload)).to_vec();
    let lie = Membership { vat: quorate_consensus::VatId(victim.0), ..next.clone() };
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
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
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
    assert_eq!(world.errand("outside", &["ledger"], &notes(1, 30)).await, json!((3..=32).collect::<Vec<_>>()));
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
    let entries = texts(&world.errand("outside", &["ledger"], entries).await);
    assert_eq!(of(&entries, "forger").len(), 1, "{entries:?}");
    world.agreement("ledger", &hosts, until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leader_certifies_and_does_not_ship_is_shipped_by_the_others() {
    let mut world = World::new(18).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 2)).await, json!([1, 2]));
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    world.muzzle(&leader);
    assert_eq!(world.errand("outside", &["ledger"], &notes(2, 3)).await, json!([3, 4, 5]));
    assert_eq!(world.leader("ledger", &["a", "b", "c"]).await, leader, "it leads as ever");
    assert_eq!(world.status(&leader, "ledger").await.fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_was_idle_for_a_checkpoint_goes_on_after_restarts_of_either_side() {
    let hosts = ["a", "b", "c"];
    let mut world = World::new(19).await;
    world.hosts(&["a", "b", "c", "alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    let relay = VatPlan::new("relay", &["alone"], 1, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    let pass = |from: usize| format!("({{ relay }}) => E(relay).pass({from}, 5)");
    let answers = |from: usize| json!((from + 1..=from + 5).collect::<Vec<_>>());
    assert_eq!(world.errand("outside", &["relay"], &pass(0)).await, answers(0));

    // Each has what the other said, and knows that the other knows: nothing of the pair is in the streams.
    let settled = async |world: &World, host: &str, vat: &str, peer: &str| {
        let status = world.status(host, vat).await;
        let idle = status.streams.iter().any(|stream| stream.peer == peer && stream.unacknowledged == 0);
        idle.then_some(status.applied_block)
    };
    let relay_idle = world.wait("acknowledgement", async || settled(&world, "alone", "relay", "ledger").await).await;
    let ledger_idle = world.wait("acknowledgement", async || settled(&world, "a", "ledger", "relay").await).await;
    let pings = "async ({ relay }) => {
        for (let count = 0; count < 25; count += 1) {
          await E(relay).ping();
        }
      }";
    world.errand("outside", &["relay"], pings).await;
    world.errand("outside", &["ledger"], &notes(0, 25)).await;
    world.agreement("relay", &["alone"], relay_idle).await;
    world.agreement("ledger", &hosts, ledger_idle).await;

    world.crash("alone").await;
    world.restart("alone").await;
    assert_eq!(world.errand("outside", &["relay"], &pass(30)).await, answers(30));
    for host in hosts {
        world.crash(host).await;
    }
    for host in hosts {
        world.restart(host).await;
    }
    assert_eq!(world.errand("outside", &["relay"], &pass(35)).await, answers(35));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_nobody_heard_before_all_members_restarted_is_said_again() {
    let hosts = ["a", "b", "c"];
    let mut world = World::new(22).await;
    world.hosts(&["a", "b", "c", "alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    let relay = VatPlan::new("relay", &["alone"], 1, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    assert_eq!(world.errand("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &hosts).await;
    hosts.iter().for_each(|host| world.muzzle(host));
    world.errand("outside", &["relay"], "({ relay }) => E(relay).tell(7)").await;
    let heard = async |world: &World| {
        let status = world.status(&leader, "ledger").await;
        let heard = status.streams.iter().any(|stream| stream.peer == "relay" && stream.received == 2);
        heard.then_some(status.applied_block)
    };
    let block = world.wait("the message", async || heard(&world).await).await;
    for now_ms in 1..25 {
        ordered(&world.service(&leader, "ledger"), &VatCommand::Tick { now_ms }).await;
    }
    world.agreement("ledger", &hosts, block).await;
    for host in hosts {
        world.crash(host).await;
    }
    for host in hosts {
        world.unmuzzle(host);
        world.restart(host).await;
    }
    world
        .wait("acknowledgement", async || {
            let status = world.status("alone", "relay").await;
            let known = status.streams.iter().any(|stream| stream.peer == "ledger" && stream.unacknowledged == 0);
            known.then_some(())
        })
        .await;
    let entries = "async ({ ledger }) => harden(await E(ledger).entries())";
    let entries = texts(&world.errand("outside", &["ledger"], entries).await);
    assert_eq!(of(&entries, "relay").len(), 1, "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_that_has_moved_to_other_hosts_is_found_by_those_that_knew_only_the_old_ones() {
    let mut world = World::new(23).await;
    world.hosts(&["a", "b", "c", "alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a"], 1, LEDGER)).await;
    let relay = VatPlan::new("relay", &["alone"], 1, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    assert_eq!(world.errand("outside", &["relay"], "({ relay }) => E(relay).pass(0, 2)").await, json!([1, 2]));
    // Nothing is left to be said to the relay: the change of members has no occasion to reach it.
    let said = async || {
        let status = world.status("a", "ledger").await;
        status.streams.iter().any(|stream| stream.peer == "relay" && stream.unacknowledged == 0).then_some(())
    };
    world.wait("acknowledgement", said).await;
    world.replace("ledger", "a", "b").await;
    world.replace("ledger", "b", "c").await;
    assert_eq!(world.errand("outside", &["relay"], "({ relay }) => E(relay).pass(2, 2)").await, json!([3, 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_vats_that_start_are_put_off_and_not_turned_away() {
    let (own, member) = (HostId::of_secret(&[1; 32]), HostId::of_secret(&[2; 32]));
    let image = tokio::task::spawn_blocking(|| Image::load(&engine_cache())).await.expect("loading does not panic");
    let options = HostOptions {
        name: "starting".to_owned(),
        key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        image: image.expect("the image loads"),
        store: Arc::new(MemoryStore::new()),
        timing: Timing::quick(),
        console: None,
        tamper: None,
    };
    let (network, kept) = (MemoryNetwork::new(20), OnceLock::<Arc<dyn Handler>>::new());
    let starting = Host::start(options, async |handler| {
        assert!(handler.permits(member, Purpose::Append));
        assert!(!handler.trusts(member), "it may be anybody");
        let answer = handler.handle(member, Purpose::Append, Bytes::from(vec![0; 64])).await;
        assert_eq!(answer, Err("this host is starting".to_owned()));
        let _ = kept.set(handler.clone());
        Ok(network.join(own, handler))
    });
    let _host = starting.await.expect("it starts");
    let handler = kept.get().expect("it was connected");
    assert!(!handler.permits(member, Purpose::Append), "it has started, and carries no vat of that member");
    assert!(handler.permits(member, Purpose::Slice));
}

/// It is out of the membership, and its signature may still be needed: it can't be called joining, nor gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_out_is_leaving_until_the_next_membership_is_certified() {
    let mut world = World::new(24).await;
    world.hosts(&["a", "b", "c", "d"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 3, LEDGER)).await;
    let leader = world.leader("ledger", &["a", "b", "c"]).await;
    let others: Vec<&str> = ["a", "b", "c"].into_iter().filter(|host| *host != leader).collect();
    let (out, absent) = (others[0], others[1]);
    // The newcomer comes late, so that a member can be gone when it does, after all have signed for its coming.
    world.join("ledger", "d").await;
    world.crash("d").await;
    let recorded = world.begin_replacing("ledger", out, "d").await;
    let signed = async || {
        let status = world.service(&leader, "ledger").replica.status();
        (status.certified_block >= recorded).then_some(())
    };
    world.wait("certificate of the record", signed).await;
    world.crash(absent).await;
    world.restart("d").await;
    let role = async |world: &World, role| (world.status(out, "ledger").await.role == role).then_some(());
    world.wait("leaving", async || role(&world, "leaving").await).await;
    world.restart(absent).await;
    world.wait("end", async || role(&world, "removed").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_no_command_can_carry_is_given_up_and_that_is_said() {
    let mut world = World::new(25).await;
    world.hosts(&["alone"]).await;
    let source = format!("// {}", "x".repeat(MAX_COMMAND_BYTES));
    world.vat(VatPlan::new("huge", &["alone"], 1, &source)).await;
    let given_up = world.wait("word", async || world.status("alone", "huge").await.install_error).await;
    assert!(given_up.contains("Q-C022"), "{given_up}");
}
