//! The requesting end: one lane per peer and purpose, with one stream that is opened when first needed and kept.
//!
//! Invariants: a request is written to at most one stream, once. A request that was not written fails for certain; one that
//! was written fails as lost or timed out. At most a [`Window`] of requests is unanswered. Requests whose callers gave up count
//! until they are answered or the stream ends, so the peer never gets more than it agreed to hold. Before the peer reports
//! that it reads a stream, no more than [`EARLY_BYTES`] are written to it.
//!
//! A lane does not know connections or addresses. It asks its [`Connector`] for a stream, which fails at once when there
//! is no point in waiting.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::codec::Framed;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use crate::answer::Shared;
use crate::backoff::Backoff;
use crate::frame::{ClosingReason, Frame, FrameCodec, FrameError, HEADER_BYTES, LENGTH_BYTES, Outcome};
use crate::network::BoxFuture;
use crate::window::{Admission, Window};
use crate::{HostId, NetError, Purpose};

/// A lane to a known host that nobody used for so long ends; the next request makes a new one.
const LANE_IDLE: Duration = Duration::from_secs(600);
/// The same for a stranger, mostly a client that had its answer and has gone. Longer than any wait after a failure, which the lane
/// remembers.
const LANE_IDLE_OF_STRANGER: Duration = Duration::from_secs(15);
/// How long a lane waits for the responses on a stream whose connection is being replaced.
const RETIRE_GRACE: Duration = Duration::from_secs(1);
/// How often it looks whether they have come.
const RETIRE_POLL: Duration = Duration::from_millis(5);
/// How long a failed writer waits for the peer's parting word.
const PARTING_WORD: Duration = Duration::from_millis(200);
/// Longest wait, before jitter, after a host that we know has forbidden the purpose: it is likely to have heard less than we have
/// of a membership that both are part of, and a Raft that waits for seconds may hold an election.
const FORBIDDEN_HOLD: Duration = Duration::from_millis(300);
/// Most bytes that are written to a stream before the peer says that it reads it. Data goes along with the name of the protocol, which the
/// peer confirms before it reads on. Over QUIC all streams of a connection share one window: filled with what nobody reads yet, both ways,
/// it lets no confirmation through. As many streams as a connection has, with this on each, do not fill it.
pub(crate) const EARLY_BYTES: usize = 64 * 1024;
/// Requests written before the stream is flushed, at most.
const REQUESTS_PER_FLUSH: usize = 64;

/// A stream to a peer.
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    /// Cancelled when the connection is about to be replaced by another one.
    pub(crate) retire: CancellationToken,
    /// Cancelled when the connection has ended; the stream itself may not notice.
    pub(crate) ended: CancellationToken,
}

/// Where lanes get their streams from.
pub(crate) trait Connector: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Returns whether the host is one that this host was told of.
    fn is_known(&self, host: HostId) -> bool;

    /// Opens a stream; connects first if that seems possible, else fails at once.
    fn open(&self, host: HostId, purpose: Purpose) -> BoxFuture<'_, Result<Opened<Self::Stream>, NetError>>;
}

type Reply = oneshot::Sender<Result<Bytes, NetError>>;

/// One request on its way.
struct Job {
    payload: Bytes,
    reply: Reply,
    admission: Admission,
}

impl Job {
    fn fail(self, error: NetError) {
        let _ = self.reply.send(Err(error));
    }
}

/// The caller's side of a lane.
struct Lane {
    jobs: mpsc::UnboundedSender<Job>,
    window: Window,
}

/// All lanes of a host.
pub(crate) struct Lanes<C: Connector> {
    shared: Arc<Shared>,
    connector: Arc<C>,
    lanes: Mutex<HashMap<(HostId, Purpose), Arc<Lane>>>,
}

impl<C: Connector> Lanes<C> {
    pub(crate) fn new(shared: Arc<Shared>, connector: Arc<C>) -> Lanes<C> {
        Lanes { shared, connector, lanes: Mutex::default() }
    }

    fn lane(&self, host: HostId, purpose: Purpose) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&(host, purpose)).filter(|lane| !lane.jobs.is_closed()) {
            return Arc::clone(lane);
        }
        lanes.retain(|_, lane| !lane.jobs.is_closed());
        // Bounded by the window: every job holds its place there.
        let (jobs, queue) = mpsc::unbounded_channel();
        let lane = Arc::new(Lane { jobs, window: Window::new(purpose) });
        lanes.insert((host, purpose), Arc::clone(&lane));
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            connector: Arc::clone(&self.connector),
            host,
            purpose,
            queue,
            next_id: 1,
            backoff: Backoff::new(&self.shared.limits),
            held: None,
        };
        tokio::spawn(worker.run());
        lane
    }

    /// Sends one request and waits for its response.
    pub(crate) async fn request(
        &self,
        host: HostId,
        purpose: Purpose,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, NetError> {
        let started = Instant::now();
        let until = started + deadline;
        let closed = &self.shared.closed;
        loop {
            if closed.is_cancelled() {
                return Err(NetError::Closed);
            }
            let lane = self.lane(host, purpose);
            let entered = tokio::time::timeout_at(until, lane.window.enter(payload.len())).await;
            let Ok(admission) = entered else { return Err(NetError::Overloaded { host, purpose, deadline }) };
            let (reply, response) = oneshot::channel();
            if lane.jobs.send(Job { payload: payload.clone(), reply, admission }).is_err() {
                // The lane ended for want of use just now.
                continue;
            }
            return match tokio::time::timeout_at(until, response).await {
                // Streams end on the way down; that is not worth another error.
                Ok(Err(_) | Ok(Err(NetError::Lost { .. } | NetError::Unreachable { .. }))) if closed.is_cancelled() => {
                    Err(NetError::Closed)
                }
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(NetError::Lost { host, purpose, reason: "the lane ended".into() }),
                Err(_) => Err(NetError::Timeout { host, purpose, deadline }),
            };
        }
    }
}

/// Requests that were written and are not answered.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, (Reply, Admission)>>);

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (Reply, Admission)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a stream ended.
enum End {
    /// Nobody has a use for it any more: no error.
    Unused,
    /// The connection is being replaced.
    Retired,
    /// The peer said why.
    Closing(ClosingReason),
    /// Something failed.
    Failed(String),
}

/// The task behind a lane.
struct Worker<C: Connector> {
    shared: Arc<Shared>,
    connector: Arc<C>,
    host: HostId,
    purpose: Purpose,
    queue: mpsc::UnboundedReceiver<Job>,
    next_id: u64,
    backoff: Backoff,
    /// Until when requests fail without trying, and how.
    held: Option<(Instant, NetError)>,
}

impl<C: Connector> Worker<C> {
    async fn run(mut self) {
        let closed = self.shared.closed.clone();
        tokio::select! {
            () = self.work() => {}
            () = closed.cancelled() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            let idle = if self.connector.is_known(self.host) { LANE_IDLE } else { LANE_IDLE_OF_STRANGER };
            let job = match tokio::time::timeout(idle, self.queue.recv()).await {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(_) => {
                    // What was sent until this instant is still received; nothing is after it.
                    self.queue.close();
                    continue;
                }
            };
            if job.reply.is_closed() {
                continue;
            }
            if let Some((until, error)) = &self.held
                && let Some(wait) = until.checked_duration_since(Instant::now())
            {
                job.fail(waiting(error, wait));
                continue;
            }
            match self.connector.open(self.host, self.purpose).await {
                Ok(opened) => self.drive(opened, job).await,
                // Each of those behind it asks for itself, which is quick: an address may have come between.
                Err(error) => job.fail(error),
            }
        }
    }

    /// Uses one stream until it ends, then decides what becomes of the requests that are not answered.
    async fn drive(&mut self, opened: Opened<C::Stream>, first: Job) {
        let (host, purpose) = (self.host, self.purpose);
        let counters = self.shared.counters.purpose(purpose);
        counters.streams_opened.increment();
        let (sink, source) = Framed::new(opened.stream.compat(), FrameCodec::new(purpose)).split();
        let pending = Pending::default();
        let mut batch = vec![first];
        let answered = AtomicBool::new(false);
        let ready = CancellationToken::new();
        let end = {
            let Worker { shared, queue, next_id, .. } = &mut *self;
            let reading =
                read(shared, host, purpose, source, Heard { pending: &pending, answered: &answered, ready: &ready });
            let writing = Writer {
                shared,
                purpose,
                sink,
                queue,
                next_id,
                pending: &pending,
                batch: &mut batch,
                ready: &ready,
                early: 0,
            };
            let writing = writing.run(&opened.retire);
            tokio::pin!(reading, writing);
            tokio::select! {
                // Reading first: what the peer said before the end counts.
                biased;
                end = &mut reading => end,
                end = &mut writing => match end {
                    // The peer may have said why before it closed its end.
                    End::Failed(_) => tokio::time::timeout(PARTING_WORD, &mut reading).await.unwrap_or(end),
                    End::Unused | End::Retired | End::Closing(_) => end,
                },
                () = opened.ended.cancelled() => End::Failed("the connection ended".into()),
            }
        };
        if answered.into_inner() {
            self.backoff.reset();
        }
        let error = match end {
            End::Unused | End::Retired | End::Closing(ClosingReason::Idle) => None,
            End::Closing(ClosingReason::Forbidden) => Some(NetError::Forbidden { host, purpose }),
            End::Closing(reason) => Some(NetError::Lost { host, purpose, reason: reason.as_str().into() }),
            End::Failed(reason) => Some(NetError::Lost { host, purpose, reason }),
        };
        if let Some(error) = &error {
            tracing::debug!(%host, %purpose, %error, "a stream ended");
            let forbidden = matches!(error, NetError::Forbidden { .. });
            let wait = if forbidden && self.connector.is_known(host) {
                self.backoff.failed_within(FORBIDDEN_HOLD)
            } else {
                self.backoff.failed()
            };
            self.held = Some((Instant::now() + wait, error.clone()));
        }
        let error = error.unwrap_or(NetError::Lost { host, purpose, reason: "the stream was closed".into() });
        for (_, (reply, _admission)) in pending.lock().drain() {
            let _ = reply.send(Err(error.clone()));
        }
        // These were not written.
        for job in batch {
            job.fail(waiting(&error, Duration::ZERO));
        }
    }
}

/// The error of a request that is not sent because the lane waits before it opens a stream again.
fn waiting(error: &NetError, wait: Duration) -> NetError {
    match error {
        NetError::Lost { host, reason, .. } => {
            NetError::Unreachable { host: *host, next_attempt_in: Some(wait), reason: reason.clone() }
        }
        other => other.clone(),
    }
}

/// What a reader finds out.
struct Heard<'a> {
    pending: &'a Pending,
    /// Whether anything was answered.
    answered: &'a AtomicBool,
    /// Cancelled when the peer says that it reads the stream.
    ready: &'a CancellationToken,
}

/// Reads responses until the stream ends.
async fn read<R>(shared: &Shared, host: HostId, purpose: Purpose, mut source: R, heard: Heard<'_>) -> End
where
    R: futures::Stream<Item = Result<Frame, FrameError>> + Unpin,
{
    let Heard { pending, answered, ready } = heard;
    let counters = shared.counters.purpose(purpose);
    loop {
        let frame = match source.next().await {
            Some(Ok(frame)) => frame,
            None => return End::Failed("the peer closed the stream".into()),
            Some(Err(error)) => {
                match &error {
                    FrameError::Malformed(_) => counters.malformed.increment(),
                    FrameError::Oversized { .. } => counters.oversized.increment(),
                    FrameError::Truncated => counters.truncated.increment(),
                    FrameError::Io(_) => {}
                }
                return End::Failed(error.to_string());
            }
        };
        if frame == Frame::Ready && !ready.is_cancelled() {
            ready.cancel();
            continue;
        }
        counters.frames_in.increment();
        counters.bytes_in.add(frame.wire_bytes() as u64);
        match frame {
            Frame::Response { id, outcome } => {
                answered.store(true, Ordering::Relaxed);
                let Some((reply, _admission)) = pending.lock().remove(&id) else {
                    counters.malformed.increment();
                    return End::Failed("the peer answered what it was not asked".into());
                };
                let result = match outcome {
                    Outcome::Answer(payload) => Ok(payload),
                    Outcome::Refused(text) => Err(NetError::Refused(text)),
                    Outcome::Unavailable(text) => Err(NetError::Unavailable(text)),
                    Outcome::Forbidden => Err(NetError::Forbidden { host, purpose }),
                };
                if reply.send(result).is_err() {
                    counters.late_responses.increment();
                }
            }
            Frame::Closing { reason } => return End::Closing(reason),
            Frame::Request { .. } | Frame::Ready => {
                counters.malformed.increment();
                return End::Failed("the peer sent what it must not on our stream".into());
            }
        }
    }
}

/// The writing half of `drive`.
struct Writer<'a, W> {
    shared: &'a Shared,
    purpose: Purpose,
    sink: W,
    queue: &'a mut mpsc::UnboundedReceiver<Job>,
    next_id: &'a mut u64,
    pending: &'a Pending,
    /// What is not written yet; what is left here at the end was never sent.
    batch: &'a mut Vec<Job>,
    /// Cancelled when the peer says that it reads the stream, and how many bytes were written before.
    ready: &'a CancellationToken,
    early: usize,
}

impl<W> Writer<'_, W>
where
    W: futures::Sink<Frame, Error = FrameError> + Unpin,
{
    /// Writes requests until there will be no more, or the stream fails, or its connection is being replaced.
    async fn run(mut self, retire: &CancellationToken) -> End {
        loop {
            if let Err(error) = self.write_batch().await {
                return End::Failed(error.to_string());
            }
            let received = tokio::select! {
                biased;
                received = self.queue.recv_many(self.batch, REQUESTS_PER_FLUSH) => received,
                () = retire.cancelled() => break,
            };
            if received == 0 {
                break;
            }
        }
        // Let the peer answer what it has; the reader sees the answers meanwhile, and the end of the stream if it comes first.
        let grace = Instant::now() + RETIRE_GRACE;
        while !self.pending.lock().is_empty() && Instant::now() < grace {
            tokio::time::sleep(RETIRE_POLL).await;
        }
        let _ = tokio::time::timeout_at(grace, self.sink.close()).await;
        if retire.is_cancelled() { End::Retired } else { End::Unused }
    }

    async fn write_batch(&mut self) -> Result<(), FrameError> {
        let counters = self.shared.counters.purpose(self.purpose);
        while !self.batch.is_empty() {
            self.early += LENGTH_BYTES + HEADER_BYTES + self.batch[0].payload.len();
            if self.early > EARLY_BYTES && !self.ready.is_cancelled() {
                self.sink.flush().await?;
                self.ready.cancelled().await;
            }
            // Room first: from here on the request counts as sent.
            poll_fn(|context| self.sink.poll_ready_unpin(context)).await?;
            let Job { payload, reply, admission } = self.batch.remove(0);
            if reply.is_closed() {
                continue;
            }
            let id = *self.next_id;
            *self.next_id += 1;
            counters.frames_out.increment();
            counters.bytes_out.add((LENGTH_BYTES + HEADER_BYTES + payload.len()) as u64);
            self.pending.lock().insert(id, (reply, admission));
            self.sink.start_send_unpin(Frame::Request { id, payload })?;
        }
        self.sink.flush().await
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
