//! Hosts on real loopback sockets.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, noise, tcp, yamux};
use quorate_net::{BoxFuture, Handler, HostId, Libp2pNetwork, NetLimits, NetOptions, Network};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

use crate::common::World;

/// Hosts on one kind of socket; a host that is started again listens where it did.
pub struct Sockets {
    listen: &'static str,
    limits: NetLimits,
    known: Mutex<BTreeMap<u8, Vec<String>>>,
}

impl Sockets {
    pub fn tcp() -> Sockets {
        Sockets::new("/ip4/127.0.0.1/tcp/0", NetLimits::default())
    }

    pub fn quic() -> Sockets {
        Sockets::new("/ip4/127.0.0.1/udp/0/quic-v1", NetLimits::default())
    }

    pub fn new(listen: &'static str, limits: NetLimits) -> Sockets {
        Sockets { listen, limits, known: Mutex::default() }
    }
}

impl World for Sockets {
    fn start(&self, seed: u8, handler: Arc<dyn Handler>) -> BoxFuture<'_, Arc<dyn Network>> {
        Box::pin(async move {
            let known = self.known.lock().unwrap().get(&seed).cloned();
            let listen = known.unwrap_or_else(|| vec![self.listen.into()]);
            let options = NetOptions { secret: [seed; 32], listen, handler, limits: self.limits.clone() };
            let network = Libp2pNetwork::start(options).await.unwrap();
            self.known.lock().unwrap().insert(seed, network.listen_addresses());
            network as Arc<dyn Network>
        })
    }
}

/// A client that speaks libp2p but none of our framing.
pub struct Raw {
    pub local: HostId,
    server: PeerId,
    control: libp2p_stream::Control,
}

impl Raw {
    pub async fn connect(server: &Arc<dyn Network>) -> Raw {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        let address: Multiaddr = server.listen_addresses()[0].parse().unwrap();
        let server = server.local().peer_id();
        swarm.dial(address.with_p2p(server).unwrap()).unwrap();
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        let local = HostId::from_peer_id(swarm.local_peer_id()).unwrap();
        let control = swarm.behaviour().new_control();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Raw { local, server, control }
    }

    pub async fn open(&mut self, protocol: &'static str) -> Compat<libp2p::Stream> {
        self.control.open_stream(self.server, StreamProtocol::new(protocol)).await.unwrap().compat()
    }
}
