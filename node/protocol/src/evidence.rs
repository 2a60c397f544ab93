//! Evidence: the proof of one vat's messages to another.
//!
//! A [`Slice`] carries a run of a stream's messages, the stream's head, and the head's Merkle path to the outbox root of a
//! certified block. It also carries what the receiver needs to check the certificate: the sender's genesis and its chain of
//! memberships. It proves itself, so any host may carry it.
//!
//! Invariants: a slice counts only if it follows from the receiver's own replicated knowledge: from [`Signers`], or, for an
//! unknown vat, from its VatId, which is the hash of its genesis. A peer's epoch never goes back, since retired keys could sign
//! a fork. The work that a slice can cause its receiver is bounded.
//!
//! Absent: matching the messages against the
//! stream (numbers, chained hash). That needs the receiver's tables; the engine's stream code does it when the log is
//! applied. The tables also decide which vats may send at all.

use ct_merkle::{InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use quorate_ids::{Hash, VatId};
use quorate_proof::{Certificate, Introduction, MAX_CHAIN, MAX_MEMBERS, Membership, MembershipCertificate, Signers};
use quorate_streams::stream::{StreamHead, message_digest};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Messages in one slice take at most this many bytes, so that a slice with its evidence fits a frame of the network.
pub const SLICE_MESSAGES_BYTES: usize = 768 * 1024;
/// The longest run of messages in one slice; longer queues go in several.
pub const SLICE_MESSAGES: usize = 4_096;
/// Signatures in the chain of one slice. Checking them takes half a second; it is done once for each peer and epoch.
pub const SLICE_CHAIN_SIGNATURES: usize = 8_192;
/// How many blocks of the receiver a sender that expires may be heard for: what it can hold a place in the tables for.
pub const MAX_LIFETIME_BLOCKS: u64 = 1_000_000;
/// The most that a client asks for. It counts from a block that some host says, and the vat, or a member that has just started, may be at another one: it
/// would refuse a client that asks for all of [`MAX_LIFETIME_BLOCKS`].
pub const LASTING_BLOCKS: u64 = MAX_LIFETIME_BLOCKS / 2;
/// An outbox has a leaf for each peer whose stream changed in a block. Far above any, and low enough for the tree's arithmetic.
const MAX_OUTBOX_LEAVES: u64 = 1 << 31;

/// A leaf's place in an outbox tree (RFC 6962 section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxPath {
    /// Leaves in the tree.
    pub leaves: u64,
    /// Which of them this is.
    pub index: u64,
    /// The sibling hashes, from the leaf upwards.
    pub siblings: Vec<u8>,
}

/// A run of messages of one stream that proves itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The sender's genesis, or `None` where the receiver is known to know the sender.
    pub genesis: Option<quorate_proof::Genesis>,
    /// Memberships after the genesis (or after the epoch that the receiver knows), oldest first.
    pub chain: Vec<MembershipCertificate>,
    /// The sender's statement for a block, with the signatures so far.
    pub certificate: Certificate,
    /// The stream's head at that block; its `peer` is the receiver.
    pub head: StreamHead,
    /// The head's place in the block's outbox.
    pub path: OutboxPath,
    /// Number of the first message.
    pub begin: u64,
    /// The messages, as they were hashed.
    #[serde(with = "quorate_streams::wire::codec::byte_lists")]
    pub messages: Vec<Vec<u8>>,
    /// Digests of the messages after these, up to the head's end.
    #[serde(with = "quorate_ids::hash_list")]
    pub tail: Vec<Hash>,
}

/// What a slice's evidence proves of its sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// Its present signers, which the receiver remembers.
    pub signers: Signers,
    /// The membership itself, if it is not the one that the receiver knew.
    pub news: Option<Membership>,
}

/// Why a slice isn't believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("the slice carries no genesis and this vat does not know the sender")]
    Unknown,
    #[error("the genesis is not valid: {0}")]
    Genesis(String),
    #[error("the membership of epoch {epoch} is not proven: {why}")]
    Membership { epoch: u64, why: String },
    #[error("the statement is of epoch {statement}, the sender's membership is of epoch {known}")]
    Epoch { statement: u64, known: u64 },
    #[error("the certificate is not valid: {0}")]
    Certificate(String),
    #[error("the slice is for another vat")]
    Receiver,
    #[error("the head is not in the certified outbox")]
    Path,
    #[error("the slice is larger than allowed or inconsistent")]
    Shape,
}

/// What a block said: the heads of the streams that it changed, and the RFC 6962 tree over them.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    heads: Vec<StreamHead>,
    tree: MemoryBackedTree<Sha256, Vec<u8>>,
}

impl Outbox {
    /// The outbox of these heads.
    pub fn new(heads: Vec<StreamHead>) -> Outbox {
        let mut tree = MemoryBackedTree::new();
        heads.iter().for_each(|head| tree.push(head.encode()));
        Outbox { heads, tree }
    }

    /// The heads, in their order in the tree.
    pub fn heads(&self) -> &[StreamHead] {
        &self.heads
    }

    /// The root that the block's statement carries. `None` if there are no heads: such a block says nothing.
    pub fn root(&self) -> Option<Hash> {
        (!self.heads.is_empty()).then(|| Hash((*self.tree.root().as_bytes()).into()))
    }

    /// The path of the head at `index`.
    pub fn path(&self, index: usize) -> OutboxPath {
        assert!(index < self.heads.len(), "the caller names a head of this outbox");
        let siblings = self.tree.prove_inclusion(index).as_bytes().to_vec();
        OutboxPath { leaves: self.heads.len() as u64, index: index as u64, siblings }
    }
}

/// The root of the outbox of these heads.
pub fn outbox_root(heads: &[StreamHead]) -> Option<Hash> {
    Outbox::new(heads.to_vec()).root()
}

/// The path of the head at `index` in the outbox of these heads.
pub fn outbox_path(heads: &[StreamHead], index: usize) -> OutboxPath {
    Outbox::new(heads.to_vec()).path(index)
}

/// Returns whether `head` is a leaf of the tree with this root. The number of leaves is the prover's word: it only says how to read the
/// path, and leaves and nodes are hashed apart, so no other word proves a head that isn't there.
pub fn path_leads_to(head: &StreamHead, path: &OutboxPath, root: &Hash) -> bool {
    if path.index >= path.leaves || path.leaves > MAX_OUTBOX_LEAVES {
        return false;
    }
    let root = RootHash::<Sha256>::new(root.0.into(), path.leaves);
    InclusionProof::<Sha256>::try_from_bytes(path.siblings.clone())
        .is_ok_and(|proof| root.verify_inclusion(&head.encode(), path.index, &proof).is_ok())
}

impl Slice {
    /// The vat that says it speaks.
    pub fn sender(&self) -> VatId {
        self.certificate.statement.vat
    }

    /// The first message of the sender's stream, if it is here: what lets in a vat that is not known.
    pub fn first_message(&self) -> Option<&[u8]> {
        (self.begin == 1).then(|| self.messages.first()).flatten().map(Vec::as_slice)
    }

    /// Checks all the evidence against what the receiver knows of the sender, and returns who is proven to sign for it now.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self, known: Option<&Signers>, receiver: &VatId) -> Result<Proven, EvidenceError> {
        let proven = self.verify_statement_epoch(known, receiver)?;
        let verified = proven.signers.verify_certificate(&self.certificate);
        verified.map_err(|error| EvidenceError::Certificate(error.to_string()))?;
        Ok(proven)
    }

    /// Like [`Slice::verify`] but for the number of signatures: what a scoreboard needs to know of a slice with too few.
    pub fn verify_statement_epoch(&self, known: Option<&Signers>, receiver: &VatId) -> Result<Proven, EvidenceError> {
        self.check_shape(receiver)?;
        let statement = &self.certificate.statement;
        // Before the signatures of the chain, which cost more.
        if !path_leads_to(&self.head, &self.path, &statement.outbox_root) {
            return Err(EvidenceError::Path);
        }
        let proven = self.prove_membership(known)?;
        if statement.epoch != proven.signers.epoch {
            return Err(EvidenceError::Epoch { statement: statement.epoch, known: proven.signers.epoch });
        }
        Ok(proven)
    }

    /// Makes the cheapest checks first: the receiver, that the numbers add up, and the limits.
    pub fn check_shape(&self, receiver: &VatId) -> Result<(), EvidenceError> {
        if self.head.peer != *receiver {
            return Err(EvidenceError::Receiver);
        }
        let bytes: usize = self.messages.iter().map(Vec::len).sum();
        let count = self.messages.len() as u64;
        let covers = self.begin.checked_add(count).and_then(|next| next.checked_add(self.tail.len() as u64));
        let signatures: usize = self.chain.iter().map(|next| next.signatures.len()).sum();
        let fits = bytes <= SLICE_MESSAGES_BYTES.max(self.messages.first().map_or(0, Vec::len))
            && self.messages.len() <= SLICE_MESSAGES
            && self.chain.len() <= MAX_CHAIN
            && signatures <= SLICE_CHAIN_SIGNATURES
            && self.certificate.signatures.len() <= MAX_MEMBERS
            && self.begin >= 1;
        // An empty slice carries an acknowledgement alone and begins after the head.
        (fits && covers == self.head.end.checked_add(1)).then_some(()).ok_or(EvidenceError::Shape)
    }

    fn prove_membership(&self, known: Option<&Signers>) -> Result<Proven, EvidenceError> {
        let mut proven = match (known, &self.genesis) {
            (Some(known), _) => Proven { signers: known.clone(), news: None },
            (None, Some(genesis)) => {
                genesis.validate().map_err(|error| EvidenceError::Genesis(error.to_string()))?;
                if genesis.vat_id() != self.sender() {
                    return Err(EvidenceError::Genesis("its hash is not the sender's VatId".into()));
                }
                let mut proven = Proven::of(genesis.membership());
                proven.signers.expires = genesis.expires;
                proven
            }
            (None, None) => return Err(EvidenceError::Unknown),
        };
        for next in &self.chain {
            if next.membership.epoch <= proven.signers.epoch {
                continue;
            }
            proven
                .signers
                .verify_membership(next)
                .map_err(|error| EvidenceError::Membership { epoch: next.membership.epoch, why: error.to_string() })?;
            let expires = proven.signers.expires;
            proven = Proven::of(next.membership.clone());
            proven.signers.expires = expires;
        }
        Ok(proven)
    }

    /// Leaves out what a receiver that knows `known` needs no more, so that the log doesn't repeat it. What is left of the chain of a
    /// slice that is believed was proven; what is left out is skipped unread, and might say anything of anybody.
    pub fn trim(&mut self, known: Option<&Signers>) {
        if known.is_some() {
            self.genesis = None;
        }
        let mut epoch = known.map_or(0, |known| known.epoch);
        self.chain.retain(|next| {
            let follows = next.membership.epoch > epoch;
            epoch = epoch.max(next.membership.epoch);
            follows
        });
    }

    /// Leaves out messages that the receiver has, those before number `next`, and says all but the first ones after those by their digests: as
    /// many stay as `most` says and as do not cost more than `budget` by `price`, which is given their sizes. One stays at least.
    pub fn shorten(&mut self, next: u64, most: usize, budget: u64, price: impl Fn(usize) -> u64) {
        let known = usize::try_from(next.saturating_sub(self.begin)).unwrap_or(usize::MAX).min(self.messages.len());
        self.messages.drain(..known);
        self.begin += known as u64;
        let mut cost = 0_u64;
        let fits = |message: &&Vec<u8>| {
            cost = cost.saturating_add(price(message.len()));
            cost <= budget
        };
        let count = self.messages.iter().take(most).take_while(fits).count().max(1).min(self.messages.len());
        let rest: Vec<Hash> = self.messages.drain(count..).map(|message| message_digest(&message)).collect();
        self.tail.splice(..0, rest);
    }

    /// Gives the receiver the whole of an introduction, as far as the epoch that the statement was made in: the receiver checks it by
    /// the newest membership that it is shown.
    pub fn introduce(&mut self, introduction: &Introduction) {
        let until = self.certificate.statement.epoch;
        let shown = introduction.chain.iter().take_while(|next| next.membership.epoch <= until);
        self.chain = shown.cloned().collect();
        self.genesis = Some(introduction.genesis.clone());
    }
}

/// Why a client is not heard any more whose time is over.
pub const LIFETIME_IS_OVER: &str = "the sender's time is over: it must come with a new key";

/// Why nothing of a vat is taken that nobody here has named.
pub const STRANGER: &str = "this vat gave the sender no reference, and its stream does not begin with the use of one that counts; one that was revoked or has expired does not: ask for another";

/// Returns what stands for the state in the last statement of a client: it has no state, and says nothing after that.
pub fn farewell_mark() -> quorate_proof::Hash {
    quorate_proof::Hash::of(b"quorate/farewell/1")
}

/// Returns whether a statement is a client's last one, if it is a client's.
pub fn is_farewell(statement: &quorate_proof::Statement) -> bool {
    statement.state_root == Some(farewell_mark())
}

/// Returns why a sender whose evidence is good is not heard at this block of the receiver. Since it commits to its end by its VatId, it can
/// be forgotten after that: whatever is shown of it again is refused here.
pub fn refuses_lifetime(signers: &Signers, is_new: bool, block: u64) -> Option<&'static str> {
    match signers.expires {
        0 => None,
        expires if expires < block => Some(LIFETIME_IS_OVER),
        expires if is_new && expires - block > MAX_LIFETIME_BLOCKS => Some("the sender wants to be heard for too long"),
        _ => None,
    }
}

impl Proven {
    fn of(membership: Membership) -> Proven {
        Proven { signers: Signers::from(&membership), news: Some(membership) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_streams::stream::{Slice as Run, next_hash};

    fn heads(count: u8) -> Vec<StreamHead> {
        (0..count)
            .map(|n| StreamHead {
                peer: VatId([n; 32]),
                end: u64::from(n),
                hash: Hash([n; 32]),
                ack: 0,
                ack_hash: Hash([0; 32]),
                is_mark: false,
            })
            .collect()
    }

    #[test]
    fn who_expires_is_heard_until_then_and_not_for_too_long() {
        let signers = |expires| Signers {
            vat: quorate_proof::VatId([1; 32]),
            epoch: 0,
            hash: quorate_proof::Hash([2; 32]),
            threshold: 1,
            keys: vec![],
            expires,
        };
        for block in [1, 500, u64::MAX] {
            assert_eq!(refuses_lifetime(&signers(0), true, block), None);
        }
        for is_new in [true, false] {
            assert_eq!(refuses_lifetime(&signers(100), is_new, 100), None);
            assert!(refuses_lifetime(&signers(100), is_new, 101).is_some());
        }
        let far = 100 + MAX_LIFETIME_BLOCKS;
        assert_eq!(refuses_lifetime(&signers(far), true, 100), None);
        assert!(refuses_lifetime(&signers(far), true, 99).is_some());
        assert!(refuses_lifetime(&signers(u64::MAX), true, 99).is_some());
        assert_eq!(refuses_lifetime(&signers(far), false, 99), None);
    }

    /// A slice of five messages of 10, 20, … bytes, the first of which is number 3, and what a receiver has before it.
    fn slice_of_five() -> (Slice, Hash) {
        let messages: Vec<Vec<u8>> = (1..=5_u8).map(|n| vec![n; 10 * usize::from(n)]).collect();
        let tail = vec![message_digest(b"the sixth")];
        let start = Hash([9; 32]);
        let digests = messages.iter().map(|message| message_digest(message)).chain(tail.iter().copied());
        let hash = digests.fold(start, |hash, digest| next_hash(&hash, &digest));
        let head = StreamHead { peer: VatId([2; 32]), end: 8, hash, ack: 0, ack_hash: Hash([0; 32]), is_mark: false };
        let statement = quorate_proof::Statement {
            vat: VatId([1; 32]),
            epoch: 0,
            block: 1,
            previous: Hash::ZERO,
            chain: Hash::ZERO,
            outbox_root: Hash::ZERO,
            published_root: Hash::ZERO,
            state_root: None,
        };
        let certificate = Certificate { statement, signatures: vec![] };
        let path = OutboxPath { leaves: 1, index: 0, siblings: vec![] };
        (Slice { genesis: None, chain: vec![], certificate, head, path, begin: 3, messages, tail }, start)
    }

    #[test]
    fn a_shortened_slice_says_the_same_with_fewer_messages() {
        // Next, messages at most, budget by the byte; where it begins then, and how many messages are left.
        let cases = [
            (3, 9, 1_000, 3, 5),
            (3, 2, 1_000, 3, 2),
            (3, 9, 65, 3, 3),
            (3, 9, 0, 3, 1),
            (3, 0, 1_000, 3, 1),
            (5, 9, 1_000, 5, 3),
            (5, 9, 75, 5, 2),
            (1, 1, 1_000, 3, 1),
            (8, 9, 1_000, 8, 0),
        ];
        for (next, most, budget, begin, left) in cases {
            let (mut slice, start) = slice_of_five();
            let before = slice.clone();
            slice.shorten(next, most, budget, |bytes| bytes as u64);
            assert_eq!((slice.begin, slice.messages.len()), (begin, left), "{next} {most} {budget}");
            assert!(slice.check_shape(&VatId([2; 32])).is_ok(), "{next} {most} {budget}");
            let known = before.messages.iter().take((begin - 3) as usize);
            let hash = known.fold(start, |hash, message| next_hash(&hash, &message_digest(message)));
            let run = Run { begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
            assert_eq!(run.verify(begin - 1, &hash), Ok(()), "{next} {most} {budget}");
        }
    }

    #[test]
    fn every_head_of_every_size_of_outbox_is_proven_and_nothing_else_is() {
        for count in 1..20u8 {
            let heads = heads(count);
            let root = outbox_root(&heads).expect("there are heads");
            for (index, head) in heads.iter().enumerate() {
                let path = outbox_path(&heads, index);
                assert!(path_leads_to(head, &path, &root), "{index} of {count}");
                let mut other = *head;
                other.end += 1;
                assert!(!path_leads_to(&other, &path, &root));
                for wrong in [
                    OutboxPath { index: path.leaves, ..path.clone() },
                    OutboxPath { index: path.index ^ 1, ..path.clone() },
                    OutboxPath { siblings: vec![0; path.siblings.len() + 32], ..path.clone() },
                    OutboxPath { siblings: vec![0; 7], ..path.clone() },
                    OutboxPath { leaves: 0, ..path.clone() },
                    OutboxPath { leaves: u64::MAX, index: u64::MAX - 1, ..path.clone() },
                ] {
                    assert!(!path_leads_to(head, &wrong, &root), "{wrong:?}");
                }
            }
        }
        assert_eq!(outbox_root(&[]), None);
    }
}
