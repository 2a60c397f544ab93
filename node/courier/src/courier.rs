//! The courier: carries a vat's certified messages to the members of the receiving vats.
//!
//! The leader ships at once. The other members wait a little and ship only messages that nobody acknowledged meanwhile, so no single
//! member can withhold a message. For each receiving vat one slice is under way from here, to one member or to several side
//! by side ([`handover`]); later messages go in the next one. Only of a long queue some more follow before the first is answered. A receiver's `Taken` counts for [`CONFIRM_AFTER`]; then only the
//! acknowledgement in the receiver's own certified stream counts. Conversely, a receiver that ships again what was
//! acknowledged long ago has not received the acknowledgement.
//!
//! A client, which can't be dialled, may be connected to one member alone. The member that it called answers it at once, whether or not it
//! leads. A client that is gone is left alone until it connects or sends again.
//!
//! A vat that another one has introduced may have come before the introduction. It was turned away, and pauses. The leader greets it, by
//! a slice without messages; a greeting ends the pause.
//!
//! The courier decides nothing that is replicated. Losing all of its state loses no message, since the vat's tables keep everything
//! that is not acknowledged.

mod handover;
mod interfaces;
mod peer;
mod pending;

use crate::log_limiter::LogLimiter;
pub use interfaces::{CourierMetrics, Notice, RestoredOutbox, Whereabouts};
use quorate_protocol::{
    codec,
    evidence::Outbox,
    wire::{SliceReply, VatFrame},
};

use handover::{Handed, Handover};
pub use peer::is_greeting;
use peer::{Peer, Ready, backoff};
use pending::Pending;
use quorate_ids::VatId;
use quorate_net::Network;
use quorate_proof::{Certificate, HostId, Introduction};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// How long a receiving member may take to order a slice in its vat.
const SHIP_DEADLINE: Duration = Duration::from_secs(5);
/// A follower ships what stayed unacknowledged for this long, and [`FALLBACK_STEP`] more for each member in front of it.
const FALLBACK_AFTER: Duration = Duration::from_millis(500);
const FALLBACK_STEP: Duration = Duration::from_millis(300);
/// A receiver that said it took a slice must have acknowledged it by then, or another member is tried. Longer where answers take long.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);
/// After so many attempts in vain the members are looked up again.
const UNREACHABLE_ATTEMPTS: u32 = 6;
/// So much of the reason that a peer gives is logged: it says what it likes.
const LOGGED_CHARS: usize = 200;
/// How often it is looked whether clients that were gone are connected.
const SLEEPERS_EVERY: Duration = Duration::from_secs(1);

/// The running courier of one replica; use [`Courier::start`].
pub struct Courier {
    vat: VatId,
    network: Arc<dyn Network>,
    whereabouts: Arc<dyn Whereabouts>,
    metrics: Arc<dyn CourierMetrics>,
    introduction: Introduction,
    rank: usize,
    peers: BTreeMap<VatId, Peer>,
    pending: Pending,
    /// When which peer has to be looked at, once for each peer.
    schedule: BTreeSet<(Instant, VatId)>,
    /// Peers that are asleep, by host.
    sleepers: BTreeSet<(HostId, VatId)>,
    look_at: Option<Instant>,
    /// Counts restored states: what was shipped before one says nothing of those after it.
    life: u64,
    refusals: LogLimiter,
    done: mpsc::UnboundedSender<Shipped>,
}

struct Shipped {
    life: u64,
    peer: VatId,
    flight: u64,
    handed: Handed,
    /// The last message in it, and the acknowledgement.
    through: u64,
    ack: u64,
    messages: usize,
    /// What had been taken when it left.
    taken_before: u64,
    /// The epoch of the slice, and whether our introduction was with it.
    epoch: u64,
    introduced: bool,
    /// The receiver's hosts, if none of them can be dialled.
    homeless: Vec<HostId>,
}

struct NotHandedOver {
    why: String,
    /// There is no connection, to any member that was tried.
    unconnected: bool,
    /// It was certainly not sent.
    unsent: bool,
}

impl NotHandedOver {
    fn nobody() -> NotHandedOver {
        NotHandedOver { why: "no members are known".to_owned(), unconnected: false, unsent: true }
    }
}

impl Courier {
    /// Starts a courier; it stops when the sender of notices is dropped.
    pub fn start(
        vat: VatId,
        network: Arc<dyn Network>,
        whereabouts: Arc<dyn Whereabouts>,
        metrics: Arc<dyn CourierMetrics>,
        introduction: Introduction,
        mut notices: mpsc::UnboundedReceiver<Notice>,
    ) -> tokio::task::JoinHandle<()> {
        let (done, mut shipped) = mpsc::unbounded_channel();
        let mut courier = Courier {
            vat,
            network,
            whereabouts,
            metrics,
            introduction,
            rank: usize::MAX,
            peers: BTreeMap::new(),
            pending: Pending::default(),
            schedule: BTreeSet::new(),
            sleepers: BTreeSet::new(),
            look_at: None,
            life: 0,
            refusals: LogLimiter::default(),
            done,
        };
        tokio::spawn(async move {
            loop {
                let next = courier.schedule.first().map(|(at, _)| *at).into_iter().chain(courier.look_at).min();
                let timer = async move {
                    match next {
                        // What is due goes out now: a timer counts in whole milliseconds, and would end with the next one.
                        Some(at) if at <= Instant::now() => {}
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    // What became of earlier slices decides what goes out next; there are few of them at a time.
                    biased;
                    Some(report) = shipped.recv() => courier.settle(report),
                    () = timer => {
                        courier.wake_connected();
                        courier.ship_due();
                    }
                    notice = notices.recv() => match notice {
                        Some(notice) => courier.note(notice),
                        None => return,
                    },
                }
            }
        })
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Restored { block, outbox } => self.restore(block, outbox),
            Notice::Applied { block, outbox, queued, pruned } => self.applied(block, outbox, queued, pruned),
            Notice::Certified(certificate) => self.certified(certificate),
            Notice::Heard { peer, again, near } => self.heard(peer, again, near),
            Notice::Greeted(peer) => self.greeted(peer),
            Notice::Forgotten(vats) => vats.iter().for_each(|vat| self.forget(vat)),
            Notice::Introduction(introduction) => self.introduction = *introduction,
            Notice::Rank(rank) if rank == self.rank => {}
            Notice::Rank(rank) => {
                self.rank = rank;
                // A new leader can't know what the old one shipped last: it ships again, receivers skip what they have.
                self.peers.values_mut().for_each(Peer::begin_again);
                let peers: Vec<VatId> = self.peers.keys().copied().collect();
                peers.into_iter().for_each(|vat| self.consider(vat));
            }
        }
    }

    fn restore(&mut self, block: u64, restored: RestoredOutbox) {
        self.life += 1;
        self.peers.clear();
        self.schedule.clear();
        self.sleepers.clear();
        self.pending = Pending::default();
        for (vat, number) in restored.acknowledged {
            self.peers.entry(vat).or_default().restore(number);
        }
        for (vat, number, bytes) in restored.messages {
            self.peers.entry(vat).or_default().queue(number, bytes);
        }
        self.pending.add(block, restored.outbox);
    }

    fn applied(
        &mut self,
        block: u64,
        outbox: Arc<Outbox>,
        queued: Vec<(VatId, u64, Arc<[u8]>)>,
        pruned: Vec<(VatId, u64)>,
    ) {
        for (vat, number, bytes) in queued {
            self.peers.entry(vat).or_default().queue(number, bytes);
        }
        let now = Instant::now();
        for (vat, through) in pruned {
            self.peers.entry(vat).or_default().acknowledge(through, now);
            self.schedule(vat);
        }
        self.pending.add(block, outbox);
    }

    fn certified(&mut self, certificate: Certificate) {
        let block = certificate.statement.block;
        let is_checkpoint = certificate.statement.state_root.is_some();
        if let Some((outbox, counts)) = self.pending.take(block) {
            let certificate = Arc::new(certificate);
            for index in counts {
                let peer = outbox.heads()[index].peer;
                let ready = Ready { block, outbox: outbox.clone(), index, certificate: certificate.clone() };
                if ready.head().is_mark {
                    self.peers.entry(peer).or_default().certify_mark(ready);
                    continue;
                }
                if self.peers.entry(peer).or_default().certify(ready) {
                    self.wake(peer);
                }
                self.consider(peer);
            }
        }
        if is_checkpoint {
            let never_certified = self.pending.forget_before(block);
            self.metrics.never_certified(&never_certified);
        }
    }

    fn forget(&mut self, vat: &VatId) {
        self.pending.forget(vat);
        self.wake(*vat);
        if let Some(alarm) = self.peers.remove(vat).and_then(|peer| peer.alarm) {
            self.schedule.remove(&(alarm, *vat));
        }
    }

    fn heard(&mut self, vat: VatId, again: bool, near: bool) {
        self.wake(vat);
        if near {
            // The block that it was taken in with may not have come here yet.
            self.peers.entry(vat).or_default().near = true;
        }
        if again && let Some(peer) = self.peers.get_mut(&vat) {
            peer.repeat_acknowledgement(Instant::now());
        }
        self.consider(vat);
    }

    fn greeted(&mut self, vat: VatId) {
        self.wake(vat);
        if let Some(peer) = self.peers.get_mut(&vat) {
            peer.hear_greeting(Instant::now());
        }
        self.consider(vat);
    }

    /// Puts a peer on the schedule if something certified is not with it yet.
    fn consider(&mut self, vat: VatId) {
        let rank = self.rank;
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        if rank == usize::MAX || !peer.asleep.is_empty() || !peer.has_news(rank) {
            return;
        }
        let wait = match u32::try_from(rank).unwrap_or(u32::MAX) {
            0 => backoff(peer.attempts),
            // It may be connected here alone.
            _ if peer.near => backoff(peer.attempts),
            rank => FALLBACK_AFTER + FALLBACK_STEP.saturating_mul(rank) + backoff(peer.attempts),
        };
        let at = Instant::now() + wait;
        if peer.due.is_none_or(|(due, _)| due > at) {
            peer.due = Some((at, peer.acknowledged));
        }
        self.schedule(vat);
    }

    /// Sees to it that a peer is looked at when it has to be.
    fn schedule(&mut self, vat: VatId) {
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        let Some(next) = peer.next_look() else { return };
        if peer.alarm.is_none_or(|alarm| alarm > next) {
            if let Some(alarm) = peer.alarm.replace(next) {
                self.schedule.remove(&(alarm, vat));
            }
            self.schedule.insert((next, vat));
        }
    }

    fn ship_due(&mut self) {
        let now = Instant::now();
        while let Some((at, vat)) = self.schedule.first().copied() {
            if at > now {
                return;
            }
            self.schedule.pop_first();
            let Some(peer) = self.peers.get_mut(&vat) else { continue };
            peer.alarm = None;
            self.doubt(vat, now);
            self.ship_if_due(vat, now);
            self.schedule(vat);
        }
    }

    /// A member took messages long ago, by its word, but its vat has not acknowledged them: another one gets them.
    fn doubt(&mut self, vat: VatId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        if peer.doubt(now) {
            if peer.doubts.is_multiple_of(UNREACHABLE_ATTEMPTS) {
                self.whereabouts.unreachable(&vat);
            }
            self.consider(vat);
        }
    }

    fn ship_if_due(&mut self, vat: VatId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        let Some((_, acknowledged)) = peer.due.filter(|(due, _)| *due <= now) else { return };
        peer.due = None;
        if self.rank > 0 && peer.acknowledged > acknowledged {
            // The leader is getting through: what is left is newer than the pause.
            self.consider(vat);
        } else {
            self.ship(vat);
        }
    }

    fn ship(&mut self, vat: VatId) {
        let members = self.whereabouts.members(&vat);
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        let is_doubtful = peer.is_doubtful(Instant::now());
        if is_doubtful || !peer.has_news(self.rank) {
            return;
        }
        if members.is_empty() {
            peer.fail();
            self.consider(vat);
            return;
        }
        peer.meet(members.iter().map(|member| member.key));
        let order = peer.order(members, Instant::now());
        let Some((flight, mut slice)) = peer.ship() else { return };
        let taken_before = peer.taken;
        let epoch = slice.certificate.statement.epoch;
        let introduced = peer.introduced_epoch != Some(epoch);
        if introduced {
            slice.introduce(&self.introduction);
        }
        let can_be_dialled = order.iter().any(|(_, addresses)| !addresses.is_empty());
        let hosts = order.iter().map(|(host, _)| *host);
        let homeless = if can_be_dialled { Vec::new() } else { hosts.collect() };
        let (through, messages) = (slice.begin + slice.messages.len() as u64 - 1, slice.messages.len());
        let (life, ack) = (self.life, slice.head.ack);
        let frame = codec::encode(&VatFrame { to: vat, from: self.vat, slice: Box::new(slice) }).into();
        let answered_lately = peer.pace.is_some();
        let pace = peer.pace.or_else(|| self.whereabouts.pace(&vat)).unwrap_or_default();
        let network = self.network.clone();
        let handover = Handover { network, order, frame, deadline: SHIP_DEADLINE, pace, answered_lately };
        let (done, metrics) = (self.done.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let handed = handover.run().await;
            if !matches!(&handed.reply, Err(why) if why.unsent) || !handed.silent.is_empty() {
                metrics.may_have_arrived();
            }
            let report = Shipped {
                life,
                peer: vat,
                flight,
                handed,
                through,
                ack,
                messages,
                taken_before,
                epoch,
                introduced,
                homeless,
            };
            // The courier may have stopped meanwhile.
            let _ = done.send(report);
        });
        self.consider(vat);
    }

    fn settle(&mut self, report: Shipped) {
        if report.life != self.life {
            return;
        }
        let Some(peer) = self.peers.get_mut(&report.peer) else { return };
        let (now, attempts) = (Instant::now(), peer.attempts);
        let Handed { to, silent, took, reply } = report.handed;
        let was_interrupted = peer.land(report.flight);
        peer.note_silent(&silent, to, now);
        let outcome = match reply {
            Ok(SliceReply::Taken { next, leader, farewell }) if next > report.through => {
                peer.next_goes_to(leader, to, took, now);
                peer.take(report.through, report.ack, now);
                self.metrics.answered(to, &silent, leader, took);
                self.metrics.taken(&report.peer, to, report.through, report.messages, took);
                peer.introduced_epoch = Some(report.epoch);
                if let Some(slice) = farewell {
                    self.metrics.farewell(*slice);
                }
                "taken"
            }
            Ok(SliceReply::Taken { next, leader, .. }) if next + report.messages as u64 > report.through + 1 => {
                peer.next_goes_to(leader, to, took, now);
                peer.take_part(next - 1, now);
                self.metrics.answered(to, &silent, leader, took);
                let left = (report.through + 1).saturating_sub(next) as usize;
                self.metrics.taken(&report.peer, to, next - 1, report.messages.saturating_sub(left), took);
                peer.introduced_epoch = Some(report.epoch);
                "taken"
            }
            // It follows one that has not arrived.
            Ok(SliceReply::NotYet { .. }) if was_interrupted => "not_yet",
            Ok(SliceReply::NotYet { next, leader }) => {
                // Replies overtake one another: if something was taken meanwhile, this one may be from before.
                if peer.taken <= report.taken_before {
                    peer.miss(next.saturating_sub(1));
                }
                peer.fail();
                // A member that names itself as the leader has been asked: the next attempt goes elsewhere.
                peer.hint = leader.filter(|leader| *leader != to);
                "not_yet"
            }
            Ok(SliceReply::NoCode { failure }) => {
                self.metrics.without_code(&report.peer, to, failure.as_deref());
                peer.fail();
                "not_yet"
            }
            Ok(SliceReply::Introduce) if !report.introduced => {
                peer.introduced_epoch = None;
                "introduce"
            }
            // Answers that no honest member gives: another one is tried.
            Ok(SliceReply::Taken { .. } | SliceReply::Introduce) => {
                peer.fail();
                peer.introduced_epoch = None;
                "refused"
            }
            Ok(SliceReply::Refused { message }) => {
                if let Some(left_out) = self.refusals.admit(now.into_std()) {
                    let why: String = message.chars().take(LOGGED_CHARS).collect();
                    tracing::warn!(vat = %self.vat, peer = %report.peer, ?why, left_out, "a peer refused a slice");
                }
                self.metrics.refused(&report.peer, to, &message);
                peer.fail();
                peer.introduced_epoch = None;
                "refused"
            }
            Err(NotHandedOver { why, unconnected, .. }) => {
                tracing::debug!(vat = %self.vat, peer = %report.peer, error = why, "a slice could not be handed over");
                peer.fail();
                if unconnected && !report.homeless.is_empty() {
                    self.put_to_sleep(report.peer, report.homeless);
                }
                "unreachable"
            }
        };
        let failures = self.peers.get(&report.peer).map_or(0, |peer| peer.attempts);
        if failures > attempts && failures.is_multiple_of(UNREACHABLE_ATTEMPTS) {
            self.whereabouts.unreachable(&report.peer);
        }
        self.metrics.shipped(&report.peer, outcome, report.messages);
        self.doubt(report.peer, now);
        self.consider(report.peer);
        self.schedule(report.peer);
    }

    /// A peer that nobody can dial isn't connected: nothing is tried until it is, or is heard.
    fn put_to_sleep(&mut self, vat: VatId, hosts: Vec<HostId>) {
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        self.sleepers.extend(hosts.iter().map(|host| (*host, vat)));
        peer.near = false;
        peer.asleep = hosts;
        self.look_at.get_or_insert(Instant::now() + SLEEPERS_EVERY);
    }

    fn wake(&mut self, vat: VatId) {
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        for host in std::mem::take(&mut peer.asleep) {
            self.sleepers.remove(&(host, vat));
            peer.attempts = 0;
        }
    }

    fn wake_connected(&mut self) {
        let now = Instant::now();
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        let (first, last) = (VatId([0; 32]), VatId([0xff; 32]));
        let connected = self.network.peers().into_iter().filter(|peer| peer.connected);
        let awake = connected.flat_map(|peer| self.sleepers.range((peer.host, first)..=(peer.host, last)));
        let awake: Vec<VatId> = awake.map(|(_, vat)| *vat).collect();
        for vat in awake {
            self.wake(vat);
            self.consider(vat);
        }
        self.look_at = (!self.sleepers.is_empty()).then(|| now + SLEEPERS_EVERY);
    }
}

#[cfg(test)]
mod tests;
