//! What members send that lead, or say that they do; the test has all members' keys.

use std::sync::Arc;

use super::cluster::Cluster;
use super::key;
use crate::codec;
use crate::order::chain;
use crate::order::frames::{Header, RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::proof::membership::Genesis;
use crate::proof::order_evidence::OrderEvidence;
use crate::raft::gate::Keys;
use crate::replica::handle::ReplicaHandle;
use crate::state::LogPosition;
use crate::storage::{Family, Store, VatStore};
use crate::testing::fabricated::{root_of, stand_of};
use crate::transport::Channel;
use quorate_ids::{Hash, HostId};
use quorate_order::chain::{Head, next_chain};
use quorate_order::evidence::Evidence;
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, Support, TermProof};
use quorate_order::signed::{Ack, Grant, Lead, Position};
use quorate_order::signing::Signed;

fn host(seed: u8) -> HostId {
    HostId(key(seed).verifying_key().to_bytes())
}

/// A vote of the member `seed`.
pub(crate) fn grant(genesis: &Genesis, term: u64, seed: u8, candidate: HostId) -> Signed<Grant> {
    let grant = Grant { epoch: 0, term, candidate, position: Position::default(), since: 0 };
    Signed::new(grant, host(seed), &genesis.vat_id(), &Keys(key(seed)))
}

/// The proof that the members `seeds` elected somebody.
pub(crate) fn election(genesis: &Genesis, term: u64, seeds: &[u8], leader: HostId) -> TermProof {
    let grants = seeds.iter().map(|seed| grant(genesis, term, *seed, leader)).collect();
    TermProof { term, leader, grants, base: root_of(genesis) }
}

/// What proves that the members `seeds` have acknowledged the log that a leader has signed.
pub(crate) fn acknowledged(genesis: &Genesis, lead: &Lead, seeds: &[u8]) -> OrderCertificate {
    let Lead { epoch, term, last: index, chain } = *lead;
    let sign = |seed: &u8| {
        let ack = Signed::new(Ack { epoch, term, index, chain }, host(*seed), &genesis.vat_id(), &Keys(key(*seed)));
        (ack.by, ack.signature)
    };
    let support = Support::Acks(seeds.iter().map(sign).collect());
    OrderCertificate { position: Position { epoch, term, index }, chain, support }
}

/// The header of entries that the member `seed` sends.
pub(crate) fn header(
    genesis: &Genesis,
    (seed, term): (u8, u64),
    prev: Option<LogPosition>,
    before: Hash,
    entries: &[WireEntry],
) -> Header {
    let vat = genesis.vat_id();
    let from = if prev.is_some() { before } else { chain::root(&vat) };
    let end = entries.iter().fold(from, |chain, entry| chain::next(&chain, entry));
    let last = entries.last().map(WireEntry::position).or(prev);
    let sign = |last: LogPosition| {
        let lead = Lead { epoch: 0, term, last: last.index, chain: end };
        Signed::new(lead, host(seed), &vat, &Keys(key(seed)))
    };
    Header { lead: last.map(sign), before, proof: None, order: None, mark: None }
}

/// What the member `seed` signs of a log that ends so.
pub(crate) fn header_at(genesis: &Genesis, (seed, term): (u8, u64), last: u64, chain: Hash) -> Signed<Lead> {
    Signed::new(Lead { epoch: 0, term, last, chain }, host(seed), &genesis.vat_id(), &Keys(key(seed)))
}

/// The chain of a member's log up to an index; zero where it has none.
pub(crate) fn chain_at(cluster: &Cluster, place: usize, index: u64) -> Hash {
    let store = VatStore::new(Arc::clone(&cluster.nodes[place].store) as Arc<dyn Store>, cluster.genesis.vat_id());
    let stored: Option<(Hash, WireEntry)> = store.get(Family::Log, &store.numbered(index)).unwrap();
    stored.map_or(Hash::ZERO, |(chain, _)| chain)
}

/// What the member at `leader` sends to that at `to` in a term that it was elected in, or was not: with the votes of as many members
/// as must.
pub(crate) fn leading(
    cluster: &Cluster,
    (vote, leader): (WireVote, usize),
    to: usize,
    prev: Option<LogPosition>,
    entries: Vec<WireEntry>,
    commit: Option<LogPosition>,
) -> RaftMessage {
    let genesis = &cluster.genesis;
    let seed = |place: usize| u8::try_from(place).unwrap() + 1;
    let others = (0..genesis.members.len()).filter(|place| ![leader, to].contains(place)).map(seed);
    let voters = std::iter::once(seed(leader)).chain(others).chain([seed(to)]);
    let voters: Vec<u8> = voters.take(usize::from(genesis.threshold)).collect();
    let before = prev.map_or(Hash::ZERO, |prev| chain_at(cluster, to, prev.index));
    let mut header = header(genesis, (seed(leader), vote.term), prev, before, &entries);
    header.proof = Some(Box::new(election(genesis, vote.term, &voters, host(seed(leader)))));
    let last = entries.last().map(WireEntry::position).or(prev);
    // What it says to be committed has been acknowledged.
    let lead = header.lead.filter(|_| commit >= last && last.is_some_and(|last| last.term == vote.term));
    header.order = lead.map(|lead| Box::new(acknowledged(genesis, &lead.content, &voters)));
    RaftMessage::Append { vote, prev, entries, commit, header: Some(Box::new(header)) }
}

/// Candidates that ask a member whether it would vote for them, with the longest log of all, and as much of a proof as it wants to see.
pub(crate) struct Asking<'a> {
    voter: &'a ReplicaHandle,
    genesis: &'a Genesis,
    order: OrderCertificate,
}

impl<'a> Asking<'a> {
    pub(crate) fn of(voter: &'a ReplicaHandle, genesis: &'a Genesis) -> Asking<'a> {
        Asking { voter, genesis, order: root_of(genesis) }
    }

    /// Whether this member with its raft id would get a vote for the next term.
    pub(crate) async fn would_vote(&mut self, (from, node): (HostId, u64)) -> bool {
        let (term, target) = (self.voter.status().term, self.voter.status().raft_id);
        let vote = WireVote { term: term + 1, node, committed: false };
        let last = Some(LogPosition { term, index: 10_000 });
        let stand = Some(Box::new(Stand { order: self.order.clone(), ..stand_of(self.genesis, term + 1, last) }));
        let message = RaftMessage::Vote { vote, last, transfer: false, pre: true, stand };
        let frame = codec::encode(&RaftFrame { target, message });
        let answer = self.voter.handle(from, Channel::Vote, &frame).await.unwrap();
        let Ok(RaftReply::Vote { granted, better, .. }) = codec::decode(&answer) else { panic!("no answer") };
        if let Some(better) = better {
            self.order = *better;
        }
        granted
    }
}

/// What convicts the second member of having led a term with two logs, of which one goes farther.
pub(crate) fn two_logs(genesis: &Genesis) -> OrderEvidence {
    let lead = |last, chain| header_at(genesis, (2, 5), last, chain);
    let (before, head) = (Hash([7; 32]), Head { term: 5, content: Hash([8; 32]) });
    let (first, second) = (lead(1_000, Hash([6; 32])), lead(1_001, next_chain(&before, 1_001, &head)));
    OrderEvidence { vat: genesis.vat_id(), evidence: Evidence::Headers { first, second, before, heads: vec![head] } }
}

/// One of each, for the golden files.
pub(crate) fn examples(genesis: &Genesis) -> (Header, Stand, Signed<Grant>, TermProof) {
    let last = Some(LogPosition { term: 4, index: 1_000 });
    let proof = election(genesis, 5, &[1, 2], host(2));
    let header = Header { proof: Some(Box::new(proof.clone())), ..header(genesis, (2, 5), last, Hash([6; 32]), &[]) };
    (header, stand_of(genesis, 5, last), grant(genesis, 5, 1, host(2)), proof)
}
