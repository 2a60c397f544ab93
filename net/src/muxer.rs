//! Many streams over one TCP connection: Yamux, with two fixes to libp2p's own wrapping of it.
//!
//! - **Closing ends.** An orderly close waits until the peer has read everything that was written. A peer that has stopped reading would
//!   keep its connection, and the socket, until the kernel gives up after a quarter of an hour.
//! - **Memory is bounded.** Yamux lets the receive windows of a connection grow to a gigabyte if the peer makes the round trip
//!   look long, and does not count the cost of small frames. Here windows have the same bound for all, and the unread bytes of
//!   strangers have a small one (see [`crate::ahead`]).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use tokio::time::Sleep;
use yamux::{Connection, ConnectionError, Mode};

use crate::NetLimits;
use crate::ahead::{Ahead, Allowance, MAX_BODY, Socket, Stream};
use crate::stats::Counter;

/// Streams of one connection, both ways: ours and the peer's of each purpose, each with one that is being replaced, ping and
/// identify, circuits of a relay, and some room. A peer that opens more loses the connection.
const MAX_STREAMS: usize = 64;
/// Bytes that the peer may send ahead of us reading, on all streams of a connection: 256 KiB for each stream, as Yamux has it, and
/// 4 MiB for those that are busy on a long line.
const MAX_RECEIVE_WINDOW: usize = (MAX_STREAMS * 256 + 4 * 1024) * 1024;
/// How long an orderly close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes, with what they cost beside, that may wait to be read of a stranger's connection: the first windows of two streams,
/// so that one that is held up does not hold up the others at once.
const UNREAD_OF_STRANGER: usize = 512 * 1024;
/// The memory for what all strangers together bring ahead of being read: each place is one connection.
const HELD_OF_STRANGERS: usize = 256 * 1024 * 1024;
const _: () =
    assert!(NetLimits::MAX_UNKNOWN_CONNECTIONS as usize * (UNREAD_OF_STRANGER + MAX_BODY) <= HELD_OF_STRANGERS);

/// Makes a connection one of many streams.
#[derive(Clone)]
pub(crate) struct Upgrade {
    /// How much the peer may have waiting to be read.
    allowance: Allowance,
    /// Gauge of what waits to be read.
    unread: Arc<Counter>,
}

impl Upgrade {
    /// For a peer that may become known or a stranger at any time.
    pub(crate) fn new(is_known: impl Fn() -> bool + Send + Sync + 'static, unread: Arc<Counter>) -> Upgrade {
        // Of those who are known, no more than their windows let in anyway.
        let allowance = Arc::new(move || if is_known() { MAX_RECEIVE_WINDOW } else { UNREAD_OF_STRANGER });
        Upgrade { allowance, unread }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(MAX_RECEIVE_WINDOW));
        let ahead = Ahead::new(UNREAD_OF_STRANGER, self.allowance, self.unread);
        let connection = Connection::new(Socket::new(socket, ahead.clone()), config, mode);
        Muxer { connection, ahead, opened: VecDeque::new(), taker: None, closing: None }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Client)))
    }
}

/// One connection.
pub(crate) struct Muxer<C> {
    connection: Connection<Socket<C>>,
    ahead: Ahead,
    /// Streams that the peer has opened and nobody has taken, at most [`MAX_STREAMS`].
    opened: VecDeque<Stream>,
    /// The task that waits for one.
    taker: Option<Waker>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    /// Everything that comes in comes in here, streams of the peer among it.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let muxer = self.get_mut();
        let dropped = muxer.ahead.dropped();
        loop {
            match muxer.connection.poll_next_inbound(context) {
                Poll::Ready(Some(Ok(stream))) => {
                    muxer.opened.push_back(Stream::new(stream, &muxer.ahead));
                    if let Some(taker) = muxer.taker.take() {
                        taker.wake();
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Err(ConnectionError::Closed)),
                Poll::Pending => {
                    muxer.ahead.let_go(dropped);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_inbound(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let muxer = self.get_mut();
        if let Some(stream) = muxer.opened.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        muxer.taker = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let muxer = self.get_mut();
        let stream = ready!(muxer.connection.poll_new_outbound(context))?;
        muxer.ahead.open(stream.id().val());
        Poll::Ready(Ok(Stream::new(stream, &muxer.ahead)))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let muxer = self.get_mut();
        let closing = muxer.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        muxer.connection.poll_close(context)
    }
}
