//! What members have on disk is read before it is needed; and a member whose disk is nearly full takes no new commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

fn often(commands: u64) -> Parameters {
    Parameters { checkpoint_commands: commands, ..parameters() }
}

/// All records of a family that a member has of the vat.
fn records(cluster: &Cluster, place: usize, family: Family) -> Vec<Record> {
    let from = cluster.genesis.vat_id().0.to_vec();
    let to = [&from[..], &[0xff; 40]].concat();
    cluster.nodes[place].store.scan(family, &from, &to, usize::MAX).unwrap()
}

fn overwrite(cluster: &Cluster, place: usize, family: Family, (key, mut value): Record) {
    let last = value.len() - 1;
    value[last] ^= 1;
    cluster.nodes[place].store.write(vec![Write::Put(family, key, value)]).unwrap();
}

async fn scrub(cluster: &Cluster, place: usize) -> VatScrub {
    cluster.nodes[place].up().scrub(&ScrubPace::new(u64::MAX)).await.unwrap()
}

/// Three members with a checkpoint and a log, and one of them that does not lead.
async fn begun() -> (Cluster, usize) {
    let cluster = Cluster::started(3, 2, often(10)).await;
    let mut last = 0;
    for number in 0..36u8 {
        last = cluster.propose(0, &[number]).await.block;
    }
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    let place = (cluster.wait_for_leader().await + 1) % 3;
    wait("a checkpoint", || (cluster.nodes[place].up().status().checkpoint_block > 20).then_some(())).await;
    (cluster, place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_damaged_or_gone_come_again_from_other_members() {
    let (mut cluster, place) = begun().await;
    let sound = scrub(&cluster, place).await;
    assert_eq!((sound.fetched, sound.lost, &sound.damage), (0, 0, &None));
    let chunks = records(&cluster, place, Family::Chunk);
    assert!(chunks.len() >= 2 && sound.bytes > chunks.iter().map(|(_, value)| value.len() as u64).sum(), "{sound:?}");
    let damage = |cluster: &Cluster| {
        overwrite(cluster, place, Family::Chunk, chunks[0].clone());
        cluster.nodes[place].store.write(vec![Write::Delete(Family::Chunk, chunks[1].0.clone())]).unwrap();
    };
    damage(&cluster);
    // Nobody gives anything: the replica goes on with what it has in memory, and its owner is told.
    let others: Vec<usize> = (0..3).filter(|other| *other != place).collect();
    others.iter().for_each(|other| cluster.hub.mute_to(cluster.nodes[*other].id(), Channel::Snapshot));
    let found = scrub(&cluster, place).await;
    assert_eq!((found.fetched, found.lost, found.damage), (0, 2, None));
    assert_eq!(cluster.nodes[place].up().status().fault, None);
    others.iter().for_each(|other| cluster.hub.unmute_to(cluster.nodes[*other].id()));
    let found = scrub(&cluster, place).await;
    assert_eq!((found.fetched, found.lost, found.damage), (2, 0, None));
    assert_eq!(records(&cluster, place, Family::Chunk), chunks);
    let found = scrub(&cluster, place).await;
    assert_eq!((found.fetched, found.lost), (0, 0));
    // It can start again with them.
    cluster.stop(place).await;
    cluster.start(place).await;
    let last = cluster.propose(place, b"after").await.block;
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_damaged_stops_its_member_until_it_is_repaired_and_the_others_go_on() {
    type Damage = fn(&Cluster, usize, Vec<Record>);
    let damages: [(&str, Damage); 4] = [
        ("what the chain says", |cluster, place, entries| {
            // It decodes, and only the chain tells.
            let (key, mut value) = entries[entries.len() - 3].clone();
            value[8] ^= 1;
            cluster.nodes[place].store.write(vec![Write::Put(Family::Log, key, value)]).unwrap();
        }),
        ("in the place of another", |cluster, place, entries| {
            let (key, value) = (entries[entries.len() - 3].0.clone(), entries[entries.len() - 4].1.clone());
            cluster.nodes[place].store.write(vec![Write::Put(Family::Log, key, value)]).unwrap();
        }),
        ("is not there", |cluster, place, entries| {
            let key = entries[entries.len() - 3].0.clone();
            cluster.nodes[place].store.write(vec![Write::Delete(Family::Log, key)]).unwrap();
        }),
        ("is not there", |cluster, place, entries| {
            let key = entries[entries.len() - 1].0.clone();
            cluster.nodes[place].store.write(vec![Write::Delete(Family::Log, key)]).unwrap();
        }),
    ];
    for (number, (what, damage)) in damages.into_iter().enumerate() {
        let (mut cluster, place) = begun().await;
        damage(&cluster, place, records(&cluster, place, Family::Log));
        let found = scrub(&cluster, place).await;
        let text = found.damage.clone().unwrap_or_default();
        assert!(text.contains(what), "{number}: {found:?}");
        let fault = wait("the fault", || cluster.nodes[place].up().status().fault).await;
        assert!(fault.starts_with("Q-C049 ") && fault.contains("vat member repair"), "{fault}");
        let other = (place + 1) % 3;
        let last = cluster.propose(other, b"without it").await.block;
        wait("the others", || (cluster.nodes[other].up().status().certified_block >= last).then_some(())).await;
        // No restart takes it away.
        cluster.stop(place).await;
        cluster.start(place).await;
        assert_eq!(cluster.nodes[place].up().status().fault, Some(fault));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_without_other_members_is_not_stopped() {
    let cluster = Cluster::started(1, 1, parameters()).await;
    for number in 0..8u8 {
        cluster.propose(0, &[number]).await;
    }
    let entries = records(&cluster, 0, Family::Log);
    cluster.nodes[0].store.write(vec![Write::Delete(Family::Log, entries[4].0.clone())]).unwrap();
    let found = scrub(&cluster, 0).await;
    assert!(found.damage.is_some_and(|damage| damage.contains("is not there")));
    cluster.propose(0, b"it goes on").await;
    assert_eq!(cluster.nodes[0].up().status().fault, None);
}

/// While entries are written and cut, nothing seems to be damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_member_is_read_without_a_false_alarm() {
    let cluster = Arc::new(Cluster::started(3, 2, often(7)).await);
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|place| {
            let (cluster, is_done) = (Arc::clone(&cluster), Arc::clone(&is_done));
            tokio::spawn(async move {
                let mut times = 0;
                while !is_done.load(Ordering::SeqCst) {
                    let found = scrub(&cluster, place).await;
                    assert_eq!((found.fetched, found.lost, found.damage), (0, 0, None));
                    times += 1;
                }
                times
            })
        })
        .collect();
    for number in 0..150u8 {
        cluster.propose(usize::from(number) % 3, &[number]).await;
    }
    is_done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 1);
    }
    cluster.assert_no_trouble();
}

/// A leader without room is left by the others, keeps its vote as a follower, and takes commands again when it has room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_takes_no_commands_is_left_and_still_stores_what_another_one_orders() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    cluster.propose(0, b"first").await;
    let full = cluster.wait_for_leader().await;
    cluster.nodes[full].up().limit(Some("its disk is nearly full".into()));
    let refused = cluster.nodes[full].up().propose(b"here".to_vec(), Duration::from_secs(5)).await;
    assert!(matches!(&refused, Err(ProposeError::Refused(why)) if why.contains("nearly full")), "{refused:?}");
    let other = (full + 1) % 3;
    let proposed = cluster.propose(other, b"elsewhere").await;
    assert_ne!(cluster.wait_for_leader().await, full);
    cluster.wait_applied(proposed.block).await;
    // Its vote is needed, and it is there.
    let (leader, third) = (cluster.wait_for_leader().await, 3 - full - cluster.wait_for_leader().await);
    cluster.stop(third).await;
    let last = cluster.propose(leader, b"of two").await.block;
    cluster.wait_certified(last).await;
    // Nobody has room: nothing is taken, and nothing is lost.
    cluster.nodes[leader].up().limit(Some("its disk is nearly full".into()));
    let refused = cluster.nodes[leader].up().propose(b"nowhere".to_vec(), Duration::from_secs(2)).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    [full, leader].iter().for_each(|place| cluster.nodes[*place].up().limit(None));
    let last = cluster.propose(full, b"again").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}
