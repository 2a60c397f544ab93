//! The hosts that share a vat with this one: their addresses, and the delivery of a replica's frames to them.
//!
//! Invariants: only memberships of vats that this host carries make a host known to the network, and dialled unasked. Addresses from
//! others are hints. If several vats list a host, it is looked for at the addresses of all of
//! them. A host that shares no vat with us any more is kept for a while, so that we can still tell it that it was removed.

use crate::beats::BeatGatherer;
use futures::future::BoxFuture;
use quorate_consensus::{Channel, Member, Transport, TransportError};
use quorate_engine::VatId;
use quorate_net::{HostId, NetError, Network, Purpose};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How long a host that left is still known.
const FAREWELL: Duration = Duration::from_secs(30);

type Addresses = BTreeMap<HostId, Vec<String>>;

#[derive(Default)]
struct State {
    vats: BTreeMap<VatId, Addresses>,
    /// All hosts in them.
    hosts: BTreeSet<HostId>,
    /// Hosts that share nothing any more, and since when.
    leaving: BTreeMap<HostId, Instant>,
    /// When those that share something last sent or answered anything. For people only.
    seen: BTreeMap<HostId, SystemTime>,
}

impl State {
    fn addresses(&self, host: &HostId) -> Option<Vec<String>> {
        let mut listed = self.vats.values().filter_map(|hosts| hosts.get(host)).peekable();
        listed.peek()?;
        let mut all: Vec<String> = Vec::new();
        for address in listed.flatten() {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        Some(all)
    }
}

/// See the head of the module.
pub struct CoMembers {
    network: Arc<dyn Network>,
    state: Mutex<State>,
    /// Heartbeats of all vats.
    beats: Arc<BeatGatherer>,
}

impl CoMembers {
    /// Of a host that carries nothing yet.
    pub fn new(network: Arc<dyn Network>) -> Arc<CoMembers> {
        Arc::new(CoMembers { network, state: Mutex::default(), beats: Arc::default() })
    }

    /// The network between hosts.
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    /// These are the members of a vat that is carried here; none, if it is not any more.
    pub fn set(&self, vat: VatId, members: &[Member], now: Instant) {
        let local = self.network.local();
        let hosts = members.iter().map(|member| (member.key, member.addresses.clone()));
        let hosts: Addresses = hosts.filter(|(host, _)| *host != local).collect();
        let mut state = self.lock();
        let before = state.vats.insert(vat, hosts.clone()).unwrap_or_default();
        let concerned: BTreeSet<HostId> = before.keys().chain(hosts.keys()).copied().collect();
        for host in concerned {
            match state.addresses(&host) {
                Some(addresses) => {
                    state.hosts.insert(host);
                    state.leaving.remove(&host);
                    if before.get(&host) != hosts.get(&host) {
                        self.network.set_addresses(host, addresses);
                    }
                }
                None => {
                    state.hosts.remove(&host);
                    state.seen.remove(&host);
                    state.leaving.entry(host).or_insert(now);
                }
            }
        }
    }

    /// Forgets those who left a while ago.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let gone = state.leaving.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= FAREWELL);
        let gone: Vec<HostId> = gone.map(|(host, _)| *host).collect();
        for host in gone {
            state.leaving.remove(&host);
            self.network.forget(host);
        }
    }

    /// Returns whether a host shares a vat with this one.
    pub fn contains(&self, host: &HostId) -> bool {
        self.lock().hosts.contains(host)
    }

    /// All hosts that share a vat with this one.
    pub fn hosts(&self) -> Vec<HostId> {
        self.lock().hosts.iter().copied().collect()
    }

    /// Notes that a host has sent or answered something.
    pub fn note_seen(&self, host: &HostId) {
        let mut state = self.lock();
        if state.hosts.contains(host) {
            state.seen.insert(*host, SystemTime::now());
        }
    }

    /// Returns when hosts that share a vat with this one last sent or answered anything.
    pub fn seen(&self) -> BTreeMap<HostId, SystemTime> {
        self.lock().seen.clone()
    }

    /// Returns what a vat's replica sends its frames with.
    pub fn transport(self: &Arc<CoMembers>, vat: VatId) -> Arc<dyn Transport> {
        Arc::new(VatTransport { vat, co_members: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a replica's frames: each begins with the vat's id.
struct VatTransport {
    vat: VatId,
    co_members: Arc<CoMembers>,
}

impl Transport for VatTransport {
    fn request(
        &self,
        to: &Member,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        let host = to.key;
        if !self.co_members.contains(&host) {
            // A host that joins or has left.
            self.co_members.network.hint_addresses(host, to.addresses.clone());
        }
        let frame = [&self.vat.0[..], &frame].concat();
        Box::pin(self.co_members.clone().request(host, purpose_of(channel), frame, deadline))
    }

    fn beat(&self, to: &Member, frame: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        let (host, co_members) = (to.key, self.co_members.clone());
        if !co_members.contains(&host) {
            return self.request(to, Channel::Vote, frame, deadline);
        }
        let beats = co_members.beats.clone();
        let send = move |frame| co_members.clone().request(host, Purpose::Vote, frame, deadline);
        Box::pin(beats.beat(host, self.vat, frame, send))
    }
}

impl CoMembers {
    /// Sends a frame, with the vat's id, to a host.
    async fn request(
        self: Arc<CoMembers>,
        host: HostId,
        purpose: Purpose,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, TransportError> {
        let answer = self.network.request(host, purpose, frame.into(), deadline).await;
        if matches!(&answer, Ok(_) | Err(NetError::Refused(_))) {
            self.note_seen(&host);
        }
        match answer {
            Ok(answer) => Ok(answer.to_vec()),
            Err(NetError::Refused(why)) => Err(TransportError::Refused(why)),
            Err(NetError::Timeout { .. }) => Err(TransportError::Timeout),
            // It may have been handled: a proposal that is called unsent would be made twice.
            Err(error @ (NetError::Lost { .. } | NetError::Unavailable(_))) => {
                Err(TransportError::Lost(error.to_string()))
            }
            Err(error) => Err(TransportError::Unreachable(error.to_string())),
        }
    }
}

/// The channel of a replica that a purpose is for.
pub fn channel_of(purpose: Purpose) -> Option<Channel> {
    match purpose {
        Purpose::Append => Some(Channel::Append),
        Purpose::Vote => Some(Channel::Vote),
        Purpose::Snapshot => Some(Channel::Snapshot),
        Purpose::Share => Some(Channel::Share),
        Purpose::Propose => Some(Channel::Propose),
        Purpose::Slice | Purpose::Directory | Purpose::Admin => None,
    }
}

fn purpose_of(channel: Channel) -> Purpose {
    match channel {
        Channel::Append => Purpose::Append,
        Channel::Vote => Purpose::Vote,
        Channel::Snapshot => Purpose::Snapshot,
        Channel::Share => Purpose::Share,
        Channel::Propose => Purpose::Propose,
    }
}

#[cfg(test)]
mod tests;
