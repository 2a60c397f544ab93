//! The state of every peer, and the decisions about connections. Pure: no sockets, the time is a parameter.
//!
//! Invariants: at most one attempt to connect to a peer runs at a time. A caller that waits for a connection is answered when it is
//! made or the attempt fails. If two hosts made connections to each other at the same time, both keep the same one. Each
//! peer with something due later is in `timers` under its earliest time, so that the next one is found without a search.
//!
//! A peer is *wanted* if its addresses were set: it is dialled by itself, again and again. A peer with hints only is dialled on
//! request.
//!
//! Generic over connections `C` and waiting callers `W`, so that tests need no libp2p.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{wait_after, with_jitter};
use crate::streams::KeepAlive;
use crate::{HostId, NetError, NetLimits, PeerInfo};

/// Two connections made within this time, one each way, are taken for one accident; else the older one is suspect.
const RACE: Duration = Duration::from_secs(5);
/// A connection that lasted so long proves the peer well, and its failures so far are forgotten.
const PROVEN: Duration = Duration::from_secs(5);
/// A host that was not asked for within this time is dialled less often, and hints of its addresses are dropped.
pub(crate) const ASKED_LATELY: Duration = Duration::from_secs(600);
/// Addresses kept for one peer.
const MAX_ADDRESSES: usize = 16;
/// Peers with hints, at most: vats of strangers may name any number of hosts. The one that was asked for longest ago goes.
const MAX_HINTED: usize = 4096;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<C> {
    pub(crate) id: C,
    pub(crate) dialled: bool,
    pub(crate) since: Instant,
    pub(crate) remote: String,
    /// Cancelled when another connection takes its place.
    pub(crate) retire: CancellationToken,
}

impl<C> Connection<C> {
    /// Returns whether the connection leads through a relay.
    fn is_relayed(&self) -> bool {
        self.remote.contains("/p2p-circuit")
    }
}

/// One peer.
#[derive(Debug)]
struct Peer<C, W> {
    /// As set.
    addresses: Vec<String>,
    /// As hinted; used while no addresses are set.
    hints: Vec<String>,
    wanted: bool,
    keep_alive: KeepAlive,
    connections: Vec<Connection<C>>,
    dialling: bool,
    failures: u32,
    next_attempt: Option<Instant>,
    asked: Option<Instant>,
    /// The peer's place in [`PeerTable::timers`].
    timer: Option<Instant>,
    last_error: Option<String>,
    round_trip: Option<Duration>,
    version: Option<String>,
    waiting: Vec<W>,
}

impl<C, W> Default for Peer<C, W> {
    fn default() -> Self {
        Peer {
            addresses: Vec::new(),
            hints: Vec::new(),
            wanted: false,
            keep_alive: KeepAlive::default(),
            connections: Vec::new(),
            dialling: false,
            failures: 0,
            next_attempt: None,
            asked: None,
            timer: None,
            last_error: None,
            round_trip: None,
            version: None,
            waiting: Vec::new(),
        }
    }
}

impl<C, W> Peer<C, W> {
    /// Returns where to dial it.
    fn known_addresses(&self) -> &[String] {
        if self.addresses.is_empty() { &self.hints } else { &self.addresses }
    }

    fn asked_lately(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASKED_LATELY)
    }

    /// Returns when its hints are dropped.
    fn hints_end(&self) -> Option<Instant> {
        self.asked.filter(|_| !self.hints.is_empty()).map(|asked| asked + ASKED_LATELY)
    }

    /// Counts a failure and sets the time of the next attempt.
    fn schedule(&mut self, limits: &NetLimits, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.known_addresses().is_empty() {
            self.next_attempt = None;
            return;
        }
        let cap = if self.asked_lately(now) { limits.backoff_cap } else { limits.backoff_cap_unasked };
        self.next_attempt = Some(now + with_jitter(wait_after(self.failures, limits.backoff_base, cap)));
    }
}

/// What is to be done about one who wants a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked<C, W> {
    /// Open it on this connection.
    Open(W, C),
    /// The peer is being dialled already: it waits.
    Waits,
    /// It waits; dial these addresses.
    Dial(Vec<String>),
    /// There is no point.
    Fail(W, NetError),
}

/// What is to be done about a new connection.
#[derive(Debug, PartialEq)]
pub(crate) struct Connected<C, W> {
    /// These get a stream on the connection.
    pub(crate) opens: Vec<(W, C)>,
    /// This connection is to be closed after a while.
    pub(crate) close_later: Option<C>,
}

/// All peers.
#[derive(Debug)]
pub(crate) struct PeerTable<C, W> {
    local: HostId,
    limits: NetLimits,
    peers: BTreeMap<HostId, Peer<C, W>>,
    /// The peers with something due, by time.
    timers: BTreeSet<(Instant, HostId)>,
    /// Peers with hints.
    hinted: usize,
}

/// What is to be done about a peer that is not wanted any more.
#[derive(Debug, PartialEq)]
pub(crate) struct Forgotten<W> {
    /// Whether its connections, and attempts to make one, are to be ended.
    pub(crate) close: bool,
    /// These will get no stream.
    pub(crate) waiting: Vec<W>,
}

impl<C: Copy + PartialEq, W> PeerTable<C, W> {
    pub(crate) fn new(local: HostId, limits: NetLimits) -> Self {
        PeerTable { local, limits, peers: BTreeMap::new(), timers: BTreeSet::new(), hinted: 0 }
    }

    /// New addresses, if any, of a peer that is wanted from now on; those to dial now.
    pub(crate) fn set_addresses(
        &mut self,
        host: HostId,
        mut addresses: Vec<String>,
        now: Instant,
    ) -> Option<Vec<String>> {
        addresses.truncate(MAX_ADDRESSES);
        let peer = self.peers.entry(host).or_default();
        let changed = !addresses.is_empty() && peer.addresses != addresses;
        if changed {
            peer.addresses = addresses;
        }
        peer.wanted = true;
        peer.keep_alive.store(true, Ordering::Relaxed);
        peer.asked = Some(now);
        let mut dial = None;
        if peer.connections.is_empty() && !peer.dialling && !peer.known_addresses().is_empty() {
            if changed {
                peer.failures = 0;
                peer.next_attempt = None;
            }
            if peer.next_attempt.is_none_or(|next| next <= now) {
                peer.dialling = true;
                dial = Some(peer.known_addresses().to_vec());
            }
        }
        self.settle(host);
        dial
    }

    /// Where a peer may be, until nobody has asked for it for a while.
    pub(crate) fn hint(&mut self, host: HostId, mut addresses: Vec<String>, now: Instant) {
        if addresses.is_empty() {
            return;
        }
        addresses.truncate(MAX_ADDRESSES);
        if self.hinted >= MAX_HINTED && self.peers.get(&host).is_none_or(|peer| peer.hints.is_empty()) {
            self.drop_oldest_hints();
        }
        let peer = self.peers.entry(host).or_default();
        self.hinted += usize::from(peer.hints.is_empty());
        peer.asked = Some(now);
        if peer.hints != addresses {
            peer.hints = addresses;
            if peer.addresses.is_empty() {
                peer.failures = 0;
                peer.next_attempt = None;
            }
        }
        self.settle(host);
    }

    fn drop_oldest_hints(&mut self) {
        let ends = self.peers.iter().filter_map(|(host, peer)| Some((peer.hints_end()?, *host)));
        if let Some((_, host)) = ends.min() {
            self.drop_hints(host);
            self.settle(host);
        }
    }

    fn drop_hints(&mut self, host: HostId) {
        if let Some(peer) = self.peers.get_mut(&host)
            && !peer.hints.is_empty()
        {
            peer.hints.clear();
            self.hinted -= 1;
        }
    }

    /// This peer is not wanted any more.
    pub(crate) fn forget(&mut self, host: HostId, now: Instant) -> Forgotten<W> {
        let nothing = Forgotten { close: false, waiting: Vec::new() };
        let Some(peer) = self.peers.get_mut(&host).filter(|peer| peer.wanted) else { return nothing };
        peer.wanted = false;
        peer.keep_alive.store(false, Ordering::Relaxed);
        peer.addresses.clear();
        let needed = !peer.hints.is_empty() && peer.asked_lately(now);
        let mut forgotten = nothing;
        if !needed {
            peer.next_attempt = None;
            forgotten = Forgotten { close: true, waiting: std::mem::take(&mut peer.waiting) };
        }
        self.settle(host);
        forgotten
    }

    /// Returns whether a connection to this peer is wanted.
    pub(crate) fn is_wanted(&self, host: HostId) -> bool {
        self.peers.get(&host).is_some_and(|peer| peer.wanted)
    }

    /// The switch that keeps connections to this peer without streams.
    pub(crate) fn keep_alive(&mut self, host: HostId) -> KeepAlive {
        let keep_alive = &self.peers.entry(host).or_default().keep_alive;
        Arc::clone(keep_alive)
    }

    /// Someone wants a stream to this peer.
    pub(crate) fn ask(&mut self, host: HostId, waiter: W, now: Instant) -> Asked<C, W> {
        let cap = self.limits.backoff_cap;
        let unknown = |waiter| {
            let reason = "not connected, and no address is known; the node learns addresses from memberships".into();
            Asked::Fail(waiter, NetError::Unreachable { host, next_attempt_in: None, reason })
        };
        let Some(peer) = self.peers.get_mut(&host) else { return unknown(waiter) };
        // The timer of its hints may be early now; it finds out when it runs.
        peer.asked = Some(now);
        if let Some(connection) = preferred(&peer.connections) {
            return Asked::Open(waiter, connection.id);
        }
        if peer.dialling {
            peer.waiting.push(waiter);
            return Asked::Waits;
        }
        if peer.known_addresses().is_empty() {
            return unknown(waiter);
        }
        if let Some(wait) = peer.next_attempt.and_then(|next| next.checked_duration_since(now))
            && !wait.is_zero()
        {
            // A long wait that was chosen while nobody asked is cut short: it counts from now.
            let wait = wait.min(cap);
            peer.next_attempt = Some(now + wait);
            let reason = peer.last_error.clone().unwrap_or_else(|| "the last attempt failed".into());
            self.settle(host);
            return Asked::Fail(waiter, NetError::Unreachable { host, next_attempt_in: Some(wait), reason });
        }
        peer.dialling = true;
        peer.waiting.push(waiter);
        Asked::Dial(peer.known_addresses().to_vec())
    }

    /// A connection was made, by us (`dialled`) or by the peer.
    pub(crate) fn connected(
        &mut self,
        host: HostId,
        id: C,
        dialled: bool,
        remote: String,
        now: Instant,
    ) -> Connected<C, W> {
        let local_is_smaller = self.local < host;
        let peer = self.peers.entry(host).or_default();
        if dialled {
            peer.dialling = false;
        }
        peer.next_attempt = None;
        peer.connections.push(Connection { id, dialled, since: now, remote, retire: CancellationToken::new() });
        let mut close_later = None;
        let live: Vec<usize> =
            (0..peer.connections.len()).filter(|&index| !peer.connections[index].retire.is_cancelled()).collect();
        if let [.., older, newer] = live[..] {
            let (old, new) = (&peer.connections[older], &peer.connections[newer]);
            let soon = now.saturating_duration_since(old.since) < RACE;
            let ways_differ = old.is_relayed() != new.is_relayed();
            let race = old.dialled != new.dialled && soon && !ways_differ;
            // The smaller host's own attempt wins a race, and a direct connection one that was relayed at the same time; else the newer
            // connection is the one that is known to work.
            let old_wins = (race && old.dialled == local_is_smaller) || (soon && ways_differ && new.is_relayed());
            let loser = if old_wins { new } else { old };
            loser.retire.cancel();
            // Only one side closes, or the two could close one each. An older one of the same direction may be dead already.
            if local_is_smaller || !race {
                close_later = Some(loser.id);
            }
        }
        let mut opens = Vec::new();
        if let Some(connection) = preferred(&peer.connections) {
            let id = connection.id;
            opens = std::mem::take(&mut peer.waiting).into_iter().map(|waiter| (waiter, id)).collect();
        }
        self.settle(host);
        Connected { opens, close_later }
    }

    /// The signal that tells users of a connection that it is being replaced.
    pub(crate) fn retire_signal(&self, host: HostId, id: C) -> Option<CancellationToken> {
        let connections = &self.peers.get(&host)?.connections;
        connections.iter().find(|connection| connection.id == id).map(|connection| connection.retire.clone())
    }

    /// A connection ended, or is as good as ended. Whether it was the peer's last. The second time it changes nothing.
    pub(crate) fn disconnected(&mut self, host: HostId, id: C, reason: Option<String>, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&host) else { return false };
        let Some(index) = peer.connections.iter().position(|connection| connection.id == id) else { return false };
        let connection = peer.connections.remove(index);
        if reason.is_some() {
            peer.last_error = reason;
        }
        let last = peer.connections.is_empty();
        if last {
            peer.round_trip = None;
            if now.saturating_duration_since(connection.since) >= PROVEN {
                peer.failures = 0;
            }
            peer.schedule(&self.limits, now);
        }
        self.settle(host);
        last
    }

    /// An attempt to connect failed: those who waited, and what to tell them.
    pub(crate) fn dial_failed(&mut self, host: HostId, reason: String, now: Instant) -> (Vec<W>, NetError) {
        let peer = self.peers.entry(host).or_default();
        peer.dialling = false;
        if peer.connections.is_empty() {
            peer.last_error = Some(reason.clone());
            peer.schedule(&self.limits, now);
        }
        let next_attempt_in = peer.next_attempt.map(|next| next.saturating_duration_since(now));
        let waiting = std::mem::take(&mut peer.waiting);
        self.settle(host);
        (waiting, NetError::Unreachable { host, next_attempt_in, reason })
    }

    /// Does what is due: drops hints that nobody used. Peers whose next attempt is due, now being dialled.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(HostId, Vec<String>)> {
        let mut dials = Vec::new();
        while let Some(&(at, host)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(peer) = self.peers.get_mut(&host) else { continue };
            peer.timer = None;
            if peer.next_attempt.is_some_and(|next| next <= now) {
                peer.next_attempt = None;
                let addresses = peer.known_addresses();
                if peer.wanted && peer.connections.is_empty() && !peer.dialling && !addresses.is_empty() {
                    dials.push((host, addresses.to_vec()));
                    peer.dialling = true;
                }
            }
            if peer.hints_end().is_some_and(|end| end <= now) {
                self.drop_hints(host);
            }
            self.settle(host);
        }
        dials
    }

    /// Returns when [`PeerTable::due`] has something next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Returns how many peers there are connections to.
    pub(crate) fn connected_peers(&self) -> usize {
        self.peers.values().filter(|peer| !peer.connections.is_empty()).count()
    }

    /// The transport measured a round trip.
    pub(crate) fn measured(&mut self, host: HostId, round_trip: Duration) {
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.round_trip = Some(round_trip);
        }
    }

    /// The peer said which version it runs.
    pub(crate) fn identified(&mut self, host: HostId, version: String) {
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.version = Some(version);
        }
    }

    /// Every peer that is connected or wanted, for people.
    pub(crate) fn infos(&self, now: Instant) -> Vec<PeerInfo> {
        let info = |(host, peer): (&HostId, &Peer<C, W>)| {
            let connection = preferred(&peer.connections);
            PeerInfo {
                host: *host,
                addresses: peer.known_addresses().to_vec(),
                connected: connection.is_some(),
                remote_address: connection.map(|connection| connection.remote.clone()),
                dialled: connection.is_some_and(|connection| connection.dialled),
                connected_for: connection.map(|connection| now.saturating_duration_since(connection.since)),
                round_trip: peer.round_trip,
                version: peer.version.clone(),
                failed_attempts: peer.failures,
                next_attempt_in: peer.next_attempt.map(|next| next.saturating_duration_since(now)),
                last_error: peer.last_error.clone(),
            }
        };
        self.peers.iter().filter(|(_, peer)| peer.wanted || !peer.connections.is_empty()).map(info).collect()
    }

    /// After every change: moves the peer's timer, and drops a peer without anything to remember.
    fn settle(&mut self, host: HostId) {
        let Some(peer) = self.peers.get_mut(&host) else { return };
        let done = !peer.wanted
            && peer.hints.is_empty()
            && peer.connections.is_empty()
            && !peer.dialling
            && peer.waiting.is_empty();
        let timer = peer.next_attempt.into_iter().chain(peer.hints_end()).min().filter(|_| !done);
        if timer != peer.timer {
            if let Some(old) = std::mem::replace(&mut peer.timer, timer) {
                self.timers.remove(&(old, host));
            }
            self.timers.extend(timer.map(|at| (at, host)));
        }
        if done {
            self.peers.remove(&host);
        }
    }
}

/// The connection for new streams: one that is not being replaced, else the newest.
fn preferred<C>(connections: &[Connection<C>]) -> Option<&Connection<C>> {
    connections.iter().rev().find(|connection| !connection.retire.is_cancelled()).or(connections.last())
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
