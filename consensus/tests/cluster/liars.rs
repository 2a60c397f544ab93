//! Members that sign something else, and replicas that diverge.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_signs_something_else_is_believed_by_nobody_and_accused_of_nothing() {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.nodes[2].lying = true;
    for place in 0..3 {
        cluster.start(place).await;
    }
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let liar = cluster.nodes[2].id();
    for honest in [0, 1] {
        let record = wait("a disagreement", || {
            let log = cluster.nodes[honest].log.lock().unwrap();
            log.evidence.iter().find(|record| record.place() == (0, Some(last))).cloned()
        })
        .await;
        let EvidenceRecord::Disagreement(disagreement) = &record else { panic!("{record:?}") };
        assert_eq!(disagreement.theirs.signer(), liar);
        disagreement.theirs.verify(&Signers::from(&cluster.genesis.membership())).unwrap();
        assert_ne!(disagreement.own, disagreement.theirs.content);
        let status = cluster.nodes[honest].up().status();
        assert!(status.disagreements > 0);
        // It signed one thing only, as far as anybody can show: it may have been shown another log.
        assert_eq!((status.equivocations, status.stats.equivocations.len()), (0, 0));
        assert!(cluster.nodes[honest].up().evidence().unwrap().contains(&record));
        let log = cluster.nodes[honest].log.lock().unwrap();
        let signers: Vec<_> = log.certificates[&last].signatures.iter().map(|signature| signature.key).collect();
        assert!(!signers.contains(&liar));
        assert_eq!(log.fault, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_finds_a_threshold_against_it_stops() {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.nodes[1].lying = true;
    cluster.nodes[2].lying = true;
    for place in 0..3 {
        cluster.start(place).await;
    }
    // Whether the command's answer arrives before the replica stops does not matter.
    let _ = cluster.nodes[0].up().propose(b"one".to_vec(), Duration::from_secs(5)).await;
    let text = wait("a fault", || cluster.nodes[0].log.lock().unwrap().fault.clone()).await;
    assert!(text.contains("Q-C042"), "{text}");
    // What convinced it is kept, for others to check, and was on disk before it stopped.
    let store = Arc::clone(&cluster.nodes[0].store);
    store.crash();
    let shared: Arc<dyn Store> = store;
    let kept = evidence_of(&shared, cluster.genesis.vat_id()).unwrap();
    let divergence = kept.iter().find_map(|record| match record {
        EvidenceRecord::Divergence(Divergence::Statement { certificate, own }) => Some((certificate, own)),
        _ => None,
    });
    let (certificate, own) = divergence.expect("it is kept");
    Signers::from(&cluster.genesis.membership()).verify_certificate(certificate).unwrap();
    assert_ne!(certificate.statement, *own);
    assert!(kept.iter().all(|record| record.accused().is_empty()), "{kept:?}");
    // It does not come back, whatever the others say by then: what it computed is not what was certified.
    cluster.stop(0).await;
    cluster.start(0).await;
    let again = wait("the fault again", || cluster.nodes[0].log.lock().unwrap().fault.clone()).await;
    assert_eq!(again, text);
    assert_eq!(cluster.nodes[0].up().status().role, Role::Faulted);
    let refused = cluster.nodes[0].up().propose(b"two".to_vec(), Duration::from_secs(5)).await;
    assert!(matches!(&refused, Err(ProposeError::Stopped(why)) if why.contains("Q-C042")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_would_sign_something_else_after_a_restart_stops() {
    let mut cluster = Cluster::started(1, 1, parameters()).await;
    for _ in 0..5 {
        cluster.propose(0, b"one").await;
    }
    let last = cluster.propose(0, b"two").await.block;
    cluster.wait_certified(last).await;
    cluster.stop(0).await;
    // Another guard, as if the log had been exchanged under the replica's feet.
    let store = Arc::clone(&cluster.nodes[0].store);
    let mut guard = cluster.genesis.vat_id().0.to_vec();
    guard.extend_from_slice(b"guard");
    let mut record = store.get(Family::State, &guard).unwrap().unwrap();
    *record.last_mut().unwrap() ^= 1;
    store.write(vec![Write::Put(Family::State, guard, record)]).unwrap();
    cluster.start(0).await;
    let text = wait("a fault", || cluster.nodes[0].log.lock().unwrap().fault.clone()).await;
    assert!(text.contains("Q-C041"), "{text}");
    assert!(cluster.nodes[0].log.lock().unwrap().certificates.is_empty(), "it must not sign again");
}

/// As if a leader had exchanged the end of the log between two lives of a member, which had signed who follows: the statement of
/// the block in which an epoch begins would be the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_signs_one_membership_for_an_epoch_in_all_its_lives() {
    let mut cluster = Cluster::started(1, 1, parameters()).await;
    cluster.propose(0, b"one").await;
    let mut guard = cluster.genesis.vat_id().0.to_vec();
    guard.extend_from_slice(b"membership-guard-1");
    let signed = [&[CODEC_VERSION][..], &[7; 32]].concat();
    cluster.nodes[0].store.write(vec![Write::Put(Family::State, guard, signed)]).unwrap();
    let new = cluster.learner().await;
    let add = Change::Add(cluster.nodes[new].member());
    let _ = cluster.nodes[0].up().reconfigure(add, None, Duration::from_secs(5)).await;
    let text = wait("a fault", || cluster.nodes[0].log.lock().unwrap().fault.clone()).await;
    assert!(text.contains("Q-C041"), "{text}");
    assert!(cluster.nodes[0].log.lock().unwrap().memberships.is_empty(), "it must not sign again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let cluster = Cluster::started(1, 1, parameters()).await;
    let stranger = HostId(key(99).verifying_key().to_bytes());
    let replica = cluster.nodes[0].up();
    for channel in Channel::ALL {
        for frame in [&b""[..], b"\x01", b"\x02rubbish", &[1; 300]] {
            let answer = replica.handle(stranger, channel, frame).await;
            let refused = answer.is_err() || matches!(channel, Channel::Append | Channel::Vote);
            assert!(refused, "{channel:?} {answer:?}");
        }
        assert_eq!(replica.permits(stranger, channel), channel == Channel::Share);
    }
    // A member's rubbish is refused, too, and does no harm.
    let member = cluster.nodes[0].id();
    for channel in Channel::ALL {
        assert!(replica.handle(member, channel, &[1, 255, 255, 255, 255, 255]).await.is_err());
    }
    cluster.propose(0, b"one").await;
    cluster.assert_no_trouble();
}
