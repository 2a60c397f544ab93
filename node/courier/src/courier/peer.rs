//! A courier's state of one receiving vat: the messages for it, how far it claims to have received them, and how far it has proven so.
//!
//! Pure: the time is a parameter.

use super::CONFIRM_AFTER;
use quorate_ids::Hash;
use quorate_proof::{Certificate, HostId, Member};
use quorate_protocol::evidence::{Outbox, SLICE_MESSAGES, SLICE_MESSAGES_BYTES, Slice, is_farewell};
use quorate_streams::stream::{StreamHead, message_digest};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Pauses between rounds of attempts double from the first to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// A greeting is not tried more often: a peer that waits for it tries again by itself.
const GREETING_ATTEMPTS: u32 = 10;
/// For so long a member of which nothing was heard is tried after the others.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// A certified head.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) block: u64,
    pub(super) outbox: Arc<Outbox>,
    pub(super) index: usize,
    pub(super) certificate: Arc<Certificate>,
}

impl Ready {
    pub(super) fn head(&self) -> &StreamHead {
        &self.outbox.heads()[self.index]
    }
}

struct Message {
    number: u64,
    bytes: Arc<[u8]>,
    /// Made when it is first needed: a long queue is shipped many times.
    digest: Option<Hash>,
}

#[derive(Default)]
pub(super) struct Peer {
    /// Unacknowledged messages, in order and without gaps.
    messages: VecDeque<Message>,
    /// The newest certified head.
    pub(super) ready: Option<Ready>,
    /// Acknowledged by the peer's vat.
    pub(super) acknowledged: u64,
    /// Taken by a member, by its word.
    taken: u64,
    /// The newest of our acknowledgements that a member took, by its word.
    taken_ack: u64,
    /// When a member last said that it took something.
    told: Option<Instant>,
    /// The peer shows that it lacks our acknowledgement, and no member of it has taken it since. Then every member of ours ships the
    /// bare acknowledgement, which else only the leader does.
    asked: bool,
    pub(super) introduced_epoch: Option<u64>,
    pub(super) hint: Option<HostId>,
    /// How long the one that is hinted at took to answer lately.
    pub(super) pace: Option<Duration>,
    /// Members of which nothing was heard lately, and until when that counts.
    silent: Vec<(HostId, Instant)>,
    /// It can't be dialled, and has spoken to this very member: nobody else may have a connection to it.
    pub(super) near: bool,
    /// The members that were tried last.
    members: Vec<HostId>,
    /// Which member is tried where there is no hint.
    pub(super) turn: usize,
    /// Whether the newest head is the last one of a client, and no member has taken that yet.
    farewell: bool,
    /// Whether the last one was in what is on its way.
    farewell_shipped: bool,
    /// Nothing was ever said or heard, and the newest head says that the peer is known here; no member has taken that yet.
    greeting: bool,
    /// When a greeting of the peer last ended a pause.
    greeted: Option<Instant>,
    /// Failures since something was last taken: for the pause before the next attempt.
    pub(super) attempts: u32,
    /// How often what was taken was not acknowledged in time, since it last was.
    pub(super) doubts: u32,
    pub(super) in_flight: bool,
    /// When to ship, and what had been acknowledged when that was decided.
    pub(super) due: Option<(Instant, u64)>,
    /// When to doubt what a member said that it took.
    confirm: Option<Instant>,
    /// Its place in the schedule.
    pub(super) alarm: Option<Instant>,
    /// Its hosts, if it can't be dialled and is not connected: nothing is shipped until it is heard.
    pub(super) asleep: Vec<HostId>,
}

impl Peer {
    /// Where the streams stood in a checkpoint.
    pub(super) fn restore(&mut self, acknowledged: u64) {
        (self.acknowledged, self.taken) = (acknowledged, acknowledged);
    }

    /// Something was said.
    pub(super) fn queue(&mut self, number: u64, bytes: Arc<[u8]>) {
        self.messages.push_back(Message { number, bytes, digest: None });
    }

    /// Enters a newly certified head, and says whether it has news for a peer that has the one before.
    pub(super) fn certify(&mut self, ready: Ready) -> bool {
        let before = self.ready.as_ref().map(|before| (before.block, *before.head()));
        let (end, ack) = before.map_or((0, 0), |(_, head)| (head.end, head.ack));
        if before.is_some_and(|(block, _)| block >= ready.block) {
            return false;
        }
        self.farewell = is_farewell(&ready.certificate.statement);
        if self.greeting && !is_greeting(ready.head()) {
            // What failed so far was of no weight.
            self.attempts = 0;
        }
        self.greeting = is_greeting(ready.head());
        let news = ready.head().end > end || ready.head().ack > ack;
        self.ready = Some(ready);
        news
    }

    /// The peer's vat has acknowledged what is before and at `through`.
    pub(super) fn acknowledge(&mut self, through: u64, now: Instant) {
        while self.messages.front().is_some_and(|message| message.number <= through) {
            self.messages.pop_front();
        }
        if through > self.acknowledged {
            self.acknowledged = through;
            self.taken = self.taken.max(through);
            (self.attempts, self.doubts) = (0, 0);
            // It gets on: the rest has as long again.
            self.confirm = (self.taken > through).then(|| now + CONFIRM_AFTER);
        }
    }

    /// Another member may have shipped, or not: earlier replies of members do not count any more.
    pub(super) fn begin_again(&mut self) {
        (self.taken, self.taken_ack, self.confirm) = (self.acknowledged, 0, None);
    }

    /// A member says that it took the messages through `through` with our acknowledgement `ack`.
    pub(super) fn take(&mut self, through: u64, ack: u64, now: Instant) {
        self.taken = through.max(self.acknowledged);
        self.taken_ack = self.taken_ack.max(ack);
        self.asked &= self.ready.as_ref().is_some_and(|ready| ready.head().ack > self.taken_ack);
        self.told = Some(now);
        self.attempts = 0;
        self.farewell &= !self.farewell_shipped;
        self.greeting = false;
        if self.taken > self.acknowledged {
            // Later ones don't put it off: else a member that takes all and passes on nothing is believed for as long as we talk.
            self.confirm.get_or_insert(now + CONFIRM_AFTER.max(backoff(self.doubts)));
        }
    }

    /// A member says that its vat took the messages through `last`, and did not get to the rest: what they cost was enough for one turn. Of our
    /// acknowledgement it has taken nothing.
    pub(super) fn take_part(&mut self, last: u64, now: Instant) {
        self.taken = last.max(self.acknowledged);
        self.attempts = 0;
        if self.taken > self.acknowledged {
            self.confirm.get_or_insert(now + CONFIRM_AFTER.max(backoff(self.doubts)));
        }
    }

    /// A member says that messages after `last` are missing. A claim to have more than we know changes nothing.
    pub(super) fn miss(&mut self, last: u64) {
        self.taken = self.taken.min(last).max(self.acknowledged);
    }

    /// Returns whether a member said that it took messages which its vat has not acknowledged in time: they are shipped again, elsewhere.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        if self.in_flight || self.confirm.is_none_or(|confirm| confirm > now) {
            return false;
        }
        self.confirm = None;
        if self.taken <= self.acknowledged {
            return false;
        }
        self.taken = self.acknowledged;
        self.doubts += 1;
        self.try_another();
        true
    }

    /// The peer ships again what it should know that we have: an acknowledgement of ours was swallowed, by a member of the peer or by
    /// the leader here, if it is not still on its way.
    pub(super) fn repeat_acknowledgement(&mut self, now: Instant) {
        if !self.in_flight && self.told.is_none_or(|told| told + CONFIRM_AFTER <= now) {
            self.taken_ack = 0;
            self.told = None;
            self.asked = true;
            self.try_another();
        }
    }

    /// The peer says that it knows this vat, and that it has taken in nothing of it: what it refused of a stranger goes out again without a
    /// pause. Not more often than now and then, since its receivers can repeat a greeting.
    pub(super) fn hear_greeting(&mut self, now: Instant) {
        let lately = self.greeted.is_some_and(|greeted| greeted + CONFIRM_AFTER > now);
        if self.acknowledged == 0 && self.attempts > 0 && !lately {
            self.greeted = Some(now);
            self.attempts = 0;
            self.due = None;
        }
    }

    /// These are its members now: whatever others did is not held against them.
    pub(super) fn meet(&mut self, members: impl Iterator<Item = HostId> + Clone) {
        if !members.clone().eq(self.members.iter().copied()) {
            self.members = members.collect();
            self.attempts = 0;
        }
    }

    /// The members with their addresses in the order in which they are tried: the one that answered last, the others in turn, and last
    /// those of which nothing was heard lately.
    pub(super) fn order(&mut self, members: Vec<Member>, now: Instant) -> Vec<(HostId, Vec<String>)> {
        self.silent.retain(|(_, until)| *until > now);
        let start = self.turn % members.len().max(1);
        let mut order: Vec<(HostId, Vec<String>)> =
            members.into_iter().map(|member| (member.key, member.addresses)).collect();
        order.rotate_left(start);
        order.sort_by_key(|(host, _)| (self.is_silent(host), self.hint != Some(*host)));
        order
    }

    fn is_silent(&self, host: &HostId) -> bool {
        self.silent.iter().any(|(silent, _)| silent == host)
    }

    /// Nothing was heard of these, while `answered` answered.
    pub(super) fn note_silent(&mut self, silent: &[HostId], answered: HostId, now: Instant) {
        self.silent.retain(|(host, _)| *host != answered && !silent.contains(host));
        self.silent.extend(silent.iter().map(|host| (*host, now + SILENT_FOR)));
    }

    /// A member took a slice after so long, and says who leads.
    pub(super) fn next_goes_to(&mut self, leader: Option<HostId>, answered: HostId, took: Duration, now: Instant) {
        self.silent.retain(|(_, until)| *until > now);
        let leader = leader.filter(|leader| !self.is_silent(leader));
        self.hint = leader.or(Some(answered));
        self.pace = Some(took);
    }

    /// The next attempt goes to another member.
    pub(super) fn try_another(&mut self) {
        self.hint = None;
        self.pace = None;
        self.turn = self.turn.wrapping_add(1);
    }

    /// An attempt came to nothing.
    pub(super) fn fail(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.try_another();
    }

    /// Returns when this peer has to be looked at again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let confirm = self.confirm.filter(|_| !self.in_flight);
        self.due.map(|(due, _)| due).into_iter().chain(confirm).min()
    }

    /// Returns whether something certified is not with the peer yet. Only the leader ships bare acknowledgements of its own accord.
    pub(super) fn has_news(&self, rank: usize) -> bool {
        let Some(head) = self.ready.as_ref().map(Ready::head) else { return false };
        let ships_bare = rank == 0 || self.asked;
        self.first_to_ship(head) <= head.end
            || (ships_bare && head.ack > self.taken_ack)
            || (rank == 0 && (self.farewell || self.greeting && self.attempts < GREETING_ATTEMPTS))
    }

    /// The first message that is worth shipping with a head; the one after its end if there is none. What was acknowledged is not
    /// here any more, so that nothing before the first that is kept can be shipped, whatever `taken` says.
    fn first_to_ship(&self, head: &StreamHead) -> u64 {
        let kept = self.messages.front().map_or(u64::MAX, |message| message.number);
        kept.max(self.taken + 1).min(head.end + 1)
    }

    /// The next slice: as many messages behind `taken` as one may hold, and the digests of the rest.
    pub(super) fn slice(&mut self, ready: &Ready) -> Slice {
        let head = *ready.head();
        self.farewell_shipped = self.farewell;
        let begin = self.first_to_ship(&head);
        let run = self.messages.iter_mut().filter(|message| (begin..=head.end).contains(&message.number));
        let (mut messages, mut tail, mut bytes) = (Vec::new(), Vec::new(), 0);
        for message in run {
            let fits = messages.is_empty() || bytes + message.bytes.len() <= SLICE_MESSAGES_BYTES;
            if tail.is_empty() && fits && messages.len() < SLICE_MESSAGES {
                bytes += message.bytes.len();
                messages.push(message.bytes.to_vec());
            } else {
                tail.push(*message.digest.get_or_insert_with(|| message_digest(&message.bytes)));
            }
        }
        Slice {
            genesis: None,
            chain: Vec::new(),
            certificate: (*ready.certificate).clone(),
            head,
            path: ready.outbox.path(ready.index),
            begin,
            messages,
            tail,
        }
    }
}

/// Returns whether a head says nothing but that its peer is known: it was introduced here, and may have come too early.
pub fn is_greeting(head: &StreamHead) -> bool {
    head.end == 0 && head.ack == 0
}

/// The pause before an attempt: doubling, capped, with a jitter of a quarter.
pub(super) fn backoff(attempts: u32) -> Duration {
    if attempts == 0 {
        return Duration::ZERO;
    }
    let base = BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(10)).min(BACKOFF_LAST);
    base + base / 4 * (rand::random::<u8>() % 4).into() / 3
}
