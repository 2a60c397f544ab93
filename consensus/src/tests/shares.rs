use std::time::Duration;
use tokio::time::Instant;

use super::*;
use crate::proof::certificate::verify_certificate;
use crate::proof::equivocation::Divergence;
use crate::proof::shares::{Share, Shares, Verdict};

fn shares(membership: &Membership) -> Shares {
    let mut shares = Shares::new(membership.vat);
    shares.know(membership.clone());
    shares
}

fn share(statement: &Statement, seed: u8) -> Share {
    Share::Statement(statement.clone(), sign(seed, &statement.payload()))
}

fn own(shares: &mut Shares, statement: &Statement, seed: u8) -> Vec<Verdict> {
    shares.own(statement.clone(), Some(sign(seed, &statement.payload())), Instant::now())
}

fn other(statement: &Statement) -> Statement {
    Statement { outbox_root: Hash([99; 32]), ..statement.clone() }
}

#[test]
fn a_lone_member_certifies_at_once() {
    let membership = genesis(1, 1).membership();
    let mut shares = shares(&membership);
    let statement = statement(&membership, 5);
    let verdicts = own(&mut shares, &statement, 1);
    let [Verdict::Certified(certificate)] = &verdicts[..] else { panic!("{verdicts:?}") };
    verify_certificate(certificate, &membership).unwrap();
    assert_eq!(shares.uncertified(), 0);
}

#[test]
fn shares_before_and_after_the_own_statement_count_alike() {
    let membership = genesis(4, 3).membership();
    let statement = statement(&membership, 5);
    // In every order of: own, share of 2, share of 3.
    for order in [[0, 2, 3], [2, 0, 3], [2, 3, 0], [3, 2, 0], [0, 3, 2], [3, 0, 2]] {
        let mut shares = shares(&membership);
        let mut verdicts = Vec::new();
        for step in order {
            assert!(verdicts.is_empty());
            verdicts = match step {
                0 => own(&mut shares, &statement, 1),
                seed => shares.share(share(&statement, seed)),
            };
        }
        let [Verdict::Certified(certificate)] = &verdicts[..] else { panic!("{order:?} {verdicts:?}") };
        verify_certificate(certificate, &membership).unwrap();
        assert!(shares.share(share(&statement, 4)).is_empty(), "once is enough");
    }
}

#[test]
fn forged_and_foreign_shares_do_not_count() {
    let membership = genesis(3, 2).membership();
    let mut shares = shares(&membership);
    let statement = statement(&membership, 5);
    assert!(own(&mut shares, &statement, 1).is_empty());
    let mut forged = sign(2, &statement.payload());
    forged.signature[3] ^= 1;
    assert_eq!(shares.share(Share::Statement(statement.clone(), forged)), [Verdict::Refused]);
    assert_eq!(shares.share(share(&statement, 9)), [Verdict::Refused]);
    // A forged contradiction is no evidence.
    let contradiction = other(&statement);
    assert_eq!(shares.share(Share::Statement(contradiction, forged)), [Verdict::Refused]);
    // And the member's real share still counts.
    assert!(matches!(shares.share(share(&statement, 2))[..], [Verdict::Certified(_)]));
}

#[test]
fn a_disagreement_is_reported_whenever_it_comes() {
    let membership = genesis(4, 3).membership();
    let statement = statement(&membership, 5);
    let lie = other(&statement);
    // Before the own statement.
    let mut early = shares(&membership);
    assert!(early.share(share(&lie, 2)).is_empty());
    let verdicts = own(&mut early, &statement, 1);
    let [Verdict::Disagreement(found)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((found.theirs.signer(), &found.theirs.content, &found.own), (host(2), &lie, &statement));
    // After the certificate.
    let mut late = shares(&membership);
    own(&mut late, &statement, 1);
    late.share(share(&statement, 3));
    assert!(matches!(late.share(share(&statement, 4))[..], [Verdict::Certified(_)]));
    assert!(matches!(late.share(share(&lie, 2))[..], [Verdict::Disagreement(_)]));
    assert!(late.share(share(&lie, 2)).is_empty(), "reported once");
}

#[test]
fn saying_two_things_is_evidence_even_before_the_own_statement() {
    let membership = genesis(4, 3).membership();
    let mut shares = shares(&membership);
    let statement = statement(&membership, 5);
    assert!(shares.share(share(&statement, 2)).is_empty());
    let verdicts = shares.share(share(&other(&statement), 2));
    assert!(matches!(&verdicts[..], [Verdict::Equivocation(pair)] if pair.member() == host(2)), "{verdicts:?}");
    assert!(shares.share(share(&other(&statement), 2)).is_empty());
}

#[test]
fn a_threshold_against_the_own_statement_is_a_divergence() {
    let membership = genesis(3, 2).membership();
    let mut shares = shares(&membership);
    let statement = statement(&membership, 5);
    own(&mut shares, &statement, 1);
    assert!(matches!(shares.share(share(&other(&statement), 2))[..], [Verdict::Disagreement(_)]));
    let verdicts = shares.share(share(&other(&statement), 3));
    let Some(Verdict::Diverged(Divergence::Statement { certificate, own: ours })) = verdicts.last() else {
        panic!("{verdicts:?}")
    };
    assert_eq!(ours, &statement);
    verify_certificate(certificate, &membership).unwrap();
    // The same as a whole certificate.
    let mut shares = super::shares::shares(&membership);
    own(&mut shares, &statement, 1);
    let verdicts = shares.certificate(certificate.clone());
    assert!(matches!(verdicts[..], [Verdict::Diverged(_)]));
}

#[test]
fn certificates_of_others_are_taken_if_they_are_good() {
    let membership = genesis(3, 2).membership();
    let statement = statement(&membership, 5);
    let mut shares = shares(&membership);
    assert!(shares.certificate(certificate(statement.clone(), &[2, 3])).is_empty(), "not executed yet");
    own(&mut shares, &statement, 1);
    assert_eq!(shares.certificate(certificate(statement.clone(), &[2])), [Verdict::Refused]);
    assert!(matches!(shares.certificate(certificate(statement.clone(), &[2, 3]))[..], [Verdict::Certified(_)]));
    assert!(shares.certificate(certificate(statement, &[2, 3])).is_empty());
}

#[test]
fn a_learner_certifies_by_the_shares_of_others() {
    let membership = genesis(3, 2).membership();
    let statement = statement(&membership, 5);
    let mut shares = shares(&membership);
    assert!(shares.own(statement.clone(), None, Instant::now()).is_empty());
    assert!(shares.share(share(&statement, 1)).is_empty());
    assert!(matches!(shares.share(share(&statement, 3))[..], [Verdict::Certified(_)]));
    assert_eq!(shares.own_share(5), None);
}

#[test]
fn overdue_blocks_are_named_again_after_a_pause() {
    let membership = genesis(3, 2).membership();
    let mut shares = shares(&membership);
    let began = Instant::now();
    let patience = Duration::from_secs(1);
    for block in 1..=5 {
        shares.own(statement(&membership, block), None, began);
    }
    assert!(shares.overdue(began, patience, 9).is_empty());
    let later = began + patience;
    assert_eq!(shares.overdue(later, patience, 3), [1, 2, 3]);
    assert_eq!(shares.overdue(later, patience, 9), [4, 5]);
    assert!(shares.overdue(later, patience, 9).is_empty());
    shares.raise_floor(5);
    assert_eq!(shares.overdue(later + patience, patience, 9), [5]);
    assert_eq!(shares.uncertified(), 1);
}

#[test]
fn shares_of_an_epoch_to_come_wait_and_are_checked_then() {
    let zero = genesis(3, 2).membership();
    let one = next_membership(&zero, &[1, 2, 4], 2);
    let mut shares = shares(&zero);
    let statement = statement(&one, 5);
    assert!(shares.share(share(&statement, 3)).is_empty(), "3 may or may not be a member then");
    assert!(shares.share(share(&statement, 4)).is_empty());
    shares.know(one.clone());
    let verdicts = own(&mut shares, &statement, 1);
    let certified = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Certified(certificate) => Some(certificate),
        _ => None,
    });
    verify_certificate(certified.unwrap(), &one).unwrap();
}

#[test]
fn memberships_are_certified_by_the_epoch_before() {
    let zero = genesis(3, 2).membership();
    let one = next_membership(&zero, &[1, 2, 4], 2);
    let mut shares = shares(&zero);
    let vote = |seed| Share::Membership(one.clone(), sign(seed, &one.payload()));
    assert_eq!(shares.share(vote(4)), [Verdict::Refused], "not a member yet");
    assert!(shares.share(vote(3)).is_empty());
    let verdicts = shares.own_membership(one.clone(), Some(sign(1, &one.payload())));
    let [Verdict::Reconfigured(certificate)] = &verdicts[..] else { panic!("{verdicts:?}") };
    crate::proof::membership::verify_membership(certificate, &zero).unwrap();
    assert!(shares.share(vote(2)).is_empty());
    assert!(shares.uncertified_epochs().is_empty());
    // Complete, from elsewhere, for a replica that has not got there.
    let mut behind = super::shares::shares(&zero);
    assert!(matches!(behind.membership_certificate(certificate.clone())[..], [Verdict::Reconfigured(_)]));
    assert!(behind.membership_certificate(certificate.clone()).is_empty());
    assert_eq!(behind.membership(1), Some(&one));
}

#[test]
fn what_is_kept_is_bounded() {
    let membership = genesis(3, 2).membership();
    let mut shares = shares(&membership);
    let mut refused = 0;
    for block in 1..=6_000 {
        let unverified = MemberSignature { key: host(2), signature: [0; 64] };
        let verdicts = shares.share(Share::Statement(statement(&membership, block), unverified));
        refused += verdicts.len();
    }
    assert!(refused > 500, "{refused}");
    // Numbers that nobody will reach for long take no room from honest members.
    for block in 0..10_000 {
        let unverified = MemberSignature { key: host(2), signature: [0; 64] };
        let absurd = statement(&membership, u64::MAX / 2 + block);
        assert_eq!(shares.share(Share::Statement(absurd, unverified)), [Verdict::Refused]);
    }
    assert!(shares.share(share(&statement(&membership, 4_000), 3)).is_empty());
    let mut lone = Shares::new(genesis(1, 1).vat_id());
    lone.know(genesis(1, 1).membership());
    for block in 1..=2_000 {
        own(&mut lone, &statement(&genesis(1, 1).membership(), block), 1);
    }
    assert_eq!(lone.since(900), None);
    assert!(lone.since(1_500).is_some());
}

/// A vat that one host founded: it alone could sign for epoch 0, and is one of four now.
#[test]
fn an_earlier_epoch_has_no_say_in_what_came_after_it() {
    let founded = genesis(1, 1).membership();
    let grown = next_membership(&founded, &[1, 2, 3, 4], 3);
    let mut shares = shares(&founded);
    shares.know_certified(certify(grown.clone(), &[1]));
    let now = statement(&grown, 50);
    own(&mut shares, &now, 2);
    let forged = Statement { epoch: 0, ..other(&now) };
    assert_eq!(shares.certificate(certificate(forged, &[1])), [Verdict::Refused]);
    let verdicts = shares.certificate(certificate(other(&now), &[1, 3, 4]));
    assert!(matches!(verdicts[..], [Verdict::Diverged(_)]), "{verdicts:?}");
}

#[test]
fn signatures_for_an_earlier_epoch_stop_nobody_however_many_they_are() {
    let ended = genesis(4, 3).membership();
    let present = next_membership(&ended, &[1, 2, 3, 4], 3);
    let now = statement(&present, 50);
    let hear = |lie: &Statement| -> Vec<Verdict> {
        let mut shares = shares(&ended);
        shares.know_certified(certify(present.clone(), &[1, 2, 3]));
        own(&mut shares, &now, 1);
        [2, 3, 4].into_iter().flat_map(|seed| shares.share(share(lie, seed))).collect()
    };
    let verdicts = hear(&Statement { epoch: 0, ..other(&now) });
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Disagreement(_))), "{verdicts:?}");
    assert_eq!(verdicts.len(), 3);
    // The same of the present epoch does.
    let verdicts = hear(&other(&now));
    assert!(matches!(verdicts.last(), Some(Verdict::Diverged(_))), "{verdicts:?}");
}

#[test]
fn another_membership_than_the_certified_one_is_a_divergence() {
    let zero = genesis(4, 3).membership();
    let (ours, theirs) = (next_membership(&zero, &[1, 2, 3, 5], 3), next_membership(&zero, &[1, 2, 3, 6], 3));
    let certified = certify(theirs.clone(), &[1, 3, 4]);
    let expected = [Verdict::Diverged(Divergence::Membership { certificate: certified.clone(), own: ours.clone() })];
    // The certificate comes first: from the store, or from others while this replica was behind.
    let mut early = shares(&zero);
    assert!(matches!(early.membership_certificate(certified.clone())[..], [Verdict::Reconfigured(_)]));
    early.know(ours.clone());
    let signature = sign(2, &ours.payload());
    assert_eq!(early.own_membership(ours.clone(), Some(signature)), expected);
    // It comes after.
    let mut late = shares(&zero);
    assert!(late.own_membership(ours, Some(signature)).is_empty());
    assert_eq!(late.membership_certificate(certified), expected);
}
