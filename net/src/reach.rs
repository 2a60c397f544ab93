//! How others reach this host, beside the addresses where it listens: through relays, and at the addresses where others see it. Pure.
//!
//! Invariants: at most one listener for each relay. What a peer says of this host's address lasts as long as its connection, and counts only if
//! a second peer says the same, or if nobody else says anything.

use std::collections::HashMap;
use std::net::IpAddr;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::{NetReach, PeerName};

/// A relay that was asked to take connections.
#[derive(Debug)]
struct Asked {
    relay: PeerId,
    address: Multiaddr,
    agreed: bool,
}

/// See the head of the module.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Relays, each with addresses through it.
    relays: Vec<(PeerId, Vec<Multiaddr>)>,
    asked: HashMap<ListenerId, Asked>,
    /// Where connected peers see this host.
    seen: HashMap<PeerId, IpAddr>,
}

impl Reach {
    pub(crate) fn new(reach: &NetReach) -> Reach {
        let through = |relay: PeerId, text: &String| {
            let address: Multiaddr = text.parse().ok()?;
            Some(address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit))
        };
        let relays = reach.relays.iter().map(|(host, addresses)| {
            let relay = host.peer_id();
            (relay, addresses.iter().filter_map(|address| through(relay, address)).collect())
        });
        Reach { relays: relays.collect(), asked: HashMap::new(), seen: HashMap::new() }
    }

    /// Relays that are not asked now, each with the address to ask for.
    pub(crate) fn missing_relays(&self) -> Vec<(PeerId, Multiaddr)> {
        let is_missing = |relay: &PeerId| self.asked.values().all(|asked| asked.relay != *relay);
        let missing = self.relays.iter().filter(|(relay, _)| is_missing(relay));
        missing.filter_map(|(relay, addresses)| Some((*relay, addresses.first()?.clone()))).collect()
    }

    /// A relay was asked.
    pub(crate) fn asked_relay(&mut self, listener: ListenerId, relay: PeerId, address: Multiaddr) {
        self.asked.insert(listener, Asked { relay, address, agreed: false });
    }

    /// Returns whether a listener is one at a relay.
    pub(crate) fn is_relay(&self, listener: ListenerId) -> bool {
        self.asked.contains_key(&listener)
    }

    /// A relay takes connections for this host.
    pub(crate) fn relay_agreed(&mut self, listener: ListenerId) {
        if let Some(asked) = self.asked.get_mut(&listener) {
            asked.agreed = true;
        }
    }

    /// A relay does not, or not any more.
    pub(crate) fn relay_ended(&mut self, listener: ListenerId) {
        self.asked.remove(&listener);
    }

    /// Addresses through relays that have agreed.
    pub(crate) fn relayed(&self) -> Vec<String> {
        let agreed: Vec<&Asked> = self.asked.values().filter(|asked| asked.agreed).collect();
        let of = |relay: &PeerId| agreed.iter().any(|asked| asked.relay == *relay);
        let mut all: Vec<String> = self
            .relays
            .iter()
            .filter(|(relay, _)| of(relay))
            .flat_map(|(_, addresses)| addresses.iter().map(Multiaddr::to_string))
            .chain(agreed.iter().map(|asked| asked.address.to_string()))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// A peer says where it sees this host.
    pub(crate) fn seen(&mut self, peer: PeerId, at: &Multiaddr) {
        if at.iter().any(|part| matches!(part, Protocol::P2pCircuit)) {
            return;
        }
        let ip: IpAddr = match at.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            _ => return,
        };
        if !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() {
            self.seen.insert(peer, ip);
        }
    }

    /// A peer is not connected any more.
    pub(crate) fn unseen(&mut self, peer: &PeerId) {
        self.seen.remove(peer);
    }

    /// Where this host seems to listen, seen from elsewhere.
    pub(crate) fn observed(&self, listening: &[Multiaddr]) -> Vec<String> {
        let count = |ip: &IpAddr| self.seen.values().filter(|other| *other == ip).count();
        let mut ips: Vec<IpAddr> =
            self.seen.values().copied().filter(|ip| count(ip) > 1 || self.seen.len() == 1).collect();
        ips.sort_unstable();
        ips.dedup();
        let mut all = Vec::new();
        for address in listening {
            for ip in &ips {
                all.extend(with_ip(address, *ip).filter(|found| !listening.contains(found)));
            }
        }
        let mut all: Vec<String> = all.iter().map(Multiaddr::to_string).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// An address with another IP address in front, of the same kind. Nothing for what listens on this machine alone.
fn with_ip(address: &Multiaddr, ip: IpAddr) -> Option<Multiaddr> {
    let mut parts = address.iter();
    let (own, other): (IpAddr, Multiaddr) = match parts.next()? {
        Protocol::Ip4(own) if ip.is_ipv4() => (own.into(), ip.into()),
        Protocol::Ip6(own) if ip.is_ipv6() => (own.into(), ip.into()),
        _ => return None,
    };
    (!own.is_loopback()).then(|| parts.fold(other, |address, part| address.with(part)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::HostId;

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_peer_alone_does_not_say_where_this_host_is() {
        let mut reach = Reach::new(&NetReach::default());
        let listening =
            [at("/ip4/127.0.0.1/tcp/4001"), at("/ip4/10.0.0.2/tcp/4001"), at("/ip4/10.0.0.2/udp/4001/quic-v1")];
        assert!(reach.observed(&listening).is_empty());
        let [one, two, three] = [(); 3].map(|()| PeerId::random());
        reach.seen(one, &at("/ip4/192.0.2.7/tcp/50123"));
        let seen = ["/ip4/192.0.2.7/tcp/4001", "/ip4/192.0.2.7/udp/4001/quic-v1"];
        assert_eq!(reach.observed(&listening), seen, "nobody else says anything");
        // Two that differ, one of which lies; then a third.
        reach.seen(two, &at("/ip4/192.0.2.66/tcp/50124"));
        assert!(reach.observed(&listening).is_empty());
        reach.seen(three, &at("/ip4/192.0.2.7/tcp/50125"));
        assert_eq!(reach.observed(&listening), seen);
        reach.unseen(&one);
        assert!(reach.observed(&listening).is_empty());
        for odd in ["/ip4/127.0.0.1/tcp/1", "/dns/a.example/tcp/1", "/ip4/192.0.2.8/tcp/1/p2p-circuit"] {
            reach.seen(one, &at(odd));
        }
        assert_eq!(reach.seen.len(), 2);
    }

    #[test]
    fn an_address_through_a_relay_is_named_while_the_relay_agrees() {
        let relay = HostId::of_secret(&[1; 32]);
        let addresses = vec!["/ip4/192.0.2.9/tcp/4001".to_owned(), "/dns/relay.example/tcp/4001".to_owned()];
        let mut reach = Reach::new(&NetReach { relays: vec![(relay, addresses)], relay_for: vec![] });
        let missing = reach.missing_relays();
        let through = format!("/ip4/192.0.2.9/tcp/4001/p2p/{}/p2p-circuit", relay.peer_id());
        assert_eq!(missing, [(relay.peer_id(), at(&through))]);
        let listener = ListenerId::next();
        reach.asked_relay(listener, relay.peer_id(), at(&through));
        assert!(reach.missing_relays().is_empty() && reach.relayed().is_empty());
        reach.relay_agreed(listener);
        let by_name = format!("/dns/relay.example/tcp/4001/p2p/{}/p2p-circuit", relay.peer_id());
        assert_eq!(reach.relayed(), [by_name, through]);
        reach.relay_ended(listener);
        assert_eq!((reach.missing_relays().len(), reach.relayed().len()), (1, 0));
    }
}
