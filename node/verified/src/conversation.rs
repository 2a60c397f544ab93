//! Both sides of the streams between a client and a vat.
//!
//! To the vat the client is a solo vat: its id is the hash of a genesis with its one key and its last block at that
//! vat. With each message it certifies its stream's head by that key.
//!
//! Invariants: the client takes in only what a certificate of a threshold of the vat's members proves, whose chain begins with the vat's id. The
//! vat's epoch never goes back. No two statements of the client have the same number.

use crate::prover::Prover;
use ed25519_dalek::SigningKey;
use quorate_ids::{Hash, HostId, VatId};
use quorate_proof::{
    Certificate, CertificateError, Genesis, Introduction, Member, MemberSignature, Membership, Parameters, Signers,
    Statement,
};
use quorate_protocol::evidence::{
    OutboxPath, SLICE_MESSAGES, SLICE_MESSAGES_BYTES, Slice, farewell_mark, outbox_path, outbox_root,
};
use quorate_streams::{
    client::{ClientSession, Heard},
    stream::{self, Deliver, StreamHead, message_digest},
};

/// A client's head, with its certificate.
#[derive(Clone, Debug)]
pub struct Said {
    pub head: StreamHead,
    pub certificate: Certificate,
    pub path: OutboxPath,
}

/// What a slice of the vat brought.
#[derive(Debug)]
pub struct Taken {
    /// Number of the next message of the vat.
    pub next: u64,
    /// What came, in order.
    pub heard: Vec<Heard>,
    /// Number of the client's last message that the vat has taken in.
    pub acknowledged: u64,
    /// The vat's members, if they are others than before.
    pub news: Option<Membership>,
    /// Whether it brought messages that were not here.
    pub is_new: bool,
}

/// Why a slice of the vat was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It ends before what is here.
    #[error("it ends before message {next}, which is the next one")]
    Stale { next: u64 },
    /// Messages before it are missing.
    #[error("it begins behind message {next}, which is the next one")]
    Gap { next: u64 },
    /// It is refused, for this reason. The host that brought it lies, or got it from a liar.
    #[error("{0}")]
    Refused(String),
}

/// See the head of the module.
pub struct Conversation {
    key: SigningKey,
    genesis: Genesis,
    /// What the client says, and what of it is acknowledged.
    pub session: ClientSession,
    signers: Signers,
    introduction: Introduction,
    /// Statements made so far, and the hash of the last.
    blocks: u64,
    previous: Hash,
    ended: bool,
    /// Keeps what proves answers.
    pub prover: Option<Prover>,
}

/// The genesis of a client that is heard until the vat's block `expires`: one member, without addresses, since others answer over the
/// connection that it makes. `nonce` is random: a key with a nonce says one thing in all, though it may say it again.
pub fn client_genesis(key: &SigningKey, nonce: [u8; 32], expires: u64) -> Genesis {
    let public = key.verifying_key().to_bytes();
    Genesis {
        members: vec![Member { key: HostId(public), name: "client".into(), addresses: Vec::new() }],
        threshold: 1,
        image: Hash([0; 32]),
        creator: public,
        bundle: None,
        nonce,
        expires,
        parameters: Parameters::default(),
    }
}

impl Conversation {
    /// A conversation in which nothing was said, with the vat that `introduction` is of. `genesis` is that of [`client_genesis`] for the same key.
    ///
    /// # Errors
    /// The introduction does not prove who the vat's members are.
    pub fn new(
        key: SigningKey,
        genesis: Genesis,
        introduction: Introduction,
    ) -> Result<Conversation, CertificateError> {
        let membership = introduction.verify()?;
        let (vat, target) = (genesis.vat_id(), introduction.genesis.vat_id());
        Ok(Conversation {
            key,
            genesis,
            session: ClientSession::new(vat, target),
            signers: Signers::from(&membership),
            introduction,
            blocks: 0,
            previous: Hash::ZERO,
            ended: false,
            prover: None,
        })
    }

    /// The client's own id.
    pub fn vat(&self) -> VatId {
        self.session.vat()
    }

    /// The vat that it talks to.
    pub fn target(&self) -> VatId {
        self.session.target()
    }

    /// Returns what the client's id is the hash of.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Who signs for that vat.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The newest introduction of that vat that is known whole.
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// A newer introduction of that vat, which was verified. What it says of members counts once a slice has proven it, too.
    pub fn introduced(&mut self, introduction: &Introduction) {
        if introduction.chain.len() > self.introduction.chain.len() {
            self.introduction = introduction.clone();
        }
    }

    /// Returns how many statements the client has made.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Certifies the head of the client's stream as it is now. `ends`: nothing follows, and the vat may forget the client.
    pub fn certify(&mut self, ends: bool) -> Said {
        self.ended |= ends;
        let head = self.session.head();
        self.blocks += 1;
        let statement = Statement {
            vat: self.vat(),
            epoch: 0,
            block: self.blocks,
            previous: self.previous,
            // A client has no log.
            chain: Hash::ZERO,
            outbox_root: outbox_root(&[head]).expect("there is a head"),
            published_root: Hash::ZERO,
            state_root: self.ended.then(farewell_mark),
        };
        self.previous = statement.hash();
        let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
        Said { head, certificate: Certificate { statement, signatures }, path: outbox_path(&[head], 0) }
    }

    /// Returns what is to be carried to the vat of what was said until `said` was: the messages from number `begin` on, as many as a slice holds, with
    /// the client's genesis, so that a receiver needs no earlier knowledge.
    pub fn slice(&self, said: &Said, begin: u64) -> Slice {
        let (mut first, mut bytes) = (None, 0);
        let (mut messages, mut tail) = (Vec::new(), Vec::new());
        for (number, message) in self.session.unacked().filter(|(number, _)| (begin..=said.head.end).contains(number)) {
            first.get_or_insert(number);
            let fits = messages.is_empty() || bytes + message.len() <= SLICE_MESSAGES_BYTES;
            if tail.is_empty() && fits && messages.len() < SLICE_MESSAGES {
                bytes += message.len();
                messages.push(message.to_vec());
            } else {
                tail.push(message_digest(message));
            }
        }
        Slice {
            genesis: Some(self.genesis.clone()),
            chain: Vec::new(),
            certificate: said.certificate.clone(),
            head: said.head,
            path: said.path.clone(),
            // An empty slice carries an acknowledgement alone and begins after the head.
            begin: first.unwrap_or(said.head.end + 1),
            messages,
            tail,
        }
    }

    /// Takes a slice of the vat, from any host.
    ///
    /// # Errors
    /// See [`NotTaken`]; nothing has changed then.
    pub fn take(&mut self, slice: Slice) -> Result<Taken, NotTaken> {
        let refused = |why: &dyn ToString| NotTaken::Refused(why.to_string());
        if slice.sender() != self.target() {
            return Err(NotTaken::Refused("this client talks to another vat".into()));
        }
        let proven = slice.verify(Some(&self.signers), &self.vat()).map_err(|error| refused(&error))?;
        let (next, hash) = self.session.next_inbound();
        let run = stream::Slice { begin: slice.begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
        match run.verify(next - 1, &hash) {
            Ok(()) => {}
            Err(stream::SliceError::Stale { .. }) => return Err(NotTaken::Stale { next }),
            Err(stream::SliceError::Gap { next, .. }) => return Err(NotTaken::Gap { next }),
            Err(error) => return Err(refused(&error)),
        }
        if let Some(prover) = &mut self.prover {
            prover.takes(&slice, next, hash);
        }
        for membership in &slice.chain {
            if membership.membership.epoch == self.introduction.chain.len() as u64 + 1 {
                self.introduction.chain.push(membership.clone());
            }
        }
        self.signers = proven.signers;
        let StreamHead { end, ack, .. } = slice.head;
        let deliver = Deliver { from: self.target(), begin: slice.begin, messages: slice.messages, end, ack };
        let heard = self.session.receive_all(&deliver).map_err(|error| refused(&error))?;
        let now = self.session.next_inbound().0;
        Ok(Taken { next: now, heard, acknowledged: ack, news: proven.news, is_new: now > next })
    }

    /// Takes note of messages that are about to leave, so that answers can be proven: all that were said since this was last called.
    pub fn note_said(&mut self, after: u64) -> u64 {
        let mut last = after;
        for (number, message) in self.session.unacked().filter(|(number, _)| *number > after) {
            if let Some(prover) = &mut self.prover {
                prover.sends(number, message);
            }
            last = number;
        }
        last
    }
}
