//! Vats in which nothing happens sleep, and answer as if they did not.

use super::{LEDGER, notes};
use quorate_testnet::world::{VatPlan, World};
use serde_json::json;
use std::time::Duration;

const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// Waits until the ledger sleeps on these hosts.
async fn asleep(world: &World, hosts: &[&str]) {
    let all_sleep = async || {
        let sleeps = |host: &&str| world.service(host, "ledger").replica.status().asleep;
        hosts.iter().all(sleeps).then_some(())
    };
    world.wait("sleep", all_sleep).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_notice_that_one_is_gone_under_which_their_vats_sleep() {
    let mut world = World::new(55).await;
    world.timing.rest_after = Duration::from_millis(300);
    world.hosts(&MEMBERS).await;
    world.vat(VatPlan::new("ledger", &MEMBERS, 2, LEDGER)).await;
    asleep(&world, &MEMBERS).await;
    let leader = world.leader("ledger", &MEMBERS).await;
    world.crash(&leader).await;
    let left: Vec<&str> = MEMBERS.into_iter().filter(|host| *host != leader).collect();
    // Nobody wants anything, and there is another leader all the same.
    assert_ne!(world.leader("ledger", &left).await, leader);
    asleep(&world, &left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_vat_answers_also_when_its_leader_is_gone_and_goes_on_after_a_restart() {
    let mut world = World::new(54).await;
    world.timing.rest_after = Duration::from_millis(300);
    world.hosts(&["a", "b", "c", "outside"]).await;
    world.vat(VatPlan::new("ledger", &MEMBERS, 2, LEDGER)).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(0, 3)).await, json!([1, 2, 3]));
    asleep(&world, &MEMBERS).await;
    // A look at a packed heap leaves it packed, and shows what it was.
    let before = world.status("a", "ledger").await;
    assert!(before.heap_bytes > 0 && before.leader.is_some());
    assert_eq!(world.script("outside", &["ledger"], &notes(3, 2)).await, json!([4, 5]));
    asleep(&world, &MEMBERS).await;
    let leader = world.leader("ledger", &MEMBERS).await;
    world.crash(&leader).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(5, 1)).await, json!([6]));
    let left: Vec<&str> = MEMBERS.into_iter().filter(|host| *host != leader).collect();
    asleep(&world, &left).await;
    world.restart(&leader).await;
    assert_eq!(world.script("outside", &["ledger"], &notes(6, 1)).await, json!([7]));
    asleep(&world, &MEMBERS).await;
    let applied = async |host| world.status(host, "ledger").await.applied_block;
    assert_eq!(applied(MEMBERS[0]).await, applied(MEMBERS[1]).await);
    assert_eq!(applied(MEMBERS[0]).await, applied(MEMBERS[2]).await);
}
