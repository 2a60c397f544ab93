//! The libp2p behaviour for our streams: opens one on a chosen connection, serves those that peers open.
//!
//! `libp2p-stream` does nearly this, but it drops an inbound stream while another one waits to be accepted, chooses among
//! connections at random, does not count streams, and keeps an entry for every connection there ever was.
//!
//! Invariant: on one connection at most [`crate::NetLimits::max_inbound_streams_per_purpose`] are served of each purpose at a
//! time; more are reset.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::answer::{Shared, blame};
use crate::serve::serve;
use crate::{HostId, PeerName, Purpose};

/// A wish for a stream. If the connection ends first, `reply` is dropped.
pub(crate) struct Open {
    pub(crate) purpose: Purpose,
    pub(crate) reply: oneshot::Sender<Result<OpenedStream, String>>,
}

/// A stream, and a signal that its connection has ended. Yamux does not wake the streams of a connection that is closed by
/// this end, so the user of a stream must watch the signal as well.
pub(crate) struct OpenedStream {
    pub(crate) stream: Stream,
    pub(crate) ended: CancellationToken,
}

impl fmt::Debug for Open {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Open({})", self.purpose)
    }
}

/// Says which protocols a stream may have.
pub(crate) enum Protocols {
    All,
    One(Purpose),
}

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        match self {
            Protocols::All => Purpose::ALL.map(Purpose::protocol).to_vec().into_iter(),
            Protocols::One(purpose) => vec![purpose.protocol()].into_iter(),
        }
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _protocol: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// Whether a peer's connections are kept without streams; shared by the peer table and the handlers of its connections.
pub(crate) type KeepAlive = Arc<AtomicBool>;

/// The behaviour.
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
    keep_alive: Box<dyn Fn(HostId) -> KeepAlive + Send>,
    opens: VecDeque<(PeerId, ConnectionId, Open)>,
}

impl Behaviour {
    pub(crate) fn new(shared: Arc<Shared>, keep_alive: Box<dyn Fn(HostId) -> KeepAlive + Send>) -> Behaviour {
        Behaviour { shared, keep_alive, opens: VecDeque::new() }
    }

    /// Opens a stream on this connection. The swarm must be polled afterwards.
    pub(crate) fn open(&mut self, peer: PeerId, connection: ConnectionId, open: Open) {
        self.opens.push_back((peer, connection, open));
    }

    fn handler(&self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let host = HostId::from_peer_id(&peer).ok_or_else(|| ConnectionDenied::new(NotEd25519))?;
        Ok(Handler {
            shared: Arc::clone(&self.shared),
            host,
            keep_alive: (self.keep_alive)(host),
            opens: VecDeque::new(),
            serving: std::array::from_fn(|_| Arc::new(())),
            ended: CancellationToken::new(),
        })
    }
}

/// The peer's key is of a kind that hosts do not have.
#[derive(Debug, thiserror::Error)]
#[error("the peer's key is not Ed25519")]
struct NotEd25519;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.opens.pop_front() {
            Some((peer_id, connection, event)) => {
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event })
            }
            None => Poll::Pending,
        }
    }
}

/// The part of the behaviour that lives with one connection.
pub(crate) struct Handler {
    shared: Arc<Shared>,
    host: HostId,
    keep_alive: KeepAlive,
    opens: VecDeque<Open>,
    /// By purpose: one more reference for each stream that is being served.
    serving: [Arc<()>; Purpose::COUNT],
    /// Cancelled with the connection.
    ended: CancellationToken,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Handler {
    fn serve(&self, stream: Stream, purpose: Purpose) {
        let serving = &self.serving[purpose.index()];
        if Arc::strong_count(serving) > self.shared.limits.max_inbound_streams_per_purpose {
            self.shared.counters.purpose(purpose).streams_rejected.increment();
            blame!(self.shared, self.host, %purpose, "a peer opened too many streams; this one is closed");
            return;
        }
        let (shared, host, ended) = (Arc::clone(&self.shared), self.host, self.ended.clone());
        let token = Arc::clone(serving);
        tokio::spawn(async move {
            let _served = Served::begin(&shared);
            tokio::select! {
                biased;
                () = serve(Arc::clone(&shared), host, purpose, stream) => {}
                () = ended.cancelled() => {}
            }
            drop(token);
        });
    }
}

/// Counts a stream as long as it is served.
struct Served<'a>(&'a Shared);

impl Served<'_> {
    fn begin(shared: &Shared) -> Served<'_> {
        shared.serving.send_modify(|serving| *serving += 1);
        Served(shared)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.serving.send_modify(|serving| *serving -= 1);
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols, ()> {
        SubstreamProtocol::new(Protocols::All, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep_alive.load(Ordering::Relaxed)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Protocols, Open, Infallible>> {
        match self.opens.pop_front() {
            Some(open) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Protocols::One(open.purpose), open),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.opens.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocols, Protocols, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                if let Some(purpose) = Purpose::from_protocol(protocol.as_ref()) {
                    self.serve(stream, purpose);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: open }) => {
                let _ = open.reply.send(Ok(OpenedStream { stream, ended: self.ended.clone() }));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: open, error }) => {
                let reason = match error {
                    StreamUpgradeError::Timeout => "opening the stream took too long".to_owned(),
                    StreamUpgradeError::NegotiationFailed => {
                        format!("the peer does not know the protocol {}", open.purpose.protocol())
                    }
                    StreamUpgradeError::Io(error) => error.to_string(),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = open.reply.send(Err(reason));
            }
            _ => {}
        }
    }
}
