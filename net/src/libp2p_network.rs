//! [`Network`] over libp2p: TCP with Noise and Yamux, or QUIC; identify and ping; our own streams.
//!
//! Requests do not pass through the swarm's task: each lane talks to its stream. libp2p cannot run under virtual time;
//! simulations use [`crate::MemoryNetwork`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::connection::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, SwarmBuilder, Transport as _, dcutr, identify, identity, noise, ping, quic, relay, tcp,
};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::answer::Shared;
use crate::driver::{Behaviours, BehavioursEvent, Command, Driver, Peers, Waiter};
use crate::lane::{Connector, Lanes, Opened};
use crate::network::BoxFuture;
use crate::own_key::Meetings;
use crate::peers::PeerTable;
use crate::reach::Reach;
use crate::{
    HostId, NetError, NetLimits, NetOptions, NetReach, NetStats, Network, PeerInfo, PeerName, Purpose, muxer, streams,
};

/// How long the sockets may take to begin listening.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// After a shutdown: how often it looks whether the ports are free, and for how long. QUIC keeps its socket for a while to tell
/// peers that the connection is closed.
const PORT_POLL: Duration = Duration::from_millis(20);
const PORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Inbound streams of one connection in negotiation.
const NEGOTIATING_STREAMS: usize = 16;
/// Bytes that a peer may send ahead of us reading on a QUIC connection, and on one stream of it: a member at the end of a line of
/// 80 ms can still send 25 MB a second.
const QUIC_WINDOW: u32 = 2 * 1024 * 1024;
/// How long nothing may come on a QUIC connection: as long as an answer to a ping may be missing on one over TCP. Less is not enough
/// where a machine is so busy that datagrams are dropped before they are read, since each repetition waits twice as long.
const QUIC_IDLE_TIMEOUT: Duration = Duration::from_secs(25);
/// Streams that a peer may have open on a QUIC connection: two of each purpose, ping, and identify, with room.
const QUIC_STREAMS: u32 = 24;
const _: () =
    assert!(crate::lane::EARLY_BYTES * (QUIC_STREAMS as usize) < QUIC_WINDOW as usize, "confirmations get through");

/// The network of one host over libp2p. Ends when it is shut down or dropped.
pub struct Libp2pNetwork {
    shared: Arc<Shared>,
    lanes: Arc<Lanes<DriverConnector>>,
    commands: mpsc::UnboundedSender<Command>,
    peers: Peers,
    /// What was set last, so that what is said again and again costs the driver nothing.
    set: Mutex<HashMap<HostId, Vec<String>>>,
    listening: Arc<Mutex<Vec<Multiaddr>>>,
    reach: Arc<Mutex<Reach>>,
    registry: Registry,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Libp2pNetwork {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Libp2pNetwork").field("local", &self.shared.local).finish_non_exhaustive()
    }
}

/// Lanes get their streams from the driver.
struct DriverConnector {
    commands: mpsc::WeakUnboundedSender<Command>,
    peers: Peers,
}

impl Connector for DriverConnector {
    type Stream = libp2p::Stream;

    fn is_known(&self, host: HostId) -> bool {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).is_wanted(host)
    }

    fn open(&self, host: HostId, purpose: Purpose) -> BoxFuture<'_, Result<Opened<libp2p::Stream>, NetError>> {
        let (reply, opened) = oneshot::channel();
        let sent = self
            .commands
            .upgrade()
            .is_some_and(|commands| commands.send(Command::Open(host, Waiter { purpose, reply })).is_ok());
        async move { if sent { opened.await.unwrap_or(Err(NetError::Closed)) } else { Err(NetError::Closed) } }.boxed()
    }
}

impl Libp2pNetwork {
    /// Starts the network of one host and waits until it listens.
    ///
    /// # Errors
    /// [`NetError::Start`] if an address cannot be understood or listened on.
    pub async fn start(options: NetOptions) -> Result<Arc<Libp2pNetwork>, NetError> {
        let NetOptions { secret, listen, reach, handler, limits } = options;
        let local = HostId::of_secret(&secret);
        let shared = Shared::new(local, handler, limits.clone());
        let peers: Peers = Arc::new(Mutex::new(PeerTable::new(local, limits)));
        let mut swarm = build_swarm(secret, &reach, &shared, &peers)?;
        let (listening, early) = listen_on(&mut swarm, &listen).await?;
        if !reach.relay_for.is_empty() {
            // A relay names its addresses to those that it relays for, and must have some.
            listening.iter().for_each(|address| swarm.add_external_address(address.clone()));
        }
        let reach = Arc::new(Mutex::new(Reach::new(&reach)));
        tracing::info!(host = %local, ?listening, "the network listens");
        let listening = Arc::new(Mutex::new(listening));
        let mut registry = Registry::default();
        let metrics = libp2p::metrics::Metrics::new(&mut registry);
        let (commands, received) = mpsc::unbounded_channel();
        let driver = Driver {
            swarm,
            shared: Arc::clone(&shared),
            peers: Arc::clone(&peers),
            metrics,
            commands: received,
            sender: commands.downgrade(),
            listening: Arc::clone(&listening),
            reach: Arc::clone(&reach),
            meetings: Meetings::default(),
            early,
        };
        let connector = Arc::new(DriverConnector { commands: commands.downgrade(), peers: Arc::clone(&peers) });
        let lanes = Arc::new(Lanes::new(Arc::clone(&shared), connector));
        let driver = Mutex::new(Some(tokio::spawn(driver.run())));
        let set = Mutex::default();
        Ok(Arc::new(Libp2pNetwork { shared, lanes, commands, peers, set, listening, reach, registry, driver }))
    }
}

impl Drop for Libp2pNetwork {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl Network for Libp2pNetwork {
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let (shared, lanes) = (Arc::clone(&self.shared), Arc::clone(&self.lanes));
        async move {
            shared.check(to, purpose, frame.len())?;
            let started = Instant::now();
            let result = lanes.request(to, purpose, frame, deadline).await;
            shared.counters.purpose(purpose).count_request(&result, started.elapsed());
            result
        }
        .boxed()
    }

    fn set_addresses(&self, host: HostId, addresses: Vec<String>) {
        if host == self.shared.local {
            return;
        }
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = |earlier: &Vec<String>| addresses.is_empty() || *earlier == addresses;
        if set.get(&host).is_some_and(unchanged) {
            return;
        }
        set.insert(host, addresses.clone());
        let warn = |reason: &str, address: &str| tracing::warn!(%host, address, "{reason} and is skipped");
        let addresses = addresses.into_iter().filter(|address| is_usable(host, address, warn)).collect();
        let _ = self.commands.send(Command::SetAddresses(host, addresses));
    }

    fn hint_addresses(&self, host: HostId, addresses: Vec<String>) {
        if host == self.shared.local {
            return;
        }
        // Hints come from anybody: a warning would be a way to fill the disk.
        let say = |reason: &str, address: &str| tracing::debug!(%host, address, "{reason} and is skipped");
        let addresses = addresses.into_iter().filter(|address| is_usable(host, address, say)).collect();
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).hint(host, addresses, Instant::now());
    }

    fn forget(&self, host: HostId) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.remove(&host);
        let _ = self.commands.send(Command::Forget(host));
    }

    fn local(&self) -> HostId {
        self.shared.local
    }

    fn listen_addresses(&self) -> Vec<String> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Multiaddr::to_string).collect()
    }

    fn relayed_addresses(&self) -> Vec<String> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).relayed()
    }

    fn observed_addresses(&self) -> Vec<String> {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).observed(&listening)
    }

    fn stats(&self) -> NetStats {
        let mut stats = self.shared.counters.read();
        stats.connections.untrusted_bytes = self.shared.budget.taken() as u64;
        stats.connections.unread_bytes = self.shared.unread.get();
        stats
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).infos(Instant::now())
    }

    fn metrics_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(text)
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.shared.closed.cancel();
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listening = Arc::clone(&self.listening);
        async move {
            if let Some(driver) = driver {
                let _ = driver.await;
                let ports = listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let free = async {
                    while !ports.iter().all(|address| probe(address).is_ok()) {
                        tokio::time::sleep(PORT_POLL).await;
                    }
                };
                let _ = tokio::time::timeout(PORT_TIMEOUT, free).await;
            }
        }
        .boxed()
    }
}

/// Returns whether an address can be parsed and does not name another host; else `say` is told.
fn is_usable(host: HostId, address: &str, say: impl Fn(&str, &str)) -> bool {
    let unusable = match address.parse::<Multiaddr>().as_ref().map(|address| address.iter().last()) {
        Ok(Some(Protocol::P2p(peer))) if peer != host.peer_id() => "an address names another host",
        Ok(_) => return true,
        Err(_) => "an address is no multiaddr",
    };
    say(unusable, address);
    false
}

fn build_swarm(
    mut secret: [u8; 32],
    reach: &NetReach,
    shared: &Arc<Shared>,
    peers: &Peers,
) -> Result<Swarm<Behaviours>, NetError> {
    let start = |error: &dyn std::fmt::Display| NetError::Start(error.to_string());
    let limits: NetLimits = shared.limits.clone();
    let keypair = identity::Keypair::ed25519_from_bytes(&mut secret).map_err(|error| start(&error))?;
    let (streams_shared, streams_peers) = (Arc::clone(shared), Arc::clone(peers));
    let relay_for: BTreeSet<PeerId> = reach.relay_for.iter().map(PeerName::peer_id).collect();
    let (circuits, relayed) = relay::client::new(keypair.public().to_peer_id());
    let (dial_timeout, idle) = (limits.dial_timeout, limits.idle_connection);
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_quic_config(bounded)
        .with_other_transport(|keypair| over_tcp(keypair, circuits, shared, peers))
        .map_err(|error| start(&error))?
        .with_behaviour(move |keypair| behaviours(keypair, &limits, streams_shared, streams_peers, relay_for, relayed))
        .map_err(|error| start(&error))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS)
                // A stream has one protocol, and who opens it speaks first: the request goes with the protocol's name, instead of a
                // round trip after it. On the wire it is the same protocol.
                .with_substream_upgrade_protocol_override(upgrade::Version::V1Lazy)
        })
        .with_connection_timeout(dial_timeout)
        .build();
    Ok(swarm)
}

/// TCP with Noise and Yamux, and the same through relays. What a connection may hold depends on who the peer is, which the handshake has
/// shown.
fn over_tcp(
    keypair: &identity::Keypair,
    circuits: relay::client::Transport,
    shared: &Arc<Shared>,
    peers: &Peers,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn Error + Send + Sync>> {
    let (unread, peers) = (Arc::clone(&shared.unread), Arc::clone(peers));
    let upgrade = move |peer: &PeerId, _: &ConnectedPoint| {
        let (host, peers) = (HostId::from_peer_id(peer), Arc::clone(&peers));
        let is_wanted = move |host| peers.lock().unwrap_or_else(PoisonError::into_inner).is_wanted(host);
        muxer::Upgrade::new(move || host.is_some_and(&is_wanted), unread)
    };
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .or_transport(circuits)
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex_ext(upgrade);
    Ok(transport.boxed())
}

/// QUIC has no other bound than its windows, the same for all; and it has its own way to notice that a line is dead.
fn bounded(mut config: quic::Config) -> quic::Config {
    config.max_connection_data = QUIC_WINDOW;
    config.max_stream_data = QUIC_WINDOW;
    config.max_concurrent_stream_limit = QUIC_STREAMS;
    config.max_idle_timeout = u32::try_from(QUIC_IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    config
}

fn behaviours(
    keypair: &identity::Keypair,
    limits: &NetLimits,
    shared: Arc<Shared>,
    peers: Peers,
    relay_for: BTreeSet<PeerId>,
    relayed: relay::client::Behaviour,
) -> Behaviours {
    let local = keypair.public().to_peer_id();
    let keep_alive = move |host| peers.lock().unwrap_or_else(PoisonError::into_inner).keep_alive(host);
    Behaviours {
        limits: crate::limits::Behaviour::new(limits),
        streams: streams::Behaviour::new(shared, Box::new(keep_alive)),
        identify: identify::Behaviour::new(
            identify::Config::new("/quorate/1".into(), keypair.public())
                .with_agent_version(concat!("quorate/", env!("CARGO_PKG_VERSION")).into()),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(limits.ping_interval).with_timeout(limits.ping_interval),
        ),
        relay: crate::relay::Behaviour::new(local, relay_for),
        relayed,
        hole_punching: dcutr::Behaviour::new(local),
    }
}

/// Finds out whether a port is free. libp2p shares its TCP ports, so two hosts on one port would both seem to start, and each
/// would get a part of the connections.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => std::net::UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Begins to listen, and waits until each listener has its first address. Also returns what else happened meanwhile.
async fn listen_on(
    swarm: &mut Swarm<Behaviours>,
    listen: &[String],
) -> Result<(Vec<Multiaddr>, Vec<SwarmEvent<BehavioursEvent>>), NetError> {
    let mut waiting = HashSet::new();
    for text in listen {
        let failed = |error: &dyn std::fmt::Display| {
            NetError::Start(format!(
                "cannot listen on {text}: {error}; check that the address is right and the port is free"
            ))
        };
        let address: Multiaddr = text.parse().map_err(|error| failed(&error))?;
        probe(&address).map_err(|error| failed(&error))?;
        waiting.insert(swarm.listen_on(address).map_err(|error| failed(&error))?);
    }
    let (mut addresses, mut early) = (Vec::new(), Vec::new());
    let begun = async {
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    waiting.remove(&listener_id);
                    addresses.push(address);
                }
                SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                    return Err(NetError::Start(format!("a listener was closed: {error}")));
                }
                SwarmEvent::ListenerError { error, .. } => {
                    return Err(NetError::Start(format!("a listener failed: {error}")));
                }
                other => early.push(other),
            }
        }
        Ok(())
    };
    tokio::time::timeout(LISTEN_TIMEOUT, begun)
        .await
        .map_err(|_| NetError::Start(format!("no listener began within {LISTEN_TIMEOUT:?}")))??;
    Ok((addresses, early))
}
