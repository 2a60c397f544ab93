//! Changes of membership, and the chain that proves them.

use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn reconfigure(cluster: &Cluster, place: usize, change: Change, threshold: Option<u16>) {
    let epoch = cluster.nodes[place].up().status().epoch;
    match decided(cluster, place, change.clone(), threshold).await {
        Ok(_) => {}
        // It was asked for twice, since nobody knew what came of the first time.
        Err(ReconfigureError::Refused(text)) if has_begun(cluster, place, epoch, &change) => {
            eprintln!("recorded: {text}")
        }
        Err(error) => panic!("it is not recorded: {error}"),
    }
}

/// Asks for a change until it is certain what came of it: while leaders change nobody may know.
async fn decided(
    cluster: &Cluster,
    place: usize,
    change: Change,
    threshold: Option<u16>,
) -> Result<u64, ReconfigureError> {
    for _ in 0..20 {
        match cluster.nodes[place].up().reconfigure(change.clone(), threshold, PATIENCE).await {
            Err(ReconfigureError::Propose(error)) => eprintln!("again: {error}"),
            decided => return decided,
        }
    }
    panic!("not decided");
}

/// Whether a change is under way, or an epoch after this one has begun.
fn has_begun(cluster: &Cluster, place: usize, epoch: u64, change: &Change) -> bool {
    let status = cluster.nodes[place].up().status();
    let pending = status.pending.map(|pending| pending.change);
    status.epoch > epoch || if *change == Change::Cancel { pending.is_none() } else { pending.as_ref() == Some(change) }
}

/// Waits until the epoch holds, is certified, and Raft's voters are its members, at all of these places.
async fn settled(cluster: &Cluster, epoch: u64, places: &[usize]) {
    for place in places {
        wait("the epoch", || {
            let status = cluster.nodes[*place].up().status();
            let votes = status.role == Role::Leader || status.role == Role::Follower;
            let voters = votes && !status.voters_change;
            (status.epoch == epoch && status.certified_epoch == epoch && status.pending.is_none() && voters)
                .then_some(())
        })
        .await;
    }
}

/// Waits until a block has its certificate at all of these places.
async fn certified(cluster: &Cluster, block: u64, places: &[usize]) {
    for place in places {
        wait("certified", || (cluster.nodes[*place].up().status().certified_block >= block).then_some(())).await;
    }
}

/// Three members that must all sign, and have signed something; with two of them that do not lead.
async fn three_that_all_sign() -> (Cluster, usize, usize) {
    let cluster = Cluster::started(3, 3, parameters()).await;
    let first = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(first).await;
    let leader = cluster.wait_for_leader().await;
    (cluster, (leader + 1) % 3, (leader + 2) % 3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solo_vat_grows_to_three_and_survives_the_first() {
    let mut cluster = Cluster::started(1, 1, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    for _ in 0..35 {
        cluster.propose(0, b"solo").await;
    }
    let second = cluster.learner().await;
    reconfigure(&cluster, 0, Change::Add(cluster.nodes[second].member()), None).await;
    settled(&cluster, 1, &[0, 1]).await;
    let third = cluster.learner().await;
    reconfigure(&cluster, 1, Change::Add(cluster.nodes[third].member()), Some(2)).await;
    settled(&cluster, 2, &[0, 1, 2]).await;
    let last = cluster.propose(2, b"three").await.block;
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    let introduction = cluster.nodes[2].up().introduction();
    assert_eq!(introduction.vat_id(), cluster.genesis.vat_id());
    let membership = introduction.verify().unwrap();
    assert_eq!((membership.epoch, membership.members.len(), membership.threshold), (2, 3, 2));
    verify_certificate(&cluster.nodes[2].log.lock().unwrap().certificates[&last], &membership).unwrap();
    cluster.crash(0).await;
    let last = cluster.propose(1, b"without the first").await.block;
    cluster.wait_certified(last).await;
    // And the newcomers restart by themselves.
    cluster.crash(1).await;
    cluster.crash(2).await;
    for place in [1, 2, 0] {
        cluster.start(place).await;
    }
    let last = cluster.propose(1, b"all again").await.block;
    cluster.wait_certified(last).await;
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_replaced() {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    for _ in 0..30 {
        cluster.propose(0, b"three").await;
    }
    let dead = (cluster.wait_for_leader().await + 1) % 3;
    let asked = (dead + 1) % 3;
    cluster.crash(dead).await;
    let out = cluster.nodes[dead].id();
    let new = cluster.learner().await;
    reconfigure(&cluster, asked, Change::Replace { out, in_: cluster.nodes[new].member() }, None).await;
    let staying: Vec<usize> = (0..4).filter(|place| *place != dead).collect();
    settled(&cluster, 1, &staying).await;
    let last = cluster.propose(new, b"replaced").await.block;
    cluster.wait_certified(last).await;
    let membership = cluster.nodes[new].up().introduction().verify().unwrap();
    assert!(!membership.contains(&out) && membership.contains(&cluster.nodes[new].id()));
    // The dead one returns from its long sleep, learns that it is out, and stops.
    cluster.start(dead).await;
    wait("removal", || cluster.nodes[dead].log.lock().unwrap().removed.then_some(())).await;
    assert_eq!(cluster.nodes[dead].up().status().role, Role::Stopped);
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_can_be_removed_and_notices() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    cluster.propose(0, b"one").await;
    let leader = cluster.wait_for_leader().await;
    let asked = (leader + 1) % 3;
    reconfigure(&cluster, asked, Change::Remove(cluster.nodes[leader].id()), None).await;
    let staying: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    settled(&cluster, 1, &staying).await;
    wait("removal", || cluster.nodes[leader].log.lock().unwrap().removed.then_some(())).await;
    let last = cluster.propose(asked, b"two").await.block;
    for place in staying {
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= last).then_some(())).await;
        let introduction = cluster.nodes[place].up().introduction();
        assert_eq!(introduction.verify().unwrap().members.len(), 2);
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_on_under_a_new_leader() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    cluster.propose(0, b"one").await;
    let leader = cluster.wait_for_leader().await;
    let asked = (leader + 1) % 3;
    // The newcomer gets nothing of the log yet: the change waits.
    let new = cluster.learner().await;
    cluster.hub.withhold_log(cluster.nodes[new].id());
    reconfigure(&cluster, asked, Change::Add(cluster.nodes[new].member()), Some(3)).await;
    cluster.crash(leader).await;
    cluster.start(leader).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(cluster.nodes[asked].up().status().pending.is_some());
    let refused = decided(&cluster, asked, Change::Threshold(3), None).await;
    assert!(matches!(refused, Err(ReconfigureError::Refused(_))), "{refused:?}");
    cluster.hub.heal();
    settled(&cluster, 1, &[0, 1, 2, 3]).await;
    let last = cluster.propose(new, b"four").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_can_be_given_up_and_the_threshold_changed() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    let absent = cluster.learner().await;
    cluster.hub.withhold_log(cluster.nodes[absent].id());
    reconfigure(&cluster, 0, Change::Add(cluster.nodes[absent].member()), None).await;
    reconfigure(&cluster, 0, Change::Cancel, None).await;
    reconfigure(&cluster, 0, Change::Threshold(3), None).await;
    settled(&cluster, 1, &[0, 1, 2]).await;
    let last = cluster.propose(0, b"three of three").await.block;
    certified(&cluster, last, &[0, 1, 2]).await;
    let log = cluster.nodes[0].log.lock().unwrap();
    assert_eq!(log.certificates[&last].signatures.len(), 3);
    assert_eq!(log.memberships.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_changes_are_refused() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let stranger = HostId(key(60).verifying_key().to_bytes());
    let weak = Member { key: HostId([0; 32]), ..Member::default() };
    let changes = [
        (Change::Remove(stranger), None),
        (Change::Add(cluster.nodes[1].member()), None),
        (Change::Add(weak), None),
        (Change::Threshold(1), None),
        (Change::Threshold(4), None),
        (Change::Cancel, None),
        (Change::Remove(cluster.nodes[0].id()), Some(3)),
    ];
    for (change, threshold) in changes {
        let refused = decided(&cluster, 0, change.clone(), threshold).await;
        assert!(matches!(refused, Err(ReconfigureError::Refused(_))), "{change:?}: {refused:?}");
    }
    assert_eq!(cluster.nodes[0].up().status().pending, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_missed_two_epochs_catches_up() {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    cluster.propose(0, b"one").await;
    let away = (cluster.wait_for_leader().await + 1) % 3;
    let (staying, gone) = ((away + 1) % 3, (away + 2) % 3);
    cluster.stop(away).await;
    let fourth = cluster.learner().await;
    reconfigure(&cluster, staying, Change::Add(cluster.nodes[fourth].member()), Some(3)).await;
    settled(&cluster, 1, &[staying, gone, fourth]).await;
    let fifth = cluster.learner().await;
    let change = Change::Replace { out: cluster.nodes[gone].id(), in_: cluster.nodes[fifth].member() };
    reconfigure(&cluster, staying, change, None).await;
    settled(&cluster, 2, &[staying, fourth, fifth]).await;
    for _ in 0..40 {
        cluster.propose(staying, b"more").await;
    }
    cluster.stop(gone).await;
    // Whoever leads may be unknown to it: an introduction mends that.
    cluster.stop(staying).await;
    cluster.start(away).await;
    let last = cluster.propose(fifth, b"last").await.block;
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Of three that must all approve and sign, one is down: its place can't be given away. That can be asked for, and waits, also where
/// the host that asked is started again; once the member is back the change goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_lacks_an_approval_waits_and_survives_restarts() {
    let (mut cluster, away, asked) = three_that_all_sign().await;
    let out = cluster.nodes[away].id();
    cluster.crash(away).await;
    let new = cluster.learner().await;
    let replace = Change::Replace { out, in_: cluster.nodes[new].member() };
    let waits = cluster.nodes[asked].up().reconfigure(replace.clone(), None, Duration::from_secs(2)).await;
    assert_eq!(waits, Err(ReconfigureError::Waits { approved: 2, needed: 3 }));
    cluster.crash(asked).await;
    cluster.start(asked).await;
    let waiting = cluster.nodes[asked].up().waiting_changes();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert!(waiting[0].is_own && is_change(&waiting[0], &replace) && waiting[0].approved.len() == 2, "{waiting:?}");
    let status = cluster.nodes[asked].up().status();
    assert_eq!((status.epoch, status.pending), (0, None));
    cluster.start(away).await;
    let staying: Vec<usize> = (0..4).filter(|place| *place != away).collect();
    settled(&cluster, 1, &staying).await;
    wait("removal", || cluster.nodes[away].log.lock().unwrap().removed.then_some(())).await;
    wait("nothing waits", || cluster.nodes[asked].up().waiting_changes().is_empty().then_some(())).await;
    let last = cluster.propose(new, b"replaced").await.block;
    for place in staying {
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= last).then_some(())).await;
    }
    cluster.assert_no_trouble();
}

fn is_change(waiting: &WaitingChange, change: &Change) -> bool {
    matches!(&waiting.matter, WaitingMatter::Members { change: found, .. } if found == change)
}

/// Three whose owners are asked, of which two must approve.
async fn three_that_ask() -> Cluster {
    let mut cluster = Cluster::new(3, 2, parameters());
    for place in 0..3 {
        cluster.nodes[place].approve = Approve::Ask;
        cluster.start(place).await;
    }
    let first = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(first).await;
    cluster
}

/// The one change that waits at a member, once it is there.
async fn waiting(cluster: &Cluster, place: usize) -> WaitingChange {
    wait("a change that waits", || cluster.nodes[place].up().waiting_changes().pop()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_takes_effect_when_the_second_of_three_owners_approves_and_not_before() {
    let mut cluster = three_that_ask().await;
    let new = cluster.learner().await;
    let change = Change::Replace { out: cluster.nodes[2].id(), in_: cluster.nodes[new].member() };
    let waits = cluster.nodes[0].up().reconfigure(change.clone(), None, PATIENCE).await;
    assert_eq!(waits, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
    for place in 0..3 {
        let it = waiting(&cluster, place).await;
        assert!(is_change(&it, &change), "{it:?}");
        assert_eq!((it.answer, it.needed), (None, 2));
        assert_eq!(it.is_own, place == 0);
    }
    let id = waiting(&cluster, 1).await.id;
    assert!(!cluster.nodes[1].up().answer_change(&Hash([9; 32]), true), "there is no such change");
    assert!(cluster.nodes[1].up().answer_change(&id, true));
    wait("the first approval", || {
        cluster.nodes[0].up().waiting_changes().first().filter(|it| it.approved.len() == 1).map(drop)
    })
    .await;
    let last = cluster.propose(0, b"meanwhile").await.block;
    certified(&cluster, last, &[0, 1, 2]).await;
    let status = cluster.nodes[0].up().status();
    assert_eq!((status.epoch, status.pending), (0, None));
    assert!(cluster.nodes[0].up().answer_change(&id, true));
    settled(&cluster, 1, &[0, 1, new]).await;
    for place in [0, 1] {
        wait("nothing waits", || cluster.nodes[place].up().waiting_changes().is_empty().then_some(())).await;
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_ends_when_too_few_could_still_approve_or_its_proposer_gives_it_up() {
    let cluster = three_that_ask().await;
    let propose = async || {
        let waits = cluster.nodes[0].up().reconfigure(Change::Threshold(3), None, PATIENCE).await;
        assert_eq!(waits, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
        waiting(&cluster, 1).await;
        waiting(&cluster, 2).await.id
    };
    let gone = async || {
        for place in 0..3 {
            wait("nothing waits", || cluster.nodes[place].up().waiting_changes().is_empty().then_some(())).await;
        }
    };
    // One that rejects is no veto.
    let id = propose().await;
    assert!(cluster.nodes[1].up().answer_change(&id, false));
    wait("the rejection", || {
        cluster.nodes[0].up().waiting_changes().first().filter(|it| it.rejected.len() == 1).map(drop)
    })
    .await;
    assert!(cluster.nodes[2].up().answer_change(&id, false));
    gone().await;
    // What was rejected before stays rejected; another change is another question.
    let other = cluster.nodes[0].up().reconfigure(Change::Remove(cluster.nodes[2].id()), None, PATIENCE).await;
    assert_eq!(other, Err(ReconfigureError::Waits { approved: 0, needed: 2 }));
    assert!(cluster.nodes[0].up().withdraw());
    gone().await;
    assert!(!cluster.nodes[0].up().withdraw());
    let status = cluster.nodes[0].up().status();
    assert_eq!((status.epoch, status.pending), (0, None));
}

/// The member that leaves must sign for the epoch without it, and is cut off when that begins: it has still to hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_stays_until_its_signature_has_arrived() {
    let (mut cluster, out, asked) = three_that_all_sign().await;
    let new = cluster.learner().await;
    let member = cluster.nodes[new].member();
    cluster.hub.withhold_log(member.key);
    reconfigure(&cluster, asked, Change::Replace { out: cluster.nodes[out].id(), in_: member }, None).await;
    let recorded = wait("the record", || cluster.nodes[asked].up().status().pending.map(|pending| pending.block)).await;
    wait("certificate", || (cluster.nodes[asked].up().status().certified_block >= recorded).then_some(())).await;
    // It acknowledges what ends the epoch, and nobody gets what it signs.
    let leaves = cluster.nodes[out].id();
    cluster.hub.mute_to(leaves, Channel::Share);
    let withheld = move |from, channel| from == leaves && channel == Channel::Share;
    cluster.hub.lie(Box::new(move |from, _, channel, frame| if withheld(from, channel) { Vec::new() } else { frame }));
    cluster.hub.unmute_to(cluster.nodes[new].id());
    wait("the epoch", || (cluster.nodes[asked].up().status().epoch == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(cluster.nodes[asked].up().status().certified_epoch, 0);
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    cluster.hub.heal();
    let staying: Vec<usize> = (0..4).filter(|place| *place != out).collect();
    settled(&cluster, 1, &staying).await;
    wait("removal", || cluster.nodes[out].log.lock().unwrap().removed.then_some(())).await;
    let last = cluster.propose(new, b"replaced").await.block;
    for place in staying {
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= last).then_some(())).await;
    }
    cluster.assert_no_trouble();
}

/// A newcomer that had begun to fetch the state when its change was given up is admitted again, under another raft id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_given_up_can_be_admitted_after_a_restart() {
    let (mut cluster, _, asked) = three_that_all_sign().await;
    let new = cluster.learner().await;
    // It hears that it is called, and gets nothing of the log.
    cluster.hub.mute_to(cluster.nodes[new].id(), Channel::Append);
    let add = Change::Add(cluster.nodes[new].member());
    reconfigure(&cluster, asked, add.clone(), None).await;
    wait("its call", || (cluster.nodes[new].up().status().raft_id > 0).then_some(())).await;
    reconfigure(&cluster, asked, Change::Cancel, None).await;
    reconfigure(&cluster, asked, add, None).await;
    let text = wait("a word", || cluster.nodes[new].log.lock().unwrap().fault.clone()).await;
    assert!(text.contains("Q-C044"), "{text}");
    cluster.stop(new).await;
    cluster.start(new).await;
    cluster.hub.heal();
    settled(&cluster, 1, &[0, 1, 2, 3]).await;
    let last = cluster.propose(new, b"four").await.block;
    cluster.wait_certified(last).await;
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Three members of which the third is stopped and then replaced; the chain that says so.
async fn replaced_while_down(cluster: &mut Cluster) -> Vec<MembershipCertificate> {
    let first = cluster.propose(0, b"one").await;
    cluster.wait_certified(first.block).await;
    cluster.stop(2).await;
    let newcomer = cluster.learner().await;
    let change = Change::Replace { out: cluster.nodes[2].id(), in_: cluster.nodes[newcomer].member() };
    reconfigure(cluster, 0, change, None).await;
    wait("the certificate", || {
        let chain = cluster.nodes[0].up().introduction().chain;
        (chain.len() == 1).then_some(chain)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_replaced_is_refused_by_name_when_it_is_added_again() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    replaced_while_down(&mut cluster).await;
    let old = cluster.nodes[2].member();
    let changes = [Change::Add(old.clone()), Change::Replace { out: cluster.nodes[1].id(), in_: old.clone() }];
    for change in changes {
        for place in [0, 1, 3] {
            let refused = decided(&cluster, place, change.clone(), None).await;
            assert_eq!(refused, Err(ReconfigureError::WasMember(old.name.clone())), "at {place}");
        }
    }
    assert_eq!(cluster.nodes[0].up().status().pending, None);
    // A present member is refused as such.
    let present = Change::Add(cluster.nodes[1].member());
    let refused = decided(&cluster, 0, present, None).await;
    assert!(matches!(refused, Err(ReconfigureError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_replaced_while_it_was_down_goes_also_when_nobody_is_left_to_tell_it() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    let chain = replaced_while_down(&mut cluster).await;
    for place in [0, 1, 3] {
        cluster.stop(place).await;
    }
    // What it knows is that it is out; those who could say that it is not needed are gone.
    cluster.nodes[2].chain = chain;
    cluster.start_as(2, false).await;
    wait("it goes", || cluster.nodes[2].log.lock().unwrap().removed.then_some(())).await;
    assert_eq!(cluster.nodes[2].up().status().role, Role::Stopped);
}
