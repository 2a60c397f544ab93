//! What changes the members carries the evidence that authorises it. Whoever wants it ordered without, changes nothing.

use std::time::Duration;

use super::cluster::{Cluster, parameters};
use super::*;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftReply, WireContent, WireEntry, WireVote};
use crate::proof::membership::Recovered;
use crate::replica::wire::propose::{ForwardedResult, Payload, ProposeFrame, ProposeReply};
use crate::state::LogPosition;
use crate::state::block::Control;
use crate::transport::Channel;

/// What must not count as evidence, by what is wrong with it.
pub(super) type Forgeries<T> = Vec<(&'static str, T)>;

/// Admissions that lack what authorises them, of a vat of four members of which three sign.
pub(super) fn forged_admissions(state: &ReplicatedState, change: &Change) -> Forgeries<Admission> {
    let good = admission(state, change.clone(), None, &[1, 2, 3]);
    let subject = Draft::new(state, change.clone(), None).subject(state).unwrap();
    let with = |approvals: Vec<MemberSignature>| Admission { approvals, ..good.clone() };
    let elsewhere = Membership { vat: quorate_ids::VatId([9; 32]), ..state.membership.clone() };
    let later = Membership { epoch: state.membership.epoch + 1, ..state.membership.clone() };
    let other = Membership { threshold: 4, ..state.membership.clone() };
    let of = |present: &Membership, target: Hash| -> Vec<MemberSignature> {
        let subject = crate::proof::approval::Subject::new(present, target);
        [1, 2, 3].map(|seed| subject.approve(&key(seed))).to_vec()
    };
    let approved =
        |seeds: &[u8]| -> Vec<MemberSignature> { seeds.iter().map(|seed| subject.approve(&key(*seed))).collect() };
    let mut forged = vec![
        ("no approvals", with(vec![])),
        ("one approval less than is needed", with(approved(&[1, 2]))),
        ("one member's approval twice", with(approved(&[1, 2, 2]))),
        ("one member's approval twice beside enough", with(approved(&[1, 2, 3, 3]))),
        ("a stranger's approval", with(approved(&[1, 2, 77]))),
        ("another vat's", with(of(&elsewhere, subject.target))),
        ("another epoch's", with(of(&later, subject.target))),
        ("another membership's", with(of(&other, subject.target))),
        ("another change's", with(of(&state.membership, Hash([8; 32])))),
        ("signatures as a newcomer", with([1, 2, 3].map(|seed| subject.enter(&key(seed))).to_vec())),
        ("a wrong key", {
            let mut approvals = approved(&[1, 2, 3]);
            approvals[2].key = host(4);
            with(approvals)
        }),
    ];
    let signature = good.newcomer;
    let newcomer = |newcomer| Admission { newcomer, ..good.clone() };
    if signature.is_some() {
        forged.push(("no signature of the newcomer", newcomer(None)));
        forged.push(("another host's as the newcomer's", newcomer(Some(subject.enter(&key(1))))));
        forged.push(("the newcomer's for something else", newcomer(Some(sign(9, b"something else")))));
        forged.push(("the newcomer's approval", newcomer(Some(subject.approve(&key(9))))));
    } else {
        forged.push(("a newcomer where nobody comes", newcomer(Some(subject.enter(&key(9))))));
    }
    if *change != Change::Cancel {
        forged.push((
            "another threshold than was approved",
            Admission { threshold: 4 + u16::from(good.threshold == 4), ..good },
        ));
    }
    forged
}

fn changes() -> [Change; 4] {
    [
        Change::Add(member(9)),
        Change::Remove(host(2)),
        Change::Replace { out: host(2), in_: member(9) },
        Change::Threshold(4),
    ]
}

#[test]
fn no_change_of_members_is_recorded_or_given_up_without_its_evidence() {
    for change in changes() {
        let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
        let before = state.encode();
        for (what, forged) in forged_admissions(&state, &change) {
            state.admit(&forged, 9).expect_err(what);
            assert_eq!(state.encode(), before, "{change:?}: {what}");
        }
        state.admit(&admission(&state, change.clone(), None, &[1, 2, 3]), 9).expect("with evidence it is");
        let before = state.encode();
        for (what, forged) in forged_admissions(&state, &Change::Cancel) {
            state.admit(&forged, 10).expect_err(what);
            assert_eq!(state.encode(), before, "giving up {change:?}: {what}");
        }
        let cancel = admission(&state, Change::Cancel, None, &[2, 3, 4]);
        state.admit(&cancel, 10).expect("with evidence it is");
        state.admit(&admission(&state, change, None, &[1, 2, 3]), 11).expect("and once more");
        state.admit(&cancel, 12).expect_err("that was for the earlier one");
    }
}

/// Beginnings of an epoch that lack what authorises them, by what is wrong with them. `signed` certified the good one; what certifies
/// the present epoch was signed by 1, 2 and 3, if it is not the first.
pub(super) fn forged_activations(state: &ReplicatedState, good: &Activation, signed: &[u8]) -> Forgeries<Activation> {
    let certify =
        |statement: Statement, seeds: &[u8]| Activation { certificate: certificate(statement, seeds), ..good.clone() };
    let statement = good.certificate.statement.clone();
    let (fewer, more) = (&signed[1..], |seed: u8| [&signed[1..], &[seed]].concat());
    let payload = state.membership.payload();
    let present = |seeds: &[u8], payload: &[u8]| Activation {
        present: seeds.iter().map(|seed| sign(*seed, payload)).collect(),
        ..good.clone()
    };
    let other_vat = quorate_ids::VatId([9; 32]);
    let mut forged: Forgeries<Activation> = vec![
        ("too few signatures", certify(statement.clone(), fewer)),
        ("one member's signature twice", certify(statement.clone(), &more(signed[1]))),
        ("a stranger's", certify(statement.clone(), &more(77))),
        ("the newcomer's", certify(statement.clone(), &more(9))),
        ("of another block", certify(Statement { block: statement.block - 1, ..statement.clone() }, signed)),
        ("of another vat", certify(Statement { vat: other_vat, ..statement.clone() }, signed)),
        ("of another epoch", certify(Statement { epoch: statement.epoch + 1, ..statement.clone() }, signed)),
        ("of another history", certify(Statement { previous: Hash([9; 32]), ..statement }, signed)),
        ("another epoch", Activation { epoch: good.epoch + 1, ..good.clone() }),
        ("another record", Activation { admitted: good.admitted - 1, ..good.clone() }),
    ];
    if let Some(before) = &state.previous_membership {
        forged.extend([
            ("no certificate of the present epoch", present(&[], &payload)),
            ("one signature of it too few", present(&[1, 2], &payload)),
            ("one of it twice", present(&[1, 2, 2], &payload)),
            ("a stranger's for it", present(&[1, 2, 77], &payload)),
            ("signatures of another membership", present(&[1, 2, 3], &before.payload())),
        ]);
    } else {
        forged.push(("a certificate of the first epoch", present(&[1, 2, 3], &payload)));
    }
    forged
}

/// In epoch 1, so that the certificate of the present epoch counts as well.
#[test]
fn no_epoch_begins_without_its_evidence_and_out_of_turn() {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    state.admit(&admission(&state, Change::Threshold(4), None, &[1, 2, 3]), 5).unwrap();
    let first = activation(&mut state, &[1, 2, 3]);
    state.activate(&first).unwrap();
    state.activate(&first).expect_err("an epoch begins once");
    let change = Change::Replace { out: host(2), in_: member(9) };
    state.admit(&admission(&state, change, None, &[1, 2, 3, 4]), 9).unwrap();
    let good = activation(&mut state, &[1, 2, 3, 4]);
    let before = state.encode();
    for (what, forged) in forged_activations(&state, &good, &[1, 2, 3, 4]) {
        state.activate(&forged).expect_err(what);
        assert_eq!(state.encode(), before, "{what}");
    }
    // Out of turn: Raft has not followed the last epoch yet, or does not know the newcomer.
    let in_line = state.raft_membership.clone();
    state.raft_membership.configs.push([1, 2, 3].into_iter().collect());
    state.activate(&good).expect_err("in a joint phase");
    state.raft_membership = in_line.clone();
    state.raft_membership.nodes.remove(&5);
    state.activate(&good).expect_err("without the newcomer");
    state.raft_membership = in_line;
    assert_eq!(state.encode(), before);
    state.activate(&good).expect("with evidence and in turn it does");
}

pub(super) fn raft(configs: &[&[u64]], nodes: &[(u64, u8)]) -> RaftMembership {
    let configs = configs.iter().map(|config| config.iter().copied().collect()).collect();
    RaftMembership { configs, nodes: nodes.iter().map(|(id, seed)| (*id, member(*seed))).collect() }
}

pub(super) const OLD: [(u64, u8); 3] = [(1, 1), (2, 2), (3, 3)];

#[test]
fn rafts_membership_follows_the_vats_and_nothing_else() {
    let with = |more: &[(u64, u8)]| [&OLD[..], more].concat();
    let mut state = ReplicatedState::of_genesis(&genesis(3, 2));
    let first = raft(&[&[1, 2, 3]], &OLD);
    assert!(state.allows(&first), "what the genesis says");
    let liars = [
        ("a quorum of its own", raft(&[&[1]], &OLD)),
        ("a quorum of strangers", raft(&[&[4]], &with(&[(4, 9)]))),
        ("a stranger beside the members", raft(&[&[1, 2, 3]], &with(&[(4, 9)]))),
        ("a stranger in a member's place", raft(&[&[1, 2, 3]], &[(1, 1), (2, 9), (3, 3)])),
        ("two in each other's places", raft(&[&[1, 2, 3]], &[(1, 2), (2, 1), (3, 3)])),
        ("fewer", raft(&[&[1, 2]], &OLD)),
        ("a way to fewer", raft(&[&[1, 2, 3], &[1, 2]], &OLD)),
        ("a way from fewer", raft(&[&[1], &[1, 2, 3]], &OLD)),
        ("three sets", raft(&[&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]], &OLD)),
        ("none", raft(&[], &OLD)),
        ("voters that nobody knows", raft(&[&[1, 2, 3]], &OLD[..2])),
        ("another address", {
            let mut other = first.clone();
            other.nodes.get_mut(&2).unwrap().addresses = vec!["/ip4/10.9.9.9/tcp/1".into()];
            other
        }),
    ];
    for (what, lie) in &liars {
        assert!(!state.allows(lie), "{what}, at first");
    }
    state.raft_membership = first;
    for (what, lie) in &liars {
        assert!(!state.allows(lie), "{what}");
    }
    // A replacement, step by step; each step is allowed again when it is sent again, and none before its time.
    state.admit(&admission(&state, Change::Replace { out: host(2), in_: member(9) }, None, &[1, 3]), 9).unwrap();
    let steps = [
        raft(&[&[1, 2, 3]], &with(&[(4, 9)])),
        raft(&[&[1, 2, 3], &[1, 3, 4]], &with(&[(4, 9)])),
        raft(&[&[1, 3, 4]], &with(&[(4, 9)])),
        raft(&[&[1, 3, 4]], &[(1, 1), (3, 3), (4, 9)]),
    ];
    assert!(state.allows(&steps[0]));
    assert!(!steps[1..].iter().any(|step| state.allows(step)), "the epoch has not begun");
    let good = activation(&mut state, &[1, 3]);
    state.raft_membership = steps[0].clone();
    state.activate(&good).unwrap();
    for (place, step) in steps.iter().enumerate().skip(1) {
        assert!(state.allows(step), "step {place}");
        state.raft_membership = step.clone();
        assert!(state.allows(step), "step {place} again");
    }
    assert!(!steps[..2].iter().any(|step| state.allows(step)), "there is no way back");
}

/// A leader may call a newcomer at the moment at which its change is given up: its entry must not be in its own way for ever.
#[test]
fn a_newcomer_that_was_given_up_may_still_have_been_called() {
    let mut state = ReplicatedState::of_genesis(&genesis(3, 2));
    state.raft_membership = raft(&[&[1, 2, 3]], &OLD);
    for (id, seed) in (4..).zip(20..40) {
        state.admit(&admission(&state, Change::Add(member(seed)), None, &[1, 2]), id).unwrap();
        state.admit(&admission(&state, Change::Cancel, None, &[1, 2]), id).unwrap();
        assert!(state.allows(&raft(&[&[1, 2, 3]], &[&OLD[..], &[(id, seed)]].concat())));
        assert!(!state.allows(&raft(&[&[1, 2, 3, id]], &[&OLD[..], &[(id, seed)]].concat())), "it never votes");
    }
    assert!(state.given_up.len() < 10, "of many only the last are remembered");
}

/// Has a member propose to the leader, as it would forward what its own node wants.
async fn propose(cluster: &Cluster, from: usize, control: Control) -> ForwardedResult {
    let frame = codec::encode(&ProposeFrame(vec![Payload::Control(control)]));
    for _ in 0..40 {
        let leader = cluster.wait_for_leader().await;
        let from = cluster.nodes[from].id();
        let answer = cluster.nodes[leader].up().handle(from, Channel::Propose, &frame).await.unwrap();
        match codec::decode::<ProposeReply>(&answer).unwrap().0.remove(0) {
            ForwardedResult::NotProposed | ForwardedResult::Unknown => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            done => return done,
        }
    }
    panic!("not proposed");
}

/// One of four, of which three sign, wants its own hosts in the places of others, and then the votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_can_not_take_the_vat_over_by_changes_of_members() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (liar, honest) = ((leader + 1) % 4, (leader + 2) % 4);
    let seed = |place: usize| u8::try_from(place).unwrap() + 1;
    let mut state = ReplicatedState::of_genesis(&cluster.genesis);
    for newcomer in [60, 61] {
        let out = cluster.nodes[(leader + 3) % 4].id();
        let change = Change::Replace { out, in_: Member { addresses: vec![], ..member(newcomer) } };
        // All that it has: its own approval, and its newcomer's signature.
        let alone = admission(&state, change.clone(), None, &[seed(liar)]);
        assert!(alone.newcomer.is_some());
        let result = propose(&cluster, liar, Control::Admit(alone)).await;
        let ForwardedResult::Done { block, result } = result else { panic!("{result:?}") };
        assert!(!result.is_empty(), "it was recorded");
        let certificate = wait_for_certificate(&cluster, honest, last).await;
        let early = Activation { epoch: 1, admitted: block, certificate, present: Vec::new() };
        let result = propose(&cluster, liar, Control::Activate(early)).await;
        assert!(matches!(&result, ForwardedResult::Done { result, .. } if !result.is_empty()), "{result:?}");
        state.next_raft_id += 1;
    }
    let last = cluster.propose(honest, b"two").await.block;
    cluster.wait_certified(last).await;
    for place in 0..4 {
        let status = cluster.nodes[place].up().status();
        assert_eq!((status.epoch, status.pending), (0, None));
    }
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Recoveries by which one member would go on alone, or with one that keeps the rules, at some place or other of the log.
fn forged_recoveries(state: &ReplicatedState) -> Forgeries<MembershipCertificate> {
    let of = |survivors: &[u8], block| {
        let survivors: Vec<HostId> = survivors.iter().map(|seed| host(*seed)).collect();
        let recovered = Recovered { block, block_term: 1, chain: Hash([8; 32]), term: 9 };
        state.membership.recovery(&survivors, recovered).unwrap()
    };
    let last = state.last_log.map_or(0, |last| last.index);
    let mut forged = vec![
        ("one alone", certify(of(&[2], last + 1), &[2])),
        ("one for two", certify(of(&[2, 3], last + 2), &[2])),
        ("by two, at another place", certify(of(&[2, 3], last.saturating_sub(3)), &[2, 3])),
    ];
    let unmarked = Membership { recovered: None, ..of(&[2, 3], last + 1) };
    forged.push(("without the mark", certify(unmarked, &[2, 3])));
    forged
}

/// Each kind of control there is: one that is new has to be tried here, too.
fn kind(control: &Control) -> &'static str {
    match control {
        Control::Admit(Admission { change: Change::Add(_), .. }) => "add",
        Control::Admit(Admission { change: Change::Remove(_), .. }) => "remove",
        Control::Admit(Admission { change: Change::Replace { .. }, .. }) => "replace",
        Control::Admit(Admission { change: Change::Threshold(_), .. }) => "threshold",
        Control::Admit(Admission { change: Change::Cancel, .. }) => "cancel",
        Control::Activate(_) => "activate",
        Control::Tick(_) => "tick",
        Control::Recover(_) => "recover",
    }
}

/// Of the replicated state all that a control can change.
fn of_controls(state: &ReplicatedState) -> impl PartialEq + std::fmt::Debug + use<> {
    let ReplicatedState { membership, previous_membership, raft_ids, next_raft_id, pending, given_up, now_ms, .. } =
        state.clone();
    (membership, previous_membership, raft_ids, next_raft_id, pending, given_up, now_ms)
}

/// The state that the members have certified, after more commands. At least each second block is a checkpoint.
async fn certified_state(cluster: &Cluster, place: usize) -> ReplicatedState {
    let block = cluster.propose(place, b"more").await.block;
    cluster.propose(place, b"and more").await;
    let summary = super::cluster::wait("a checkpoint of it", || {
        let summary = cluster.nodes[place].up().certified_checkpoint()?;
        (summary.certificate.statement.block >= block).then_some(summary)
    })
    .await;
    ReplicatedState::decode(&summary.state).unwrap()
}

/// One of four, of which three sign, proposes whatever there is, and lacks what authorises it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_lying_follower_proposes_changes_the_state() {
    let cluster = Cluster::started(4, 3, Parameters { checkpoint_blocks: 1, ..parameters() }).await;
    let leader = cluster.wait_for_leader().await;
    let (liar, honest) = ((leader + 1) % 4, (leader + 2) % 4);
    let mut tried = std::collections::BTreeSet::new();
    let mut refused = async |what: &'static str, control: Control| {
        tried.insert(kind(&control));
        let kind = kind(&control);
        let result = propose(&cluster, liar, control).await;
        assert!(
            matches!(&result, ForwardedResult::Done { result, .. } if !result.is_empty()),
            "{kind}, {what}: {result:?}"
        );
    };
    let mut state = certified_state(&cluster, honest).await;
    for change in changes() {
        for (what, forged) in forged_admissions(&state, &change) {
            refused(what, Control::Admit(forged)).await;
        }
    }
    for (what, forged) in super::clocks::forged_ticks(&state, 1_000_000) {
        refused(what, Control::Tick(forged)).await;
    }
    for (what, forged) in forged_recoveries(&state) {
        refused(what, Control::Recover(forged)).await;
    }
    assert_eq!(of_controls(&certified_state(&cluster, honest).await), of_controls(&state));
    // A change that owners want; its newcomer is away, so that it stays under way.
    let add = admission(&state, Change::Add(member(9)), None, &[1, 2, 3]);
    let ForwardedResult::Done { block, result } = propose(&cluster, liar, Control::Admit(add.clone())).await else {
        panic!("not recorded")
    };
    assert_eq!(result, b"");
    state.admit(&add, block).unwrap();
    let certificate = wait_for_certificate(&cluster, honest, block).await;
    let good = Activation { epoch: 1, admitted: block, certificate, present: Vec::new() };
    for (what, forged) in forged_activations(&state, &good, &[1, 2, 3]) {
        refused(what, Control::Activate(forged)).await;
    }
    for (what, forged) in forged_admissions(&state, &Change::Cancel) {
        refused(what, Control::Admit(forged)).await;
    }
    assert_eq!(of_controls(&certified_state(&cluster, honest).await), of_controls(&state));
    assert_eq!(
        tried,
        ["activate", "add", "cancel", "recover", "remove", "replace", "threshold", "tick"].into_iter().collect()
    );
    let cancel = admission(&state, Change::Cancel, None, &[2, 3, 4]);
    propose(&cluster, liar, Control::Admit(cancel.clone())).await;
    state.admit(&cancel, block + 1).unwrap();
    assert_eq!(of_controls(&certified_state(&cluster, honest).await), of_controls(&state), "with evidence it does");
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

async fn wait_for_certificate(cluster: &Cluster, place: usize, block: u64) -> Certificate {
    let log = &cluster.nodes[place].log;
    super::cluster::wait("the certificate", || log.lock().unwrap().certificates.get(&block).cloned()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raft_membership_that_a_leader_made_up_never_reaches_raft() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let place = (leader + 1) % 3;
    let status = cluster.nodes[leader].up().status();
    let vote = WireVote { term: status.term, node: status.raft_id, committed: true };
    let at = |index| LogPosition { term: status.term, index };
    let own = |seed: u8| (status.raft_id, Member { addresses: vec![], ..member(seed) });
    let voters = |ids: &[u64]| ids.iter().copied().collect();
    let only = (status.raft_id, cluster.nodes[leader].member());
    let lies = [
        RaftMembership { configs: vec![voters(&[status.raft_id])], nodes: [only].into_iter().collect() },
        RaftMembership { configs: vec![voters(&[1, 2, 3])], nodes: [own(70)].into_iter().collect() },
    ];
    let target = cluster.nodes[place].up().status().raft_id;
    let before = cluster.nodes[place].up().status().last_log;
    for lie in lies {
        let entries = vec![WireEntry { log: at(last + 1), content: WireContent::Membership(lie) }];
        let message = leading(&cluster, (vote, leader), place, Some(at(last)), entries, Some(at(last)));
        let frame = codec::encode(&RaftFrame { target, message });
        let from = cluster.nodes[leader].id();
        // The place before it is the leader's to tell; what comes there is not taken.
        let answer = cluster.nodes[place].up().handle(from, Channel::Append, &frame).await.unwrap();
        assert_eq!(codec::decode::<RaftReply>(&answer), Ok(RaftReply::AppendPartial(Some(at(last)))));
    }
    assert_eq!(cluster.nodes[place].up().status().last_log, before);
    let last = cluster.propose(place, b"two").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}
