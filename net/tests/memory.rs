//! The in-memory network: the conformance suite under virtual time, and what only it can do.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{LONG, SHORT, Script, World, introduce};
use futures::future::join_all;
use quorate_net::{BoxFuture, Handler, HostId, LinkOptions, MemoryNetwork, NetError, Network, PeerName, Purpose};

struct Memory(MemoryNetwork);

impl World for Memory {
    fn start(&self, seed: u8, handler: Arc<dyn Handler>) -> BoxFuture<'_, Arc<dyn Network>> {
        Box::pin(async move { self.0.join(HostId::of_secret(&[seed; 32]), handler) })
    }
}

conformance!(Memory(MemoryNetwork::new(1)), start_paused = true);

async fn pair(seed: u64) -> (MemoryNetwork, Arc<dyn Network>, Arc<dyn Network>, Arc<Script>) {
    let world = MemoryNetwork::new(seed);
    let script = Script::new();
    let one = world.join(HostId([1; 32]), Script::new());
    let two = world.join(HostId([2; 32]), script.clone());
    introduce(&one, &two);
    introduce(&two, &one);
    (world, one, two, script)
}

/// Who handled what when, in a run with delay and loss, on a runtime of its own.
fn trace(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed))
}

async fn run(seed: u64) -> Vec<String> {
    let (world, one, two, script) = pair(seed).await;
    world.set_default_link(LinkOptions { delay: Duration::ZERO..=Duration::from_millis(50), loss: 0.2 });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let started = tokio::time::Instant::now();
    let requests = (0..200).map(|number| {
        let request = one.request(two.local(), Purpose::Share, Bytes::from(format!("slow {number}")), SHORT);
        let lines = Arc::clone(&lines);
        async move {
            let result = request.await;
            lines.lock().unwrap().push(format!("{number} {:?} {result:?}", started.elapsed()));
        }
    });
    join_all(requests).await;
    let mut lines = std::mem::take(&mut *lines.lock().unwrap());
    lines.extend(script.handled.lock().unwrap().iter().map(|request| format!("{request:?}")));
    lines
}

#[test]
fn a_seed_reproduces_a_run() {
    let first = trace(7);
    for _ in 0..3 {
        for (line, again) in first.iter().zip(trace(7)) {
            assert_eq!(*line, again);
        }
    }
    assert!(first != trace(8), "another seed, another run");
    assert!(first.iter().any(|line| line.contains("Timeout")), "something is lost");
    assert!(first.iter().any(|line| line.contains("Ok")), "something is not");
    let handled: Vec<&String> = first.iter().filter(|line| line.starts_with("b\"")).collect();
    assert!(!handled.is_sorted_by_key(|line| line[7..line.len() - 1].parse::<u32>().unwrap()), "frames overtake");
}

#[tokio::test(start_paused = true)]
async fn traffic_elsewhere_changes_nothing_here() {
    async fn times(noise: bool) -> Vec<Duration> {
        let (world, one, two, _) = pair(3).await;
        let three = world.join(HostId([3; 32]), Script::new());
        introduce(&three, &two);
        let mut times = Vec::new();
        for _ in 0..20 {
            if noise {
                three.request(two.local(), Purpose::Vote, Bytes::from_static(b"echo"), LONG).await.unwrap();
            }
            let started = tokio::time::Instant::now();
            one.request(two.local(), Purpose::Vote, Bytes::from_static(b"echo"), LONG).await.unwrap();
            times.push(started.elapsed());
        }
        times
    }
    assert_eq!(times(false).await, times(true).await);
}

#[tokio::test(start_paused = true)]
async fn partitions_are_silent_and_heal() {
    let (world, one, two, script) = pair(1).await;
    let (host, purpose) = (two.local(), Purpose::Append);
    let echo = |network: &Arc<dyn Network>, to| network.request(to, purpose, Bytes::from_static(b"echo"), SHORT);
    let timeout = Err(NetError::Timeout { host, purpose, deadline: SHORT });
    world.partition(&[one.local()], &[two.local()]);
    assert_eq!(echo(&one, two.local()).await, timeout);
    assert_eq!(script.handled(), 0);
    assert!(!one.peers()[0].connected);
    world.heal();
    assert!(echo(&one, two.local()).await.is_ok());
    // One way: the request arrives, its response does not.
    world.cut(two.local(), one.local());
    assert_eq!(echo(&one, two.local()).await, timeout);
    assert_eq!(script.handled(), 2);
    world.heal();
    // A partition also swallows what is on its way.
    world.set_link(one.local(), two.local(), LinkOptions { delay: SHORT / 4..=SHORT / 3, loss: 0.0 });
    let request = tokio::spawn(echo(&one, two.local()));
    tokio::time::sleep(SHORT / 10).await;
    world.isolate(one.local());
    assert_eq!(request.await.unwrap(), timeout);
    assert_eq!(script.handled(), 2);
    world.calm();
    assert!(echo(&one, two.local()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_dropped_leaves_and_one_that_was_replaced_does_not_matter() {
    let (world, one, two, script) = pair(1).await;
    let echo = || one.request(HostId([2; 32]), Purpose::Vote, Bytes::from_static(b"echo"), LONG);
    let again = world.join(two.local(), script.clone());
    drop(two);
    assert!(echo().await.is_ok());
    drop(again);
    assert!(matches!(echo().await, Err(NetError::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_response_to_a_restarted_host_is_lost() {
    let (world, one, two, script) = pair(1).await;
    let request = tokio::spawn(one.request(two.local(), Purpose::Vote, Bytes::from_static(b"stuck"), LONG));
    common::eventually("begun", async || script.handled() == 1).await;
    let again = world.join(one.local(), Script::new());
    introduce(&again, &two);
    assert_eq!(request.await.unwrap(), Err(NetError::Closed));
    script.release.add_permits(1);
    let response = again.request(two.local(), Purpose::Vote, Bytes::from_static(b"echo"), LONG).await;
    assert_eq!(response, Ok(Bytes::from_static(b"echo")));
}
