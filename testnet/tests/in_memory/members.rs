//! Hosts that start, come and go, and vats that can't begin.

use super::{LEDGER, RELAY};
use bytes::Bytes;
use quorate_consensus::{Approve, MAX_COMMAND_BYTES, MemoryStore, Timing};
use quorate_engine::image::Image;
use quorate_net::{Handler, HostId, MemoryNetwork, PeerName, Purpose};
use quorate_node::{
    host::{Host, HostOptions},
    run::engine_cache,
};
use quorate_testnet::world::{VatPlan, World};
use serde_json::json;
use std::sync::{Arc, OnceLock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_that_has_moved_to_other_hosts_is_found_by_those_that_knew_only_the_old_ones() {
    let mut world = World::new(23).await;
    world.hosts(&["a", "b", "c", "alone", "outside"]).await;
    world.vat(VatPlan::new("ledger", &["a"], 1, LEDGER)).await;
    let relay = VatPlan::new("relay", &["alone"], 1, RELAY);
    world.vat(VatPlan { references: &["ledger"], ..relay }).await;
    assert_eq!(world.script("outside", &["relay"], "({ relay }) => E(relay).pass(0, 2)").await, json!([1, 2]));
    // Nothing is left to be said to the relay: the change of members has no occasion to reach it.
    let said = async || {
        let status = world.status("a", "ledger").await;
        status.streams.iter().any(|stream| stream.peer == "relay" && stream.unacknowledged == 0).then_some(())
    };
    world.wait("acknowledgement", said).await;
    world.replace("ledger", "a", "b").await;
    world.replace("ledger", "b", "c").await;
    assert_eq!(world.script("outside", &["relay"], "({ relay }) => E(relay).pass(2, 2)").await, json!([3, 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_vats_that_start_are_put_off_and_not_turned_away() {
    let (own, member) = (HostId::of_secret(&[1; 32]), HostId::of_secret(&[2; 32]));
    let image = tokio::task::spawn_blocking(|| Image::load(&engine_cache().expect("a place for compiled code")))
        .await
        .expect("loading does not panic");
    let options = HostOptions {
        reach: Default::default(),
        name: "starting".to_owned(),
        key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        images: Arc::new(image.expect("the image loads").into()),
        store: Arc::new(MemoryStore::new()),
        timing: Timing::quick(),
        approve: Approve::Auto,
        disk: Default::default(),
        archive: None,
        commit: None,
        traces: None,
        console: None,
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
    // The newcomer signs its admission and gets the log late, so that a member's signatures can be lost when it does, after all have signed
    // for its coming.
    world.join("ledger", "d").await;
    world.network.partition(&[world.id("d")], &[world.id(&leader)]);
    let recorded = world.begin_replacing("ledger", out, "d").await;
    let signed = async || {
        let status = world.service(&leader, "ledger").replica.status();
        (status.certified_block >= recorded).then_some(())
    };
    world.wait("certificate of the record", signed).await;
    world.withhold_shares(absent);
    world.network.heal();
    let role = async |world: &World, role| (world.status(out, "ledger").await.role == role).then_some(());
    world.wait("leaving", async || role(&world, "leaving").await).await;
    world.release_shares();
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
