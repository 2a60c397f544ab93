//! The keys of `host.toml` that say how other machines reach a host: what they dial, relays, and operators.

use super::check::{Checker, Key};
use super::gateway::list;
use super::syntax::Table;
use quorate_consensus::HostId;
use quorate_protocol::card::announced;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const ANNOUNCE: Key =
    Key::new("announce", "announce = [\"192.0.2.7:4001\"]", &["public", "external", "advertise"]);
pub(super) const RELAYS: Key = Key::new(
    "relays",
    "relays = [\"KEY@192.0.2.9:4001\"]",
    &["relay", "through", "reachable_through", "bootstrap", "relay_through"],
);
pub(super) const RELAY_FOR: Key = Key::new("relay_for", "relay_for = [\"KEY\"]", &["relay_hosts", "relays_for"]);
pub(super) const OPERATORS: Key =
    Key::new("operators", "operators = [\"KEY\"]", &["operator", "admins", "admin", "administrators"]);

/// Entries of each list, at most. One relay is enough where it stays up. A relay holds a connection for each host, and streams for each pair.
const MAX_ANNOUNCED: usize = 8;
const MAX_RELAYS: usize = 4;
pub(super) const MAX_RELAYED_HOSTS: usize = 16;
const MAX_OPERATORS: usize = 32;

/// A host that relays for this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub key: HostId,
    /// A multiaddr of the relay.
    pub address: String,
}

/// How other machines reach a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReachConfig {
    /// What other hosts dial, if that is not where the host listens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub announce: Vec<String>,
    /// Hosts through which others reach this one.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "relay_words")]
    pub relays: Vec<Relay>,
    /// Hosts that this one relays for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "key_words")]
    pub relay_for: BTreeSet<HostId>,
    /// Keys whose holders may use the host's administrative interface over the network between hosts.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "key_words")]
    pub operators: BTreeSet<HostId>,
}

impl ReachConfig {
    /// Where each relay is.
    pub fn relay_addresses(&self) -> BTreeMap<HostId, Vec<String>> {
        let mut relays: BTreeMap<HostId, Vec<String>> = BTreeMap::new();
        for relay in &self.relays {
            relays.entry(relay.key).or_default().push(relay.address.clone());
        }
        relays
    }
}

fn relay_words<S: Serializer>(relays: &[Relay], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(relays.iter().map(|relay| format!("{}@{}", relay.key, relay.address)))
}

fn key_words<S: Serializer>(keys: &BTreeSet<HostId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(ToString::to_string))
}

/// Reads a relay as it stands in `host.toml`: `KEY@ADDRESS`.
pub fn relay(text: &str) -> Option<Relay> {
    let (key, address) = text.split_once('@')?;
    Some(Relay { key: key.parse().ok()?, address: announced(address).ok()? })
}

/// Reads the keys. `None`: one of them is wrong, which has been said.
pub(super) fn reach(table: &Table, checker: &mut Checker) -> Option<ReachConfig> {
    let announce = entries(
        table,
        checker,
        &ANNOUNCE,
        MAX_ANNOUNCED,
        |text| announced(text).ok(),
        "no address that others can dial",
    );
    let relays = entries(table, checker, &RELAYS, MAX_RELAYS, relay, "no relay");
    let key = |text: &str| text.parse::<HostId>().ok();
    let is = "no key of a host or an operator";
    let relay_for = entries(table, checker, &RELAY_FOR, MAX_RELAYED_HOSTS, key, is);
    let operators = entries(table, checker, &OPERATORS, MAX_OPERATORS, key, is);
    Some(ReachConfig {
        announce: announce?,
        relays: relays?,
        relay_for: relay_for?.into_iter().collect(),
        operators: operators?.into_iter().collect(),
    })
}

fn entries<T>(
    table: &Table,
    checker: &mut Checker,
    key: &Key,
    most: usize,
    read: impl Fn(&str) -> Option<T>,
    is: &str,
) -> Option<Vec<T>> {
    let Some(entry) = table.get(key.name) else { return Some(Vec::new()) };
    let remedy = format!("write {}; a KEY has 64 hex digits, and `vat card` prints it", key.example);
    let found = list(entry, checker, key, read, is, &remedy)?;
    if found.len() > most {
        let problem = format!("`{}` has {} entries, over the limit of {most}", key.name, found.len());
        checker.mistake(entry.node.place, problem, "leave out those that are needed least");
        return None;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_a_key_and_where_it_is() {
        let key = "ab".repeat(32);
        let good = relay(&format!("{key}@192.0.2.9:4001")).expect("a relay");
        assert_eq!((good.key.to_string(), &*good.address), (key.clone(), "/ip4/192.0.2.9/tcp/4001"));
        for bad in [String::new(), key.clone(), "@192.0.2.9:4001".into(), format!("{key}@"), format!("{key}@0.0.0.0:1")]
        {
            assert_eq!(relay(&bad), None, "{bad}");
        }
    }
}
