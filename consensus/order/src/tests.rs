//! Encodings with real keys, what each proof refuses, and the numbers of C14.

use crate::chain::{Head, Point};
use crate::epoch::{Epoch, Quorum};
use crate::evidence::{Evidence, NoEvidence};
use crate::member::{Append, Durable, Member, Output, Stand, Step, Taken};
use crate::proofs::{BadProof, Certificate, OrderCertificate, Support, TermProof};
use crate::refusal::Refusal;
use crate::signed::{Ack, Complaint, Grant, Handover, Lead, Position, Reason, Share};
use crate::signing::{Checking, Signable, Signature, Signed, Signing};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use quorate_ids::{Hash, HostId, VatId};
use std::collections::BTreeSet;
use std::sync::Arc;

const VAT: VatId = VatId([5; 32]);

struct Real(SigningKey);

impl Checking for Real {
    fn verify(&self, signer: &HostId, payload: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| key.verify_strict(payload, &signature).is_ok())
    }
}

impl Signing for Real {
    fn sign(&self, payload: &[u8]) -> Signature {
        Signature(self.0.sign(payload).to_bytes())
    }
}

fn real(number: u8) -> (Real, HostId) {
    let key = SigningKey::from_bytes(&[number; 32]);
    let id = HostId(key.verifying_key().to_bytes());
    (Real(key), id)
}

fn signed<T: Signable>(number: u8, content: T) -> Signed<T> {
    let (key, id) = real(number);
    Signed::new(content, id, &VAT, &key)
}

fn epoch(count: u8, threshold: usize) -> Epoch {
    let members = (1..=count).map(|number| real(number).1).collect();
    let root = Point { term: 0, index: 0, chain: Hash([7; 32]) };
    Epoch::fixed(VAT, 2, members, threshold, root)
}

fn ack() -> Ack {
    Ack { epoch: 2, term: 3, index: 4, chain: Hash([8; 32]) }
}

fn order(signers: &[u8]) -> OrderCertificate {
    let Ack { epoch, term, index, chain } = ack();
    let acks = signers.iter().map(|number| signed(*number, ack())).map(|ack| (ack.by, ack.signature)).collect();
    OrderCertificate { position: Position { epoch, term, index }, chain, support: Support::Acks(acks) }
}

fn grant(candidate: u8, term: u64, index: u64) -> Grant {
    let position = Position { epoch: 2, term: 3, index };
    Grant { epoch: 2, term, candidate: real(candidate).1, position, since: 0 }
}

#[test]
fn c14_tools_can_print_both_numbers() {
    let numbers = |count, threshold| {
        let epoch = epoch(count, threshold);
        (epoch.safe_up_to(), epoch.live_up_to())
    };
    assert_eq!(numbers(3, 2), (0, 1));
    assert_eq!(numbers(3, 3), (2, 0));
    assert_eq!(numbers(4, 3), (1, 1));
    assert_eq!(numbers(7, 5), (2, 2));
    assert_eq!(numbers(1, 1), (0, 0));
    assert_eq!(numbers(2, 1), (0, 1));
}

#[test]
fn no_two_things_that_are_signed_have_the_same_bytes() {
    let chain = Hash([8; 32]);
    let mut seen = BTreeSet::new();
    let share = Share { epoch: 2, term: 3, block: 4, chain, statement: Hash([9; 32]) };
    let complaint = |reason| Complaint { epoch: 2, term: 3, leader: real(1).1, reason };
    let payloads = [
        ack().payload(&VAT),
        Ack { epoch: 3, ..ack() }.payload(&VAT),
        Ack { term: 4, ..ack() }.payload(&VAT),
        Ack { index: 5, ..ack() }.payload(&VAT),
        Ack { chain: Hash([9; 32]), ..ack() }.payload(&VAT),
        ack().payload(&VatId([6; 32])),
        Lead { epoch: 2, term: 3, last: 4, chain }.payload(&VAT),
        share.payload(&VAT),
        Share { term: 4, ..share }.payload(&VAT),
        Share { statement: Hash([8; 32]), ..share }.payload(&VAT),
        grant(1, 4, 1).payload(&VAT),
        grant(1, 5, 1).payload(&VAT),
        grant(2, 4, 1).payload(&VAT),
        grant(1, 4, 2).payload(&VAT),
        Grant { since: 1, ..grant(1, 4, 1) }.payload(&VAT),
        complaint(Reason::Starved(chain)).payload(&VAT),
        complaint(Reason::Equivocated).payload(&VAT),
        complaint(Reason::NoOrder).payload(&VAT),
        complaint(Reason::BaseMissing).payload(&VAT),
        complaint(Reason::NoChange).payload(&VAT),
        Handover { epoch: 2, last: 4, chain, membership: Hash([9; 32]) }.payload(&VAT),
    ];
    assert!(payloads.into_iter().all(|payload| seen.insert(payload)));
}

#[test]
fn an_order_certificate_needs_a_threshold_of_good_signatures_of_different_members() {
    let (epoch, (key, _)) = (epoch(4, 3), real(1));
    assert_eq!(order(&[1, 2, 3]).verify(&epoch, &key), Ok(()));
    assert_eq!(order(&[1, 2]).verify(&epoch, &key), Err(BadProof::TooFew { found: 2, needed: 3 }));
    assert_eq!(order(&[1, 2, 2]).verify(&epoch, &key), Err(BadProof::Twice(real(2).1)));
    assert_eq!(order(&[1, 2, 9]).verify(&epoch, &key), Err(BadProof::BadSignature(real(9).1)));
    let mut other = order(&[1, 2, 3]);
    other.chain = Hash([1; 32]);
    assert_eq!(other.verify(&epoch, &key), Err(BadProof::BadSignature(real(1).1)));
    let mut other = order(&[1, 2, 3]);
    other.position.epoch = 1;
    assert_eq!(other.verify(&epoch, &key), Err(BadProof::OtherEpoch { found: 1, expected: 2 }));
    let root = OrderCertificate::root(&epoch);
    assert_eq!(root.verify(&epoch, &key), Ok(()));
    assert_eq!(OrderCertificate { chain: Hash([1; 32]), ..root }.verify(&epoch, &key), Err(BadProof::OtherRoot));
}

#[test]
fn a_leaders_proof_has_a_base_above_all_votes() {
    let (epoch, (key, leader)) = (epoch(4, 3), real(1));
    let grants = |index| [1, 2, 3].map(|voter| signed(voter, grant(1, 5, index))).to_vec();
    let proof = TermProof { term: 5, leader, grants: grants(4), base: order(&[2, 3, 4]) };
    assert_eq!(proof.verify(&epoch, &key), Ok(()));
    let low = TermProof { grants: grants(5), ..proof.clone() };
    assert_eq!(low.verify(&epoch, &key), Err(BadProof::BaseTooLow(real(1).1)));
    let other = TermProof { term: 6, ..proof.clone() };
    assert_eq!(other.verify(&epoch, &key), Err(BadProof::OtherVote(real(1).1)));
    let few = TermProof { grants: grants(4)[..2].to_vec(), ..proof };
    assert_eq!(few.verify(&epoch, &key), Err(BadProof::TooFew { found: 2, needed: 3 }));
}

#[test]
fn a_certificate_serves_as_a_proof_of_the_order() {
    let (epoch, (key, _)) = (epoch(4, 3), real(1));
    let share = Share { epoch: 2, term: 3, block: 4, chain: Hash([8; 32]), statement: Hash([9; 32]) };
    let signatures = [1, 2, 4].map(|number| signed(number, share)).map(|share| (share.by, share.signature)).to_vec();
    let certificate = Certificate { share, signatures };
    assert_eq!(certificate.verify(&epoch, &key), Ok(()));
    assert_eq!(certificate.order().verify(&epoch, &key), Ok(()));
    let mixed = Certificate { share: Share { term: 4, ..share }, ..certificate };
    assert_eq!(mixed.verify(&epoch, &key), Err(BadProof::BadSignature(real(1).1)));
}

#[test]
fn evidence_convicts_by_two_signatures_of_one_member_and_one_epoch() {
    let (epoch, (key, _)) = (epoch(4, 3), real(9));
    let other = Ack { chain: Hash([1; 32]), ..ack() };
    let two = |one, other| Evidence::Acks(signed(1, one), signed(1, other)).verify(&epoch, &key);
    assert_eq!(two(ack(), other), Ok(real(1).1));
    assert_eq!(two(ack(), ack()), Err(NoEvidence::Compatible));
    assert_eq!(two(ack(), Ack { term: 4, ..other }), Err(NoEvidence::Compatible));
    assert_eq!(two(Ack { epoch: 1, ..ack() }, Ack { epoch: 1, ..other }), Err(NoEvidence::Compatible));
    let two = Evidence::Acks(signed(1, ack()), signed(2, other)).verify(&epoch, &key);
    assert_eq!(two, Err(NoEvidence::TwoMembers(real(1).1, real(2).1)));
    let stranger = Evidence::Acks(signed(9, ack()), signed(9, other)).verify(&epoch, &key);
    assert_eq!(stranger, Err(NoEvidence::BadSignature(real(9).1)));

    let share = Share { epoch: 2, term: 3, block: 4, chain: Hash([8; 32]), statement: Hash([9; 32]) };
    let forgot = |grant| Evidence::Amnesia(signed(1, share), signed(1, grant)).verify(&epoch, &key);
    assert_eq!(forgot(grant(2, 4, 3)), Ok(real(1).1));
    assert_eq!(forgot(grant(2, 4, 4)), Err(NoEvidence::Compatible));
    assert_eq!(forgot(grant(2, 3, 3)), Err(NoEvidence::Compatible));
    assert_eq!(forgot(Grant { since: 4, ..grant(2, 5, 3) }), Err(NoEvidence::Compatible), "it was overruled in term 4");
}

#[test]
fn two_headers_of_different_length_convict_by_the_entries_between() {
    let (epoch, (key, _)) = (epoch(4, 3), real(9));
    let head = |content| Head { term: 3, content: Hash([content; 32]) };
    let lead = |point: Point| signed(1, Lead { epoch: 2, term: 3, last: point.index, chain: point.chain });
    let (one, other) = (epoch.root.next(&head(1)), epoch.root.next(&head(2)));
    let heads = vec![head(3), head(4)];
    let end = other.after(&heads);
    let evidence = |first: Point, before: Point| Evidence::Headers {
        first: lead(first),
        second: lead(end),
        before: before.chain,
        heads: heads.clone(),
    };
    assert_eq!(evidence(one, other).verify(&epoch, &key), Ok(real(1).1));
    assert_eq!(evidence(other, other).verify(&epoch, &key), Err(NoEvidence::Compatible));
    assert_eq!(evidence(one, one).verify(&epoch, &key), Err(NoEvidence::BrokenLinks));
}

#[test]
fn a_candidate_counts_no_vote_that_states_more_than_it_has_shown() {
    let (epoch, (key, own)) = (Arc::new(epoch(4, 3)), real(1));
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let mut outputs = Vec::new();
    let mut step = Step { signing: &key, outputs: &mut outputs };
    assert_eq!(member.stand(0, &mut step), Err(Refusal::OldTerm { found: 0, present: 0 }));
    member.stand(member.next_term(), &mut step).unwrap();
    assert_eq!(member.granted(signed(2, grant(1, 1, 4)), &mut step), Err(Refusal::Unknown));
    let honest = |voter| signed(voter, Grant { position: Position { epoch: 2, term: 0, index: 0 }, ..grant(1, 1, 0) });
    assert_eq!(member.granted(honest(2), &mut step), Ok(()));
    assert_eq!(member.granted(honest(2), &mut step), Ok(()));
    assert!(!member.leads(), "one vote counts once");
    assert_eq!(member.granted(honest(3), &mut step), Ok(()));
    assert!(member.leads());
    assert!(
        outputs.iter().any(|output| matches!(output, Output::Elected(proof) if proof.verify(&epoch, &key).is_ok()))
    );
}

#[test]
fn a_vote_is_given_once_a_term_and_not_while_a_leader_is_alive_nor_for_a_term_far_ahead() {
    let (epoch, (key, own)) = (Arc::new(epoch(4, 3)), real(1));
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let mut outputs = Vec::new();
    let mut step = Step { signing: &key, outputs: &mut outputs };
    let stand = |term| Stand { epoch: 2, term, order: OrderCertificate::root(&epoch), last: (0, 0) };
    let (two, three) = (real(2).1, real(3).1);
    let far = member.vote(&two, &stand(1 << 30), false, &mut step);
    assert_eq!(far, Err(Refusal::TermTooFar { found: 1 << 30, present: 0 }));
    assert_eq!(member.vote(&two, &stand(4), false, &mut step), Ok(()));
    assert_eq!(member.vote(&two, &stand(4), false, &mut step), Ok(()), "the answer may have been lost");
    assert_eq!(member.vote(&three, &stand(4), false, &mut step), Err(Refusal::Voted { term: 4, candidate: two }));
    assert_eq!(member.vote(&three, &stand(3), false, &mut step), Err(Refusal::OldTerm { found: 3, present: 4 }));
    assert_eq!(member.vote(&real(9).1, &stand(5), false, &mut step), Err(Refusal::NotTheSender(real(9).1)));
    member.durable.vote.leader = Some(two);
    assert_eq!(member.vote(&three, &stand(5), true, &mut step), Err(Refusal::LeaderAlive { term: 4 }));
    assert_eq!(member.vote(&three, &stand(5), false, &mut step), Ok(()));
}

#[test]
fn a_refused_candidate_stands_after_the_term_that_it_was_told_within_bounds() {
    use crate::refusal::VoteRefused;
    let (epoch, (key, own)) = (Arc::new(epoch(4, 3)), real(1));
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let mut step = Step { signing: &key, outputs: &mut Vec::new() };
    let refused = |term| VoteRefused { term, order: None };
    assert_eq!(member.refused(refused(9), &mut step), Err(Refusal::Unknown), "it does not stand");
    assert_eq!(member.next_term(), 1);
    member.stand(1, &mut step).unwrap();
    assert_eq!(member.refused(refused(9), &mut step), Ok(()));
    assert_eq!(member.next_term(), 10);
    assert_eq!(member.term().0, 1, "a word alone moves no term");
    assert_eq!(member.refused(refused(u64::MAX), &mut step), Ok(()));
    assert_eq!(member.next_term(), (1 << 24) + 2);
}

/// A leader that believes a follower farther than it is, as after a rolled-back disk, is told where to begin. It has not lied.
#[test]
fn entries_after_a_gap_are_no_contradiction() {
    let (epoch, (key, leader), own) = (Arc::new(epoch(4, 3)), real(1), real(2).1);
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let vote = Grant { position: Position { epoch: 2, term: 0, index: 0 }, ..grant(1, 5, 0) };
    let grants = [1, 3, 4].map(|voter| signed(voter, vote)).to_vec();
    let proof = TermProof { term: 5, leader, grants, base: OrderCertificate::root(&epoch) };
    let heads = [1, 2, 3].map(|byte| Head { term: 5, content: Hash([byte; 32]) });
    let mut send = |from: usize, to: usize| {
        let (prev, heads) = (epoch.root.after(&heads[..from]), heads[from..to].to_vec());
        let last = prev.after(&heads);
        let lead = signed(1, Lead { epoch: 2, term: 5, last: last.index, chain: last.chain });
        let append = Append { lead, prev, heads, mark: None, order: None, proof: Some(proof.clone()) };
        member.append(&leader, append, &mut Step { signing: &key, outputs: &mut Vec::new() })
    };
    assert_eq!(send(0, 1), Ok(Taken::Appended { cut: None }));
    assert_eq!(send(2, 3), Err(Refusal::Conflict { from: 1 }));
    assert_eq!(send(1, 3), Ok(Taken::Appended { cut: None }));
}

/// A follower that has acknowledged the first entry of a leader of so many, of which `threshold` must. It is told of acknowledgements, and
/// says up to where the order is proven.
fn told(threshold: usize, acks: &[Signed<Ack>]) -> u64 {
    let count = if threshold == 2 { 3 } else { 4 };
    let (epoch, (key, own), leader) = (Arc::new(epoch(count, threshold)), real(2), real(1).1);
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let vote = Grant { position: Position { epoch: 2, term: 0, index: 0 }, ..grant(1, 5, 0) };
    let grants = [1, 2, 3].map(|voter| signed(voter, vote)).to_vec();
    let proof = Some(TermProof { term: 5, leader, grants, base: OrderCertificate::root(&epoch) });
    let heads = vec![Head { term: 5, content: Hash([1; 32]) }];
    let last = epoch.root.after(&heads);
    let lead = signed(1, Lead { epoch: 2, term: 5, last: last.index, chain: last.chain });
    let mut outputs = Vec::new();
    let mut step = Step { signing: &key, outputs: &mut outputs };
    let append = Append { lead, prev: epoch.root, heads, mark: None, order: None, proof };
    member.append(&leader, append, &mut step).unwrap();
    // Before the own log is on disk, and after.
    let (early, late) = acks.split_at(acks.len() / 2);
    early.iter().for_each(|ack| drop(member.overheard(*ack, &mut step)));
    assert_eq!(member.clamp(u64::MAX), 0, "this member has acknowledged nothing yet");
    member.flushed(last.index, &mut step);
    late.iter().for_each(|ack| drop(member.overheard(*ack, &mut step)));
    let order = &member.durable().order;
    assert!(order.verify(&epoch, &key).is_ok());
    member.clamp(u64::MAX)
}

#[test]
fn a_follower_proves_the_order_with_what_others_tell_it() {
    let last = epoch(3, 2).root.after(&[Head { term: 5, content: Hash([1; 32]) }]);
    let ack = Ack { epoch: 2, term: 5, index: last.index, chain: last.chain };
    assert_eq!(told(2, &[signed(1, ack)]), 1);
    assert_eq!(told(2, &[signed(1, ack), signed(1, ack)]), 1, "the first one came before the own disk");
    assert_eq!(told(2, &[]), 0);
    assert_eq!(told(3, &[signed(1, ack)]), 0, "three must");
    assert_eq!(told(3, &[signed(1, ack), signed(1, ack)]), 0, "one counts once");
    assert_eq!(told(3, &[signed(1, ack), signed(3, ack)]), 1);
    assert_eq!(told(3, &[signed(4, ack), signed(3, ack)]), 1, "whichever they are");
    assert_eq!(told(2, &[signed(2, ack)]), 0, "its own word, come back");
    assert_eq!(told(2, &[signed(9, ack)]), 0, "not a member's");
    for other in [
        Ack { epoch: 1, ..ack },
        Ack { term: 4, ..ack },
        Ack { term: 6, ..ack },
        Ack { index: 2, ..ack },
        Ack { chain: Hash([9; 32]), ..ack },
    ] {
        assert_eq!(told(2, &[signed(1, other)]), 0, "{other:?}");
        assert_eq!(told(2, &[badly_signed(1, ack, other)]), 0, "{other:?}");
    }
}

/// Of 1, 2 and 3, two order up to entry 4. From there 3, 4 and 5 do, of whom three must. Those elect alone from some entry on.
fn between_memberships(alone_from: Option<u64>) -> Epoch {
    let keys = |numbers: [u8; 3]| numbers.map(|number| real(number).1).to_vec();
    let (members, elects) = (keys([1, 2, 3]), alone_from.is_none());
    let before = Some(Quorum { members, threshold: 2, through: Some(4), elects, alone_from: Some(0) });
    Epoch { members: keys([3, 4, 5]), threshold: 3, alone_from, before, ..epoch(0, 0) }
}

#[test]
fn a_membership_proves_no_order_beyond_its_last_block_and_elects_nobody_after_it() {
    let epoch = between_memberships(Some(0));
    let keys = |numbers: &[u8]| numbers.iter().map(|number| real(*number).1).collect::<Vec<_>>();
    for (signers, elects, orders, reach) in [
        (&[1, 2][..], false, true, 4),
        (&[1, 3], false, true, 4),
        (&[3], false, false, 0),
        (&[1, 4, 5], false, false, 0),
        (&[3, 4, 5], true, true, 9),
        (&[1, 3, 4, 5], true, true, 9),
    ] {
        let signers = keys(signers);
        assert_eq!((epoch.suffices(&signers), epoch.orders(&signers)), (elects, orders), "{signers:?}");
        assert_eq!(epoch.reach(&signers, 9), reach, "{signers:?}");
        assert_eq!(epoch.reach(&signers, 3), reach.min(3), "{signers:?}");
    }
}

/// While the members before may still elect a leader, that one might lack what only the new ones have acknowledged.
#[test]
fn new_members_prove_the_order_with_those_before_until_these_elect_nobody_more() {
    for (signers, changing, from_7) in [
        (&[1, 2][..], [4, 4, 4], [4, 4, 4]),
        (&[3, 4, 5], [0, 0, 0], [0, 7, 9]),
        (&[1, 3, 4, 5], [6, 7, 9], [6, 7, 9]),
        (&[1, 3, 4], [4, 4, 4], [4, 4, 4]),
    ] {
        let signers: Vec<HostId> = signers.iter().map(|number| real(*number).1).collect();
        for (alone_from, expected) in [(None, changing), (Some(7), from_7)] {
            let epoch = between_memberships(alone_from);
            assert_eq!([6, 7, 9].map(|index| epoch.reach(&signers, index)), expected, "{signers:?} {alone_from:?}");
        }
    }
}

/// The certificate of an entry behind the last block of a membership counts up to that block, and makes way for one of the next
/// membership of the same entry.
#[test]
fn a_certificate_counts_as_far_as_the_membership_of_its_signers_goes() {
    let epoch = Arc::new(between_memberships(Some(0)));
    let (own, id) = real(4);
    let mut member = Member::new(id, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let heads = [6u8; 6].map(|content| Head { term: 3, content: Hash([content; 32]) });
    for head in heads {
        member.durable.log.push(head);
    }
    let point = member.durable().log.point(6).unwrap();
    let order = |signers: &[u8]| {
        let content = Ack { epoch: 2, term: 3, index: 6, chain: point.chain };
        let acks = signers.iter().map(|number| signed(*number, content)).map(|ack| (ack.by, ack.signature)).collect();
        let position = Position { epoch: 2, term: 3, index: 6 };
        OrderCertificate { position, chain: point.chain, support: Support::Acks(acks) }
    };
    let mut step = Step { signing: &own, outputs: &mut Vec::new() };
    member.learn(order(&[1, 2]), &mut step).unwrap();
    assert_eq!(member.clamp(u64::MAX), 4);
    assert!(member.learn(order(&[3, 4]), &mut step).is_ok(), "it is no better, and is not looked at");
    member.learn(order(&[3, 4, 5]), &mut step).unwrap();
    assert_eq!(member.clamp(u64::MAX), 6);
    member.learn(order(&[1, 3]), &mut step).unwrap();
    assert_eq!(member.clamp(u64::MAX), 6, "what is proven stays");
}

/// Fewer than the members take may be enough of those before. What they prove ends where that membership does, so a leader keeps their
/// acknowledgements until the rest come.
#[test]
fn a_leader_counts_until_an_entry_itself_is_proven() {
    let all: Vec<HostId> = [1, 2, 3, 4].map(|number| real(number).1).to_vec();
    let before = Quorum { members: all, threshold: 3, through: Some(4), elects: false, alone_from: Some(0) };
    let epoch = Arc::new(Epoch { before: Some(before), ..epoch(4, 4) });
    let (own, id) = real(1);
    let mut member = Member::new(id, Arc::clone(&epoch), Durable::new(&epoch, 3));
    for content in [6u8; 6] {
        member.durable.log.push(Head { term: 3, content: Hash([content; 32]) });
    }
    let ack_of = |term, point: Point| Ack { epoch: 2, term, index: point.index, chain: point.chain };
    let content = ack_of(3, member.durable().log.last());
    let acks = [1, 2, 3, 4].map(|number| signed(number, content)).map(|ack| (ack.by, ack.signature)).to_vec();
    let position = Position { epoch: 2, term: 3, index: 6 };
    let order = OrderCertificate { position, chain: content.chain, support: Support::Acks(acks) };
    let mut step = Step { signing: &own, outputs: &mut Vec::new() };
    member.learn(order, &mut step).unwrap();
    member.stand(5, &mut step).unwrap();
    for number in [2, 3, 4] {
        member.granted(signed(number, Grant { position, ..grant(1, 5, 0) }), &mut step).unwrap();
    }
    member.propose(Hash([7; 32]), &mut step).unwrap();
    let content = ack_of(5, member.durable().log.last());
    for number in [1, 2, 3] {
        member.acked(signed(number, content), &mut step).unwrap();
        assert_eq!(member.clamp(u64::MAX), 6);
    }
    member.acked(signed(4, content), &mut step).unwrap();
    assert_eq!(member.clamp(u64::MAX), 7);
}

/// A leader of 4 of which 3 must, elected by 1, 2 and 3, with an entry of its term.
fn leader() -> (Member, Real) {
    let epoch = Arc::new(epoch(4, 3));
    let (own, id) = real(1);
    let mut member = Member::new(id, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let mut step = Step { signing: &own, outputs: &mut Vec::new() };
    member.stand(1, &mut step).unwrap();
    let vote = Grant { epoch: 2, term: 1, candidate: id, position: member.durable().order.position, since: 0 };
    for number in [2, 3] {
        member.granted(signed(number, vote), &mut step).unwrap();
    }
    member.propose(Hash([6; 32]), &mut step).unwrap();
    assert!(member.leads());
    (member, own)
}

/// The same with the signature of another content.
fn badly_signed<T: Signable + Copy>(number: u8, content: T, other: T) -> Signed<T> {
    Signed { signature: signed(number, other).signature, ..signed(number, content) }
}

#[test]
fn what_nobody_signed_counts_for_nothing() {
    let (mut member, own) = leader();
    let mut step = Step { signing: &own, outputs: &mut Vec::new() };
    let point = member.durable().log.last();
    let content = Ack { epoch: 2, term: 1, index: point.index, chain: point.chain };
    let other = Ack { chain: Hash([9; 32]), ..content };
    for number in [2, 3, 4] {
        let bad = Err(Refusal::BadSignature(real(number).1));
        assert_eq!(member.acked(badly_signed(number, content, other), &mut step), bad);
        assert_eq!(member.acked(signed(number, other), &mut step), Err(Refusal::Unknown), "of another log");
    }
    assert_eq!(member.acked(signed(9, content), &mut step), Err(Refusal::NotTheSender(real(9).1)));
    assert_eq!(member.clamp(u64::MAX), 0);
    // Signed by three, one of them badly; and by two.
    let certificate = |acks: Vec<Signed<Ack>>| {
        let position = Position { epoch: 2, term: 1, index: point.index };
        let acks = acks.into_iter().map(|ack| (ack.by, ack.signature)).collect();
        OrderCertificate { position, chain: point.chain, support: Support::Acks(acks) }
    };
    let mut acks = vec![signed(2, content), signed(3, content), badly_signed(4, content, other)];
    assert!(member.learn(certificate(acks.clone()), &mut step).is_err());
    acks.pop();
    let _ = member.learn(certificate(acks.clone()), &mut step);
    assert_eq!(member.clamp(u64::MAX), 0);
    acks.push(signed(4, content));
    member.learn(certificate(acks), &mut step).unwrap();
    assert_eq!(member.clamp(u64::MAX), point.index);
}

#[test]
fn votes_that_their_members_did_not_sign_elect_nobody() {
    let (epoch, (key, own)) = (Arc::new(epoch(4, 3)), real(1));
    let mut member = Member::new(own, Arc::clone(&epoch), Durable::new(&epoch, 0));
    let mut step = Step { signing: &key, outputs: &mut Vec::new() };
    member.stand(1, &mut step).unwrap();
    let vote = Grant { epoch: 2, term: 1, candidate: own, position: member.durable().order.position, since: 0 };
    for number in [2, 3, 4] {
        let bad = badly_signed(number, vote, Grant { term: 2, ..vote });
        assert_eq!(member.granted(bad, &mut step), Err(Refusal::BadSignature(real(number).1)));
    }
    assert_eq!(member.granted(signed(9, vote), &mut step), Err(Refusal::NotTheSender(real(9).1)));
    assert!(!member.leads());
}

/// A host that is to come follows the leader as the members do. What it wants is nobody's business, but it leaves whom they leave.
#[test]
fn whoever_is_no_member_leaves_with_a_threshold_of_those_who_are() {
    let (epoch, (own, id)) = (Arc::new(epoch(4, 3)), real(9));
    let mut newcomer = Member::new(id, Arc::clone(&epoch), Durable::new(&epoch, 1));
    let mut outputs = Vec::new();
    let mut step = Step { signing: &own, outputs: &mut outputs };
    let leader = real(1).1;
    let vote = Grant { position: newcomer.durable().order.position, ..grant(1, 2, 0) };
    let grants = [1, 2, 3].map(|voter| signed(voter, vote)).to_vec();
    let proof = TermProof { term: 2, leader, grants, base: OrderCertificate::root(&epoch) };
    newcomer.follow_leader(&leader, 2, Some(proof), &mut step).unwrap();
    let complaint =
        |number| signed(number, Complaint { epoch: 2, term: 2, leader: real(1).1, reason: Reason::NoOrder });
    assert!(newcomer.complaint(complaint(8), &mut step).is_err(), "of another that is none");
    for number in [2, 3] {
        newcomer.complaint(complaint(number), &mut step).unwrap();
        assert!(!newcomer.has_left() && newcomer.complains().is_none());
    }
    newcomer.complaint(complaint(4), &mut step).unwrap();
    assert!(newcomer.has_left());
    assert!(outputs.iter().all(|output| !matches!(output, Output::Send { .. })), "it says nothing itself");
}

#[test]
fn a_complaint_that_its_member_did_not_sign_is_none() {
    let (mut member, own) = leader();
    let mut step = Step { signing: &own, outputs: &mut Vec::new() };
    let leader = real(1).1;
    let content = Complaint { epoch: 2, term: 1, leader, reason: Reason::NoOrder };
    for number in [2, 3, 4] {
        let bad = badly_signed(number, content, Complaint { reason: Reason::NoChange, ..content });
        assert_eq!(member.complaint(bad, &mut step), Err(Refusal::BadSignature(real(number).1)));
    }
    assert!(member.complaint(signed(9, content), &mut step).is_err(), "no member");
    assert!(!member.has_left() && member.complains().is_none());
}
