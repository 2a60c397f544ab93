//! Production hosts in one process, over a network that loses and parts and disks that forget what was not synced.

mod evidence;
mod exchange;
mod members;
mod sleep;

use quorate_net::LinkOptions;
use quorate_node::vat::VatService;
use quorate_protocol::{
    authority::SignedInstall,
    codec,
    command::{VatCommand, VatResult},
};
use quorate_testnet::world::{VatPlan, World};
use serde_json::{Value as Json, json};
use std::time::Duration;

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
        .script(
            "outside",
            &["ledger", "relay"],
            "async ({ ledger, relay }) => {
               const answers = [];
               for (let round = 0; round < 4; round += 1) {
                 const relayed = E(relay).pass(round * 25, 25);
                 const own = [];
                 for (let number = 0; number < 25; number += 1) {
                   own.push(E(ledger).note('script', round * 25 + number));
                 }
                 answers.push(...(await Promise.all(own)), ...(await relayed));
               }
               return harden({ answers, entries: await E(ledger).entries() });
             }",
        )
        .await;
    let entries = texts(&found["entries"]);
    assert_eq!(entries.len(), 200, "{found}");
    assert_eq!(of(&entries, "script"), numbered("script", 100).iter().collect::<Vec<_>>());
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
             answers.push(await E(ledger).note('script', number));
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
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 20)).await, json!((1..=20).collect::<Vec<_>>()));
    let before = world.agreement("ledger", &hosts, 0).await;
    // The leader, so that the others must find a new one.
    let leader = world.leader("ledger", &hosts).await;
    world.network.isolate(world.id(&leader));
    assert_eq!(world.script("outside", &["ledger"], &notes(20, 20)).await, json!((21..=40).collect::<Vec<_>>()));
    let behind = world.status(&leader, "ledger").await;
    let others: Vec<&str> = hosts.into_iter().filter(|host| *host != leader).collect();
    let ahead = world.agreement("ledger", &others, before).await;
    assert!(behind.certified_checkpoint_block < ahead, "the isolated member cannot have known");
    world.network.heal();
    assert_eq!(world.script("outside", &["ledger"], &notes(40, 20)).await, json!((41..=60).collect::<Vec<_>>()));
    world.agreement("ledger", &hosts, ahead).await;
    let entries = world.script("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("script", 60));
    for host in hosts {
        let status = world.status(host, "ledger").await;
        assert_eq!((status.equivocations, status.disagreements), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_on_both_sides_lose_and_double_nothing() {
    let mut world = World::new(13).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    let script = world.begin_script("outside", &["ledger"], &notes(0, 200)).await;
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
    assert_eq!(world.script_done("outside", &script).await, json!((1..=200).collect::<Vec<_>>()));
    let entries = world.script("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("script", 200));
    world.agreement("ledger", &["a", "b", "c"], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solo_vat_forgets_nothing_that_it_answered() {
    let mut world = World::new(14).await;
    world.hosts(&["alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["alone"], 1, LEDGER)).await;
    for round in 0..4 {
        let from = round * 15;
        let answers = world.script("outside", &["ledger"], &notes(from, 15)).await;
        assert_eq!(answers, json!((from + 1..=from + 15).collect::<Vec<_>>()));
        // The answer is known outside: nothing that it rests on may be lost now.
        world.crash("alone").await;
        world.restart("alone").await;
    }
    let entries = world.script("outside", &["ledger"], "({ ledger }) => E(ledger).entries()").await;
    assert_eq!(texts(&entries), numbered("script", 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leader_certifies_and_does_not_ship_is_shipped_by_the_others() {
    let mut world = World::new(18).await;
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a", "b", "c"], 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 2)).await, json!([1, 2]));
    // A slow machine may hold an election meanwhile, and then nothing is shown: it is tried again.
    for round in 0..10 {
        let leader = world.leader("ledger", &["a", "b", "c"]).await;
        let term = world.status(&leader, "ledger").await.term;
        world.silence(&leader);
        let from = 2 + 3 * round;
        let answers = world.script("outside", &["ledger"], &notes(from, 3)).await;
        assert_eq!(answers, json!([from + 1, from + 2, from + 3]));
        let status = world.status(&leader, "ledger").await;
        assert_eq!(status.fault, None);
        if (status.role.as_str(), status.term) == ("leader", term) {
            return;
        }
        world.unsilence(&leader);
    }
    panic!("an election with every script");
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
    assert_eq!(world.script("outside", &["relay"], &pass(0)).await, answers(0));

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
    world.script("outside", &["relay"], pings).await;
    world.script("outside", &["ledger"], &notes(0, 25)).await;
    world.agreement("relay", &["alone"], relay_idle).await;
    world.agreement("ledger", &hosts, ledger_idle).await;

    world.crash("alone").await;
    world.restart("alone").await;
    assert_eq!(world.script("outside", &["relay"], &pass(30)).await, answers(30));
    for host in hosts {
        world.crash(host).await;
    }
    for host in hosts {
        world.restart(host).await;
    }
    assert_eq!(world.script("outside", &["relay"], &pass(35)).await, answers(35));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_nobody_heard_before_all_members_restarted_is_said_again() {
    let hosts = ["a", "b", "c"];
    let mut world = World::new(22).await;
    world.hosts(&["a", "b", "c", "alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &hosts, 2, LEDGER)).await;
    let relay = VatPlan::new("relay", &["alone"], 1, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 1)).await, json!([1]));
    let leader = world.leader("ledger", &hosts).await;
    hosts.iter().for_each(|host| world.silence(host));
    world.script("outside", &["relay"], "({ relay }) => E(relay).tell(7)").await;
    let heard = async |world: &World| {
        let status = world.status(&leader, "ledger").await;
        let heard = status.streams.iter().any(|stream| stream.peer == "relay" && stream.received == 2);
        heard.then_some(status.applied_block)
    };
    let block = world.wait("the message", async || heard(&world).await).await;
    for _ in 1..25 {
        // A vat takes code once: this changes nothing but the number of blocks.
        let modules = std::collections::BTreeMap::new();
        let bundle = quorate_engine::abi::Bundle { entry: "main.js".into(), modules };
        let (argv, endowments, grants, bearers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let install = quorate_engine::machine::Install { bundle, argv, endowments, grants, bearers };
        let vat = world.service(&leader, "ledger").vat;
        let signed = SignedInstall::sign(&vat, install, &world.creator("ledger"));
        let result = ordered(&world.service(&leader, "ledger"), &VatCommand::Install(Box::new(signed))).await;
        assert!(matches!(result, VatResult::Refused { .. }), "{result:?}");
    }
    world.agreement("ledger", &hosts, block).await;
    for host in hosts {
        world.crash(host).await;
    }
    for host in hosts {
        world.unsilence(host);
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
    let entries = texts(&world.script("outside", &["ledger"], entries).await);
    assert_eq!(of(&entries, "relay").len(), 1, "{entries:?}");
}
