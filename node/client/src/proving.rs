//! Keeps what it takes to prove an answer to others: see [`AnswerProof`].
//!
//! Invariant: what is kept are digests and two messages, so a client of many calls does not grow by it; only one call is proven.

use quorate_ids::{Hash, VatId};
use quorate_proof::{Introduction, MembershipCertificate};
use quorate_protocol::{
    evidence::Slice,
    proof::file::{AnswerProof, CertifiedHead, Item, ProvenMessage, VatProof},
};
use quorate_streams::{
    stream::{message_digest, next_hash, start_hash},
    wire::{Op, Side, WireRef},
};

/// One client's stream to the vat, and what came of the one call that is to be proven.
pub(super) struct Prover {
    /// The hash before the first message.
    start: Hash,
    /// Digests of all messages that this client sent.
    sent: Vec<Hash>,
    /// The call: its place among them, its bytes, the promise of its result.
    call: Option<(usize, Vec<u8>, u64)>,
    introduction: Introduction,
    proof: Option<AnswerProof>,
}

impl Prover {
    pub(super) fn new(client: &VatId, target: &VatId, introduction: Introduction) -> Prover {
        let start = start_hash(client, target);
        Prover { start, sent: Vec::new(), call: None, introduction, proof: None }
    }

    /// Takes note of a message that is sent.
    pub(super) fn sends(&mut self, message: &[u8]) {
        if let (None, Ok(Op::Send { result: Some(result), .. })) = (&self.call, Op::decode(message)) {
            self.call = Some((self.sent.len(), message.to_vec(), result));
        }
        self.sent.push(message_digest(message));
    }

    /// Takes note of a slice that was taken in: its messages from the one with the number `next`, before which the stream has the
    /// hash `before`.
    pub(super) fn takes(&mut self, slice: &Slice, next: u64, before: Hash) {
        self.learn(&slice.chain);
        let known = usize::try_from(next.saturating_sub(slice.begin)).unwrap_or(usize::MAX);
        let Some(messages) = slice.messages.get(known..) else { return };
        let mut hash = before;
        for (index, message) in messages.iter().enumerate() {
            if self.proof.is_none() && self.is_answer(message) {
                let after = messages[index + 1..].iter().map(|message| message_digest(message));
                let after = after.chain(slice.tail.iter().copied()).collect();
                let answer = ProvenMessage { before: hash, message: message.clone(), after };
                let (certificate, path) = (slice.certificate.clone(), slice.path.clone());
                let head = CertifiedHead { certificate, head: slice.head, path };
                self.proof = self.proven_call(slice.head.ack).map(|call| AnswerProof { head, call, answer });
            }
            hash = next_hash(&hash, &message_digest(message));
        }
    }

    fn is_answer(&self, message: &[u8]) -> bool {
        let Some((_, _, result)) = &self.call else { return false };
        matches!(Op::decode(message), Ok(Op::Settle { promise, .. }) if promise == WireRef::promise(Side::Receiver, *result))
    }

    /// The call in the run of messages up to `end`, which the vat says that it has taken in.
    fn proven_call(&self, end: u64) -> Option<ProvenMessage> {
        let (place, message, _) = self.call.as_ref()?;
        let end = usize::try_from(end).ok()?;
        let after = self.sent.get(place + 1..end)?.to_vec();
        let before = self.sent[..*place].iter().fold(self.start, |hash, digest| next_hash(&hash, digest));
        Some(ProvenMessage { before, message: message.clone(), after })
    }

    /// Memberships that continue what is known; they were checked with the slice that brought them.
    fn learn(&mut self, chain: &[MembershipCertificate]) {
        for next in chain {
            if next.membership.epoch == self.introduction.chain.len() as u64 + 1 {
                self.introduction.chain.push(next.clone());
            }
        }
    }

    /// A newer introduction of the vat.
    pub(super) fn introduced(&mut self, introduction: &Introduction) {
        if introduction.chain.len() > self.introduction.chain.len() {
            self.introduction = introduction.clone();
        }
    }

    /// The proof, once the answer is there.
    pub(super) fn proof(&self) -> Option<VatProof> {
        let answer = Item::Answer(Box::new(self.proof.clone()?));
        Some(VatProof { introduction: self.introduction.clone(), items: vec![answer] })
    }
}
