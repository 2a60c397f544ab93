//! Nothing is believed that is not certified, and nothing certified is false: for each block and each epoch there is one certificate,
//! it has a threshold of good signatures of the members of its epoch, and an honest host signs one statement for a block in all
//! its lives.

use quorate_consensus::{
    Certificate, HostId, Membership, MembershipCertificate, Statement, verify_certificate, verify_membership,
};
use std::collections::BTreeMap;

use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "nothing uncertified believed";

/// Judges a certificate that an honest host believes.
pub fn certificate(record: &Record, host: usize, certificate: Certificate) {
    let mut seen = record.seen();
    let block = certificate.statement.block;
    let Some((first, known)) = seen.certificates.get(&block) else {
        seen.certificates.insert(block, (host, certificate));
        return;
    };
    if known.statement != certificate.statement {
        let text = format!("hosts {first} and {host} have certificates of block {block} for two statements");
        drop(seen);
        record.violation(NAME, text);
    }
}

/// Judges the certificate of a membership that an honest host believes.
pub fn membership(record: &Record, host: usize, certificate: MembershipCertificate) {
    let mut seen = record.seen();
    let epoch = certificate.membership.epoch;
    let Some((first, known)) = seen.memberships.get(&epoch) else {
        seen.memberships.insert(epoch, (host, certificate));
        return;
    };
    if known.membership != certificate.membership {
        let text = format!("hosts {first} and {host} have certificates of two memberships for epoch {epoch}");
        drop(seen);
        record.violation(NAME, text);
    }
}

/// Judges a statement that an honest host has signed and sent.
pub fn signed(record: &Record, key: HostId, statement: Statement) {
    let mut seen = record.seen();
    let block = statement.block;
    let first = seen.signed.entry((key, block)).or_insert_with(|| statement.clone()).clone();
    if first != statement {
        drop(seen);
        record.violation(
            "signed once",
            format!("{key} has signed two statements of block {block}: {first:?} and {statement:?}"),
        );
    }
}

/// Checks the signatures of all that was believed, at the end.
pub fn check(record: &Record, genesis: Membership) {
    let mut broken = None;
    {
        let seen = record.seen();
        let mut memberships = BTreeMap::from([(0, genesis)]);
        for (epoch, (host, certificate)) in &seen.memberships {
            let Some(before) = epoch.checked_sub(1).and_then(|before| memberships.get(&before)) else { continue };
            if let Err(error) = verify_membership(certificate, before) {
                broken = Some(format!("host {host} believes a membership of epoch {epoch}: {error}"));
            }
            memberships.insert(*epoch, certificate.membership.clone());
        }
        for (block, (host, certificate)) in &seen.certificates {
            let Some(membership) = memberships.get(&certificate.statement.epoch) else { continue };
            if let Err(error) = verify_certificate(certificate, membership) {
                broken = Some(format!("host {host} believes a certificate of block {block}: {error}"));
            }
        }
    }
    if let Some(text) = broken {
        record.violation(NAME, text);
    }
}
