use super::*;
use crate::error::CertificateError as Error;
use crate::proof::certificate::verify_certificate;
use crate::proof::membership::{Introduction, verify_membership};

#[test]
fn certificates_need_a_threshold_of_good_signatures_of_different_members() {
    let membership = genesis(4, 3).membership();
    let good = || certificate(statement(&membership, 7), &[1, 2, 4]);
    assert_eq!(verify_certificate(&good(), &membership), Ok(()));
    let cases: Vec<(&str, Certificate, Error)> = vec![
        ("too few", certificate(statement(&membership, 7), &[1, 2]), Error::BelowThreshold { found: 2, needed: 3 }),
        ("twice the same", certificate(statement(&membership, 7), &[1, 2, 2]), Error::Duplicate(host(2))),
        ("a stranger", certificate(statement(&membership, 7), &[1, 2, 9]), Error::NotAMember(host(9))),
        (
            "another statement",
            Certificate { statement: statement(&membership, 8), ..good() },
            Error::BadSignature(host(1)),
        ),
        (
            "another epoch",
            certificate(Statement { epoch: 1, ..statement(&membership, 7) }, &[1, 2, 3]),
            Error::OtherEpoch { found: 1, expected: 0 },
        ),
        (
            "another vat",
            certificate(Statement { vat: genesis(3, 2).vat_id(), ..statement(&membership, 7) }, &[1, 2, 3]),
            Error::OtherVat { found: genesis(3, 2).vat_id(), expected: membership.vat },
        ),
        (
            "one bad signature among enough good ones",
            {
                let mut bad = certificate(statement(&membership, 7), &[1, 2, 3, 4]);
                bad.signatures[3].signature[40] ^= 1;
                bad
            },
            Error::BadSignature(host(4)),
        ),
    ];
    for (what, certificate, error) in cases {
        assert_eq!(verify_certificate(&certificate, &membership), Err(error), "{what}");
    }
}

#[test]
fn every_field_of_a_statement_is_signed() {
    let membership = genesis(3, 2).membership();
    let base = statement(&membership, 10);
    let changes: Vec<fn(&mut Statement)> = vec![
        |s| s.vat.0[0] ^= 1,
        |s| s.epoch += 1,
        |s| s.block += 1,
        |s| s.previous.0[31] ^= 1,
        |s| s.outbox_root.0[0] ^= 1,
        |s| s.published_root.0[0] ^= 1,
        |s| s.state_root = None,
        |s| s.state_root = Some(Hash([7; 32])),
    ];
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(base.payload(), other.payload(), "{other:?}");
    }
}

#[test]
fn every_field_of_a_genesis_makes_another_vat() {
    let base = genesis(3, 2);
    let changes: Vec<fn(&mut Genesis)> = vec![
        |g| g.members.swap(0, 1),
        |g| g.members[0].name.push('x'),
        |g| g.members[0].addresses.clear(),
        |g| g.members[0].addresses[0].push('x'),
        |g| g.threshold = 3,
        |g| g.image.0[0] ^= 1,
        |g| g.creator[0] ^= 1,
        |g| g.bundle = None,
        |g| g.nonce[0] ^= 1,
        |g| g.parameters.fuel_per_delivery += 1,
        |g| g.parameters.fuel_per_turn += 1,
        |g| g.parameters.fuel_per_block += 1,
        |g| g.parameters.fuel_prices.0[0] ^= 1,
        |g| g.parameters.memory_bytes += 1,
        |g| g.parameters.checkpoint_blocks += 1,
        |g| g.parameters.checkpoint_commands += 1,
        |g| g.parameters.checkpoint_work += 1,
    ];
    let mut seen = std::collections::BTreeSet::from([base.vat_id()]);
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert!(seen.insert(other.vat_id()), "{other:?}");
    }
}

#[test]
fn a_genesis_has_bounds() {
    assert_eq!(genesis(1, 1).validate(), Ok(()));
    assert_eq!(genesis(31, 16).validate(), Ok(()));
    let bad: Vec<(&str, fn(&mut Genesis))> = vec![
        ("no members", |g| g.members.clear()),
        ("a key twice", |g| g.members[1].key = g.members[0].key),
        ("a key that is none", |g| g.members[1].key = HostId([0; 32])),
        ("threshold zero", |g| g.threshold = 0),
        ("threshold of half", |g| g.threshold = 2),
        ("threshold over all", |g| g.threshold = 5),
        ("a long name", |g| g.members[0].name = "x".repeat(65)),
        ("a long address", |g| g.members[0].addresses = vec!["x".repeat(257)]),
        ("many addresses", |g| g.members[0].addresses = vec![String::new(); 17]),
        ("no checkpoints", |g| g.parameters.checkpoint_work = 0),
    ];
    for (what, change) in bad {
        let mut other = genesis(4, 3);
        change(&mut other);
        assert!(other.validate().is_err(), "{what}");
    }
    assert!(genesis(32, 17).validate().is_err());
}

#[test]
fn a_chain_proves_the_newest_membership() {
    let genesis = genesis(3, 2);
    let zero = genesis.membership();
    let one = next_membership(&zero, &[1, 2, 4], 2);
    let two = next_membership(&one, &[4, 5, 6], 2);
    let chain = vec![certify(one.clone(), &[1, 3]), certify(two.clone(), &[2, 4])];
    let introduction = Introduction { genesis: genesis.clone(), chain: chain.clone() };
    assert_eq!(introduction.verify().unwrap(), two);
    let without_first = Introduction { genesis: genesis.clone(), chain: chain[1..].to_vec() };
    assert_eq!(without_first.verify(), Err(Error::BrokenChain(2)));
    let swapped = Introduction { genesis, chain: vec![chain[1].clone(), chain[0].clone()] };
    assert!(swapped.verify().is_err());
}

#[test]
fn a_membership_must_continue_the_one_before_it() {
    let zero = genesis(3, 2).membership();
    let good = next_membership(&zero, &[1, 2, 4], 2);
    assert_eq!(verify_membership(&certify(good.clone(), &[1, 2]), &zero), Ok(()));
    // The new members have no say in it.
    assert_eq!(verify_membership(&certify(good.clone(), &[1, 4]), &zero), Err(Error::NotAMember(host(4))));
    let bad: Vec<fn(&mut Membership)> = vec![
        |m| m.epoch = 2,
        |m| m.epoch = 0,
        |m| m.previous = Hash::ZERO,
        |m| m.vat.0[0] ^= 1,
        |m| m.threshold = 1,
        |m| m.members.clear(),
    ];
    for change in bad {
        let mut membership = good.clone();
        change(&mut membership);
        assert!(verify_membership(&certify(membership.clone(), &[1, 2]), &zero).is_err(), "{membership:?}");
    }
}
