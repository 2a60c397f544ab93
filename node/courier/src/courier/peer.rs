//! A courier's state of one receiving vat: the messages for it, how far it claims to have received them, and how far it has proven so.
//!
//! Pure: the time is a parameter.

use super::CONFIRM_AFTER;
use quorate_ids::Hash;
use quorate_proof::{Certificate, HostId, Member};
use quorate_protocol::evidence::{Outbox, SLICE_MESSAGES_BYTES, Slice, is_farewell};
use quorate_streams::stream::{MARK_EVERY, StreamHead, message_digest};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Pauses between rounds of attempts double from the first to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// Times what a member took to answer a slice, which it did when its vat had ordered that: the vat's certificate and its way here take about as long
/// again, and there is one to spare.
const CONFIRM_PACES: u32 = 3;
/// Times [`CONFIRM_AFTER`]: no longer, however slowly a member answers.
const CONFIRM_MOST: u32 = 4;
/// A greeting is not tried more often: a peer that waits for it tries again by itself.
const GREETING_ATTEMPTS: u32 = 10;
/// For so long a member of which nothing was heard is tried after the others.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Messages in one slice: less than receivers take at most, so that what is ordered in parts repeats few digests.
pub(super) const SHIP_MESSAGES: usize = 1_024;
/// Slices of a long queue that may be under way to one peer, and bytes of their messages after which there is no further one.
pub(super) const FLIGHTS: usize = 4;
const FLIGHT_BYTES: usize = 2 << 20;
/// Slices follow one another only to a member that answered the last one sooner: all of them have their answers well before a slice is given up.
const FOLLOW_UNDER: Duration = Duration::from_secs(1);

/// A certified head or mark.
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

/// A slice that is under way.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    id: u64,
    /// Its last message.
    through: u64,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Peer {
    /// Unacknowledged messages, in order and without gaps.
    messages: VecDeque<Message>,
    /// The newest certified head.
    pub(super) ready: Option<Ready>,
    /// Certified marks among those messages, by number, of the newest head's epoch: a slice that leads to one needs no digests of all that follows.
    marks: BTreeMap<u64, Ready>,
    /// Acknowledged by the peer's vat.
    pub(super) acknowledged: u64,
    /// Taken by a member, by its word.
    pub(super) taken: u64,
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
    /// The slices that are under way, in order.
    flights: Vec<Flight>,
    last_flight: u64,
    /// One of several was not taken in whole: what is left goes out again from there once all have ended.
    interrupted: bool,
    /// The last one was taken in in part: its receiver has more than it can do.
    is_slow: bool,
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
        let epoch = ready.certificate.statement.epoch;
        if self.ready.as_ref().is_none_or(|before| before.certificate.statement.epoch < epoch) {
            // The new members say them all again, with their first head.
            self.marks.retain(|_, mark| mark.certificate.statement.epoch >= epoch);
        }
        if ready.head().end.is_multiple_of(MARK_EVERY) {
            self.certify_mark(ready.clone());
        }
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

    /// Enters a newly certified mark.
    pub(super) fn certify_mark(&mut self, ready: Ready) {
        let epoch = |ready: &Ready| ready.certificate.statement.epoch;
        let is_old = self.ready.as_ref().is_some_and(|newest| epoch(newest) > epoch(&ready));
        if !is_old && ready.head().end > self.acknowledged {
            self.marks.insert(ready.head().end, ready);
        }
    }

    /// The peer's vat has acknowledged what is before and at `through`.
    pub(super) fn acknowledge(&mut self, through: u64, now: Instant) {
        self.marks = self.marks.split_off(&through.saturating_add(1));
        while self.messages.front().is_some_and(|message| message.number <= through) {
            self.messages.pop_front();
        }
        if through > self.acknowledged {
            self.acknowledged = through;
            self.taken = self.taken.max(through);
            (self.attempts, self.doubts) = (0, 0);
            // It gets on: the rest has as long again.
            self.confirm = (self.taken > through).then(|| now + self.confirm_within());
        }
    }

    /// How long a member that says it took something is believed until its vat has acknowledged it.
    fn confirm_within(&self) -> Duration {
        let paces = self.pace.unwrap_or_default() * CONFIRM_PACES;
        paces.clamp(CONFIRM_AFTER, CONFIRM_AFTER * CONFIRM_MOST)
    }

    /// Another member may have shipped, or not: earlier replies of members do not count any more.
    pub(super) fn begin_again(&mut self) {
        (self.taken, self.taken_ack, self.confirm) = (self.acknowledged, 0, None);
    }

    /// A member says that it took the messages through `through` with our acknowledgement `ack`.
    pub(super) fn take(&mut self, through: u64, ack: u64, now: Instant) {
        self.taken = self.taken.max(through);
        self.taken_ack = self.taken_ack.max(ack);
        self.asked &= self.ready.as_ref().is_some_and(|ready| ready.head().ack > self.taken_ack);
        self.told = Some(now);
        self.is_slow = false;
        self.attempts = 0;
        self.farewell &= !self.farewell_shipped;
        self.greeting = false;
        self.await_acknowledgement(now);
    }

    /// Waits for the vat's acknowledgement of what a member says that it took.
    fn await_acknowledgement(&mut self, now: Instant) {
        if self.taken > self.acknowledged {
            // Later ones don't put it off: else a member that takes all and passes on nothing is believed for as long as we talk.
            let within = self.confirm_within().max(backoff(self.doubts));
            self.confirm.get_or_insert(now + within);
        }
    }

    /// A member says that its vat took the messages through `last`, and did not get to the rest: what they cost was enough for one turn. Of our
    /// acknowledgement it has taken nothing.
    pub(super) fn take_part(&mut self, last: u64, now: Instant) {
        self.taken = self.taken.max(last);
        self.is_slow = true;
        self.interrupt();
        self.attempts = 0;
        self.await_acknowledgement(now);
    }

    /// A member says that messages after `last` are missing. A claim to have more than we know changes nothing.
    pub(super) fn miss(&mut self, last: u64) {
        self.taken = self.taken.min(last).max(self.acknowledged);
    }

    /// Returns whether a member said that it took messages which its vat has not acknowledged in time: they are shipped again, elsewhere.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        if !self.flights.is_empty() || self.confirm.is_none_or(|confirm| confirm > now) {
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

    /// Returns whether no more slices may follow those under way, since what a member took was not acknowledged in time: see [`Peer::doubt`].
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        !self.flights.is_empty() && self.confirm.is_some_and(|confirm| confirm <= now)
    }

    /// The peer ships again what it should know that we have: an acknowledgement of ours was swallowed, by a member of the peer or by
    /// the leader here, if it is not still on its way.
    pub(super) fn repeat_acknowledgement(&mut self, now: Instant) {
        if self.flights.is_empty() && self.told.is_none_or(|told| told + self.confirm_within() <= now) {
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
        self.interrupt();
        self.try_another();
    }

    /// Returns when this peer has to be looked at again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let confirm = self.confirm.filter(|_| self.flights.is_empty());
        self.due.map(|(due, _)| due).into_iter().chain(confirm).min()
    }

    /// Returns whether something certified is not with the peer yet, and can go out now. Only the leader ships bare acknowledgements of its own accord.
    pub(super) fn has_news(&self, rank: usize) -> bool {
        let Some(head) = self.ready.as_ref().map(Ready::head) else { return false };
        let begin = self.first_to_ship(head);
        if !self.flights.is_empty() {
            return self.may_follow(begin, head);
        }
        let ships_bare = rank == 0 || self.asked;
        begin <= head.end
            || (ships_bare && head.ack > self.taken_ack)
            || (rank == 0 && (self.farewell || self.greeting && self.attempts < GREETING_ATTEMPTS))
    }

    /// Returns whether a slice from message `begin` on may follow others that are under way: if all goes well with the member that takes them, and more
    /// waits than goes into it. A short rest waits for their end, and for what joins it meanwhile.
    fn may_follow(&self, begin: u64, head: &StreamHead) -> bool {
        let epoch = self.ready.as_ref().map(|ready| ready.certificate.statement.epoch);
        let is_prompt = self.pace.is_some_and(|pace| pace < FOLLOW_UNDER) && !self.is_slow;
        let goes_well = is_prompt && !self.interrupted && self.attempts == 0 && self.introduced_epoch == epoch;
        let bytes: usize = self.flights.iter().map(|flight| flight.bytes).sum();
        goes_well
            && self.flights.len() < FLIGHTS
            && bytes < FLIGHT_BYTES
            && begin <= head.end
            && begin + self.fitting(begin, head.end) as u64 <= head.end
    }

    /// The first message that is worth shipping with a head; the one after its end if there is none. What was acknowledged is not
    /// here any more, so that nothing before the first that is kept can be shipped, whatever `taken` says.
    fn first_to_ship(&self, head: &StreamHead) -> u64 {
        let kept = self.messages.front().map_or(u64::MAX, |message| message.number);
        let gone = self.flights.iter().map(|flight| flight.through).max().unwrap_or(0).max(self.taken);
        kept.max(gone + 1).min(head.end + 1)
    }

    /// The kept messages from number `begin` on.
    fn kept_from(&self, begin: u64) -> usize {
        let first = self.messages.front().map_or(begin, |message| message.number);
        usize::try_from(begin.saturating_sub(first)).unwrap_or(usize::MAX).min(self.messages.len())
    }

    /// Returns how many of the messages from `begin` through `end` one slice may hold.
    fn fitting(&self, begin: u64, end: u64) -> usize {
        let mut bytes = 0;
        let run = self.messages.range(self.kept_from(begin)..).take_while(|message| message.number <= end);
        let fits = run.take(SHIP_MESSAGES).enumerate().take_while(|(place, message)| {
            bytes += message.bytes.len();
            *place == 0 || bytes <= SLICE_MESSAGES_BYTES
        });
        fits.count()
    }

    /// The next slice, which is under way from now on, and the number of that flight: as many messages behind what is gone as one may hold, to the last mark
    /// among them, or to the first one after them with the digests between; to the newest head if there is no such mark.
    pub(super) fn ship(&mut self) -> Option<(u64, Slice)> {
        let newest = self.ready.clone()?;
        let end = newest.head().end;
        let begin = self.first_to_ship(newest.head());
        let fitting = self.fitting(begin, end);
        let fits = begin + fitting as u64 - 1;
        let mark = (fits < end && fitting > 0).then(|| {
            let within = self.marks.range(begin..=fits).next_back();
            within.or_else(|| self.marks.range(fits..end).next()).map(|(_, mark)| mark.clone())
        });
        let ready = mark.flatten().unwrap_or(newest);
        let head = *ready.head();
        self.farewell_shipped = self.farewell && head.end == end;
        let (mut messages, mut tail, mut bytes) = (Vec::new(), Vec::new(), 0);
        let first = self.kept_from(begin);
        for message in self.messages.range_mut(first..).take_while(|message| message.number <= head.end) {
            if messages.len() < fitting {
                bytes += message.bytes.len();
                messages.push(message.bytes.to_vec());
            } else {
                tail.push(*message.digest.get_or_insert_with(|| message_digest(&message.bytes)));
            }
        }
        self.last_flight += 1;
        let through = begin + messages.len() as u64 - 1;
        self.flights.push(Flight { id: self.last_flight, through, bytes });
        let slice = Slice {
            genesis: None,
            chain: Vec::new(),
            certificate: (*ready.certificate).clone(),
            head,
            path: ready.outbox.path(ready.index),
            begin,
            messages,
            tail,
        };
        Some((self.last_flight, slice))
    }

    /// A flight has ended. Returns whether another one before it came to less than it should, so that this one could not come to anything.
    pub(super) fn land(&mut self, flight: u64) -> bool {
        self.flights.retain(|other| other.id != flight);
        let was_interrupted = self.interrupted;
        self.interrupted &= !self.flights.is_empty();
        was_interrupted
    }

    /// What has just landed was not taken in whole.
    fn interrupt(&mut self) {
        self.interrupted = !self.flights.is_empty();
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

#[cfg(test)]
mod tests;
