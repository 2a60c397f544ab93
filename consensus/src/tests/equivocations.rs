use std::collections::BTreeSet;
use tokio::time::Instant;

use super::*;
use crate::error::{CertificateError, EvidenceError};
use crate::proof::equivocation::{
    Contradiction, Disagreement, Divergence, Equivocation, EvidenceRecord, Exclusive, Signed,
};
use crate::proof::shares::{Share, Shares, Verdict};
use crate::proof::signers::Signers;

fn signed<T: Exclusive>(content: T, seed: u8) -> Signed<T> {
    Signed { signature: sign(seed, &content.payload()), content }
}

fn other(statement: &Statement) -> Statement {
    Statement { outbox_root: Hash([99; 32]), ..statement.clone() }
}

fn tally(membership: &Membership) -> Shares {
    let mut tally = Shares::new(membership.vat);
    tally.know(membership.clone());
    tally
}

fn share(statement: &Statement, seed: u8) -> Share {
    Share::Statement(statement.clone(), sign(seed, &statement.payload()))
}

fn own(tally: &mut Shares, statement: &Statement, seed: u8) -> Vec<Verdict> {
    tally.own(statement.clone(), Some(sign(seed, &statement.payload())), Instant::now())
}

#[test]
fn a_pair_convicts_whoever_signed_both_and_nobody_else() {
    let membership = genesis(4, 3).membership();
    let signers = Signers::from(&membership);
    let honest = statement(&membership, 5);
    let lie = other(&honest);
    let pair = Equivocation::of(signed(honest.clone(), 2), signed(lie.clone(), 2));
    assert_eq!(pair.verify(&signers), Ok(host(2)));
    assert_eq!(Equivocation::of(signed(lie.clone(), 2), signed(honest.clone(), 2)), pair, "one pair has one form");

    let is = |pair: &Equivocation, wanted: EvidenceError| assert_eq!(pair.verify(&signers), Err(wanted));
    is(&Equivocation { first: pair.second.clone(), second: pair.first.clone() }, EvidenceError::Order);
    is(&Equivocation::of(signed(honest.clone(), 2), signed(honest.clone(), 2)), EvidenceError::Same);
    is(
        &Equivocation { first: signed(pair.first.content.clone(), 2), second: signed(pair.second.content.clone(), 3) },
        EvidenceError::TwoMembers(host(2), host(3)),
    );
    let later = Statement { block: 6, ..honest.clone() };
    is(&Equivocation::of(signed(honest.clone(), 2), signed(later, 2)), EvidenceError::TwoPlaces);
    let next = Statement { epoch: 1, ..lie.clone() };
    is(&Equivocation::of(signed(honest.clone(), 2), signed(next.clone(), 2)), EvidenceError::TwoPlaces);
    let stranger = Equivocation::of(signed(honest.clone(), 9), signed(lie.clone(), 9));
    is(&stranger, CertificateError::NotAMember(host(9)).into());
    let both_next = Equivocation::of(signed(next.clone(), 2), signed(other_root(&next), 2));
    is(&both_next, CertificateError::OtherEpoch { found: 1, expected: 0 }.into());
    let mut forged = pair.clone();
    forged.second.signature.signature[7] ^= 1;
    is(&forged, CertificateError::BadSignature(host(2)).into());
    // A signature of another one's under the accused's name.
    let mut framed = pair;
    framed.second.signature = MemberSignature { key: host(2), ..sign(3, &framed.second.content.payload()) };
    is(&framed, CertificateError::BadSignature(host(2)).into());
}

fn other_root(statement: &Statement) -> Statement {
    Statement { previous: Hash([77; 32]), ..statement.clone() }
}

#[test]
fn two_memberships_for_one_epoch_convict_and_one_does_not() {
    let zero = genesis(4, 3).membership();
    let (one, another) = (next_membership(&zero, &[1, 2, 3, 5], 3), next_membership(&zero, &[1, 2, 3, 6], 3));
    let signers = Signers::from(&zero);
    let pair = Equivocation::of(signed(one.clone(), 2), signed(another.clone(), 2));
    assert_eq!(pair.verify(&signers), Ok(host(2)));
    let new = Equivocation::of(signed(one.clone(), 5), signed(another.clone(), 5));
    assert_eq!(new.verify(&signers), Err(CertificateError::NotAMember(host(5)).into()), "it has no say in it");

    let mut tally = tally(&zero);
    let vote = |membership: &Membership, seed| Share::Membership(membership.clone(), sign(seed, &membership.payload()));
    assert!(tally.share(vote(&one, 2)).is_empty() && tally.share(vote(&one, 3)).is_empty());
    assert_eq!(tally.share(vote(&another, 2)), [Verdict::MembershipEquivocation(pair)]);
    assert!(tally.share(vote(&one, 2)).is_empty(), "reported once");
    // A certificate holds signatures as well.
    let certified = certify(another, &[1, 3, 4]);
    let verdicts = tally.membership_certificate(certified);
    assert!(matches!(&verdicts[0], Verdict::MembershipEquivocation(pair) if pair.member() == host(3)), "{verdicts:?}");
    assert!(matches!(verdicts[1..], [Verdict::Reconfigured(_)]), "{verdicts:?}");
    // A second certificate for the same epoch: whoever signed both is convicted, also when the first one was learnt whole.
    let mut whole = super::equivocations::tally(&zero);
    whole.know_certified(certify(one.clone(), &[1, 2, 3]));
    let verdicts = whole.membership_certificate(certify(next_membership(&zero, &[1, 2, 3, 7], 3), &[2, 3, 4]));
    let guilty: Vec<HostId> = verdicts.iter().filter_map(accused_membership).collect();
    assert_eq!(guilty, [host(2), host(3)], "{verdicts:?}");
    assert_eq!(whole.membership(1), Some(&one), "what is certified stays");
}

fn accused_membership(verdict: &Verdict) -> Option<HostId> {
    match verdict {
        Verdict::MembershipEquivocation(pair) => Some(pair.member()),
        _ => None,
    }
}

/// The record of a replica that was shown another log accuses nobody: neither the honest members that were shown the other one, nor
/// the liar, of which it has one signature.
#[test]
fn whoever_says_something_else_is_not_accused_for_that() {
    let membership = genesis(4, 3).membership();
    let honest = statement(&membership, 5);
    let lie = other(&honest);
    let mut tally = tally(&membership);
    own(&mut tally, &honest, 1);
    for seed in [2, 3] {
        let wanted = Disagreement { own: honest.clone(), theirs: signed(lie.clone(), seed) };
        assert_eq!(tally.share(share(&lie, seed)), [Verdict::Disagreement(wanted.clone())]);
        assert!(EvidenceRecord::Disagreement(wanted).accused().is_empty());
    }
    // A threshold against it: it is out, and accuses nobody either.
    let verdicts = tally.share(share(&lie, 4));
    let [Verdict::Disagreement(_), Verdict::Diverged(divergence)] = &verdicts[..] else { panic!("{verdicts:?}") };
    let Divergence::Statement { certificate, own } = divergence else { panic!("{divergence:?}") };
    assert_eq!((own, Signers::from(&membership).verify_certificate(certificate)), (&honest, Ok(())));
    assert!(EvidenceRecord::Divergence(divergence.clone()).accused().is_empty());
}

#[test]
fn the_other_half_may_come_in_a_certificate_before_or_after() {
    let membership = genesis(4, 3).membership();
    let honest = statement(&membership, 5);
    let lie = other(&honest);
    let wanted = Equivocation::of(signed(honest.clone(), 2), signed(lie.clone(), 2));
    // The lie first, then what the others completed with the liar's honest share.
    let mut early = tally(&membership);
    own(&mut early, &honest, 1);
    assert!(matches!(early.share(share(&lie, 2))[..], [Verdict::Disagreement(_)]));
    let verdicts = early.certificate(certificate(honest.clone(), &[2, 3, 4]));
    assert_eq!(verdicts[0], Verdict::Equivocation(wanted.clone()));
    assert!(matches!(verdicts[1..], [Verdict::Certified(_)]), "{verdicts:?}");
    assert!(early.certificate(certificate(honest.clone(), &[2, 3, 4])).is_empty(), "once");
    // After this replica had its own certificate, by others.
    let mut late = tally(&membership);
    own(&mut late, &honest, 1);
    assert!(late.share(share(&honest, 3)).is_empty());
    assert!(matches!(late.share(share(&honest, 4))[..], [Verdict::Certified(_)]));
    assert!(matches!(late.share(share(&lie, 2))[..], [Verdict::Disagreement(_)]));
    assert_eq!(late.certificate(certificate(honest.clone(), &[1, 2, 3])), [Verdict::Equivocation(wanted.clone())]);
    // The certificate first, and the lie afterwards.
    let mut last = tally(&membership);
    own(&mut last, &honest, 1);
    assert!(matches!(last.certificate(certificate(honest.clone(), &[2, 3, 4]))[..], [Verdict::Certified(_)]));
    assert_eq!(last.share(share(&lie, 2)), [Verdict::Equivocation(wanted)]);
    // A forged second half convicts nobody.
    let mut forged = tally(&membership);
    own(&mut forged, &honest, 1);
    assert!(forged.share(share(&honest, 2)).is_empty());
    let signature = MemberSignature { key: host(2), ..sign(3, &lie.payload()) };
    assert_eq!(forged.share(Share::Statement(lie, signature)), [Verdict::Refused]);
}

#[test]
fn what_others_were_shown_is_compared() {
    let membership = genesis(4, 3).membership();
    let honest = statement(&membership, 5);
    let lie = other(&honest);
    let mut here = tally(&membership);
    own(&mut here, &honest, 1);
    assert!(here.share(share(&honest, 2)).is_empty());
    let wanted = Equivocation::of(signed(honest.clone(), 2), signed(lie.clone(), 2));
    let (ours, verdicts) = here.compare(&signed(lie.clone(), 2));
    assert_eq!((ours, verdicts), (Some(signed(honest.clone(), 2)), vec![Verdict::Equivocation(wanted)]));
    // It is shown as often as somebody asks, and reported once.
    assert_eq!(here.compare(&signed(lie.clone(), 2)), (Some(signed(honest.clone(), 2)), vec![]));
    assert_eq!(here.compare(&signed(honest.clone(), 2)), (None, vec![]));
    // A forgery, a stranger, another epoch or vat: nothing follows.
    let mut forged = signed(lie.clone(), 3);
    assert_eq!(here.compare(&forged), (None, vec![]), "nothing of 3 is here");
    here.share(share(&honest, 3));
    forged.signature.signature[0] ^= 1;
    assert_eq!(here.compare(&forged).1, [Verdict::Refused]);
    assert_eq!(here.compare(&signed(lie.clone(), 9)).1, [Verdict::Refused]);
    assert_eq!(here.compare(&signed(Statement { epoch: 1, ..lie.clone() }, 2)).1, [Verdict::Refused]);
    assert_eq!(here.compare(&signed(Statement { vat: genesis(3, 2).vat_id(), ..lie }, 2)).1, [Verdict::Refused]);
}

#[test]
fn certificates_that_contradict_each_other_convict_those_who_signed_both() {
    let membership = genesis(4, 3).membership();
    let signers = Signers::from(&membership);
    let honest = statement(&membership, 5);
    let (one, another) = (certificate(honest.clone(), &[1, 2, 3]), certificate(other(&honest), &[2, 3, 4]));
    let found = Contradiction::of(&one, &another).unwrap();
    assert_eq!(Contradiction::of(&another, &one), Some(found.clone()));
    assert_eq!(found.verify(&signers, &signers), Ok(BTreeSet::from([host(2), host(3)])));
    assert!(found.equivocations().iter().all(|pair| pair.verify(&signers).is_ok()));
    assert_eq!(
        Contradiction::of(&one, &certificate(honest.clone(), &[2, 3, 4])),
        None,
        "signed by others is no offence"
    );
    assert_eq!(Contradiction::of(&one, &certificate(statement(&membership, 6), &[2, 3, 4])), None);
    // Of two epochs: proven is that more lied than may, and of nobody who it was.
    let next = next_membership(&membership, &[1, 2, 3, 4], 3);
    let later = certificate(Statement { epoch: 1, ..other(&honest) }, &[1, 2, 3]);
    let found = Contradiction::of(&one, &later).unwrap();
    let in_order = if found.first == one { [&membership, &next] } else { [&next, &membership] };
    let [first, second] = in_order.map(Signers::from);
    assert_eq!(found.verify(&first, &second), Ok(BTreeSet::new()));
    let too_few = Contradiction::of(&one, &certificate(other(&honest), &[2, 3])).unwrap();
    assert!(too_few.verify(&signers, &signers).is_err());
}
