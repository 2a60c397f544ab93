//! This host's address record, and those of the hosts that it knows: kept on disk, spread, and asked for.
//!
//! A host that starts, or whose addresses change, signs a record with a higher number than all before. The number is on disk before anybody
//! hears of it. The host sends the record to all hosts that its directory names, and to hosts that know it whenever they connect. Hosts that
//! can't reach it ask the hosts that they are connected with.
//!
//! Invariants: a host takes a record only from the host that the record is of, or in answer to a question for it. It keeps records only of
//! hosts that share a vat with it or are named in its directory or its config. A host that sends records faster than one a second is put off.
//! What it does not do: it never gives up an address of a membership for a record's.

use crate::{co_members::CoMembers, directory::Directory};
use bytes::Bytes;
use quorate_config::testnet::ReachConfig;
use quorate_consensus::{HostId, Store, StoreError};
use quorate_courier::addresses::{Learned, Located, find_missed};
use quorate_net::{NetError, Network, Purpose};
use quorate_protocol::{
    address_record::{AddressRecord, check_record_address, is_relayed},
    card::is_loopback,
    codec,
    wire::{DirectoryReply, DirectoryRequest, MAX_ASKED_HOSTS},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Keys under which the store keeps records; the host's id follows.
const KEY_PREFIX: &str = "address/";
/// How often the host looks at its addresses, and tells and asks others.
pub const ROUND: Duration = Duration::from_secs(1);
/// Addresses of a record, and how many of them may lead through relays.
const MAX_DIRECT: usize = 12;
const MAX_RELAYED: usize = 4;
/// Hosts that are told in one round.
const TOLD_IN_A_ROUND: usize = 16;
/// Hosts that wait to be told of one record.
const MAX_TO_TELL: usize = 4096;
/// Attempts to tell a host that does not answer. The pause doubles from one round on.
const MAX_ATTEMPTS: u32 = 8;
/// How long a host may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Between two records of one host that are taken.
const BETWEEN_RECORDS: Duration = Duration::from_secs(1);
/// Hosts whose last records have their times remembered.
const MAX_TIMES: usize = 1024;
/// A host is asked about again after this.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Counts of records that others sent, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub new: u64,
    pub known: u64,
    pub bad: u64,
    pub refused: u64,
}

#[derive(Default)]
struct Counters {
    new: AtomicU64,
    known: AtomicU64,
    bad: AtomicU64,
    refused: AtomicU64,
}

/// See the head of the module.
pub struct Addresses {
    located: Located,
    store: Arc<dyn Store>,
    key: ed25519_dalek::SigningKey,
    reach: ReachConfig,
    own: Mutex<Option<AddressRecord>>,
    /// The highest number of an own record that others have. It is above this host's only if this host has lost what it had on disk.
    heard: AtomicU64,
    /// When hosts last sent a record that was new.
    times: Mutex<BTreeMap<HostId, Instant>>,
    counters: Counters,
}

impl Addresses {
    /// Reads the records that `store` holds, and has the hosts dialled by them.
    pub fn load(
        located: Located,
        store: Arc<dyn Store>,
        key: ed25519_dalek::SigningKey,
        reach: ReachConfig,
    ) -> Result<Addresses, StoreError> {
        let mut own = None;
        for (_, value) in store.list_meta(KEY_PREFIX)? {
            let Ok(record) = codec::decode::<AddressRecord>(&value) else { continue };
            if record.host == located.local() {
                own = Some(record);
            } else {
                located.learn(record);
            }
        }
        for (relay, addresses) in reach.relay_addresses() {
            located.pin(relay, addresses);
        }
        for host in &reach.relay_for {
            // They are known from now on, and dialled where their records say.
            located.pin(*host, Vec::new());
        }
        Ok(Addresses {
            located,
            store,
            key,
            reach,
            own: Mutex::new(own),
            heard: AtomicU64::new(0),
            times: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// This host's newest record, if it can be dialled anywhere.
    pub fn own(&self) -> Option<AddressRecord> {
        lock(&self.own).clone()
    }

    /// How many records of other hosts are kept.
    pub fn records(&self) -> usize {
        self.located.records()
    }

    /// What became of records that others sent.
    pub fn received(&self) -> Received {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { new, known, bad, refused } = &self.counters;
        Received { new: get(new), known: get(known), bad: get(bad), refused: get(refused) }
    }

    /// Returns whether the config names a host as a relay, or as one that is relayed for.
    pub fn names(&self, host: &HostId) -> bool {
        self.reach.relays.iter().any(|relay| relay.key == *host) || self.reach.relay_for.contains(host)
    }

    /// The records of these hosts that are kept here.
    pub fn answer(&self, hosts: &[HostId]) -> DirectoryReply {
        let local = self.located.local();
        let of = |host: &HostId| if *host == local { self.own() } else { self.located.record(host) };
        DirectoryReply::Addresses(hosts.iter().take(MAX_ASKED_HOSTS).filter_map(of).collect())
    }

    /// A host says where it is. `known` tells whether its records are kept here.
    ///
    /// # Errors
    /// It does not count, with the reason.
    pub fn moved(&self, from: HostId, record: AddressRecord, known: bool) -> Result<DirectoryReply, String> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if record.host != from {
            count(&self.counters.bad);
            return Err("the record is of another host".to_owned());
        }
        if !known {
            count(&self.counters.refused);
            return Ok(DirectoryReply::Addresses(Vec::new()));
        }
        let newer = self.located.record(&from).is_none_or(|kept| record.is_newer_than(&kept));
        if newer && !self.admit(from, Instant::now()) {
            count(&self.counters.refused);
            return Ok(DirectoryReply::Busy);
        }
        match self.learn(record) {
            Learned::Bad(why) => {
                count(&self.counters.bad);
                return Err(why);
            }
            Learned::New { .. } => count(&self.counters.new),
            Learned::Known => count(&self.counters.known),
        };
        Ok(self.answer(&[from]))
    }

    /// Returns whether a new record of this host is taken now.
    fn admit(&self, host: HostId, now: Instant) -> bool {
        let mut times = lock(&self.times);
        if times.len() >= MAX_TIMES {
            times.retain(|_, at| now.saturating_duration_since(*at) < BETWEEN_RECORDS);
        }
        if times.get(&host).is_some_and(|at| now.saturating_duration_since(*at) < BETWEEN_RECORDS) {
            return false;
        }
        if times.len() >= MAX_TIMES {
            return false;
        }
        times.insert(host, now);
        true
    }

    fn learn(&self, record: AddressRecord) -> Learned {
        let learned = self.located.learn(record.clone());
        if let Learned::New { gone } = &learned {
            tracing::info!(host = %record.host, addresses = ?record.addresses, "a host says where it can be dialled");
            self.keep(&record);
            for host in gone {
                if let Err(error) = self.store.delete_meta(&format!("{KEY_PREFIX}{host}")) {
                    tracing::warn!(%host, %error, "an address record could not be deleted");
                }
            }
        }
        learned
    }

    fn keep(&self, record: &AddressRecord) {
        if let Err(error) = self.store.put_meta(&format!("{KEY_PREFIX}{}", record.host), &codec::encode(record)) {
            tracing::warn!(host = %record.host, %error, "an address record could not be written");
        }
    }

    /// Returns where this host can be dialled now.
    fn current(&self) -> Vec<String> {
        let mut direct = self.reach.announce.clone();
        if direct.is_empty() {
            direct = self.located.listen_addresses();
            direct.extend(self.located.observed_addresses());
            // Of use on this machine only.
            if !direct.iter().all(|address| is_loopback(address)) {
                direct.retain(|address| !is_loopback(address));
            }
        }
        direct.retain(|address| check_record_address(address).is_ok() && !is_relayed(address));
        let mut relayed = self.located.relayed_addresses();
        relayed.retain(|address| check_record_address(address).is_ok());
        for list in [&mut direct, &mut relayed] {
            list.sort();
            list.dedup();
        }
        direct.truncate(MAX_DIRECT);
        relayed.truncate(MAX_RELAYED);
        direct.append(&mut relayed);
        direct
    }

    /// Makes a new record if this host is not where its last one says. Returns whether it did.
    fn renew(&self, now_ms: u64) -> bool {
        let current = self.current();
        let mut own = lock(&self.own);
        let heard = self.heard.load(Ordering::Relaxed);
        let last = own.as_ref().map_or(0, |own| own.sequence);
        if current.is_empty() || (own.as_ref().is_some_and(|own| own.addresses == current) && heard < last) {
            return false;
        }
        // The clock, for a host whose disk was lost: its number is likely to be above those before.
        let sequence = last.max(heard).saturating_add(1).max(now_ms);
        let record = AddressRecord::sign(&self.key, sequence, current);
        let key = format!("{KEY_PREFIX}{}", record.host);
        let written = self.store.put_meta(&key, &codec::encode(&record)).and_then(|()| self.store.sync());
        if let Err(error) = written {
            tracing::warn!(%error, "this host's address record could not be written, so no other host hears of it");
            return false;
        }
        tracing::info!(addresses = ?record.addresses, sequence, "this host can be dialled here");
        *own = Some(record);
        true
    }

    /// Another host has this record of ours. Two of one number are no news.
    fn hear(&self, record: &AddressRecord) {
        let newest = lock(&self.own).as_ref().is_some_and(|own| !record.is_newer_than(own));
        if !newest && record.verify().is_ok() {
            self.heard.fetch_max(record.sequence, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host that is to be told of this host's record.
struct ToTell {
    addresses: Vec<String>,
    attempts: u32,
    /// Not before this round.
    round: u64,
}

/// Tells other hosts, and asks them.
#[derive(Default)]
pub struct Rounds {
    round: u64,
    to_tell: BTreeMap<HostId, ToTell>,
    /// Hosts that are connected and have this host's record, by its number.
    told: BTreeMap<HostId, u64>,
    asked: BTreeMap<HostId, Instant>,
}

impl Rounds {
    /// One round.
    pub async fn run(&mut self, addresses: &Addresses, co_members: &CoMembers, directory: &Directory) {
        self.round += 1;
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        if addresses.renew(u64::try_from(now_ms).unwrap_or(0)) {
            let others = directory.all_members().into_iter().filter(|member| member.key != addresses.located.local());
            let to_tell = |addresses| ToTell { addresses, attempts: 0, round: self.round };
            self.to_tell = others.take(MAX_TO_TELL).map(|member| (member.key, to_tell(member.addresses))).collect();
        }
        let known = |host: &HostId| is_known(host, addresses, co_members, directory);
        if let Some(own) = addresses.own() {
            self.tell(addresses, &own, known).await;
        }
        self.ask(addresses, known).await;
    }

    async fn tell(&mut self, addresses: &Addresses, own: &AddressRecord, known: impl Fn(&HostId) -> bool) {
        let connected: BTreeSet<HostId> =
            addresses.located.peers().into_iter().filter(|peer| peer.connected).map(|peer| peer.host).collect();
        self.told.retain(|host, _| connected.contains(host));
        for host in &connected {
            if self.told.get(host) != Some(&own.sequence) && known(host) {
                let new = ToTell { addresses: Vec::new(), attempts: 0, round: self.round };
                self.to_tell.entry(*host).or_insert(new);
            }
        }
        let due = self.to_tell.iter().filter(|(_, to_tell)| to_tell.round <= self.round).take(TOLD_IN_A_ROUND);
        let due: Vec<(HostId, Vec<String>)> = due.map(|(host, to_tell)| (*host, to_tell.addresses.clone())).collect();
        let frame = Bytes::from(codec::encode(&DirectoryRequest::Moved(Box::new(own.clone()))));
        let tell = |(host, at): (HostId, Vec<String>)| {
            addresses.located.hint_addresses(host, at);
            let answer = addresses.located.request(host, Purpose::Directory, frame.clone(), DEADLINE);
            async move { (host, answer.await) }
        };
        for (host, answer) in futures::future::join_all(due.into_iter().map(tell)).await {
            let done = match answer.map(|answer| codec::decode(&answer)) {
                Ok(Ok(DirectoryReply::Addresses(records))) => {
                    records.iter().filter(|record| record.host == own.host).for_each(|record| addresses.hear(record));
                    true
                }
                Ok(Ok(DirectoryReply::Busy)) => false,
                // An older version, for example.
                Ok(_) | Err(NetError::Refused(_) | NetError::Forbidden { .. }) => true,
                Err(_) => false,
            };
            self.note(host, done, own.sequence, connected.contains(&host));
        }
    }

    fn note(&mut self, host: HostId, done: bool, sequence: u64, connected: bool) {
        let Some(to_tell) = self.to_tell.get_mut(&host) else { return };
        to_tell.attempts += 1;
        to_tell.round = self.round + (1 << to_tell.attempts.min(MAX_ATTEMPTS));
        if done || (to_tell.attempts >= MAX_ATTEMPTS && !connected) {
            self.to_tell.remove(&host);
        }
        if done {
            self.told.insert(host, sequence);
        }
    }

    async fn ask(&mut self, addresses: &Addresses, known: impl Fn(&HostId) -> bool) {
        let now = Instant::now();
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < ASK_AGAIN);
        let mut missed = addresses.located.take_missed();
        // Nobody keeps records of callers.
        missed.retain(|host| !self.asked.contains_key(host) && known(host));
        if missed.is_empty() {
            return;
        }
        self.asked.extend(missed.iter().map(|host| (*host, now)));
        let relays: Vec<HostId> = addresses.reach.relays.iter().map(|relay| relay.key).collect();
        for record in find_missed(&addresses.located, missed, known, &relays).await {
            tracing::info!(host = %record.host, addresses = ?record.addresses, "another host says where this one is");
            addresses.keep(&record);
        }
    }
}

/// Returns whether records of this host are kept here, and this host's are sent to it.
pub fn is_known(host: &HostId, addresses: &Addresses, co_members: &CoMembers, directory: &Directory) -> bool {
    co_members.contains(host) || addresses.names(host) || directory.names_host(host)
}

#[cfg(test)]
mod tests;
