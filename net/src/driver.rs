//! The task that owns the libp2p swarm: carries out the decisions of the peer table, and reports events to it.
//!
//! It does nothing that takes long: frames never pass through here, only openings of streams and changes of connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::metrics::{Metrics, Recorder as _};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, NetworkBehaviour, Stream, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, dcutr, identify, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::answer::Shared;
use crate::lane::Opened;
use crate::own_key::Meetings;
use crate::peers::{Asked, PeerTable};
use crate::reach::Reach;
use crate::streams::{self, Open, OpenedStream};
use crate::{HostId, NetError, PeerName, Purpose, limits};

/// A connection that was replaced is closed after this: more than the grace that lanes give to their last responses.
const CLOSE_REPLACED_AFTER: Duration = Duration::from_secs(3);
/// How often relays are asked that do not take connections for this host yet.
const RELAYS_EVERY: Duration = Duration::from_secs(2);
/// How long a name of an address may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses taken of one name.
const ADDRESSES_PER_NAME: usize = 8;
/// How long streams get at the end to answer what they can, and to say why they end; and how long the goodbyes then take.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
const FAREWELL: Duration = Duration::from_millis(500);

/// One who wants a stream, with the purpose of it.
pub(crate) struct Waiter {
    pub(crate) purpose: Purpose,
    pub(crate) reply: oneshot::Sender<Result<Opened<Stream>, NetError>>,
}

/// The peer table of a libp2p network.
pub(crate) type Peers = Arc<Mutex<PeerTable<ConnectionId, Waiter>>>;

/// What the rest of the network asks of the driver.
pub(crate) enum Command {
    /// Open a stream.
    Open(HostId, Waiter),
    /// Remember addresses, connect. Sent only if they have changed.
    SetAddresses(HostId, Vec<String>),
    /// Disconnect.
    Forget(HostId),
    /// Names are resolved: dial these.
    Resolved(HostId, Vec<Multiaddr>),
    /// A connection was replaced long enough ago.
    Close(ConnectionId),
}

/// All protocols of a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviours {
    // First, so that nothing is set up for a connection that is denied.
    pub(crate) limits: limits::Behaviour,
    pub(crate) streams: streams::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) relay: crate::relay::Behaviour,
    pub(crate) relayed: libp2p::relay::client::Behaviour,
    pub(crate) hole_punching: dcutr::Behaviour,
}

/// The driver.
pub(crate) struct Driver {
    pub(crate) swarm: Swarm<Behaviours>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Metrics,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) sender: mpsc::WeakUnboundedSender<Command>,
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
    /// Relays, and where others see this host.
    pub(crate) reach: Arc<Mutex<Reach>>,
    /// Connections that are being made, to notice another process with the same key.
    pub(crate) meetings: Meetings<ConnectionId>,
    /// What happened before the driver ran.
    pub(crate) early: Vec<SwarmEvent<BehavioursEvent>>,
}

impl Driver {
    fn peers(&self) -> std::sync::MutexGuard<'_, PeerTable<ConnectionId, Waiter>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the network is closed; the sockets are closed with it.
    pub(crate) async fn run(mut self) {
        let closed = self.shared.closed.clone();
        let mut relays = tokio::time::interval(RELAYS_EVERY);
        for event in std::mem::take(&mut self.early) {
            self.on_event(event);
        }
        loop {
            let due = self.peers().next_due();
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = closed.cancelled() => break,
                event = self.swarm.select_next_some() => {
                    if is_countable(&event) {
                        self.metrics.record(&event);
                    }
                    self.on_event(event);
                }
                _ = relays.tick() => self.listen_at_relays(),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                () = timer => {
                    let dials = self.peers().due(Instant::now());
                    for (host, addresses) in dials {
                        self.dial(host, addresses);
                    }
                }
            }
        }
        self.end().await;
    }

    /// Lets streams and connections say goodbye, so that peers need not wait for a timeout. One that hangs does not hold us up.
    async fn end(&mut self) {
        let mut serving = self.shared.serving.subscribe();
        let answered = async {
            let mut served = std::pin::pin!(serving.wait_for(|serving| *serving == 0));
            loop {
                tokio::select! {
                    _ = &mut served => break,
                    _ = self.swarm.select_next_some() => {}
                }
            }
        };
        let _ = tokio::time::timeout(LAST_ANSWERS, answered).await;
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let farewell = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Open(host, waiter) => {
                let asked = self.peers().ask(host, waiter, now);
                match asked {
                    Asked::Open(waiter, connection) => self.open(host, connection, waiter),
                    Asked::Waits => {}
                    Asked::Dial(addresses) => self.dial(host, addresses),
                    Asked::Fail(waiter, error) => {
                        let _ = waiter.reply.send(Err(error));
                    }
                }
            }
            Command::SetAddresses(host, addresses) => {
                let known: Vec<Multiaddr> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
                self.swarm.behaviour_mut().limits.set_known(host.peer_id(), &known);
                let dial = self.peers().set_addresses(host, addresses, now);
                if let Some(addresses) = dial {
                    self.dial(host, addresses);
                }
            }
            Command::Forget(host) => {
                self.swarm.behaviour_mut().limits.set_unknown(&host.peer_id());
                let forgotten = self.peers().forget(host, now);
                if forgotten.close {
                    // Attempts to connect end with it. Fails if there was nothing to end.
                    let _ = self.swarm.disconnect_peer_id(host.peer_id());
                }
                for waiter in forgotten.waiting {
                    let reason = "the host was forgotten".to_owned();
                    let _ = waiter.reply.send(Err(NetError::Unreachable { host, next_attempt_in: None, reason }));
                }
            }
            Command::Resolved(host, addresses) => self.dial_resolved(host, addresses),
            Command::Close(connection) => {
                self.swarm.close_connection(connection);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehavioursEvent>) {
        let now = Instant::now();
        let counters = &self.shared.counters.connections;
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                counters.connections_opened.increment();
                self.meetings.end(&connection_id);
                let Some(host) = HostId::from_peer_id(&peer_id) else { return };
                let remote = remote_of(&endpoint);
                tracing::debug!(%host, %remote, dialled = endpoint.is_dialer(), "connected");
                let done = self.peers().connected(host, connection_id, endpoint.is_dialer(), remote, now);
                self.count_connected();
                for (waiter, connection) in done.opens {
                    self.open(host, connection, waiter);
                }
                if let Some(connection) = done.close_later {
                    self.shared.counters.connections.connections_duplicate.increment();
                    self.close_later(connection);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                counters.connections_closed.increment();
                let Some(host) = HostId::from_peer_id(&peer_id) else { return };
                let reason = cause.map(|cause| cause.to_string());
                tracing::debug!(%host, ?reason, "a connection ended");
                if self.peers().disconnected(host, connection_id, reason, now) {
                    self.reach().unseen(&peer_id);
                }
                self.count_connected();
            }
            SwarmEvent::IncomingConnection { connection_id, .. } => self.meetings.accept(connection_id),
            // By a protocol, not by the peer table: to a relay, or to meet a peer in the middle.
            SwarmEvent::Dialing { connection_id, .. } => self.meetings.dial(connection_id),
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer_id), connection_id, error } => {
                let own = match &error {
                    DialError::WrongPeerId { obtained, address } if *obtained == *self.swarm.local_peer_id() => {
                        Some(address)
                    }
                    DialError::LocalPeerId { address } => Some(address),
                    _ => None,
                };
                self.made_or_failed(connection_id, own);
                let Some(host) = HostId::from_peer_id(&peer_id) else { return };
                self.dial_failed(host, error.to_string());
            }
            SwarmEvent::IncomingConnectionError { connection_id, send_back_addr, error, .. } => {
                let own = matches!(error, ListenError::LocalPeerId { .. }).then_some(&send_back_addr);
                self.made_or_failed(connection_id, own);
                self.shared.counters.connections.inbound_failures.increment();
                tracing::debug!(from = %send_back_addr, %error, "an inbound connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                if self.reach().is_relay(listener_id) {
                    tracing::info!(%address, "a relay takes connections for this host");
                    return self.reach().relay_agreed(listener_id);
                }
                self.listening.lock().unwrap_or_else(PoisonError::into_inner).push(address);
            }
            SwarmEvent::ExpiredListenAddr { listener_id, .. } if self.reach().is_relay(listener_id) => {}
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.reach().is_relay(listener_id) => {
                tracing::debug!(?reason, "a relay takes no connections for this host any more");
                self.reach().relay_ended(listener_id);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a listener was closed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed"),
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehavioursEvent) {
        match event {
            BehavioursEvent::Ping(ping::Event { peer, connection, result }) => {
                self.metrics.record(&ping::Event { peer, connection, result: copy_result(&result) });
                match result {
                    Ok(round_trip) => {
                        if let Some(host) = HostId::from_peer_id(&peer) {
                            self.peers().measured(host, round_trip);
                        }
                    }
                    // A peer that speaks no ping is not dead; a client may be so simple.
                    Err(ping::Failure::Unsupported) => {}
                    Err(error) => self.give_up(peer, connection, &error),
                }
            }
            BehavioursEvent::Identify(mut event) => {
                if let identify::Event::Received { peer_id, info, .. } = &mut event {
                    without_odd_addresses(info);
                    if let Some(host) = HostId::from_peer_id(peer_id)
                        && self.peers().is_wanted(host)
                    {
                        self.reach().seen(*peer_id, &info.observed_addr);
                    }
                    let said = HostId::from_peer_id(peer_id).zip(version_of(&info.agent_version));
                    if let Some((host, version)) = said {
                        self.peers().identified(host, version);
                    }
                }
                self.metrics.record(&event);
            }
            BehavioursEvent::Relay(event) => {
                self.count_relay(&event);
                self.metrics.record(&event);
            }
            BehavioursEvent::Relayed(event) => tracing::debug!(?event, "a relay"),
            BehavioursEvent::HolePunching(event) => {
                let counters = &self.shared.counters.connections;
                match &event.result {
                    Ok(_) => counters.holes_punched.increment(),
                    Err(_) => counters.holes_failed.increment(),
                }
                tracing::debug!(peer = %event.remote_peer_id, result = ?event.result, "a direct connection instead of a relayed one");
            }
            BehavioursEvent::Limits(never) => match never {},
            BehavioursEvent::Streams(never) => match never {},
        }
    }

    fn reach(&self) -> std::sync::MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has relays that are connected take connections for this host, where they do not yet.
    fn listen_at_relays(&mut self) {
        let missing = self.reach().missing_relays();
        for (relay, address) in missing {
            if !self.swarm.is_connected(&relay) {
                continue;
            }
            match self.swarm.listen_on(address.clone()) {
                Ok(listener) => self.reach().asked_relay(listener, relay, address),
                Err(error) => tracing::debug!(%address, %error, "a relay can't be asked"),
            }
        }
    }

    fn count_relay(&self, event: &libp2p::relay::Event) {
        use libp2p::relay::Event::{CircuitClosed, CircuitReqAccepted, CircuitReqDenied, ReservationReqDenied};
        let counters = &self.shared.counters.connections;
        match event {
            CircuitReqAccepted { .. } => {
                counters.circuits_opened.increment();
                counters.circuits.increment();
            }
            CircuitClosed { .. } => counters.circuits.decrement(),
            CircuitReqDenied { .. } | ReservationReqDenied { .. } => counters.circuits_denied.increment(),
            _ => {}
        }
    }

    /// A connection whose other end is silent. The end of it may be long in coming, since what was written before waits to be
    /// taken: it counts as ended now, so that its requests fail and the peer is dialled again.
    fn give_up(&mut self, peer: PeerId, connection: ConnectionId, error: &ping::Failure) {
        tracing::debug!(%peer, %error, "no answer to a ping; the connection is closed");
        if let Some(host) = HostId::from_peer_id(&peer) {
            self.peers().disconnected(host, connection, Some(error.to_string()), Instant::now());
            self.count_connected();
        }
        self.swarm.close_connection(connection);
    }

    fn count_connected(&self) {
        let connected = self.peers().connected_peers() as u64;
        self.shared.counters.connections.connected_peers.set(connected);
    }

    /// Opens a stream for `waiter` on this connection.
    fn open(&mut self, host: HostId, connection: ConnectionId, waiter: Waiter) {
        let Waiter { purpose, reply } = waiter;
        let retire = self.peers().retire_signal(host, connection).unwrap_or_default();
        let (opened, stream) = oneshot::channel();
        self.swarm.behaviour_mut().streams.open(host.peer_id(), connection, Open { purpose, reply: opened });
        tokio::spawn(async move {
            let failed = |reason: String| NetError::Unreachable { host, next_attempt_in: Some(Duration::ZERO), reason };
            let result = match stream.await {
                Ok(Ok(OpenedStream { stream, ended })) => Ok(Opened { stream, retire, ended }),
                Ok(Err(reason)) => Err(failed(reason)),
                Err(_) => Err(failed("the connection ended while the stream was being opened".into())),
            };
            let _ = reply.send(result);
        });
    }

    fn close_later(&self, connection: ConnectionId) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_REPLACED_AFTER).await;
            if let Some(sender) = sender.upgrade() {
                let _ = sender.send(Command::Close(connection));
            }
        });
    }

    /// Dials after resolving names, if there are any.
    fn dial(&mut self, host: HostId, addresses: Vec<String>) {
        self.shared.counters.connections.dials.increment();
        let addresses: Vec<Multiaddr> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        if !addresses.iter().any(is_name) {
            return self.dial_resolved(host, addresses);
        }
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let addresses = futures::future::join_all(addresses.into_iter().map(resolve)).await.concat();
            if let Some(sender) = sender.upgrade() {
                let _ = sender.send(Command::Resolved(host, addresses));
            }
        });
    }

    fn dial_resolved(&mut self, host: HostId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return self.dial_failed(host, "none of its addresses can be used".into());
        }
        // A new port each time: reusing the listener's would let two hosts that dial each other meet in the middle.
        let options = DialOpts::peer_id(host.peer_id())
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.meetings.dial(connection),
            Err(error) => self.dial_failed(host, error.to_string()),
        }
    }

    /// A connection has failed; if the other end has this host's key, with its address.
    fn made_or_failed(&mut self, connection: ConnectionId, own_key_at: Option<&Multiaddr>) {
        match own_key_at {
            Some(address) if self.meetings.own_key(&connection) => {
                tracing::error!(%address, "another process with this host's key was met");
                self.shared.handler.own_key_met(&address.to_string());
            }
            Some(address) => tracing::debug!(%address, "this host may have reached itself"),
            None => self.meetings.end(&connection),
        }
    }

    fn dial_failed(&mut self, host: HostId, reason: String) {
        self.shared.counters.connections.dial_failures.increment();
        tracing::debug!(%host, %reason, "cannot connect");
        let (waiting, error) = self.peers().dial_failed(host, reason, Instant::now());
        for waiter in waiting {
            let _ = waiter.reply.send(Err(error.clone()));
        }
    }
}

/// The other end of a connection, for people. Of one that came through a relay, the address at the relay.
fn remote_of(endpoint: &ConnectedPoint) -> String {
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } if endpoint.is_relayed() => local_addr.to_string(),
        _ => endpoint.get_remote_address().to_string(),
    }
}

fn copy_result(result: &Result<Duration, ping::Failure>) -> Result<Duration, ping::Failure> {
    match result {
        Ok(round_trip) => Ok(*round_trip),
        Err(ping::Failure::Timeout) => Err(ping::Failure::Timeout),
        Err(ping::Failure::Unsupported) => Err(ping::Failure::Unsupported),
        Err(ping::Failure::Other { error }) => Err(ping::Failure::Other { error: error.to_string().into() }),
    }
}

/// Returns whether libp2p's metrics may count an event: they have a series for each form of address, and what a peer says that it sees
/// us at has any form it likes.
fn is_countable(event: &SwarmEvent<BehavioursEvent>) -> bool {
    match event {
        SwarmEvent::NewExternalAddrCandidate { address } => is_of_our_transports(address),
        _ => true,
    }
}

/// Letters that are kept of the version that a peer names.
const VERSION_LETTERS: usize = 32;

/// The version of Quorate in what a peer calls itself, if it is one: a peer may say anything.
fn version_of(agent: &str) -> Option<String> {
    let version = agent.strip_prefix("quorate/")?;
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || ".-+".contains(letter);
    let good = !version.is_empty() && version.len() <= VERSION_LETTERS && version.chars().all(is_fine);
    good.then(|| version.to_owned())
}

/// The same for what a peer says of itself.
fn without_odd_addresses(info: &mut identify::Info) {
    info.listen_addrs.retain(is_of_our_transports);
    if !is_of_our_transports(&info.observed_addr) {
        info.observed_addr = Multiaddr::empty();
    }
}

/// Returns whether it is an address of TCP or QUIC: there are but a few forms of those.
fn is_of_our_transports(address: &Multiaddr) -> bool {
    use Protocol::{Dns, Dns4, Dns6, Ip4, Ip6, P2p, QuicV1, Tcp, Udp};
    let mut parts = address.iter();
    let is_host = matches!(parts.next(), Some(Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_)));
    let is_port = match parts.next() {
        Some(Tcp(_)) => true,
        Some(Udp(_)) => matches!(parts.next(), Some(QuicV1)),
        _ => false,
    };
    is_host && is_port && matches!((parts.next(), parts.next()), (None, _) | (Some(P2p(_)), None))
}

fn is_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Replaces the name at the front of an address by what the system's resolver says.
async fn resolve(address: Multiaddr) -> Vec<Multiaddr> {
    let mut rest = address.iter();
    let (name, four, six) = match rest.next() {
        Some(Protocol::Dns(name)) => (name.into_owned(), true, true),
        Some(Protocol::Dns4(name)) => (name.into_owned(), true, false),
        Some(Protocol::Dns6(name)) => (name.into_owned(), false, true),
        _ => return vec![address],
    };
    let found = match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name.as_str(), 0))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(%name, %error, "a name cannot be resolved");
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    let rest: Vec<Protocol<'_>> = rest.collect();
    found
        .map(|socket| socket.ip())
        .filter(|ip| if ip.is_ipv4() { four } else { six })
        .take(ADDRESSES_PER_NAME)
        .map(|ip| rest.iter().cloned().fold(Multiaddr::from(ip), |address, part| address.with(part)))
        .collect()
}
