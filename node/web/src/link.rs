//! The vats of a session, each by a conversation of its own, and the one host that carries what is said.
//!
//! ```text
//!   redeem ─► who is it? ─► introduction: the hash of its genesis is the vat's id, its chain verifies ─► a conversation
//!   said ─► certified ─► a slice to the host ─► taken? if it is not acknowledged in time, again
//!   a slice from the host ─► the conversation believes it, or not ─► heard by the session
//! ```
//!
//! Invariants: one slice of a conversation is under way at a time; what was said stays until the vat has acknowledged it, so hosts and connections may
//! come and go; a host whose slice is not believed is left, and so is one that is silent, or whose vat does not acknowledge what it took.

use crate::entropy::Entropy;
use crate::page::Output;
use ed25519_dalek::SigningKey;
use quorate_capnweb::Remote;
use quorate_capnweb::vats::Carrier;
use quorate_ids::VatId;
use quorate_proof::{Introduction, Signers};
use quorate_protocol::{
    codec,
    evidence::LASTING_BLOCKS,
    proof::file::{Item, ProofFile, VatProof},
    relay::{Carried, Frame, FromClient, FromHost, MAX_UNDER_WAY, attach},
    sturdyref::Sturdyref,
    wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame},
};
use quorate_streams::abi::Value;
use quorate_streams::client::{ClientRef, ClientSession, Heard};
use quorate_verified::{Conversation, NotTaken, Prover, Said, conversation::client_genesis};
use std::collections::{BTreeMap, VecDeque};

/// How long a vat may take to acknowledge what a host has taken for it, or a host to answer, before it is said again.
const PATIENCE_MS: u64 = 2_000;
/// A host that is late by so much is asked whether it is there; one that says nothing then for as long is left.
const SILENCE_MS: u64 = 3_000;
/// How long a host may take for an answer, though it is there: longer than an honest one waits for its vat.
const ANSWER_MS: u64 = 40_000;
/// A host is left when what it took was so often not acknowledged in time.
const MAX_DOUBTS: u32 = 3;
/// Pauses between attempts double from the first to the last of these.
const PAUSE_FIRST_MS: u64 = 100;
const PAUSE_LAST_MS: u64 = 5_000;

/// What the session is to be told.
pub(crate) enum Event {
    /// A vat that was looked for is there, with its number, or is not, for a reason.
    Found { id: VatId, vat: Result<usize, String> },
    /// A vat said something.
    Heard { vat: usize, heard: Heard },
    /// Nothing comes from a vat any more, for this reason.
    Lost { vat: usize, why: String },
}

/// What the host was asked.
enum Asked {
    /// Who the members of a vat are.
    WhoIs(VatId),
    /// To take a slice, through message `end`.
    Slice { vat: usize, end: u64 },
    /// Whether it is there.
    Alive,
}

/// A vat of the session.
struct Vat {
    conversation: Conversation,
    /// What was certified last.
    said: Option<Said>,
    /// Whether something was said since.
    is_unsaid: bool,
    /// Number of the last message that a prover has seen.
    noted: u64,
    /// Number of the last message that the host has taken, by its word.
    taken: u64,
    /// Whether the newest head is with the host.
    is_shipped: bool,
    is_under_way: bool,
    /// When to try again, and how often that came to nothing.
    again_at_ms: u64,
    attempts: u32,
    /// How often what the host took was not acknowledged in time, since something last was.
    doubts: u32,
    is_lost: bool,
}

/// A vat whose members are being asked for.
#[derive(Default)]
struct Finding {
    is_asked: bool,
    /// How many hosts did not know it.
    unknown: usize,
}

/// See the head of the module.
pub(crate) struct Link {
    entropy: Entropy,
    key: SigningKey,
    hosts: usize,
    now_ms: u64,
    /// Whether the host hands on what is for this client's key.
    is_attached: bool,
    /// Since when there is a connection.
    opened_at_ms: Option<u64>,
    last_request: u64,
    /// Since when the host has been asked what.
    asked: BTreeMap<u64, (u64, Asked)>,
    /// When it was last asked whether it is there.
    watched_at_ms: u64,
    vats: Vec<Vat>,
    finding: BTreeMap<VatId, Finding>,
    events: VecDeque<Event>,
    out: Vec<Output>,
}

impl Link {
    pub fn new(entropy: [u8; 32], hosts: usize) -> Link {
        let mut entropy = Entropy::new(entropy);
        let key = SigningKey::from_bytes(&entropy.secret());
        Link {
            entropy,
            key,
            hosts,
            now_ms: 0,
            is_attached: false,
            opened_at_ms: None,
            last_request: 0,
            asked: BTreeMap::new(),
            watched_at_ms: 0,
            vats: Vec::new(),
            finding: BTreeMap::new(),
            events: VecDeque::new(),
            out: Vec::new(),
        }
    }

    pub fn set_time(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn take_out(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// There is a connection; the host says the first word.
    pub fn opened(&mut self) {
        self.closed();
        self.opened_at_ms = Some(self.now_ms);
    }

    /// The connection is gone: nothing that was under way is answered any more.
    pub fn closed(&mut self) {
        (self.is_attached, self.opened_at_ms) = (false, None);
        self.asked.clear();
        self.finding.values_mut().for_each(|finding| finding.is_asked = false);
        for vat in &mut self.vats {
            (vat.is_under_way, vat.is_shipped, vat.taken) = (false, false, 0);
            (vat.again_at_ms, vat.attempts, vat.doubts) = (0, 0, 0);
        }
    }

    fn say(&mut self, message: &FromClient) {
        self.out.push(Output::Frame(message.encode()));
    }

    fn leave(&mut self, why: &str) {
        self.out.push(Output::Leave { why: why.to_owned(), has_lied: false });
        self.closed();
    }

    /// Leaves a host that brought what can't be true.
    fn leave_liar(&mut self, why: &str) {
        self.out.push(Output::Leave { why: why.to_owned(), has_lied: true });
        self.closed();
    }

    /// Takes in a message of the host.
    pub fn receive(&mut self, bytes: &[u8]) {
        match FromHost::decode(bytes) {
            Err(error) => self.leave_liar(&format!("the host's message is not understood: {error}")),
            Ok(FromHost::Challenge(challenge)) => {
                self.say(&attach(&self.key.clone(), &challenge));
                self.is_attached = true;
            }
            Ok(FromHost::Answer { number, answer }) => self.answered(number, answer),
            Ok(FromHost::Request { number, purpose, frame }) => {
                let answer = match purpose {
                    Carried::Slice => self.slice(&frame.0),
                    Carried::Directory => Err("a client answers no questions".to_owned()),
                };
                self.say(&FromClient::Answer { number, answer: answer.map(|reply| Frame(codec::encode(&reply))) });
            }
        }
    }

    /// A slice of a vat, which any host may bring.
    fn slice(&mut self, frame: &[u8]) -> Result<SliceReply, String> {
        let frame: VatFrame = codec::decode(frame).map_err(|error| error.to_string())?;
        let sender = frame.slice.sender();
        let of = self.vats.iter_mut().enumerate().find(|(_, vat)| vat.conversation.target() == sender);
        let Some((index, vat)) = of else {
            return Ok(SliceReply::Refused { message: "this client does not talk to that vat".to_owned() });
        };
        let taken = match vat.conversation.take(*frame.slice) {
            Ok(taken) => taken,
            Err(NotTaken::Stale { next }) => {
                vat.is_shipped = false;
                return Ok(SliceReply::Taken { next, leader: None, farewell: None });
            }
            Err(NotTaken::Gap { next }) => return Ok(SliceReply::NotYet { next, leader: None }),
            Err(NotTaken::Refused(message)) => {
                self.leave_liar(&format!("the host brought what its vat did not say: {message}"));
                return Ok(SliceReply::Refused { message });
            }
        };
        // What comes again was not heard to be acknowledged.
        vat.is_unsaid |= taken.is_new;
        vat.is_shipped &= taken.is_new;
        (vat.attempts, vat.doubts, vat.again_at_ms) = (0, 0, self.now_ms + PATIENCE_MS);
        let next = taken.next;
        self.events.extend(taken.heard.into_iter().map(|heard| Event::Heard { vat: index, heard }));
        Ok(SliceReply::Taken { next, leader: None, farewell: None })
    }

    fn ask(&mut self, asked: Asked, purpose: Carried, frame: Vec<u8>) {
        self.last_request += 1;
        let number = self.last_request;
        self.asked.insert(number, (self.now_ms, asked));
        self.say(&FromClient::Request { number, purpose, frame: Frame(frame) });
    }

    fn answered(&mut self, number: u64, answer: Result<Frame, String>) {
        match self.asked.remove(&number).map(|(_, asked)| asked) {
            None | Some(Asked::Alive) => {}
            Some(Asked::WhoIs(vat)) => {
                let reply = answer.and_then(|frame| codec::decode(&frame.0).map_err(|error| error.to_string()));
                self.found(vat, reply);
            }
            Some(Asked::Slice { vat, end }) => {
                let reply = answer.and_then(|frame| codec::decode(&frame.0).map_err(|error| error.to_string()));
                self.shipped(vat, end, reply);
            }
        }
    }

    /// What the host knows of a vat.
    fn found(&mut self, vat: VatId, reply: Result<DirectoryReply, String>) {
        let found = match reply {
            Ok(DirectoryReply::Known { introduction, block: Some(block) }) => {
                self.begin(vat, *introduction, block).map_err(|why| (why, true))
            }
            Ok(DirectoryReply::Known { block: None, .. } | DirectoryReply::Unknown) => {
                Err((format!("none of the hosts carries vat {vat}: connect to one that does"), false))
            }
            Ok(_) => Err(("the host's answer is not understood".to_owned(), true)),
            Err(why) => Err((why, false)),
        };
        let Err((why, is_lie)) = found else { return };
        let Some(finding) = self.finding.get_mut(&vat) else { return };
        finding.unknown += 1;
        if finding.unknown >= self.hosts {
            self.finding.remove(&vat);
            self.events.push_back(Event::Found { id: vat, vat: Err(why.clone()) });
        }
        if is_lie {
            self.leave_liar(&why);
        } else if self.finding.contains_key(&vat) {
            self.leave(&why);
        }
    }

    /// Begins to talk to a vat, if this introduction is its.
    fn begin(&mut self, vat: VatId, introduction: Introduction, block: u64) -> Result<(), String> {
        if introduction.genesis.vat_id() != vat {
            return Err("the host introduces another vat".to_owned());
        }
        let expires = block.saturating_add(LASTING_BLOCKS);
        let genesis = client_genesis(&self.key, self.entropy.secret(), expires);
        let conversation = Conversation::new(self.key.clone(), genesis, introduction);
        let mut conversation =
            conversation.map_err(|error| format!("the host's introduction proves nothing: {error}"))?;
        conversation.prover = Some(Prover::new(&conversation.vat(), &vat));
        let index = self.vats.len();
        self.vats.push(Vat {
            conversation,
            said: None,
            is_unsaid: false,
            noted: 0,
            taken: 0,
            is_shipped: true,
            is_under_way: false,
            again_at_ms: 0,
            attempts: 0,
            doubts: 0,
            is_lost: false,
        });
        self.finding.remove(&vat);
        self.events.push_back(Event::Found { id: vat, vat: Ok(index) });
        Ok(())
    }

    /// What became of a slice, by the host's word.
    fn shipped(&mut self, index: usize, end: u64, reply: Result<SliceReply, String>) {
        let now = self.now_ms;
        let Some(vat) = self.vats.get_mut(index) else { return };
        vat.is_under_way = false;
        let mut pause = || {
            vat.attempts += 1;
            vat.is_shipped = false;
            vat.again_at_ms = now + (PAUSE_FIRST_MS << (vat.attempts - 1).min(10)).min(PAUSE_LAST_MS);
        };
        let lost = match reply {
            Ok(SliceReply::Taken { next, .. }) => {
                // It can't have more than it was given.
                vat.taken = next.saturating_sub(1).min(end);
                vat.attempts = 0;
                vat.again_at_ms = now + PATIENCE_MS;
                None
            }
            Ok(SliceReply::NotYet { next, .. }) => {
                vat.taken = next.saturating_sub(1).min(end);
                pause();
                None
            }
            Ok(SliceReply::Introduce) | Err(_) => {
                pause();
                None
            }
            Ok(SliceReply::Refused { message }) => Some(format!("the vat's members refuse the call: {message}")),
            Ok(SliceReply::NoCode { failure: Some(why) }) => Some(format!("the vat's code did not start: {why}")),
            Ok(SliceReply::NoCode { failure: None }) => Some("the vat has no code yet".to_owned()),
        };
        if let Some(why) = lost {
            vat.is_lost = true;
            self.events.push_back(Event::Lost { vat: index, why });
        }
    }

    /// Looks whether the host does what it should. Taking a slice may take its vat seconds, so silence alone says nothing.
    fn watch(&mut self) {
        let now = self.now_ms;
        if !self.is_attached {
            if self.opened_at_ms.is_some_and(|opened| now >= opened + SILENCE_MS) {
                self.leave("the host said nothing");
            }
            return;
        }
        let alive = self.asked.values().find(|(_, asked)| matches!(asked, Asked::Alive)).map(|(since, _)| *since);
        let oldest = self.asked.values().map(|(since, _)| *since).min();
        if alive.is_some_and(|since| now >= since + SILENCE_MS) || oldest.is_some_and(|since| now >= since + ANSWER_MS)
        {
            self.leave("the host does not answer");
        } else if self.vats.iter().any(|vat| vat.doubts >= MAX_DOUBTS) {
            self.leave("what the host took did not come to its vat");
        } else if alive.is_none()
            && oldest.is_some_and(|since| now >= since + SILENCE_MS)
            && now >= self.watched_at_ms + SILENCE_MS
        {
            self.watched_at_ms = now;
            self.ask(Asked::Alive, Carried::Directory, codec::encode(&DirectoryRequest::Alive));
        }
    }

    /// Has leave what was said, and again what was not acknowledged in time.
    pub fn ship(&mut self) {
        self.watch();
        if !self.is_attached {
            return;
        }
        let to_find: Vec<VatId> =
            self.finding.iter().filter(|(_, finding)| !finding.is_asked).map(|(vat, _)| *vat).collect();
        for vat in to_find {
            if self.asked.len() >= MAX_UNDER_WAY {
                return;
            }
            if let Some(finding) = self.finding.get_mut(&vat) {
                finding.is_asked = true;
            }
            self.ask(Asked::WhoIs(vat), Carried::Directory, codec::encode(&DirectoryRequest::WhoIs(vat)));
        }
        for index in 0..self.vats.len() {
            if self.asked.len() >= MAX_UNDER_WAY {
                return;
            }
            if let Some((frame, end)) = self.vats.get_mut(index).and_then(|vat| vat.due(self.now_ms)) {
                self.ask(Asked::Slice { vat: index, end }, Carried::Slice, frame);
            }
        }
    }

    fn vat(&mut self, vat: usize) -> Result<&mut Vat, String> {
        self.vats.get_mut(vat).ok_or_else(|| "a vat that this session does not talk to".to_owned())
    }
}

impl Vat {
    /// The slice that is to be shipped now, if one is, and the number of its last message.
    fn due(&mut self, now_ms: u64) -> Option<(Vec<u8>, u64)> {
        if self.is_lost || self.is_under_way {
            return None;
        }
        if std::mem::take(&mut self.is_unsaid) {
            self.noted = self.conversation.note_said(self.noted);
            self.said = Some(self.conversation.certify(false));
            self.is_shipped = false;
        }
        let said = self.said.as_ref()?;
        let end = said.head.end;
        let first = self.conversation.session.unacked().next().map(|(number, _)| number);
        let is_acknowledged = first.is_none_or(|first| first > end);
        if self.is_shipped && self.taken >= end && !is_acknowledged && now_ms >= self.again_at_ms {
            // It was taken long ago, by the host's word.
            (self.taken, self.is_shipped) = (0, false);
            self.doubts += 1;
        }
        let has_more = !is_acknowledged && self.taken < end;
        if (self.is_shipped && !has_more) || (self.attempts > 0 && now_ms < self.again_at_ms) {
            return None;
        }
        let slice = self.conversation.slice(said, self.taken + 1);
        let last = slice.begin + slice.messages.len() as u64 - 1;
        let frame = VatFrame { to: self.conversation.target(), from: self.conversation.vat(), slice: Box::new(slice) };
        (self.is_under_way, self.is_shipped) = (true, true);
        Some((codec::encode(&frame), last))
    }
}

/// Returns what a page is told of a proof.
fn proof_value(
    signers: &Signers,
    introduction: &Introduction,
    file: &ProofFile,
    certificate: &quorate_proof::Certificate,
) -> Value {
    let members = introduction.verify().map(|membership| membership.members).unwrap_or_default();
    let name = |key| {
        members.iter().find(|member| member.key == key).map_or_else(|| key.to_string(), |member| member.name.clone())
    };
    let has_signed = |key| certificate.signatures.iter().any(|signature| signature.key == key);
    let number = |number: u64| Value::Number(number as f64);
    let names = certificate.signatures.iter().map(|signature| Value::String(name(signature.key))).collect();
    let member = |key| {
        Value::Record(vec![
            ("name".to_owned(), Value::String(name(key))),
            ("key".to_owned(), Value::String(key.to_string())),
            ("signed".to_owned(), Value::Bool(has_signed(key))),
        ])
    };
    let text = format!(
        "{} of {} signed, block {}",
        certificate.signatures.len(),
        signers.keys.len(),
        certificate.statement.block
    );
    Value::Record(vec![
        ("text".to_owned(), Value::String(text)),
        ("block".to_owned(), number(certificate.statement.block)),
        ("epoch".to_owned(), number(certificate.statement.epoch)),
        ("signers".to_owned(), Value::Array(names)),
        ("threshold".to_owned(), number(signers.threshold.into())),
        ("members".to_owned(), Value::Array(signers.keys.iter().map(|key| member(*key)).collect())),
        ("file".to_owned(), Value::Bytes(file.encode())),
    ])
}

impl Carrier for Link {
    fn find(&mut self, sturdyref: &Sturdyref) {
        self.finding.entry(sturdyref.vat).or_default();
    }

    fn talk<T, E: ToString>(
        &mut self,
        vat: usize,
        say: impl FnOnce(&mut ClientSession) -> Result<T, E>,
    ) -> Result<T, String> {
        let vat = self.vat(vat)?;
        let said = say(&mut vat.conversation.session).map_err(|error| error.to_string())?;
        vat.is_unsaid = true;
        Ok(said)
    }

    fn secret(&mut self) -> Result<[u8; 32], String> {
        Ok(self.entropy.secret())
    }

    fn proof(&mut self, answer: Remote) -> Result<Value, String> {
        let Vat { conversation, .. } = self.vat(answer.vat)?;
        let ClientRef::Result(result) = answer.reference else {
            return Err("only answers to calls are proven".to_owned());
        };
        let proof = conversation.prover.as_ref().and_then(|prover| prover.proof(result));
        let proof = proof.ok_or("the proof of that answer is not here any more, or the answer was too large")?.clone();
        let introduction = conversation.introduction().clone();
        let certificate = proof.head.certificate.clone();
        let items = vec![Item::Answer(Box::new(proof))];
        let file = ProofFile { vats: vec![VatProof { introduction: introduction.clone(), items }] };
        Ok(proof_value(conversation.signers(), &introduction, &file, &certificate))
    }
}
