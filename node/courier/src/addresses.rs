//! The newest address records of hosts, and a network that dials hosts by them.
//!
//! [`Located`] is a network whose hosts are dialled where their newest records say, and beside that where memberships say. So a host that
//! moved is found by everybody who keeps its record. Hosts that could not be reached are noted, and [`find_missed`] asks other hosts for
//! their records.
//!
//! Invariants: only verified records are kept. Records of hosts whose addresses were set (co-members) always have room. All others
//! together take at most [`BOOK_BYTES`], and the one that was used longest ago goes first. A record changes where its own host is dialled,
//! and nothing else.

use bytes::Bytes;
use quorate_net::{BoxFuture, HostId, NetError, NetStats, Network, PeerInfo, Purpose};
use quorate_protocol::{
    address_record::AddressRecord,
    codec,
    wire::{DirectoryReply, DirectoryRequest, MAX_ASKED_HOSTS},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of records of hosts that share no vat with this one.
pub const BOOK_BYTES: usize = 1 << 20;
/// Hosts that could not be reached, and that nobody has been asked about yet.
const MAX_MISSED: usize = 256;
/// How long a host may take to say what records it keeps.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often a client asks about hosts that it could not reach.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Hosts that are asked in one round.
const ASKED_HOSTS: usize = 6;

struct Kept {
    record: AddressRecord,
    /// When it was last used: a count of uses.
    used: u64,
}

#[derive(Default)]
struct State {
    records: BTreeMap<HostId, Kept>,
    uses: u64,
    /// Addresses as they were set.
    set: BTreeMap<HostId, Vec<String>>,
    /// Hosts that this one's config names, and where they are: never forgotten.
    pinned: BTreeMap<HostId, Vec<String>>,
    missed: BTreeSet<HostId>,
}

impl State {
    /// The addresses of the host's record, if there is one, then the others.
    fn merged(&mut self, host: HostId, addresses: &[String]) -> Vec<String> {
        self.uses += 1;
        let mut all = Vec::new();
        if let Some(kept) = self.records.get_mut(&host) {
            kept.used = self.uses;
            all.extend(kept.record.addresses.iter().cloned());
        }
        for address in addresses.iter().chain(self.pinned.get(&host).into_iter().flatten()) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Makes room among the records of hosts that were not set. Returns the hosts whose records went.
    fn make_room(&mut self) -> Vec<HostId> {
        let mut others: Vec<(u64, HostId, usize)> = self
            .records
            .iter()
            .filter(|(host, _)| !self.set.contains_key(host) && !self.pinned.contains_key(host))
            .map(|(host, kept)| (kept.used, *host, kept.record.size()))
            .collect();
        let mut bytes: usize = others.iter().map(|(_, _, size)| size).sum();
        if bytes <= BOOK_BYTES {
            return Vec::new();
        }
        others.sort_unstable();
        let mut gone = Vec::new();
        for (_, host, size) in others {
            if bytes <= BOOK_BYTES {
                break;
            }
            bytes -= size;
            self.records.remove(&host);
            gone.push(host);
        }
        gone
    }
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is kept, and these hosts' records had to go.
    New { gone: Vec<HostId> },
    /// One as new is kept already, or it is this host's own.
    Known,
    /// It does not count: it is not signed well, or has addresses that nobody can dial.
    Bad(String),
}

/// See the head of the module; cheap to clone.
#[derive(Clone)]
pub struct Located(Arc<Inner>);

struct Inner {
    network: Arc<dyn Network>,
    state: Mutex<State>,
}

impl Located {
    /// A network that knows no records yet.
    pub fn new(network: Arc<dyn Network>) -> Located {
        Located(Arc::new(Inner { network, state: Mutex::default() }))
    }

    /// Keeps a record if it is newer than what is known, and has its host dialled there if its addresses were set.
    pub fn learn(&self, record: AddressRecord) -> Learned {
        if record.host == self.0.network.local() {
            return Learned::Known;
        }
        {
            let state = self.lock();
            let known = state.records.get(&record.host);
            if known.is_some_and(|known| !record.is_newer_than(&known.record)) {
                return Learned::Known;
            }
        }
        // Not under the lock: it takes a while.
        if let Err(error) = record.verify() {
            return Learned::Bad(error.to_string());
        }
        let mut state = self.lock();
        let host = record.host;
        if state.records.get(&host).is_some_and(|known| !record.is_newer_than(&known.record)) {
            return Learned::Known;
        }
        state.uses += 1;
        let used = state.uses;
        state.records.insert(host, Kept { record, used });
        state.missed.remove(&host);
        let gone = state.make_room();
        let set = state.set.get(&host).cloned();
        if let Some(addresses) = set.or_else(|| state.pinned.get(&host).cloned()) {
            let merged = state.merged(host, &addresses);
            self.0.network.set_addresses(host, merged);
        }
        Learned::New { gone }
    }

    /// A connection to this host is wanted as long as this network lives, at these addresses and where its record says.
    pub fn pin(&self, host: HostId, addresses: Vec<String>) {
        if host == self.0.network.local() {
            return;
        }
        let mut state = self.lock();
        state.pinned.insert(host, addresses);
        let set = state.set.get(&host).cloned().unwrap_or_default();
        let merged = state.merged(host, &set);
        self.0.network.set_addresses(host, merged);
    }

    /// The newest record of a host, if one is kept.
    pub fn record(&self, host: &HostId) -> Option<AddressRecord> {
        self.lock().records.get(host).map(|kept| kept.record.clone())
    }

    /// How many records are kept.
    pub fn records(&self) -> usize {
        self.lock().records.len()
    }

    /// The hosts that could not be reached since the last call.
    pub fn take_missed(&self) -> BTreeSet<HostId> {
        std::mem::take(&mut self.lock().missed)
    }

    fn miss(&self, host: HostId) {
        let mut state = self.lock();
        if state.missed.len() < MAX_MISSED {
            state.missed.insert(host);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for Located {
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let (located, request) = (self.clone(), self.0.network.request(to, purpose, frame, deadline));
        Box::pin(async move {
            let answer = request.await;
            if matches!(answer, Err(NetError::Unreachable { .. })) {
                located.miss(to);
            }
            answer
        })
    }

    fn set_addresses(&self, host: HostId, addresses: Vec<String>) {
        let mut state = self.lock();
        let merged = state.merged(host, &addresses);
        let set = state.set.entry(host).or_default();
        if !addresses.is_empty() {
            *set = addresses;
        }
        // Under the lock, so that the network hears of changes in their order.
        self.0.network.set_addresses(host, merged);
    }

    fn hint_addresses(&self, host: HostId, addresses: Vec<String>) {
        let merged = self.lock().merged(host, &addresses);
        self.0.network.hint_addresses(host, merged);
    }

    fn forget(&self, host: HostId) {
        let mut state = self.lock();
        state.set.remove(&host);
        if !state.pinned.contains_key(&host) {
            self.0.network.forget(host);
        }
    }

    fn local(&self) -> HostId {
        self.0.network.local()
    }

    fn listen_addresses(&self) -> Vec<String> {
        self.0.network.listen_addresses()
    }

    fn relayed_addresses(&self) -> Vec<String> {
        self.0.network.relayed_addresses()
    }

    fn observed_addresses(&self) -> Vec<String> {
        self.0.network.observed_addresses()
    }

    fn stats(&self) -> NetStats {
        self.0.network.stats()
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.0.network.peers()
    }

    fn metrics_text(&self) -> String {
        self.0.network.metrics_text()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.0.network.shutdown()
    }
}

/// Asks about hosts that could not be reached, as long as the network is used elsewhere.
pub fn keep_finding(located: &Located) {
    let weak = Arc::downgrade(&located.0);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let Some(inner) = weak.upgrade() else { return };
            let located = Located(inner);
            let missed = located.take_missed();
            if !missed.is_empty() {
                find_missed(&located, missed, |_| true, &[]).await;
            }
        }
    });
}

/// Asks hosts that are connected, and that `may_know`, for the records of `missed`. `prefer` are asked first. Returns the records that were new.
pub async fn find_missed(
    located: &Located,
    missed: BTreeSet<HostId>,
    may_know: impl Fn(&HostId) -> bool,
    prefer: &[HostId],
) -> Vec<AddressRecord> {
    let connected: BTreeSet<HostId> =
        located.peers().into_iter().filter(|peer| peer.connected).map(|peer| peer.host).collect();
    let missed: Vec<HostId> = missed.difference(&connected).copied().collect();
    let mut asked: Vec<HostId> = connected.into_iter().filter(may_know).collect();
    // By chance, or those that know nothing would be asked for ever.
    asked.sort_by_cached_key(|host| (!prefer.contains(host), rand::random::<u32>()));
    asked.truncate(ASKED_HOSTS);
    let mut found = Vec::new();
    for chunk in missed.chunks(MAX_ASKED_HOSTS) {
        let question = Bytes::from(codec::encode(&DirectoryRequest::Addresses(chunk.to_vec())));
        let answers = asked.iter().map(|host| located.request(*host, Purpose::Directory, question.clone(), DEADLINE));
        for answer in futures::future::join_all(answers).await.into_iter().flatten() {
            let Ok(DirectoryReply::Addresses(records)) = codec::decode(&answer) else { continue };
            for record in records.into_iter().take(MAX_ASKED_HOSTS) {
                let fits = chunk.contains(&record.host);
                if fits && matches!(located.learn(record.clone()), Learned::New { .. }) {
                    found.push(record);
                }
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "addresses/tests.rs"]
mod tests;
