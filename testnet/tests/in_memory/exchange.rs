//! The escrow exchange on a contract host of which three of four sign and a mint of which two of three do, while members lose their
//! power in the middle.

use quorate_testnet::{
    process::own_file,
    world::{VatPlan, World},
};
use serde_json::{Value as Json, json};
use std::fs;

const CONTRACTS: [&str; 4] = ["c1", "c2", "c3", "c4"];
const MINT: [&str; 3] = ["m1", "m2", "m3"];
const RUNS: u64 = 10;
/// What Alice and Bob have together.
const MONEY: u64 = 1000;
const GOODS: u64 = 300;

fn example(path: &str) -> String {
    fs::read_to_string(own_file(&format!("examples/{path}"))).expect("the example is there")
}

/// The exchange, with this code in Bob's place.
async fn exchange(seed: u64, bob: &str) -> World {
    let mut world = World::new(seed).await;
    world.hosts(&CONTRACTS).await;
    world.hosts(&MINT).await;
    world.hosts(&["parties", "outside"]).await;
    let escrow = example("contracts/escrow.js");
    let texts = [("escrow", escrow.as_str())];
    let (mint, host) = (example("mint/mint.js"), example("contracts/host.js"));
    let [alice, bob, driver] = ["alice", bob, "driver"].map(|party| example(&format!("exchange/{party}.js")));
    world.vat(VatPlan::new("mint", &MINT, 2, &mint)).await;
    world.vat(VatPlan::new("host", &CONTRACTS, 3, &host)).await;
    let parties = &["parties"];
    let plan = VatPlan { references: &["host"], texts: &texts, ..VatPlan::new("alice", parties, 1, &alice) };
    world.vat(plan).await;
    let plan = VatPlan { references: &["mint", "host"], texts: &texts, ..VatPlan::new("bob", parties, 1, &bob) };
    world.vat(plan).await;
    let plan = VatPlan { references: &["mint", "alice", "bob"], ..VatPlan::new("driver", parties, 1, &driver) };
    world.vat(plan).await;
    world
}

fn sums(balances: &Json) -> (u64, u64) {
    let of = |party: &str, which: usize| balances[party][which].as_u64().expect("a balance");
    (of("alice", 0) + of("bob", 0), of("alice", 1) + of("bob", 1))
}

/// A number that grows while the trade goes on.
async fn progress(world: &World, vat: &str, hosts: &[&str]) -> u64 {
    let mut most = 0;
    for host in hosts {
        if world.running(host).is_some() {
            most = most.max(world.status(host, vat).await.deliveries);
        }
    }
    most
}

/// The vat whose deliveries a run counts, and its members.
fn counted(run: u64) -> (&'static str, &'static [&'static str]) {
    if run.is_multiple_of(2) { ("host", &CONTRACTS) } else { ("mint", &MINT) }
}

/// Cuts the power of one member of each vat, when the counted one has had so many deliveries, and gives it back.
async fn strike(world: &mut World, run: u64, moment: u64) {
    let (vat, hosts) = counted(run);
    world.wait("the middle of the trade", async || (progress(world, vat, hosts).await >= moment).then_some(())).await;
    let leaders = [world.leader("host", &CONTRACTS).await, world.leader("mint", &MINT).await];
    // Leaders of both; in every third run only one of them, and a follower of the other.
    let follower = MINT.into_iter().find(|host| *host != leaders[1]).expect("two follow").to_owned();
    let victims = if run % 3 == 2 { [leaders[0].clone(), follower] } else { leaders };
    for victim in &victims {
        world.crash(victim).await;
    }
    for victim in &victims {
        world.restart(victim).await;
    }
}

/// Has the driver do something, and members die while it is done. Returns the driver's answer.
async fn under_fire(world: &mut World, run: u64, work: &str) -> Json {
    let (vat, hosts) = counted(run);
    let moment = progress(world, vat, hosts).await + 1 + run;
    let script = world.begin_script("outside", &["driver"], work).await;
    strike(world, run, moment).await;
    world.script_done("outside", &script).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_escrow_ends_right_while_members_are_killed_in_the_middle() {
    let mut world = exchange(31, "bob").await;
    for run in 0..RUNS {
        let first = if run < RUNS / 2 { "alice" } else { "bob" };
        let work = format!("({{ driver }}) => E(driver).trade('{first}')");
        let found = under_fire(&mut world, run, &work).await;
        let done = run + 1;
        let balances = json!({ "alice": [MONEY - 30 * done, 10 * done], "bob": [30 * done, GOODS - 10 * done] });
        assert_eq!(found, json!({ "outcome": "traded", "bob": "offered", "balances": balances }), "run {run}");
        assert_eq!(sums(&found["balances"]), (MONEY, GOODS));
    }
    world.agreement("host", &CONTRACTS, 0).await;
    world.agreement("mint", &MINT, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_gets_nothing_from_a_quorum_escrow_while_members_are_killed() {
    let mut world = exchange(32, "liar").await;
    for (run, lie) in (0..).zip(["silent", "forger", "other mint", "poor", "thief", "canceller"]) {
        let first = if lie == "canceller" || run % 2 == 1 { "bob" } else { "alice" };
        let work = format!("({{ driver }}) => E(driver).cheat('{first}', '{lie}')");
        let found = under_fire(&mut world, run, &work).await;
        assert_eq!(found["outcome"], json!("cancelled"), "{lie}: {found}");
        assert_eq!(found["balances"], json!({ "alice": [MONEY, 0], "bob": [0, GOODS] }), "{lie}: {found}");
    }
    world.agreement("host", &CONTRACTS, 0).await;
    world.agreement("mint", &MINT, 0).await;
}
