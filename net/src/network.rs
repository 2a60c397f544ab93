//! The two traits between the network and its user, and what both implementations share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{HostId, NetError, NetStats, Purpose};

/// A boxed future, so that the traits are object-safe.
pub type BoxFuture<'a, T> = futures::future::BoxFuture<'a, T>;

/// What a host does with the requests of others.
pub trait Handler: Send + Sync + 'static {
    /// Returns whether `from` may send requests of this purpose now. Asked when a stream is opened and again for each frame; it must be
    /// quick, since it is called on the network's tasks.
    fn permits(&self, from: HostId, purpose: Purpose) -> bool;

    /// Answers one request, or refuses it with a text that is sent back. Once called, the future runs to its end even if the
    /// peer goes away (unless it takes longer than [`NetLimits::handler_deadline`]). Many run at a time.
    ///
    /// The first part, up to the first real wait, runs on the stream's own task: keep long computations behind a wait.
    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Another process with this host's key was met at this address. Two of them must not run: the host that notices should stop. Called
    /// only if it is certain, and perhaps several times. Must be quick.
    fn own_key_met(&self, address: &str) {
        let _ = address;
    }

    /// Returns whether `from` is spared what bounds strangers: the rate limits, the common memory for their frames, the time that a frame
    /// and a pause may take. By default those who share a vat with us. Asked often, like [`Handler::permits`].
    fn trusts(&self, from: HostId) -> bool {
        self.permits(from, Purpose::Append)
    }
}

/// Sends requests to other hosts and hands theirs to a [`Handler`].
pub trait Network: Send + Sync + 'static {
    /// Sends one request and waits for its response. It is never sent twice. Connects first if that seems possible; fails at
    /// once if the last attempt failed and the next is not due. Dropping the future gives up waiting, not the request.
    ///
    /// # Errors
    /// See [`NetError`]; `Unreachable`, `Overloaded`, `TooLarge`, `Forbidden` say that the request was not handled.
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>>;

    /// Says where `host` listens (multiaddrs) and that a connection to it is wanted from now on: it is dialled at once and,
    /// with backoff, whenever it is gone. Replaces earlier addresses, unless there are none: an empty list makes the host known
    /// and changes no address. Addresses that do not parse are skipped with a warning. Saying the same again costs little.
    fn set_addresses(&self, host: HostId, addresses: Vec<String>);

    /// Says where `host` may listen, for a request that is about to be made. Weaker than [`Network::set_addresses`]: it dials
    /// nothing by itself, does not make the host known or wanted, is not used where addresses were set, and is dropped when
    /// nobody has asked for the host for ten minutes. Replaces earlier hints; an empty list changes nothing.
    fn hint_addresses(&self, host: HostId, addresses: Vec<String>);

    /// Takes back [`Network::set_addresses`]: the host is a stranger from now on. Its connection is closed, unless someone who
    /// only has a hint of its address has asked for it lately.
    fn forget(&self, host: HostId);

    /// This host.
    fn local(&self) -> HostId;

    /// Returns where this host listens, with the real port where port 0 was asked for.
    fn listen_addresses(&self) -> Vec<String>;

    /// Returns where others reach this host through relays, as far as the relays have agreed.
    fn relayed_addresses(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns where this host seems to listen by the word of others: the address at which they see it, with the port where it listens. Only
    /// addresses that at least two connected hosts say, or the only one.
    fn observed_addresses(&self) -> Vec<String> {
        Vec::new()
    }

    /// Counters since the start.
    fn stats(&self) -> NetStats;

    /// Every host that is connected or wanted, sorted by host.
    fn peers(&self) -> Vec<PeerInfo>;

    /// The transport's own metrics in OpenMetrics text without the final `# EOF`, to be appended to a page; empty if none.
    fn metrics_text(&self) -> String {
        String::new()
    }

    /// Ends everything: pending requests fail with [`NetError::Closed`], sockets are closed when the future ends.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// A network that is another one but for its requests: all the rest is the other one's.
pub trait NetworkLayer: Send + Sync + 'static {
    /// The other one.
    fn beneath(&self) -> &dyn Network;

    /// Sends one request, as [`Network::request`] says.
    fn send(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>>;
}

impl<L: NetworkLayer> Network for L {
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        self.send(to, purpose, frame, deadline)
    }

    fn set_addresses(&self, host: HostId, addresses: Vec<String>) {
        self.beneath().set_addresses(host, addresses);
    }

    fn hint_addresses(&self, host: HostId, addresses: Vec<String>) {
        self.beneath().hint_addresses(host, addresses);
    }

    fn forget(&self, host: HostId) {
        self.beneath().forget(host);
    }

    fn local(&self) -> HostId {
        self.beneath().local()
    }

    fn listen_addresses(&self) -> Vec<String> {
        self.beneath().listen_addresses()
    }

    fn relayed_addresses(&self) -> Vec<String> {
        self.beneath().relayed_addresses()
    }

    fn observed_addresses(&self) -> Vec<String> {
        self.beneath().observed_addresses()
    }

    fn stats(&self) -> NetStats {
        self.beneath().stats()
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.beneath().peers()
    }

    fn metrics_text(&self) -> String {
        self.beneath().metrics_text()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.beneath().shutdown()
    }
}

/// One row of [`Network::peers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub host: HostId,
    /// Where it is said to listen.
    pub addresses: Vec<String>,
    /// Whether there is a connection.
    pub connected: bool,
    /// The other end of the connection.
    pub remote_address: Option<String>,
    /// Whether we dialled the connection.
    pub dialled: bool,
    /// How long the connection has lasted.
    pub connected_for: Option<Duration>,
    /// Last round trip time of the transport's own ping.
    pub round_trip: Option<Duration>,
    /// The version of Quorate that the peer says it runs. Nobody checks that.
    pub version: Option<String>,
    /// Attempts that failed since the last connection.
    pub failed_attempts: u32,
    /// When it is dialled next.
    pub next_attempt_in: Option<Duration>,
    /// Why the last attempt or connection ended.
    pub last_error: Option<String>,
}

/// What a network needs to start.
#[derive(Clone)]
pub struct NetOptions {
    /// Ed25519 secret seed of this host.
    pub secret: [u8; 32],
    /// Multiaddrs to listen on: `/ip4/0.0.0.0/tcp/4001`, `/ip4/0.0.0.0/udp/4001/quic-v1`; port 0 picks one.
    pub listen: Vec<String>,
    /// How others reach this host, beside the addresses where it listens.
    pub reach: NetReach,
    /// Answers requests.
    pub handler: Arc<dyn Handler>,
    /// Bounds and timing.
    pub limits: NetLimits,
}

impl std::fmt::Debug for NetOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NetOptions").field("listen", &self.listen).field("limits", &self.limits).finish()
    }
}

/// How other hosts reach one, beside the addresses where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetReach {
    /// Hosts that relay for this one, each with its multiaddrs. A connection to them must be wanted ([`Network::set_addresses`]).
    pub relays: Vec<(HostId, Vec<String>)>,
    /// Hosts that this one relays for.
    pub relay_for: Vec<HostId>,
}

/// Bounds and timing of a network; those of frames are constants of [`Purpose`].
#[derive(Clone, Debug, PartialEq)]
pub struct NetLimits {
    /// Connections from hosts that were not named by `set_addresses`, at most. One over QUIC counts as twelve, since it may hold
    /// more memory.
    pub max_unknown_connections: u32,
    /// Inbound connections in their handshake, at most. Those from where known hosts are said to listen are not turned away
    /// for it.
    pub max_pending_connections: u32,
    /// Inbound connections in their handshake from one IP address (IPv6: from one /64), at most.
    pub max_pending_connections_per_address: u32,
    /// Inbound streams of one purpose on one connection, at most. More are closed at once.
    pub max_inbound_streams_per_purpose: usize,
    /// Untrusted hosts, each: units a second. The opening of a stream costs one unit, a frame one and one more for each 16 KiB.
    /// Frames beyond it wait, so the sender slows down.
    pub untrusted_units_per_second: u32,
    /// Untrusted hosts, each: how many units may be saved up.
    pub untrusted_burst_units: u32,
    /// Untrusted hosts, all together: units a second.
    pub untrusted_total_units_per_second: u32,
    /// Untrusted hosts, all together: how many units may be saved up.
    pub untrusted_total_burst_units: u32,
    /// Untrusted hosts, all together: bytes of frames that have come in part, are being handled, or are answers on their way.
    /// The first 32 KiB of each frame are not counted. Streams that find no room wait for it and are then closed.
    pub untrusted_bytes: usize,
    /// How long a frame of an untrusted host waits for room. Not long: those that wait hold some of it themselves.
    pub untrusted_room_time: Duration,
    /// How long a frame of an untrusted host may take from its first byte to its last, and a second more for each 64 KiB.
    pub untrusted_frame_time: Duration,
    /// An untrusted host's stream without a frame for so long is closed.
    pub untrusted_idle: Duration,
    /// A connection without streams to a host that nobody wants is closed after this.
    pub idle_connection: Duration,
    /// First wait after a failed attempt to connect; doubles with each further one. Jitter of a quarter either way is added.
    pub backoff_base: Duration,
    /// Longest wait between attempts for a host that was asked for lately.
    pub backoff_cap: Duration,
    /// Longest wait between attempts for a host that nobody has asked for lately.
    pub backoff_cap_unasked: Duration,
    /// How long one attempt to connect may take.
    pub dial_timeout: Duration,
    /// Interval of the transport's ping, and how long an answer may take. The first failure of a connection is silent in libp2p,
    /// and the second comes when it has waited ten seconds for another stream: a TCP connection whose other end is gone without
    /// a word counts as lost after two to three intervals and ten seconds, 20 to 25 s as it is (ten more if it was never pinged
    /// before). QUIC has its own way, which takes as long.
    pub ping_interval: Duration,
    /// A handler that takes longer is dropped, and its request is answered as unavailable.
    pub handler_deadline: Duration,
    /// A peer that does not take our responses for so long loses its stream.
    pub write_stall: Duration,
}

impl NetLimits {
    /// The default of `max_unknown_connections`. What so many connections may hold is bounded where they are made.
    pub const MAX_UNKNOWN_CONNECTIONS: u32 = 256;
}

impl Default for NetLimits {
    fn default() -> NetLimits {
        NetLimits {
            max_unknown_connections: NetLimits::MAX_UNKNOWN_CONNECTIONS,
            // Silent ones last until their handshake times out (`dial_timeout`): it takes eight addresses to fill all places, and
            // a member's places are not among them.
            max_pending_connections: 256,
            max_pending_connections_per_address: 32,
            // A reopened stream may overlap the one it replaces.
            max_inbound_streams_per_purpose: 2,
            // 32 MiB or 2,000 small frames a second: far above what one courier needs, far below what stalls a host.
            untrusted_units_per_second: 2_000,
            untrusted_burst_units: 4_000,
            // About what one processor checks the signatures of.
            untrusted_total_units_per_second: 8_000,
            untrusted_total_burst_units: 16_000,
            // Sixteen of the largest slices.
            untrusted_bytes: 64 * 1024 * 1024,
            untrusted_room_time: Duration::from_secs(5),
            untrusted_frame_time: Duration::from_secs(10),
            untrusted_idle: Duration::from_secs(300),
            idle_connection: Duration::from_secs(120),
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(5),
            backoff_cap_unasked: Duration::from_secs(60),
            dial_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            handler_deadline: Duration::from_secs(120),
            write_stall: Duration::from_secs(30),
        }
    }
}
