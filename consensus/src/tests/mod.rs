//! Unit tests of the pure parts, and the golden files of every encoding.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod admissible;
mod certificates;
#[path = "../../tests/cluster/common.rs"]
#[allow(dead_code)]
mod cluster;
mod codecs;
mod golden;
mod links;
mod lying_leaders;
mod membership_steps;
mod own_keys;
mod shares;
mod states;

use ed25519_dalek::SigningKey;

use crate::proof::certificate::{Certificate, MemberSignature, Statement};
use crate::proof::membership::{Genesis, Member, Membership, MembershipCertificate, Parameters};
use quorate_ids::{Hash, HostId};

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn host(seed: u8) -> HostId {
    HostId(key(seed).verifying_key().to_bytes())
}

pub(crate) fn member(seed: u8) -> Member {
    Member { key: host(seed), name: format!("member {seed}"), addresses: vec![format!("/ip4/10.0.0.{seed}/tcp/1")] }
}

pub(crate) fn genesis(members: u8, threshold: u16) -> Genesis {
    Genesis {
        members: (1..=members).map(member).collect(),
        threshold,
        image: Hash([3; 32]),
        creator: [4; 32],
        nonce: [5; 32],
        expires: 9,
        parameters: Parameters {
            fuel_per_delivery: 1,
            memory_bytes: 2,
            checkpoint_blocks: 3,
            checkpoint_commands: 4,
            checkpoint_work: 5,
        },
    }
}

pub(crate) fn statement(membership: &Membership, block: u64) -> Statement {
    Statement {
        vat: membership.vat,
        epoch: membership.epoch,
        block,
        previous: Hash([1; 32]),
        outbox_root: Hash([2; 32]),
        state_root: block.is_multiple_of(10).then_some(Hash([6; 32])),
    }
}

pub(crate) fn sign(seed: u8, payload: &[u8]) -> MemberSignature {
    MemberSignature::sign(&key(seed), payload)
}

pub(crate) fn certificate(statement: Statement, seeds: &[u8]) -> Certificate {
    let payload = statement.payload();
    Certificate { statement, signatures: seeds.iter().map(|seed| sign(*seed, &payload)).collect() }
}

pub(crate) fn next_membership(before: &Membership, seeds: &[u8], threshold: u16) -> Membership {
    Membership {
        vat: before.vat,
        epoch: before.epoch + 1,
        previous: before.hash(),
        members: seeds.iter().map(|seed| member(*seed)).collect(),
        threshold,
    }
}

pub(crate) fn certify(membership: Membership, seeds: &[u8]) -> MembershipCertificate {
    let payload = membership.payload();
    MembershipCertificate { membership, signatures: seeds.iter().map(|seed| sign(*seed, &payload)).collect() }
}
