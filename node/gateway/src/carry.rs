//! Carries frames between this host and clients that check for themselves, such as those in browsers: `GET /frames`, a WebSocket whose messages are
//! those of [`relay`](quorate_protocol::relay).
//!
//! The host is the network here: what a client sends comes to it as from any stranger, and what its vats send to the client's key goes out. A client
//! has proven that it has that key before anything is handed to it.
//!
//! Invariants: what one client, one address, and what all of them can have under way is bounded, and an address leaves room for others; one that sends
//! faster than a stranger may by the network is read later; a client that does not read, or does not answer, costs its own connection.

use crate::address::Address;
use crate::shares::{Paces, Share, Shares};
use crate::stats::{Direction, Refusal, Stats};
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_ids::HostId;
use quorate_protocol::relay::{Carried, Frame, FromClient, FromHost, MAX_UNDER_WAY, attached};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// Longest message of a client, in bytes: the most messages that a slice holds, with the evidence of a vat of one member.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// KiB of frames of all clients that are being handled at once.
const MAX_HANDLED_KIB: usize = 64 << 10;
/// How long a client may take to say who it is.
const ATTACH_PATIENCE: Duration = Duration::from_secs(15);
/// How long a client may take to take a message.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// How long the host may take to answer a frame.
const HANDLE_PATIENCE: Duration = Duration::from_secs(30);
/// A client of which nothing was heard for so long is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(20);
/// One that does not answer for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// What a host does with frames of clients.
pub trait Carries: Send + Sync + 'static {
    /// Hands the host a frame of the client with this key, as if it had come by the network.
    fn hand(&self, from: HostId, purpose: Carried, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Has the slices that vats of this host send to the client with this key go to `slices`, until what this returns is dropped.
    fn attach(&self, client: HostId, slices: mpsc::Sender<ForClient>) -> Box<dyn Send>;
}

/// A slice for a client.
#[derive(Debug)]
pub struct ForClient {
    pub frame: Bytes,
    /// What the client says of it.
    pub answer: oneshot::Sender<Result<Bytes, String>>,
}

/// Carries frames for all clients.
pub(crate) struct Carrier {
    carries: Arc<dyn Carries>,
    /// In KiB.
    room: Arc<Shares>,
    paces: Arc<Paces>,
    stats: Arc<Stats>,
}

/// A frame that the host has handled.
type Handled = (u64, Result<Frame, String>);

impl Carrier {
    pub fn new(carries: Arc<dyn Carries>, paces: Arc<Paces>, stats: Arc<Stats>) -> Carrier {
        Carrier { carries, room: Shares::new(MAX_HANDLED_KIB), paces, stats }
    }

    /// Carries frames until the client, the network or the host ends.
    pub async fn carry(&self, mut socket: WebSocket, address: Address) {
        if let Err(why) = self.attached(&mut socket, address).await {
            let end = CloseFrame { code: close_code::POLICY, reason: why.into() };
            let _ = timeout(SEND_PATIENCE, socket.send(Message::Close(Some(end)))).await;
        }
    }

    async fn attached(&self, socket: &mut WebSocket, address: Address) -> Result<(), &'static str> {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).map_err(|_| "this host has no random bytes")?;
        self.send(socket, &FromHost::Challenge(challenge)).await?;
        let first = timeout(ATTACH_PATIENCE, socket.recv()).await.map_err(|_| "nothing was said in time")?;
        let Some(Ok(Message::Binary(first))) = first else { return Err("the first message is no message of bytes") };
        let Ok(FromClient::Attach(signature)) = FromClient::decode(&first) else {
            return Err("the first message does not say whose frames are to come here");
        };
        let client =
            attached(&signature, &challenge).map_err(|_| "the signature is not over this connection's challenge")?;
        let (sender, slices) = mpsc::channel(MAX_UNDER_WAY);
        let _attached = self.carries.attach(client, sender);
        self.talk(socket, client, address, slices).await
    }

    async fn talk(
        &self,
        socket: &mut WebSocket,
        client: HostId,
        address: Address,
        mut slices: mpsc::Receiver<ForClient>,
    ) -> Result<(), &'static str> {
        let mut handling = FuturesUnordered::new();
        let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Bytes, String>>> = BTreeMap::new();
        let (mut last, mut heard_at) = (0, Instant::now());
        // While its address waits, nothing of it is read.
        let mut waits: Option<Instant> = None;
        loop {
            tokio::select! {
                () = sleep_until(waits.unwrap_or_else(Instant::now)), if waits.is_some() => waits = None,
                message = socket.recv(), if waits.is_none() => {
                    heard_at = Instant::now();
                    let bytes = match message {
                        Some(Ok(Message::Binary(bytes))) => bytes,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        Some(Ok(Message::Text(_))) => return Err("a message of text: frames are bytes"),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    };
                    self.stats.frame(Direction::In, bytes.len());
                    waits = self.wait_after(address, bytes.len(), heard_at);
                    match FromClient::decode(&bytes) {
                        Ok(FromClient::Request { number, purpose, frame }) => {
                            if handling.len() >= MAX_UNDER_WAY {
                                return Err("too many requests are under way at once");
                            }
                            let room = self.room_for(address, &frame).await?;
                            handling.push(self.handle(client, number, purpose, frame, room));
                        }
                        Ok(FromClient::Answer { number, answer }) => {
                            // The caller may have given up.
                            let waits = waiting.remove(&number);
                            drop(waits.map(|waits| waits.send(answer.map(|frame| frame.0.into()))));
                        }
                        Ok(FromClient::Attach(_)) => return Err("it was said already whose frames are to come here"),
                        Err(_) => return Err("a message that is not understood"),
                    }
                }
                Some((number, answer)) = handling.next(), if !handling.is_empty() => {
                    self.send(socket, &FromHost::Answer { number, answer }).await?;
                }
                Some(ForClient { frame, answer }) = slices.recv() => {
                    waiting.retain(|_, waits| !waits.is_closed());
                    last += 1;
                    waiting.insert(last, answer);
                    let frame = Frame(frame.to_vec());
                    self.send(socket, &FromHost::Request { number: last, purpose: Carried::Slice, frame }).await?;
                }
                () = tokio::time::sleep(PING_AFTER) => {
                    let asked = timeout(SEND_PATIENCE, socket.send(Message::Ping(Bytes::new()))).await;
                    if heard_at.elapsed() > SILENCE || !matches!(asked, Ok(Ok(()))) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Until when nothing more of an address is read, after a message of so many bytes.
    fn wait_after(&self, address: Address, bytes: usize, now: Instant) -> Option<Instant> {
        let wait = self.paces.take(address, bytes, now);
        if wait.is_zero() {
            return None;
        }
        self.stats.slowed();
        Some(now + wait)
    }

    /// Waits until there is room for a frame beside those of others.
    async fn room_for(&self, address: Address, frame: &Frame) -> Result<Share, &'static str> {
        let room = self.room.wait(address, frame.0.len() / 1024 + 1, HANDLE_PATIENCE).await;
        room.ok_or_else(|| {
            self.stats.refused(Refusal::Full);
            "this host has too much to do; try again later"
        })
    }

    fn handle(
        &self,
        client: HostId,
        number: u64,
        purpose: Carried,
        frame: Frame,
        room: Share,
    ) -> BoxFuture<'static, Handled> {
        // A task of its own: it runs to its end, even if the caller stops waiting.
        let handled = tokio::spawn(self.carries.hand(client, purpose, frame.0.into()));
        Box::pin(async move {
            let answer = match timeout(HANDLE_PATIENCE, handled).await {
                Ok(Ok(answer)) => answer.map(|bytes| Frame(bytes.to_vec())),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the host did not answer in time".to_owned()),
            };
            drop(room);
            (number, answer)
        })
    }

    async fn send(&self, socket: &mut WebSocket, message: &FromHost) -> Result<(), &'static str> {
        let message = message.encode();
        self.stats.frame(Direction::Out, message.len());
        let sent = timeout(SEND_PATIENCE, socket.send(Message::Binary(message.into()))).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err("the client does not read") }
    }
}
