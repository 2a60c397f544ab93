//! Keeps what proves answers to others: see [`AnswerProof`].
//!
//! Invariant: it keeps the digests of messages since the oldest open call, and a bounded number of proofs, of which
//! the oldest go first.

use quorate_ids::{Hash, VatId};
use quorate_protocol::{
    evidence::Slice,
    proof::file::{AnswerProof, CertifiedHead, ProvenMessage},
};
use quorate_streams::{
    stream::{message_digest, next_hash, start_hash},
    wire::{Op, Side, WireRef},
};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of messages in calls and proofs that are kept at most.
const MAX_BYTES: usize = 8 << 20;

/// A call whose answer is to be proven.
struct Call {
    /// The number of its message.
    number: u64,
    message: Vec<u8>,
}

/// One client's stream to its vat, and what came of its calls.
pub struct Prover {
    /// Number of the last message before `digests`, and the stream's hash there.
    before: (u64, Hash),
    digests: VecDeque<Hash>,
    /// By the promise of the result.
    calls: BTreeMap<u64, Call>,
    proofs: VecDeque<(u64, AnswerProof)>,
    bytes: usize,
}

impl Prover {
    /// Of a conversation in which nothing was said.
    pub fn new(client: &VatId, target: &VatId) -> Prover {
        Prover {
            before: (0, start_hash(client, target)),
            digests: VecDeque::new(),
            calls: BTreeMap::new(),
            proofs: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes note of a message that is sent.
    pub fn sends(&mut self, number: u64, message: &[u8]) {
        if let Ok(Op::Send { result: Some(result), .. }) = Op::decode(message)
            && self.make_room(message.len())
        {
            self.calls.insert(result, Call { number, message: message.to_vec() });
        }
        self.digests.push_back(message_digest(message));
        self.prune();
    }

    /// Takes note of a slice that is believed: its messages from the one with the number `next`, before which the stream has the hash `before`.
    pub fn takes(&mut self, slice: &Slice, next: u64, before: Hash) {
        let known = usize::try_from(next.saturating_sub(slice.begin)).unwrap_or(usize::MAX);
        let Some(messages) = slice.messages.get(known..) else { return };
        let mut hash = before;
        for (index, message) in messages.iter().enumerate() {
            if let Some((result, call)) = self.answered(message)
                && let Some(call) = self.proven_call(call, slice.head.ack)
            {
                let after = messages[index + 1..].iter().map(|message| message_digest(message));
                let after = after.chain(slice.tail.iter().copied()).collect();
                let answer = ProvenMessage { before: hash, message: message.clone(), after };
                let (certificate, path) = (slice.certificate.clone(), slice.path.clone());
                let head = CertifiedHead { certificate, head: slice.head, path };
                if self.make_room(message.len()) {
                    self.proofs.push_back((result, AnswerProof { head, call, answer }));
                }
            }
            hash = next_hash(&hash, &message_digest(message));
        }
        self.prune();
    }

    /// Returns what proves the answer to the call of this result, if it is still here.
    pub fn proof(&self, result: u64) -> Option<&AnswerProof> {
        self.proofs.iter().find(|(of, _)| *of == result).map(|(_, proof)| proof)
    }

    /// The call that a message of the vat answers.
    fn answered(&mut self, message: &[u8]) -> Option<(u64, Call)> {
        let Ok(Op::Settle { promise, .. }) = Op::decode(message) else { return None };
        let result = Some(promise.id).filter(|id| promise == WireRef::promise(Side::Receiver, *id))?;
        let call = self.calls.remove(&result)?;
        self.bytes -= call.message.len();
        Some((result, call))
    }

    /// The call in the run of messages up to `end`, which the vat says that it has taken in.
    fn proven_call(&mut self, call: Call, end: u64) -> Option<ProvenMessage> {
        let (first, start) = self.before;
        let place = usize::try_from(call.number.checked_sub(first + 1)?).ok()?;
        let end = usize::try_from(end.checked_sub(first)?).ok()?;
        if place >= self.digests.len() || end > self.digests.len() || end <= place {
            return None;
        }
        let after = self.digests.range(place + 1..end).copied().collect();
        let before = self.digests.range(..place).fold(start, |hash, digest| next_hash(&hash, digest));
        self.bytes += call.message.len();
        Some(ProvenMessage { before, message: call.message, after })
    }

    /// Lets go of the oldest proofs until there is room. `false`: there is none, since calls that are open take it.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > MAX_BYTES {
            let Some((_, proof)) = self.proofs.pop_front() else { return false };
            self.bytes -= proof.call.message.len() + proof.answer.message.len();
        }
        self.bytes += bytes;
        true
    }

    /// Lets go of digests before the oldest call that is open.
    fn prune(&mut self) {
        let oldest = self.calls.values().map(|call| call.number).min();
        let (number, hash) = &mut self.before;
        while oldest.is_none_or(|oldest| *number + 1 < oldest) {
            let Some(digest) = self.digests.pop_front() else { return };
            *hash = next_hash(hash, &digest);
            *number += 1;
        }
    }
}
