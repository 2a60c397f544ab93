//! The witness: keeps the latest certificates of a vat's peers, and notices when a peer contradicts itself.
//!
//! Only a receiver of slices can notice that more of a vat's members lie than the vat tolerates: its honest members
//! are then outvoted, or were shown one side only.
//!
//! Invariants: only signatures that the caller has checked come in. The memory is bounded by peers and by statements of
//! each. A finding convicts by its own content, and is returned once.

use quorate_consensus::{
    Certificate, Contradiction, Equivocation, EvidenceRecord, HostId, MemberSignature, Signed, Statement,
};
use quorate_engine::VatId;
use quorate_protocol::proof::file::{CertifiedHead, Item, StreamContradiction};
use std::collections::{BTreeMap, BTreeSet};

/// Peers that are remembered; the one that was silent longest is forgotten first.
const PEERS: usize = 256;
/// Statements that are remembered of each; the oldest are forgotten first.
const STATEMENTS: usize = 16;
/// Findings of one kind about one peer that are handed out; more say nothing new.
const FINDINGS: usize = 64;

/// What was said of one block.
struct Said {
    head: CertifiedHead,
    /// Whether the signatures reach the threshold.
    is_certified: bool,
}

#[derive(Default)]
struct Peer {
    /// When something was last heard, in notes.
    touched: u64,
    said: Vec<Said>,
    /// The findings so far: a member and block, or only a block.
    found: BTreeSet<(Option<HostId>, u64)>,
}

/// See the head of the module.
#[derive(Default)]
pub struct Witness {
    peers: BTreeMap<VatId, Peer>,
    notes: u64,
}

impl Witness {
    /// Returns whether something that a peer said before contradicts this. Costs no signature check: after a yes the caller must check all of it.
    pub fn suspects(&self, head: &CertifiedHead) -> bool {
        let statement = &head.certificate.statement;
        let Some(peer) = self.peers.get(&VatId(statement.vat.0)) else { return false };
        peer.said.iter().any(|said| {
            let other = &said.head.certificate.statement;
            other.block == statement.block && other != statement || said.head.contradicts(head).is_some()
        })
    }

    /// Remembers what a peer said, whose signatures are good, and returns what it proves together with what was said before.
    pub fn note(&mut self, head: CertifiedHead, is_certified: bool) -> Vec<Item> {
        let vat = VatId(head.certificate.statement.vat.0);
        self.notes += 1;
        self.make_room(&vat);
        let peer = self.peers.entry(vat).or_default();
        peer.touched = self.notes;
        let said = Said { head, is_certified };
        let found: Vec<Item> = peer.said.iter().flat_map(|before| compare(before, &said)).collect();
        let found =
            found.into_iter().filter(|item| peer.found.len() < FINDINGS && peer.found.insert(key(item))).collect();
        peer.remember(said);
        found
    }

    fn make_room(&mut self, vat: &VatId) {
        if self.peers.len() < PEERS || self.peers.contains_key(vat) {
            return;
        }
        let silent = self.peers.iter().min_by_key(|(_, peer)| peer.touched).map(|(vat, _)| *vat);
        if let Some(silent) = silent {
            self.peers.remove(&silent);
        }
    }
}

impl Peer {
    fn remember(&mut self, said: Said) {
        let same =
            self.said.iter_mut().find(|before| before.head.certificate.statement == said.head.certificate.statement);
        if let Some(before) = same {
            for signature in said.head.certificate.signatures {
                let signatures = &mut before.head.certificate.signatures;
                if signatures.iter().all(|other| other.key != signature.key) {
                    signatures.push(signature);
                }
            }
            before.is_certified |= said.is_certified;
            return;
        }
        if self.said.len() >= STATEMENTS {
            self.said.remove(0);
        }
        self.said.push(said);
    }
}

/// Returns what makes a finding the same as another one.
fn key(item: &Item) -> (Option<HostId>, u64) {
    match item {
        Item::Evidence(record) => match &**record {
            EvidenceRecord::Equivocation(pair) => (Some(pair.member()), pair.first.content.block),
            record => (None, record.place().1.unwrap_or_default()),
        },
        Item::StreamContradiction(pair) => (None, pair.second.certificate.statement.block),
        _ => (None, 0),
    }
}

/// Returns what two things that one peer said prove together.
fn compare(before: &Said, now: &Said) -> Vec<Item> {
    let (one, other) = (&before.head.certificate, &now.head.certificate);
    let mut found = Vec::new();
    let both = before.is_certified && now.is_certified;
    if both && let Some(pair) = Contradiction::of(one, other) {
        found.push(Item::Evidence(Box::new(EvidenceRecord::Contradiction(pair))));
    } else if both && before.head.contradicts(&now.head).is_some() {
        let pair = StreamContradiction { first: before.head.clone(), second: now.head.clone() };
        found.push(Item::StreamContradiction(Box::new(pair)));
    }
    found.extend(equivocations(one, other));
    found
}

/// Members that signed both.
fn equivocations(one: &Certificate, other: &Certificate) -> Vec<Item> {
    let (first, second) = (&one.statement, &other.statement);
    if first == second || (first.epoch, first.block) != (second.epoch, second.block) {
        return Vec::new();
    }
    let signed =
        |content: &Statement, signature: &MemberSignature| Signed { content: content.clone(), signature: *signature };
    let pairs = one.signatures.iter().filter_map(|signature| {
        let again = other.signatures.iter().find(|again| again.key == signature.key)?;
        Some(Equivocation::of(signed(first, signature), signed(second, again)))
    });
    pairs.map(|pair| Item::Evidence(Box::new(EvidenceRecord::Equivocation(pair)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use quorate_consensus::Hash;
    use quorate_engine::comms::stream::StreamHead;
    use quorate_protocol::evidence::Outbox;

    /// Returns what the members of these seeds say of a block: the end of a stream, and its hash.
    fn said(seeds: &[u8], block: u64, end: u64, hash: u8) -> CertifiedHead {
        let head = StreamHead {
            peer: VatId([2; 32]),
            end,
            hash: quorate_engine::Hash([hash; 32]),
            ack: 0,
            ack_hash: quorate_engine::Hash([0; 32]),
            is_mark: false,
        };
        let outbox = Outbox::new(vec![head]);
        let statement = Statement {
            vat: quorate_consensus::VatId([1; 32]),
            epoch: 0,
            block,
            previous: Hash::ZERO,
            chain: Hash::ZERO,
            outbox_root: Hash(outbox.root().expect("a head").0),
            published_root: Hash::ZERO,
            state_root: None,
        };
        let payload = statement.payload();
        let sign = |seed: &u8| MemberSignature::sign(&SigningKey::from_bytes(&[*seed; 32]), &payload);
        let signatures = seeds.iter().map(sign).collect();
        CertifiedHead { certificate: Certificate { statement, signatures }, head, path: outbox.path(0) }
    }

    fn kinds(items: &[Item]) -> Vec<&'static str> {
        items.iter().map(Item::kind).collect()
    }

    #[test]
    fn two_certificates_for_one_block_are_found_with_whoever_signed_both() {
        let mut witness = Witness::default();
        assert!(witness.note(said(&[1, 2, 3], 5, 1, 1), true).is_empty());
        let other = said(&[2, 3, 4], 5, 1, 2);
        assert!(witness.suspects(&other));
        let found = witness.note(other.clone(), true);
        assert_eq!(kinds(&found), ["contradiction", "equivocation", "equivocation"]);
        assert!(witness.note(other, true).is_empty(), "once");
        assert!(witness.note(said(&[1, 2, 3], 6, 2, 3), true).is_empty(), "it may go on");
    }

    #[test]
    fn single_signatures_for_two_statements_convict_their_member_alone() {
        let mut witness = Witness::default();
        assert!(witness.note(said(&[1], 5, 1, 1), false).is_empty());
        assert!(witness.note(said(&[2], 5, 1, 2), false).is_empty(), "two members may disagree");
        let found = witness.note(said(&[1], 5, 1, 2), false);
        assert_eq!(kinds(&found), ["equivocation"]);
        let Item::Evidence(record) = &found[0] else { panic!("{found:?}") };
        assert_eq!(
            record.accused(),
            BTreeSet::from([HostId(SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes())])
        );
    }

    #[test]
    fn certified_streams_that_contradict_each_other_in_different_blocks_are_found() {
        for (what, later) in [("another hash", said(&[1, 2], 6, 3, 9)), ("fewer messages", said(&[1, 2], 6, 2, 1))] {
            let mut witness = Witness::default();
            assert!(witness.note(said(&[1, 2], 5, 3, 1), true).is_empty());
            assert!(witness.suspects(&later), "{what}");
            assert_eq!(kinds(&witness.note(later, true)), ["stream-contradiction"], "{what}");
        }
        let mut witness = Witness::default();
        witness.note(said(&[1, 2], 5, 3, 1), true);
        assert!(!witness.suspects(&said(&[1, 2], 6, 3, 1)), "the same again in a later block");
        assert!(witness.note(said(&[1], 6, 3, 9), false).is_empty(), "one member's word is no certificate");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut witness = Witness::default();
        for block in 0..100 {
            witness.note(said(&[1], block, block, 1), true);
        }
        assert_eq!(witness.peers[&VatId([1; 32])].said.len(), STATEMENTS);
        for number in 0..2 * PEERS as u64 {
            let mut head = said(&[1], 1, 1, 1);
            head.certificate.statement.vat.0[..8].copy_from_slice(&number.to_be_bytes());
            witness.note(head, true);
            assert!(witness.peers.len() <= PEERS);
        }
    }
}
