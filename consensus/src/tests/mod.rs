//! Unit tests of the pure parts, and the golden files of every encoding.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod admissible;
mod authority;
mod certificates;
mod clocks;
#[path = "../../tests/cluster/common.rs"]
#[allow(dead_code)]
mod cluster;
mod codecs;
mod complaints;
mod early_order;
mod elections;
mod equivocations;
mod first_start;
mod foreseen;
mod golden;
mod handing_over;
mod leading;
mod links;
mod lying_leaders;
mod membership_steps;
mod ordering;
mod own_keys;
mod power_cuts;
mod recoveries;
mod relays;
mod shares;
mod states;
mod two_faced;

use ed25519_dalek::SigningKey;

use crate::proof::certificate::{Certificate, MemberSignature, Statement};
use crate::proof::membership::{Genesis, Member, Membership, MembershipCertificate, Parameters};
use crate::state::block::{Activation, Admission};
use crate::state::change::Change;
use crate::state::drafts::{Draft, Matter};
use crate::state::{RaftMembership, ReplicatedState};
pub(crate) use leading::{acknowledged, header_at, leading};
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
        bundle: Some(Hash([7; 32])),
        nonce: [5; 32],
        expires: 9,
        parameters: Parameters {
            fuel_per_delivery: 1,
            fuel_per_turn: 6,
            fuel_per_block: 7,
            fuel_prices: Hash([9; 32]),
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
        chain: Hash([8; 32]),
        outbox_root: Hash([2; 32]),
        published_root: Hash([7; 32]),
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

/// A change with the approvals of the members `seeds`, and its newcomer's signature if it is one of `member`.
pub(crate) fn admission(state: &ReplicatedState, change: Change, wanted: Option<u16>, seeds: &[u8]) -> Admission {
    let draft = Draft::new(state, change.clone(), wanted);
    let newcomer_seed = |key: &HostId| (1..=u8::MAX).find(|seed| host(*seed) == *key);
    let subject = draft.subject(state).ok();
    let approvals = subject.iter().flat_map(|subject| seeds.iter().map(|seed| subject.approve(&key(*seed)))).collect();
    let seed = draft.newcomer().and_then(|member| newcomer_seed(&member.key));
    let newcomer = seed.and_then(|seed| subject.map(|subject| subject.enter(&key(seed))));
    let Matter::Members { threshold, .. } = draft.matter else { panic!("a draft of a change") };
    Admission { change, threshold, approvals, newcomer }
}

/// Brings Raft's membership in line with the vat's, as a leader does, and gives the recorded change its certificate.
pub(crate) fn activation(state: &mut ReplicatedState, seeds: &[u8]) -> Activation {
    let nodes = |state: &ReplicatedState| {
        let coming = state.pending.as_ref().and_then(|pending| pending.change.newcomer().cloned());
        let members = state.membership.members.iter().cloned().chain(coming);
        members.map(|member| (state.raft_ids[&member.key], member)).collect()
    };
    state.raft_membership = RaftMembership { configs: vec![state.voters()], nodes: nodes(state) };
    let admitted = state.pending.as_ref().map_or(0, |pending| pending.block);
    let statement = Statement { state_root: None, ..statement(&state.membership, admitted) };
    state.note_statement(admitted, statement.hash());
    let payload = state.membership.payload();
    let before = state.previous_membership.as_ref();
    let signs = |key: &&HostId| before.is_some_and(|before| before.contains(key));
    let keys: Vec<(u8, HostId)> = (1..=u8::MAX).map(|seed| (seed, host(seed))).collect();
    let present = keys.iter().filter(|(_, key)| signs(&key)).map(|(seed, _)| sign(*seed, &payload)).collect();
    let epoch = state.membership.epoch + 1;
    Activation { epoch, admitted, certificate: certificate(statement, seeds), present }
}

pub(crate) fn next_membership(before: &Membership, seeds: &[u8], threshold: u16) -> Membership {
    Membership {
        vat: before.vat,
        epoch: before.epoch + 1,
        previous: before.hash(),
        members: seeds.iter().map(|seed| member(*seed)).collect(),
        threshold,
        recovered: None,
    }
}

pub(crate) fn certify(membership: Membership, seeds: &[u8]) -> MembershipCertificate {
    let payload = membership.payload();
    MembershipCertificate { membership, signatures: seeds.iter().map(|seed| sign(*seed, &payload)).collect() }
}
