//! The inbox: receives slices from other vats, checks them against this vat's state, gathers signatures for those that
//! have too few, and has the good ones ordered.
//!
//! It only saves work: every replica checks the same evidence again when it applies the log, so a bad slice that passes here
//! is still refused. It prevents that anybody can fill the log: slices that no replica could take in are
//! answered here, the cheapest reason first. Evidence of unknown memberships, whose chain may be long, is checked on
//! other threads than the network's, a few at a time.

use super::{
    incomplete::{Incomplete, WAITING_SENDERS},
    machine::STRANGER,
    peer_evidence::PeerEvidence,
    view::{PeerView, SharedView},
    window::Window,
    witness::Witness,
};
use quorate_consensus::{HostId, ProposeError, ReplicaHandle, ReplicaStatus, Signers, Tally};
use quorate_courier::courier::{Notice, is_greeting};
use quorate_engine::{VatId, comms, machine::message_fuel};
use quorate_protocol::{
    codec,
    evidence::{EvidenceError, Proven, Slice, is_farewell, refuses_lifetime},
    proof::file::CertifiedHead,
};
use quorate_protocol::{
    command::{VatCommand, VatResult},
    wire::SliceReply,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// How long the vat may take to order a slice; below the shipper's deadline, so that it gets an answer.
const PROPOSE_DEADLINE: Duration = Duration::from_millis(4_500);
/// Slices with new memberships whose evidence is checked at once.
const INTRODUCTIONS: usize = 2;
/// How long a slice waits at a member that knows no leader, and how often it looks.
const LEADER_PATIENCE: Duration = Duration::from_millis(500);
const LEADER_POLL: Duration = Duration::from_millis(20);
/// How long a slice of a sender that has to wait for others is kept before it is ordered, and how often it looks.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
const TURN_POLL: Duration = Duration::from_millis(20);
/// How long a slice waits for one before it that its sender has shipped just before, and how often it looks.
const GAP_PATIENCE: Duration = Duration::from_millis(500);
const GAP_POLL: Duration = Duration::from_millis(5);
/// How long parts of one slice are ordered one after the other, before its shipper hears how far that went.
const PARTS_PATIENCE: Duration = Duration::from_secs(2);

/// Its holder proposes the messages of its sender.
type Gate = Arc<tokio::sync::Mutex<Window>>;

/// The inbox of one replica.
pub struct Inbox {
    vat: VatId,
    replica: ReplicaHandle,
    view: SharedView,
    waiting: Mutex<Incomplete>,
    witness: Mutex<Witness>,
    /// Where what the witness finds is kept.
    peer_evidence: PeerEvidence,
    /// One proposal at a time for each sender: what several members ship at once is mostly the same.
    senders: Mutex<BTreeMap<VatId, Gate>>,
    introductions: Arc<Semaphore>,
    /// Whether this host was given code for the vat, which starts by itself.
    has_code: bool,
    /// Why no messages are taken just now.
    limited: Mutex<Option<String>>,
    /// The courier, which ends without regard to this inbox.
    courier: mpsc::WeakUnboundedSender<Notice>,
}

impl Inbox {
    /// An inbox that proposes to `replica`, and tells the courier who was heard. `has_code`: whether the vat's code starts by itself.
    pub fn new(
        vat: VatId,
        replica: ReplicaHandle,
        view: SharedView,
        has_code: bool,
        peer_evidence: PeerEvidence,
        courier: mpsc::WeakUnboundedSender<Notice>,
    ) -> Self {
        let introductions = Arc::new(Semaphore::new(INTRODUCTIONS));
        let (waiting, witness, senders) = Default::default();
        let limited = Mutex::default();
        Inbox {
            vat,
            replica,
            view,
            waiting,
            witness,
            peer_evidence,
            senders,
            introductions,
            has_code,
            limited,
            courier,
        }
    }

    /// Takes a slice, however it came, and says what became of it.
    pub async fn take(&self, slice: Slice) -> SliceReply {
        let sender = slice.sender();
        if let Err(error) = slice.check_shape(&self.vat) {
            return SliceReply::Refused { message: error.to_string() };
        }
        if let Some(reply) = self.without_code() {
            return reply;
        }
        // What contradicts what was said before is looked at, though it may bring nothing new: it may be evidence.
        let is_suspect = self.witness().suspects(&certified_head(&slice));
        if let Some(answer) = self.answer_at_once(&slice).filter(|_| !is_suspect) {
            return self.reply(&sender, answer);
        }
        let (mut slice, proven) = self.verify(slice).await;
        let signers = match proven {
            Ok(proven) => proven.signers,
            Err(EvidenceError::Unknown) => return SliceReply::Introduce,
            Err(error) => return SliceReply::Refused { message: error.to_string() },
        };
        if signers.expires != 0 && self.view.lock().ended.contains(&sender, signers.expires) {
            let next = slice.head.end.saturating_add(1);
            return SliceReply::Taken { next, leader: self.leader(), farewell: None };
        }
        if let Some(refusal) = self.refuses_lifetime(&sender, &signers) {
            return SliceReply::Refused { message: refusal.to_owned() };
        }
        if let Err(message) = self.gather(&mut slice, &signers) {
            return SliceReply::Refused { message };
        }
        if slice.certificate.signatures.len() < usize::from(signers.threshold) {
            return self.reply(&sender, AtOnce::NotYet);
        }
        if is_greeting(&slice.head) && !is_farewell(&slice.certificate.statement) {
            // There is nothing to order: it only tells this vat's courier that it need not wait any more.
            self.tell_courier(Notice::Greeted(sender));
            return self.reply(&sender, AtOnce::Taken);
        }
        let gate = self.gate(sender);
        let mut window = self.enter(&slice, &gate).await;
        if let Some(answer) = self.answer_at_once(&slice) {
            return self.reply(&sender, answer);
        }
        if self.has_gap(&slice) && !is_behind(&self.replica.status()) {
            return self.reply(&sender, AtOnce::NotYet);
        }
        if !slice.messages.is_empty()
            && let Some(message) = self.limited()
        {
            return SliceReply::Refused { message };
        }
        self.order(slice, signers.expires != 0, &mut window).await
    }

    /// Has a slice ordered, in several parts if a block takes in less than all of it. What is taken in with a later part is said by its digest
    /// in the earlier ones, so that a command weighs little more than what becomes of it.
    async fn order(&self, mut slice: Slice, is_client: bool, window: &mut Window) -> SliceReply {
        let sender = slice.sender();
        let carried_through = slice.begin.saturating_add(slice.messages.len() as u64).saturating_sub(1);
        let until = tokio::time::Instant::now() + PARTS_PATIENCE;
        let mut next = slice.begin;
        loop {
            self.wait_for_turn(&slice).await;
            slice.trim(self.view.known(&sender).as_deref());
            let mut part = slice.clone();
            let (here, budget) = self.view.next_and_budget(&sender);
            // A slice that brings nothing new stays as it is: it is ordered for what its block says.
            if next.max(here) <= carried_through {
                part.shorten(next.max(here), window.most(), budget, message_fuel);
            }
            let (begin, offered) = (part.begin, part.messages.len() as u64);
            let reply = self.propose(part, is_client).await;
            let SliceReply::Taken { next: reached, .. } = &reply else { return reply };
            window.note(offered, reached.saturating_sub(begin));
            if !(next + 1..=carried_through).contains(reached) || tokio::time::Instant::now() >= until {
                return reply;
            }
            next = *reached;
        }
    }

    /// Takes no messages from now on, for this reason, or takes them again.
    pub fn limit(&self, why: Option<String>) {
        *self.limited.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Returns why no messages are taken just now.
    pub fn limited(&self) -> Option<String> {
        self.limited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuses_lifetime(&self, sender: &VatId, signers: &Signers) -> Option<&'static str> {
        refuses_lifetime(signers, self.view.known(sender).is_none(), self.replica.status().applied)
    }

    /// The answer while the vat has no code, and none that this host knows is about to start.
    fn without_code(&self) -> Option<SliceReply> {
        let failure = {
            let view = self.view.lock();
            if view.installed {
                return None;
            }
            view.install_failure.clone()
        };
        let status = self.replica.status();
        let may_have_some = self.has_code || is_behind(&status) || !status.membership.contains(&status.key);
        if failure.is_none() && may_have_some {
            return Some(SliceReply::NotYet { next: 1, leader: self.leader() });
        }
        Some(SliceReply::NoCode { failure })
    }

    /// Waits a moment for a leader, so that a member that is cut off says so while others can still be asked.
    async fn wait_for_leader(&self) -> bool {
        let until = tokio::time::Instant::now() + LEADER_PATIENCE;
        while self.replica.status().leader.is_none() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
        true
    }

    /// Waits a while if the sender's messages have burnt more fuel than those of others that have work: ordered now, they would not be taken
    /// in. After that they are ordered all the same, since only the log can tell that the others have gone.
    async fn wait_for_turn(&self, slice: &Slice) {
        let (sender, until) = (slice.sender(), tokio::time::Instant::now() + TURN_PATIENCE);
        let has_to_wait = || !slice.messages.is_empty() && self.view.lock().waiting.contains(&sender);
        while has_to_wait() && tokio::time::Instant::now() < until {
            tokio::time::sleep(TURN_POLL).await;
        }
    }

    /// Waits until no other slice of the sender is being ordered, and a moment more while messages before this one are missing: of slices that are shipped one
    /// after the other, a later one may come first.
    async fn enter<'a>(&self, slice: &Slice, gate: &'a Gate) -> tokio::sync::MutexGuard<'a, Window> {
        let until = tokio::time::Instant::now() + GAP_PATIENCE;
        loop {
            let window = gate.lock().await;
            if !self.has_gap(slice) || tokio::time::Instant::now() >= until {
                return window;
            }
            drop(window);
            tokio::time::sleep(GAP_POLL).await;
        }
    }

    /// Returns whether messages before the slice are missing, as far as this member knows.
    fn has_gap(&self, slice: &Slice) -> bool {
        slice.begin > self.view.next_and_budget(&slice.sender()).0
    }

    async fn propose(&self, slice: Slice, is_client: bool) -> SliceReply {
        let sender = slice.sender();
        let says_farewell = is_farewell(&slice.certificate.statement);
        if !self.wait_for_leader().await {
            return self.reply(&sender, AtOnce::NotYet);
        }
        let command = codec::encode(&VatCommand::Deliver(Box::new(slice)));
        match self.replica.propose(command, PROPOSE_DEADLINE).await {
            Ok(proposed) => match codec::decode::<VatResult>(&proposed.result) {
                Ok(VatResult::Delivered { next }) => {
                    if !says_farewell {
                        self.tell_courier(Notice::Heard { peer: sender, again: false, near: is_client });
                    }
                    SliceReply::Taken { next, leader: self.leader(), farewell: None }
                }
                Ok(VatResult::NotYet { next }) => SliceReply::NotYet { next, leader: self.leader() },
                Ok(VatResult::Refused { message }) => SliceReply::Refused { message },
                Ok(other) => SliceReply::Refused { message: format!("unexpected result: {other:?}") },
                Err(error) => SliceReply::Refused { message: error.to_string() },
            },
            Err(error @ ProposeError::Refused(_)) => SliceReply::Refused { message: error.to_string() },
            Err(error) => {
                tracing::debug!(vat = %self.vat, %sender, %error, "a slice was not ordered");
                self.reply(&sender, AtOnce::NotYet)
            }
        }
    }

    /// The answer for a slice that needs no look at its evidence, whether it is good or not. Also tells the courier that the
    /// sender is there.
    fn answer_at_once(&self, slice: &Slice) -> Option<AtOnce> {
        let (epoch, peer, bearers, is_dropped) = {
            let (view, sender) = (self.view.lock(), slice.sender());
            let is_dropped = view.dropped.contains(&sender);
            (view.epoch, view.peers.get(&sender).cloned(), view.bearers.clone(), is_dropped)
        };
        let answer = match &peer {
            Some(peer) => of_a_peer(slice, peer),
            None if slice.sender() == self.vat => Some(AtOnce::Stranger),
            None if is_dropped => Some(AtOnce::Dropped),
            None if slice.begin > 1 => Some(AtOnce::NotYet),
            None => {
                let first = slice.first_message();
                let admitted =
                    first.is_some_and(|first| comms::is_redemption(&self.vat, &bearers, &slice.sender(), first));
                (!admitted).then(|| if is_behind(&self.replica.status()) { AtOnce::NotYet } else { AtOnce::Stranger })
            }
        };
        if peer.is_some() {
            let again = answer == Some(AtOnce::Taken) && !slice.messages.is_empty();
            let near = peer.as_ref().and_then(|peer| peer.known.as_ref()).is_some_and(|known| known.expires != 0);
            self.tell_courier(Notice::Heard { peer: slice.sender(), again, near });
            if again && peer.as_ref().is_some_and(|peer| has_to_be_told(peer, epoch)) {
                // It does not know that it was heard, and nothing that could tell it is left here, after a restart or a change
                // of members: ordered once more, the slice makes this vat say so again.
                return None;
            }
        }
        answer
    }

    fn reply(&self, sender: &VatId, answer: AtOnce) -> SliceReply {
        let next = self.view.lock().peers.get(sender).map_or(1, |peer| peer.next_inbound);
        match answer {
            AtOnce::Taken => SliceReply::Taken { next, leader: self.leader(), farewell: None },
            AtOnce::NotYet => SliceReply::NotYet { next, leader: self.leader() },
            AtOnce::Broken => SliceReply::Refused { message: "the stream is broken".to_owned() },
            AtOnce::Stranger => SliceReply::Refused { message: STRANGER.to_owned() },
            AtOnce::Dropped => SliceReply::Refused { message: comms::DROPPED.to_owned() },
        }
    }

    /// Checks a slice's evidence but for the number of signatures. That of senders whose members are known is short.
    async fn verify(&self, slice: Slice) -> (Slice, Result<Proven, EvidenceError>) {
        let known = self.view.known(&slice.sender());
        if let Some(known) = &known
            && slice.chain.iter().all(|next| next.membership.epoch <= known.epoch)
        {
            let proven = slice.verify_statement_epoch(Some(known), &self.vat);
            return (slice, proven);
        }
        let _turn = self.introductions.acquire().await.expect("it is never closed");
        let vat = self.vat;
        let checked = tokio::task::spawn_blocking(move || {
            let proven = slice.verify_statement_epoch(known.as_deref(), &vat);
            (slice, proven)
        });
        checked.await.expect("checking evidence does not panic")
    }

    fn witness(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a sender said whose signatures are good, and keeps what it proves together with what it said before.
    fn note(&self, slice: &Slice, signers: &Signers) {
        if signers.expires != 0 {
            // A client has one member, and contradicts nobody but itself.
            return;
        }
        let is_certified = slice.certificate.signatures.len() >= usize::from(signers.threshold);
        let found = self.witness().note(certified_head(slice), is_certified);
        if !found.is_empty() {
            self.peer_evidence.keep(slice.sender(), found);
        }
    }

    /// Leaves a slice its good signatures, together with those that were seen before for the same statement.
    fn gather(&self, slice: &mut Slice, signers: &Signers) -> Result<(), String> {
        let sender = slice.sender();
        let statement = &slice.certificate.statement;
        let payload = statement.payload();
        let mut good = Tally::default();
        for signature in slice.certificate.signatures.drain(..) {
            let fresh = !good.has(&signature.key);
            if fresh && signers.contains(&signature.key) && signature.verify(&payload).is_ok() {
                good.add(signature);
            }
        }
        let mut signatures = good.signatures();
        if signatures.is_empty() {
            return Err("none of the slice's signatures is a member's".into());
        }
        let threshold = signers.threshold;
        let named = self.view.lock().peers.contains_key(&sender);
        if !good.is_complete(threshold) && named {
            signatures = self.waiting().add(sender, statement, signatures, threshold);
        } else if named {
            self.waiting().complete(&sender, statement.block);
        }
        slice.certificate.signatures = signatures;
        // Also of a sender that is not named yet: it brings a good reference, else it would not have come so far.
        self.note(slice, signers);
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Incomplete> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, sender: VatId) -> Gate {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() >= WAITING_SENDERS {
            senders.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        senders.entry(sender).or_default().clone()
    }

    fn leader(&self) -> Option<HostId> {
        self.replica.status().leader
    }

    fn tell_courier(&self, notice: Notice) {
        if let Some(courier) = self.courier.upgrade() {
            // It may have ended just now.
            let _ = courier.send(notice);
        }
    }
}

/// Returns what a slice says of its stream.
fn certified_head(slice: &Slice) -> CertifiedHead {
    CertifiedHead { certificate: slice.certificate.clone(), head: slice.head, path: slice.path.clone() }
}

/// An answer that follows from the tables alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtOnce {
    /// The state has it already.
    Taken,
    /// Messages before these are missing, or nothing can be ordered now.
    NotYet,
    /// The sender broke the protocol earlier.
    Broken,
    /// Nobody here knows the sender, and it uses no reference.
    Stranger,
    /// The owners of this vat have dropped the sender for good.
    Dropped,
}

/// The answer for a slice whose messages and acknowledgement the state has already, or will not take. Its shape is good.
fn of_a_peer(slice: &Slice, peer: &PeerView) -> Option<AtOnce> {
    let carried_through = slice.begin.saturating_add(slice.messages.len() as u64).saturating_sub(1);
    let new_messages = carried_through >= peer.next_inbound;
    let new_acknowledgement = slice.head.ack > peer.acknowledged;
    match (new_messages, new_acknowledgement) {
        (true, _) if peer.broken => Some(AtOnce::Broken),
        // Of a peer that broke its stream, too: what it acknowledges need not be kept for it.
        (false, false) if is_greeting(&slice.head) || is_farewell(&slice.certificate.statement) => None,
        (false, false) => Some(AtOnce::Taken),
        (true, _) | (false, true) => None,
    }
}

/// Returns whether a peer that seems not to know that it was heard has been told nothing since a restart or a change of members. One that
/// broke its stream is never told: ordering what it says would change nothing, each time.
fn has_to_be_told(peer: &PeerView, epoch: Option<u64>) -> bool {
    !peer.broken && (peer.said.is_none() || peer.said != epoch)
}

/// Returns whether this member may not have heard yet of peers that the vat has.
fn is_behind(status: &ReplicaStatus) -> bool {
    status.leader.is_none() || status.applied < status.committed
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Certificate, Statement};
    use quorate_engine::{Hash, comms::stream::StreamHead};
    use quorate_protocol::evidence::OutboxPath;

    fn slice(begin: u64, messages: usize, ack: u64) -> Slice {
        let zero = Hash([0; 32]);
        let statement = Statement {
            vat: quorate_consensus::VatId([1; 32]),
            epoch: 0,
            block: 1,
            previous: zero,
            chain: zero,
            outbox_root: zero,
            published_root: zero,
            state_root: None,
        };
        let end = (begin + messages as u64).saturating_sub(1);
        Slice {
            genesis: None,
            chain: vec![],
            certificate: Certificate { statement, signatures: vec![] },
            head: StreamHead {
                peer: VatId([2; 32]),
                end,
                hash: Hash([0; 32]),
                ack,
                ack_hash: Hash([0; 32]),
                is_mark: false,
            },
            path: OutboxPath { leaves: 1, index: 0, siblings: vec![] },
            begin,
            messages: vec![vec![0]; messages],
            tail: vec![],
        }
    }

    #[test]
    fn a_peer_is_told_again_that_it_was_heard_once_in_an_epoch_and_not_if_it_broke_its_stream() {
        let peer = |said, broken| PeerView { known: None, next_inbound: 5, acknowledged: 3, broken, said };
        let cases = [(None, None, true), (None, Some(2), true), (Some(1), Some(2), true), (Some(2), Some(2), false)];
        for (said, epoch, good) in cases {
            assert_eq!(has_to_be_told(&peer(said, false), epoch), good, "said in {said:?}, now {epoch:?}");
            assert!(!has_to_be_told(&peer(said, true), epoch), "said in {said:?}, now {epoch:?}, broken");
        }
    }

    #[test]
    fn what_the_state_has_or_will_not_take_is_answered_at_once() {
        let peer = |broken| PeerView { known: None, next_inbound: 5, acknowledged: 3, broken, said: None };
        let cases = [
            // Messages from, how many, acknowledgement; the answer for a good stream and for a broken one.
            (1, 4, 3, Some(AtOnce::Taken), Some(AtOnce::Taken)),
            (1, 5, 3, None, Some(AtOnce::Broken)),
            (5, 1, 4, None, Some(AtOnce::Broken)),
            (9, 1, 4, None, Some(AtOnce::Broken)),
            (5, 0, 3, Some(AtOnce::Taken), Some(AtOnce::Taken)),
            (5, 0, 4, None, None),
            // A greeting is looked at: only what is proven ends a pause.
            (1, 0, 0, None, None),
        ];
        for (begin, messages, ack, good, broken) in cases {
            let slice = slice(begin, messages, ack);
            assert_eq!(of_a_peer(&slice, &peer(false)), good, "{begin} {messages} {ack}");
            assert_eq!(of_a_peer(&slice, &peer(true)), broken, "{begin} {messages} {ack}, broken");
        }
    }
}
