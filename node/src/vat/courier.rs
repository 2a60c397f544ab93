//! The courier: carries what a vat said, once it is certified, to the members of the vats that it was said to.
//!
//! The leader ships at once; the other members wait a little and ship only what nobody acknowledged meanwhile, so that no single
//! member can hold a message back. For each receiving vat at most one slice is on its way from here; whatever gathers
//! meanwhile goes in the next one. A receiver's word that it took a slice is believed for [`CONFIRM_AFTER`]: what counts is the
//! acknowledgement in the receiver's own certified stream.
//!
//! It decides nothing that is replicated: losing all of its state loses no message, since the vat's tables keep everything
//! that is not acknowledged.

use super::view::RestoredOutbox;
use crate::{
    codec,
    evidence::{SLICE_MESSAGES, SLICE_MESSAGES_BYTES, Slice, outbox_path},
    vat::wire::{SliceReply, VatFrame},
};
use quorate_consensus::{Certificate, Introduction, Member};
use quorate_engine::{Hash, VatId, comms::stream::StreamHead};
use quorate_net::{HostId, Network, Purpose};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// How long a receiving member may take to order a slice in its vat.
const SHIP_DEADLINE: Duration = Duration::from_secs(5);
/// A follower ships what stayed unacknowledged for this long, and [`FALLBACK_STEP`] more for each member in front of it.
const FALLBACK_AFTER: Duration = Duration::from_millis(500);
const FALLBACK_STEP: Duration = Duration::from_millis(300);
/// A receiver that said it took a slice must have acknowledged it by then, or another member is tried.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);
/// Pauses between rounds of attempts double from the first to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// After so many attempts in vain the members are looked up again.
const UNREACHABLE_ATTEMPTS: u32 = 6;
/// Heads kept while they wait for their certificates; older ones are covered by newer.
const PENDING_HEADS: usize = 1_024;

/// What the courier is told.
pub enum Notice {
    /// The state was restored from the checkpoint at `block`: everything before is replaced.
    Restored { block: u64, outbox: RestoredOutbox },
    /// A block was applied.
    Applied { block: u64, heads: Vec<StreamHead>, queued: Vec<(VatId, u64, Arc<[u8]>)>, pruned: Vec<(VatId, u64)> },
    /// A block's statement has its signatures.
    Certified(Certificate),
    /// This member's place: 0 is the leader, the others count from it.
    Rank(usize),
    /// The vat's own introduction changed.
    Introduction(Box<Introduction>),
}

/// Where to find the members of a vat.
pub trait Whereabouts: Send + Sync + 'static {
    /// The newest members known here, or none.
    fn members(&self, vat: &VatId) -> Vec<Member>;

    /// None of the members known could be reached, several times in a row.
    fn unreachable(&self, vat: &VatId);
}

/// How a shipment to a peer ended, for metrics.
pub trait CourierMetrics: Send + Sync + 'static {
    /// A slice was taken, refused, or couldn't be handed over.
    fn shipped(&self, peer: &VatId, outcome: &'static str, messages: usize);
}

#[derive(Clone)]
struct Head {
    block: u64,
    heads: Arc<Vec<StreamHead>>,
    index: usize,
}

impl Head {
    fn get(&self) -> &StreamHead {
        &self.heads[self.index]
    }
}

#[derive(Default)]
struct Peer {
    /// Unacknowledged messages by number.
    messages: VecDeque<(u64, Arc<[u8]>)>,
    /// Heads without certificate, oldest first.
    pending: VecDeque<Head>,
    /// The newest certified head.
    ready: Option<(Head, Arc<Certificate>)>,
    /// Acknowledged by the peer's vat.
    acknowledged: u64,
    /// Taken by a member, by its word.
    taken: u64,
    /// The newest of our acknowledgements that a member took.
    taken_ack: u64,
    introduced_epoch: Option<u64>,
    hint: Option<HostId>,
    attempts: u32,
    in_flight: bool,
    /// When to ship, and what had been acknowledged when that was decided.
    due: Option<(Instant, u64)>,
    /// When to doubt what a member said that it took.
    confirm: Option<Instant>,
}

/// The running courier of one replica; use [`Courier::start`].
pub struct Courier {
    vat: VatId,
    network: Arc<dyn Network>,
    whereabouts: Arc<dyn Whereabouts>,
    metrics: Arc<dyn CourierMetrics>,
    introduction: Introduction,
    rank: usize,
    peers: BTreeMap<VatId, Peer>,
    schedule: BTreeSet<(Instant, VatId)>,
    done: mpsc::UnboundedSender<Shipped>,
}

struct Shipped {
    peer: VatId,
    to: HostId,
    head: (u64, u64),
    messages: usize,
    /// The epoch of the slice, and whether our introduction was with it.
    epoch: u64,
    introduced: bool,
    reply: Result<SliceReply, String>,
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
            schedule: BTreeSet::new(),
            done,
        };
        tokio::spawn(async move {
            loop {
                let next = courier.schedule.first().map(|(at, _)| *at);
                let timer = async move {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    notice = notices.recv() => match notice {
                        Some(notice) => courier.note(notice),
                        None => return,
                    },
                    Some(report) = shipped.recv() => courier.settle(report),
                    () = timer => courier.ship_due(),
                }
            }
        })
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Restored { block, outbox } => self.restore(block, outbox),
            Notice::Applied { block, heads, queued, pruned } => self.applied(block, heads, queued, pruned),
            Notice::Certified(certificate) => self.certified(certificate),
            Notice::Introduction(introduction) => self.introduction = *introduction,
            Notice::Rank(rank) if rank == self.rank => {}
            Notice::Rank(rank) => {
                self.rank = rank;
                // A new leader can't know what the old one shipped last: it ships again, receivers skip what they have.
                let peers: Vec<VatId> = self.peers.keys().copied().collect();
                for vat in peers {
                    let peer = self.peers.get_mut(&vat).expect("just listed");
                    (peer.taken, peer.taken_ack) = (peer.acknowledged, 0);
                    self.consider(vat);
                }
            }
        }
    }

    fn restore(&mut self, block: u64, outbox: RestoredOutbox) {
        self.peers.clear();
        self.schedule.clear();
        for (vat, number, bytes) in outbox.messages {
            let peer = self.peers.entry(vat).or_default();
            peer.messages.push_back((number, bytes));
            peer.acknowledged = peer.messages.front().map_or(0, |(first, _)| first - 1);
            peer.taken = peer.acknowledged;
        }
        self.add_heads(block, outbox.heads);
    }

    fn applied(
        &mut self,
        block: u64,
        heads: Vec<StreamHead>,
        queued: Vec<(VatId, u64, Arc<[u8]>)>,
        pruned: Vec<(VatId, u64)>,
    ) {
        for (vat, number, bytes) in queued {
            self.peers.entry(vat).or_default().messages.push_back((number, bytes));
        }
        for (vat, through) in pruned {
            let peer = self.peers.entry(vat).or_default();
            while peer.messages.front().is_some_and(|(number, _)| *number <= through) {
                peer.messages.pop_front();
            }
            peer.acknowledged = peer.acknowledged.max(through);
            peer.taken = peer.taken.max(through);
            peer.attempts = 0;
        }
        self.add_heads(block, heads);
    }

    fn add_heads(&mut self, block: u64, heads: Vec<StreamHead>) {
        let heads = Arc::new(heads);
        for index in 0..heads.len() {
            let peer = self.peers.entry(heads[index].peer).or_default();
            peer.pending.push_back(Head { block, heads: heads.clone(), index });
            if peer.pending.len() > PENDING_HEADS {
                peer.pending.pop_front();
            }
        }
    }

    fn certified(&mut self, certificate: Certificate) {
        let certificate = Arc::new(certificate);
        let block = certificate.statement.block;
        let named: Vec<VatId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.pending.front().is_some_and(|head| head.block <= block))
            .map(|(vat, _)| *vat)
            .collect();
        for vat in named {
            let peer = self.peers.get_mut(&vat).expect("just listed");
            let Some(at) = peer.pending.iter().position(|head| head.block == block) else { continue };
            // Older heads say less of the same stream.
            let head = peer.pending.drain(..=at).next_back().expect("position found it");
            if peer.ready.as_ref().is_none_or(|(ready, _)| ready.block < block) {
                peer.ready = Some((head, certificate.clone()));
            }
            self.consider(vat);
        }
    }

    /// Puts a peer on the schedule if something certified is not with it yet.
    fn consider(&mut self, vat: VatId) {
        let rank = self.rank;
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        if !peer.has_news(rank) || peer.in_flight || rank == usize::MAX {
            return;
        }
        let wait = match u32::try_from(rank).unwrap_or(u32::MAX) {
            0 => backoff(peer.attempts),
            rank => FALLBACK_AFTER + FALLBACK_STEP.saturating_mul(rank) + backoff(peer.attempts),
        };
        let at = Instant::now() + wait;
        if peer.due.is_none_or(|(due, _)| due > at) {
            peer.due = Some((at, peer.acknowledged));
            self.schedule.insert((at, vat));
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
            if peer.confirm.is_some_and(|confirm| confirm <= now) {
                peer.confirm = None;
                if peer.taken > peer.acknowledged && !peer.in_flight {
                    // A member took these long ago, by its word, but its vat has not acknowledged them: try again, elsewhere.
                    peer.taken = peer.acknowledged;
                    peer.hint = None;
                    peer.attempts += 1;
                    self.consider(vat);
                    continue;
                }
            }
            if let Some((due, acknowledged)) = peer.due
                && due <= now
            {
                peer.due = None;
                if self.rank > 0 && peer.acknowledged > acknowledged {
                    // The leader is getting through: what is left is newer than the pause.
                    self.consider(vat);
                } else {
                    self.ship(vat);
                }
            }
        }
    }

    fn ship(&mut self, vat: VatId) {
        let members = self.whereabouts.members(&vat);
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        let Some((head, certificate)) = peer.ready.clone() else { return };
        if peer.in_flight || !peer.has_news(self.rank) {
            return;
        }
        if members.is_empty() {
            peer.attempts += 1;
            self.consider(vat);
            return;
        }
        let hinted = peer.hint.filter(|hint| members.iter().any(|member| member.key.0 == hint.0));
        let to = hinted.unwrap_or_else(|| HostId(members[peer.attempts as usize % members.len()].key.0));
        let mut slice = peer.slice(&head, &certificate);
        let introduced = peer.introduced_epoch != Some(certificate.statement.epoch);
        if introduced {
            slice.introduce(&self.introduction);
        }
        peer.in_flight = true;
        if let Some(member) = members.into_iter().find(|member| member.key.0 == to.0) {
            self.network.set_addresses(to, member.addresses);
        }
        let (messages, epoch) = (slice.messages.len(), certificate.statement.epoch);
        let shipped_head = (slice.begin + messages as u64 - 1, head.get().ack);
        let frame = codec::encode(&VatFrame { to: vat, from: self.vat, slice: Box::new(slice) });
        let request = self.network.request(to, Purpose::Slice, frame.into(), SHIP_DEADLINE);
        let done = self.done.clone();
        tokio::spawn(async move {
            let reply = match request.await {
                Ok(bytes) => codec::decode::<SliceReply>(&bytes).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            // The courier may have stopped meanwhile.
            let _ = done.send(Shipped { peer: vat, to, head: shipped_head, messages, epoch, introduced, reply });
        });
    }

    fn settle(&mut self, report: Shipped) {
        let Some(peer) = self.peers.get_mut(&report.peer) else { return };
        peer.in_flight = false;
        let outcome = match report.reply {
            Ok(SliceReply::Taken { next, leader }) if next > report.head.0 => {
                peer.taken = report.head.0.max(peer.acknowledged);
                peer.taken_ack = peer.taken_ack.max(report.head.1);
                peer.hint = leader.map(|key| HostId(key.0)).or(Some(report.to));
                peer.introduced_epoch = Some(report.epoch);
                if report.messages > 0 {
                    let at = Instant::now() + CONFIRM_AFTER.max(backoff(peer.attempts));
                    peer.confirm = Some(at);
                    self.schedule.insert((at, report.peer));
                }
                "taken"
            }
            // What was missing before the slice is sent again; a claim to have more than that changes nothing.
            Ok(SliceReply::NotYet { next, leader }) => {
                peer.taken = peer.taken.min(next.saturating_sub(1)).max(peer.acknowledged);
                // Whoever names itself as the one to ask has been asked: the next attempt goes elsewhere.
                peer.hint = leader.map(|key| HostId(key.0)).filter(|leader| *leader != report.to);
                peer.attempts += 1;
                "not yet"
            }
            Ok(SliceReply::Introduce) if !report.introduced => {
                peer.introduced_epoch = None;
                "introduce"
            }
            // Answers that no honest member gives: another one is tried.
            Ok(SliceReply::Taken { .. } | SliceReply::Introduce) => {
                peer.attempts += 1;
                peer.hint = None;
                peer.introduced_epoch = None;
                "refused"
            }
            Ok(SliceReply::Refused { message }) => {
                tracing::warn!(vat = %self.vat, peer = %report.peer, %message, "a peer refused a slice");
                peer.attempts += 1;
                peer.hint = None;
                peer.introduced_epoch = None;
                "refused"
            }
            Err(error) => {
                tracing::debug!(vat = %self.vat, peer = %report.peer, %error, "a slice could not be handed over");
                peer.attempts += 1;
                peer.hint = None;
                if peer.attempts.is_multiple_of(UNREACHABLE_ATTEMPTS) {
                    self.whereabouts.unreachable(&report.peer);
                }
                "unreachable"
            }
        };
        self.metrics.shipped(&report.peer, outcome, report.messages);
        self.consider(report.peer);
    }
}

impl Peer {
    /// Whether something certified is not with the peer yet. Only the leader ships bare acknowledgements.
    fn has_news(&self, rank: usize) -> bool {
        self.ready
            .as_ref()
            .is_some_and(|(head, _)| head.get().end > self.taken || (rank == 0 && head.get().ack > self.taken_ack))
    }

    /// The next slice: as many messages behind `taken` as one may hold, and the digests of the rest.
    fn slice(&self, head: &Head, certificate: &Certificate) -> Slice {
        let stream_head = head.get();
        let begin = (self.taken + 1).min(stream_head.end + 1);
        let run = self.messages.iter().filter(|(number, _)| (begin..=stream_head.end).contains(number));
        let (mut messages, mut tail, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (_, message) in run {
            let fits = messages.is_empty() || bytes + message.len() <= SLICE_MESSAGES_BYTES;
            if tail.is_empty() && fits && messages.len() < SLICE_MESSAGES {
                bytes += message.len();
                messages.push(message.to_vec());
            } else {
                tail.push(Hash(Sha256::digest(message).into()));
            }
        }
        Slice {
            genesis: None,
            chain: Vec::new(),
            certificate: certificate.clone(),
            head: *stream_head,
            path: outbox_path(&head.heads, head.index),
            begin,
            messages,
            tail,
        }
    }
}

/// The pause before an attempt: doubling, capped, with a jitter of a quarter taken from the clock's low bits.
fn backoff(attempts: u32) -> Duration {
    if attempts == 0 {
        return Duration::ZERO;
    }
    let base = BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(10)).min(BACKOFF_LAST);
    base + base / 4 * (rand::random::<u8>() % 4).into() / 3
}

#[cfg(test)]
mod tests;
