//! The libp2p behaviour that denies connections: too many handshakes, too many unknown hosts, too many of one peer.
//!
//! Known hosts (those with addresses) neither count as unknown nor compete with them, so that strangers cannot lock members
//! out. A peer's key is known only after the handshake. Until then, a connection from where known hosts listen counts as a known host's, and
//! one address gets only a few places. libp2p's own connection limits count connections that bypass them, do not
//! look at addresses, and keep an entry for every peer that ever was.
//!
//! Invariant: the existing connections and the known hosts bound what is remembered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::NetLimits;

/// Connections of one peer: one, one that replaces it, and as much again for old ones that are not closed yet.
const CONNECTIONS_PER_PEER: usize = 4;

/// Places of unknown hosts that a QUIC connection takes; one over TCP takes one. Nothing but its window bounds what it may hold, which
/// is the same for members: 2 MiB, and two and a half times that if it comes in pieces; for each of 24 streams 32 KiB, and a
/// quarter of a megabyte for scattered pieces. The 21 such connections that have room hold at most 223 MiB.
const QUIC_PLACES: usize = 12;

/// Why a connection was denied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("too many handshakes at a time")]
    Pending,
    #[error("too many handshakes at a time from one address")]
    PendingOfAddress,
    #[error("too many connections of unknown hosts")]
    Unknown,
    #[error("too many connections of one peer")]
    Peer,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An IP address, or all of an IPv6 network that one customer is given (/64).
    Address(IpAddr),
    /// Some relay of this host: one place for all of them.
    Relayed,
}

impl Place {
    fn of(address: &Multiaddr) -> Option<Place> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => Some(Place::Address(ip.into())),
            Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
                Some(ip) => Place::Address(ip.into()),
                None => Place::Address(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
            }),
            // What a relay says of the other end: a key, and no address.
            Protocol::P2p(_) | Protocol::P2pCircuit => Some(Place::Relayed),
            _ => None,
        }
    }
}

/// Returns how many places of unknown hosts a connection takes that a peer has made.
fn places(remote: &Multiaddr) -> usize {
    if remote.iter().any(|part| matches!(part, Protocol::QuicV1)) { QUIC_PLACES } else { 1 }
}

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Behaviour {
    max_pending: usize,
    max_pending_per_address: usize,
    max_unknown: usize,
    /// With the places where they are said to listen.
    known: HashMap<PeerId, Vec<Place>>,
    pending: HashMap<ConnectionId, Option<Place>>,
    /// Whose connection it is, and the places that it takes while the peer is unknown: none if the peer did not make it.
    established: HashMap<ConnectionId, (PeerId, usize)>,
}

impl Behaviour {
    pub(crate) fn new(limits: &NetLimits) -> Behaviour {
        Behaviour {
            max_pending: limits.max_pending_connections as usize,
            max_pending_per_address: limits.max_pending_connections_per_address as usize,
            max_unknown: limits.max_unknown_connections as usize,
            known: HashMap::new(),
            pending: HashMap::new(),
            established: HashMap::new(),
        }
    }

    /// From now on the peer is known. No addresses leave those that are known; names among them are not looked up.
    pub(crate) fn set_known(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let places = self.known.entry(peer).or_default();
        if !addresses.is_empty() {
            *places = addresses.iter().filter_map(Place::of).collect();
        }
    }

    /// From now on the peer is a stranger.
    pub(crate) fn set_unknown(&mut self, peer: &PeerId) {
        self.known.remove(peer);
    }

    /// A handshake begins.
    fn begin(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Denied> {
        let place = Place::of(remote);
        if place.is_some() {
            let same = self.pending.values().filter(|other| **other == place).count();
            if same >= self.max_pending_per_address {
                return Err(Denied::PendingOfAddress);
            }
        }
        let of_known = |place| self.known.values().any(|places| places.contains(&place));
        if self.pending.len() >= self.max_pending && !place.is_some_and(of_known) {
            return Err(Denied::Pending);
        }
        self.pending.insert(connection, place);
        Ok(())
    }

    fn check(&self, peer: &PeerId, places: usize) -> Result<(), Denied> {
        if self.established.values().filter(|(other, _)| other == peer).count() >= CONNECTIONS_PER_PEER {
            return Err(Denied::Peer);
        }
        if places > 0 && !self.known.contains_key(peer) {
            let unknown = self.established.values().filter(|(peer, _)| !self.known.contains_key(peer));
            if unknown.map(|(_, places)| places).sum::<usize>() + places > self.max_unknown {
                return Err(Denied::Unknown);
            }
        }
        Ok(())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.begin(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        self.check(&peer, places(remote)).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer, 0).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let places = if endpoint.is_listener() { places(endpoint.get_remote_address()) } else { 0 };
                self.established.insert(connection_id, (peer_id, places));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.established.remove(&connection_id);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_do_not_compete_with_strangers() {
        let mut limits = Behaviour::new(&NetLimits { max_unknown_connections: 2, ..NetLimits::default() });
        let mut ids = (0..).map(ConnectionId::new_unchecked);
        let mut connect = |limits: &mut Behaviour, peer: PeerId, places: usize| {
            limits.check(&peer, places)?;
            let id = ids.next().unwrap();
            limits.established.insert(id, (peer, places));
            Ok(id)
        };
        let [one, two, three, member] = [(); 4].map(|()| PeerId::random());
        limits.set_known(member, &[]);
        let first = connect(&mut limits, one, 1).unwrap();
        connect(&mut limits, two, 1).unwrap();
        assert_eq!(connect(&mut limits, three, 1), Err(Denied::Unknown));
        assert!(connect(&mut limits, three, 0).is_ok(), "our own attempts are our own affair");
        for _ in 0..CONNECTIONS_PER_PEER {
            assert!(connect(&mut limits, member, 1).is_ok());
        }
        assert_eq!(connect(&mut limits, member, 1), Err(Denied::Peer));
        assert_eq!(connect(&mut limits, three, 1), Err(Denied::Unknown));
        limits.established.remove(&first);
        assert!(connect(&mut limits, three, 1).is_ok());
        limits.set_unknown(&member);
        assert_eq!(connect(&mut limits, one, 1), Err(Denied::Unknown));
    }

    #[test]
    fn a_connection_that_may_hold_more_takes_more_places() {
        let mut limits = Behaviour::new(&NetLimits { max_unknown_connections: 30, ..NetLimits::default() });
        let quic = places(&"/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap());
        let tcp = places(&"/ip4/10.0.0.1/tcp/1".parse().unwrap());
        for (id, places) in [quic, tcp, quic].into_iter().enumerate() {
            let peer = PeerId::random();
            assert_eq!(limits.check(&peer, places), Ok(()));
            limits.established.insert(ConnectionId::new_unchecked(id), (peer, places));
        }
        assert_eq!(limits.check(&PeerId::random(), quic), Err(Denied::Unknown));
        assert_eq!(limits.check(&PeerId::random(), tcp), Ok(()));
    }

    #[test]
    fn handshakes_are_bounded_in_all_and_by_address() {
        let mut limits = Behaviour::new(&NetLimits {
            max_pending_connections: 5,
            max_pending_connections_per_address: 2,
            ..NetLimits::default()
        });
        let mut ids = (0..).map(ConnectionId::new_unchecked);
        let mut begin = |limits: &mut Behaviour, address: &str| {
            let id = ids.next().unwrap();
            limits.begin(id, &address.parse().unwrap()).map(|()| id)
        };
        let first = begin(&mut limits, "/ip4/10.0.0.1/tcp/1").unwrap();
        begin(&mut limits, "/ip6/::ffff:10.0.0.1/tcp/2").unwrap();
        assert_eq!(begin(&mut limits, "/ip4/10.0.0.1/udp/3/quic-v1"), Err(Denied::PendingOfAddress));
        begin(&mut limits, "/ip6/2001:db8::1/tcp/1").unwrap();
        begin(&mut limits, "/ip6/2001:db8::ffff:1/tcp/1").unwrap();
        assert_eq!(begin(&mut limits, "/ip6/2001:db8::2/tcp/1"), Err(Denied::PendingOfAddress));
        begin(&mut limits, "/ip6/2001:db8:0:1::1/tcp/1").unwrap();
        assert_eq!(begin(&mut limits, "/ip4/10.0.0.2/tcp/1"), Err(Denied::Pending));
        // A member's places are its own, as long as it is one.
        let member = PeerId::random();
        limits.set_known(member, &["/ip4/10.0.0.2/tcp/4001".parse().unwrap()]);
        limits.set_known(member, &[]);
        begin(&mut limits, "/ip4/10.0.0.2/tcp/1").unwrap();
        begin(&mut limits, "/ip4/10.0.0.2/tcp/2").unwrap();
        assert_eq!(begin(&mut limits, "/ip4/10.0.0.2/tcp/3"), Err(Denied::PendingOfAddress));
        limits.set_unknown(&member);
        limits.pending.remove(&first);
        assert_eq!(begin(&mut limits, "/ip4/10.0.0.3/tcp/1"), Err(Denied::Pending));
    }
}
