//! The requesting end: one lane per peer and purpose, with one stream that is opened when first needed and kept.
//!
//! Invariants: a request is written to at most one stream, once; a request that was not written fails without doubt, one that
//! was written fails as lost or timed out; at most a [`Window`] of requests is unanswered, those whose callers gave up included
//! (they count until they are answered or the stream ends, so the peer is never sent more than it agreed to hold).
//!
//! A lane does not know connections or addresses: it asks its [`Connector`] for a stream, and that answers at once when there
//! is no point in waiting.

use std::collections::HashMap;
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

/// A lane that nobody used for so long ends; the next request makes a new one.
const LANE_IDLE: Duration = Duration::from_secs(600);
/// How long a lane waits for the responses on a stream whose connection is being replaced.
const RETIRE_GRACE: Duration = Duration::from_secs(1);
/// How long a failed writer waits for the peer's parting word.
const PARTING_WORD: Duration = Duration::from_millis(200);
/// Requests written before the stream is flushed, at most.
const REQUESTS_PER_FLUSH: usize = 64;

/// A stream to a peer, and a signal that its connection is about to be replaced by another one.
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    pub(crate) retire: CancellationToken,
}

/// Where lanes get their streams from.
pub(crate) trait Connector: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream; connects first if that seems possible, else fails at once.
    fn open(&self, host: HostId, purpose: Purpose) -> BoxFuture<'_, Result<Opened<Self::Stream>, NetError>>;
}

/// One request on its way.
struct Job {
    payload: Bytes,
    reply: oneshot::Sender<Result<Bytes, NetError>>,
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
                Ok(Ok(result)) => result,
                Ok(Err(_)) if closed.is_cancelled() => Err(NetError::Closed),
                Ok(Err(_)) => Err(NetError::Lost { host, purpose, reason: "the lane ended".into() }),
                Err(_) => Err(NetError::Timeout { host, purpose, deadline }),
            };
        }
    }
}

/// Requests that were written and are not answered.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, (oneshot::Sender<Result<Bytes, NetError>>, Admission)>>);

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (oneshot::Sender<Result<Bytes, NetError>>, Admission)>> {
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
            let job = match tokio::time::timeout(LANE_IDLE, self.queue.recv()).await {
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
                Err(error) => {
                    job.fail(error.clone());
                    while let Ok(job) = self.queue.try_recv() {
                        job.fail(error.clone());
                    }
                }
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
        let answered = std::sync::atomic::AtomicBool::new(false);
        let end = {
            let reading = read(&self.shared, host, purpose, source, &pending, &answered);
            let writing =
                write(&self.shared, purpose, sink, &mut self.queue, &mut self.next_id, &pending, first, &opened.retire);
            tokio::pin!(reading, writing);
            tokio::select! {
                biased;
                end = &mut reading => end,
                end = &mut writing => match end {
                    // The peer may have said why before it closed its end.
                    End::Failed(_) => tokio::time::timeout(PARTING_WORD, &mut reading).await.unwrap_or(end),
                    End::Unused | End::Retired => end,
                    End::Closing(_) => end,
                },
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
            let wait = self.backoff.failed();
            self.held = Some((Instant::now() + wait, error.clone()));
        }
        let error = error.unwrap_or(NetError::Lost { host, purpose, reason: "the stream was closed".into() });
        for (_, (reply, _admission)) in pending.lock().drain() {
            let _ = reply.send(Err(error.clone()));
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

/// Reads responses until the stream ends.
async fn read<R>(
    shared: &Shared,
    host: HostId,
    purpose: Purpose,
    mut source: R,
    pending: &Pending,
    answered: &std::sync::atomic::AtomicBool,
) -> End
where
    R: futures::Stream<Item = Result<Frame, FrameError>> + Unpin,
{
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
        counters.frames_in.increment();
        counters.bytes_in.add(frame.wire_bytes() as u64);
        match frame {
            Frame::Response { id, outcome } => {
                answered.store(true, std::sync::atomic::Ordering::Relaxed);
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
            Frame::Request { .. } => {
                counters.malformed.increment();
                return End::Failed("the peer sent a request on our stream".into());
            }
        }
    }
}

/// Writes requests until there will be no more, or the stream fails, or its connection is being replaced.
#[expect(clippy::too_many_arguments, reason = "one half of `drive`, split only to be read")]
async fn write<W>(
    shared: &Shared,
    purpose: Purpose,
    mut sink: W,
    queue: &mut mpsc::UnboundedReceiver<Job>,
    next_id: &mut u64,
    pending: &Pending,
    first: Job,
    retire: &CancellationToken,
) -> End
where
    W: futures::Sink<Frame, Error = FrameError> + Unpin,
{
    let counters = shared.counters.purpose(purpose);
    let mut batch = vec![first];
    loop {
        for Job { payload, reply, admission } in batch.drain(..) {
            if reply.is_closed() {
                continue;
            }
            let id = *next_id;
            *next_id += 1;
            counters.frames_out.increment();
            counters.bytes_out.add((LENGTH_BYTES + HEADER_BYTES + payload.len()) as u64);
            pending.lock().insert(id, (reply, admission));
            if let Err(error) = sink.feed(Frame::Request { id, payload }).await {
                return End::Failed(error.to_string());
            }
        }
        if let Err(error) = sink.flush().await {
            return End::Failed(error.to_string());
        }
        let received = tokio::select! {
            biased;
            received = queue.recv_many(&mut batch, REQUESTS_PER_FLUSH) => received,
            () = retire.cancelled() => break,
        };
        if received == 0 {
            break;
        }
    }
    // Let the peer answer what it has; the reader sees the answers meanwhile, and the end of the stream if it comes first.
    let grace = Instant::now() + RETIRE_GRACE;
    while !pending.lock().is_empty() && Instant::now() < grace {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = sink.close().await;
    if retire.is_cancelled() { End::Retired } else { End::Unused }
}
