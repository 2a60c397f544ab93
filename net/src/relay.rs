//! Relaying for the hosts on a list: libp2p's relay server, closed to all others.
//!
//! A relay carries sealed bytes: the two ends make their own handshake (Noise) through it. Hosts that are not on the list can neither be
//! reached through this host nor reach others through it.
//!
//! Invariants: with an empty list nobody is relayed for. Each host on the list has at most [`CIRCUITS_PER_HOST`] circuits that it began, and one
//! reservation for each of its connections. A circuit ends after [`MAX_CIRCUIT_TIME`]; the hosts then make another one.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::relay;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Circuits that one host began.
const CIRCUITS_PER_HOST: usize = 16;
/// Circuits at a time. Each takes two buffers of 8 KiB, and a stream of two connections.
const MAX_CIRCUITS: usize = 128;
/// How long a circuit lasts.
const MAX_CIRCUIT_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// A host asks for its reservation again within this time.
const RESERVATION_TIME: Duration = Duration::from_secs(60 * 60);
/// Reservations and circuits that a host may ask for at once, and how often one more.
const BURST: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
const ONE_MORE_EVERY: Duration = Duration::from_secs(1);

/// The behaviour.
pub(crate) struct Behaviour {
    server: relay::Behaviour,
    hosts: BTreeSet<PeerId>,
}

impl Behaviour {
    /// Relays for these hosts.
    pub(crate) fn new(local: PeerId, hosts: BTreeSet<PeerId>) -> Behaviour {
        let config = relay::Config {
            // Renewed ones are counted beside those that they renew.
            max_reservations: hosts.len() * 8,
            reservation_duration: RESERVATION_TIME,
            reservation_rate_limiters: Vec::new(),
            max_circuits: MAX_CIRCUITS,
            max_circuits_per_peer: CIRCUITS_PER_HOST,
            max_circuit_duration: MAX_CIRCUIT_TIME,
            // No limit: the hosts are known, and both have a name on the list.
            max_circuit_bytes: 0,
            circuit_src_rate_limiters: Vec::new(),
            ..relay::Config::default()
        };
        let config =
            config.reservation_rate_per_peer(BURST, ONE_MORE_EVERY).circuit_src_per_peer(BURST, ONE_MORE_EVERY);
        let mut server = relay::Behaviour::new(local, config);
        // Before there is any connection, and not changed afterwards.
        server.set_status(Some(relay::Status::Enable));
        Behaviour { server, hosts }
    }

    /// What the server takes for the address of a connection: those over relays get nothing of it.
    fn shown(&self, peer: &PeerId, address: &Multiaddr) -> Multiaddr {
        if self.hosts.contains(peer) { address.clone() } else { Multiaddr::empty().with(Protocol::P2pCircuit) }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <relay::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = relay::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let local = self.shown(&peer, local);
        self.server.handle_established_inbound_connection(connection, peer, &local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let address = self.shown(&peer, address);
        self.server.handle_established_outbound_connection(connection, peer, &address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.server.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.server.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<relay::Event, THandlerInEvent<Self>>> {
        self.server.poll(context)
    }
}
