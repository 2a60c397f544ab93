//! The libp2p behaviour that denies connections: too many handshakes, too many unknown hosts, too many of one peer.
//!
//! Known hosts (those with addresses) neither count as unknown nor compete with them, so that strangers cannot lock members
//! out. libp2p's own connection limits count those that bypass them, and keep an entry for every peer that there ever was.
//!
//! Invariant: what is remembered is bounded by the connections that exist.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::NetLimits;

/// Connections of one peer: one, one that replaces it, and as much again for old ones that are not closed yet.
const CONNECTIONS_PER_PEER: usize = 4;

/// Why a connection was denied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("too many handshakes at a time")]
    Pending,
    #[error("too many connections of unknown hosts")]
    Unknown,
    #[error("too many connections of one peer")]
    Peer,
}

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Behaviour {
    max_pending: usize,
    max_unknown: usize,
    known: HashSet<PeerId>,
    pending: HashSet<ConnectionId>,
    /// Whose connection it is, and whether the peer made it.
    established: HashMap<ConnectionId, (PeerId, bool)>,
}

impl Behaviour {
    pub(crate) fn new(limits: &NetLimits) -> Behaviour {
        Behaviour {
            max_pending: limits.max_pending_connections as usize,
            max_unknown: limits.max_unknown_connections as usize,
            known: HashSet::new(),
            pending: HashSet::new(),
            established: HashMap::new(),
        }
    }

    /// From now on the peer is known, or is not.
    pub(crate) fn set_known(&mut self, peer: PeerId, known: bool) {
        if known {
            self.known.insert(peer);
        } else {
            self.known.remove(&peer);
        }
    }

    fn check(&self, peer: &PeerId, inbound: bool) -> Result<(), Denied> {
        if self.established.values().filter(|(other, _)| other == peer).count() >= CONNECTIONS_PER_PEER {
            return Err(Denied::Peer);
        }
        let unknown = |(peer, inbound): &&(PeerId, bool)| *inbound && !self.known.contains(peer);
        if inbound
            && !self.known.contains(peer)
            && self.established.values().filter(unknown).count() >= self.max_unknown
        {
            return Err(Denied::Unknown);
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
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending.len() >= self.max_pending {
            return Err(ConnectionDenied::new(Denied::Pending));
        }
        self.pending.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        self.check(&peer, true).map_err(ConnectionDenied::new)?;
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
        self.check(&peer, false).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                self.established.insert(connection_id, (peer_id, endpoint.is_listener()));
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
        let mut limits = Behaviour::new(&NetLimits {
            max_unknown_connections: 2,
            max_pending_connections: 2,
            ..NetLimits::default()
        });
        let mut ids = (0..).map(ConnectionId::new_unchecked);
        let mut connect = |limits: &mut Behaviour, peer: PeerId, inbound: bool| {
            limits.check(&peer, inbound)?;
            let id = ids.next().unwrap();
            limits.established.insert(id, (peer, inbound));
            Ok(id)
        };
        let [one, two, three, member] = [(); 4].map(|()| PeerId::random());
        limits.set_known(member, true);
        let first = connect(&mut limits, one, true).unwrap();
        connect(&mut limits, two, true).unwrap();
        assert_eq!(connect(&mut limits, three, true), Err(Denied::Unknown));
        assert!(connect(&mut limits, three, false).is_ok(), "our own attempts are our own affair");
        for _ in 0..CONNECTIONS_PER_PEER {
            assert!(connect(&mut limits, member, true).is_ok());
        }
        assert_eq!(connect(&mut limits, member, true), Err(Denied::Peer));
        assert_eq!(connect(&mut limits, three, true), Err(Denied::Unknown));
        limits.established.remove(&first);
        assert!(connect(&mut limits, three, true).is_ok());
        limits.set_known(member, false);
        assert_eq!(connect(&mut limits, one, true), Err(Denied::Unknown));
    }
}
