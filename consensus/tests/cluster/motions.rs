//! Motions: what the application has the owners of the members approve of.

use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn three(approve: Approve) -> Cluster {
    let mut cluster = Cluster::new(3, 2, parameters());
    for place in 0..3 {
        cluster.nodes[place].approve = approve;
        cluster.start(place).await;
    }
    let first = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(first).await;
    cluster
}

/// Puts a motion until it is certain what came of it: while leaders change nobody may know.
async fn put(cluster: &Cluster, place: usize, motion: &[u8]) -> Result<Proposed, ReconfigureError> {
    for _ in 0..20 {
        match cluster.nodes[place].up().put_motion(motion.to_vec(), PATIENCE).await {
            Err(ReconfigureError::Propose(_)) | Err(ReconfigureError::Waits { approved: 2.., .. }) => {}
            decided => return decided,
        }
    }
    panic!("nobody knows what came of the motion");
}

async fn waiting(cluster: &Cluster, place: usize) -> WaitingChange {
    wait("a motion that waits", || cluster.nodes[place].up().waiting_changes().pop()).await
}

async fn nothing_waits(cluster: &Cluster) {
    for place in 0..3 {
        wait("nothing waits", || cluster.nodes[place].up().waiting_changes().is_empty().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_motion_that_hosts_approve_by_themselves_is_carried_out_with_evidence() {
    let cluster = three(Approve::Auto).await;
    let done = put(&cluster, 1, b"a motion").await.expect("they all approve");
    cluster.wait_certified(done.block).await;
    let membership = cluster.nodes[0].up().status().membership;
    let (motion, approvals) = cluster.motions.carried_out().pop().expect("a command was made of it");
    assert_eq!(motion, b"a motion");
    assert_eq!(verify_motion(&membership, &motion, &approvals), Ok(()));
    assert!(verify_motion(&membership, b"another motion", &approvals).is_err());
    let later = Membership { epoch: membership.epoch + 1, ..(*membership).clone() };
    assert!(verify_motion(&later, &motion, &approvals).is_err());
    assert!(verify_motion(&membership, &motion, &approvals[..1]).is_err());
    nothing_waits(&cluster).await;
    // What the application does not want, and what is too long, is not even asked.
    for refused in [UNWANTED.to_vec(), vec![0; 5_000]] {
        assert!(matches!(put(&cluster, 0, &refused).await, Err(ReconfigureError::Refused(_))));
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_motion_waits_for_owners_beside_a_change_of_members_and_survives_restarts() {
    let mut cluster = three(Approve::Ask).await;
    let waits = cluster.nodes[0].up().reconfigure(Change::Threshold(3), None, PATIENCE).await;
    assert_eq!(waits, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
    let waits = cluster.nodes[0].up().put_motion(b"a motion".to_vec(), PATIENCE).await;
    assert_eq!(waits, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
    let other = cluster.nodes[0].up().put_motion(b"a second motion".to_vec(), PATIENCE).await;
    assert!(matches!(other, Err(ReconfigureError::Refused(_))), "one at a time: {other:?}");
    for place in 0..3 {
        wait("both", || (cluster.nodes[place].up().waiting_changes().len() == 2).then_some(())).await;
    }
    let it = waiting(&cluster, 2).await;
    assert_eq!((&it.matter, it.answer, it.needed), (&WaitingMatter::Motion(b"a motion".to_vec()), None, 2));
    assert!(cluster.nodes[2].up().answer_change(&it.id, true));
    wait("an approval", || {
        let waiting = cluster.nodes[0].up().waiting_changes();
        waiting.iter().find(|it| it.is_own && it.approved.len() == 1).map(drop)
    })
    .await;
    assert!(cluster.motions.carried_out().is_empty(), "one owner of three is not enough");
    cluster.crash(0).await;
    cluster.start(0).await;
    assert!(cluster.nodes[1].up().answer_change(&it.id, true));
    wait("it is carried out", || (!cluster.motions.carried_out().is_empty()).then_some(())).await;
    // The change of members still waits, and ends.
    let left = wait("the change", || {
        let mut waiting = cluster.nodes[0].up().waiting_changes();
        if waiting.len() == 1 { waiting.pop() } else { None }
    })
    .await;
    assert!(matches!(left.matter, WaitingMatter::Members { .. }), "{left:?}");
    assert!(cluster.nodes[0].up().answer_change(&left.id, false));
    nothing_waits(&cluster).await;
    assert_eq!(cluster.nodes[1].up().status().epoch, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_motion_ends_when_too_few_could_still_approve() {
    let cluster = three(Approve::Ask).await;
    let waits = cluster.nodes[0].up().put_motion(b"a motion".to_vec(), PATIENCE).await;
    assert_eq!(waits, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
    for place in [1, 2] {
        let it = waiting(&cluster, place).await;
        assert!(cluster.nodes[place].up().answer_change(&it.id, false));
    }
    nothing_waits(&cluster).await;
    assert!(cluster.motions.carried_out().is_empty());
    cluster.assert_no_trouble();
}
