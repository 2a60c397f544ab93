//! A real store and a real kill: a child process runs a lone replica on RocksDB and is killed at any instant, again and again.
//! Whatever it had acknowledged must be there when it comes back.
#![allow(clippy::unwrap_used)]

#[path = "cluster/common.rs"]
#[allow(dead_code)]
mod common;

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Cluster, Hub, HubTransport, Toy, parameters, wait};
use quorate_consensus::*;

const DIRECTORY: &str = "QUORATE_KILL_DIRECTORY";
const ROUNDS: u64 = 12;

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let cluster = Cluster::new(1, 1, Parameters { checkpoint_commands: 40, ..parameters() });
    let (events, mut receiver) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            if let Event::Fault(text) = event {
                println!("fault {text}");
            }
        }
    });
    let key = cluster.nodes[0].key.clone();
    let replica = Replica::start(ReplicaOptions {
        genesis: cluster.genesis.clone(),
        chain: Vec::new(),
        transport: Arc::new(HubTransport { hub: Arc::new(Hub::default()), from: cluster.nodes[0].id() }),
        key,
        machine: Toy::default(),
        store: Arc::new(RocksStore::open(directory).unwrap()),
        archive: None,
        execution: Arc::new(Threads),
        events,
        pace: Arc::default(),
        timing: Timing::quick(),
        clock: Arc::new(SystemClock),
        learner: false,
        approve: Approve::Auto,
        max_uncertified: MAX_UNCERTIFIED,
        motions: Arc::new(NoMotions),
    })
    .await
    .unwrap();
    wait("leading", || (replica.status().role == Role::Leader).then_some(())).await;
    // What the log has is applied before anything new is.
    let mut first = true;
    loop {
        let calls = (0..8).map(|_| replica.propose(b"more".to_vec(), Duration::from_secs(20)));
        for proposed in futures::future::join_all(calls).await {
            let counter = u64::from_be_bytes(proposed.unwrap().result.try_into().unwrap());
            let word = if std::mem::take(&mut first) { "first" } else { "done" };
            println!("{word} {counter}");
        }
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if std::env::var(DIRECTORY).is_ok() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different number of acknowledgements before each kill, so that it strikes in different places.
        let mut left = 30 + (round * 37) % 90;
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            let Some((word, counter)) = line.split_once(' ') else { continue };
            assert_ne!(word, "fault", "{line}");
            let Ok(counter) = counter.parse::<u64>() else { continue };
            match word {
                "first" => assert!(counter > acknowledged, "round {round}: {counter} after {acknowledged}"),
                "done" => {}
                _ => continue,
            }
            seen += 1;
            if left == 0 {
                // What is still in the pipe was acknowledged as well.
                acknowledged = acknowledged.max(counter);
                continue;
            }
            acknowledged = acknowledged.max(counter);
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "round {round}: the child did nothing");
    }
    assert!(acknowledged > ROUNDS * 30);
}
