//! The accepting end of one stream: reads requests, runs handlers, writes responses.
//!
//! Invariants: reading never waits for writing except through the window, so two hosts that both send a lot cannot block each
//! other; a request holds its place in the window, and what it was charged, until its response is in the stream's buffer, so a
//! peer that does not read makes us hold no more than one window; a handler that has begun is finished even if the stream ends;
//! a closing frame comes after all responses.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, FutureExt as _, Sink, SinkExt as _};
use tokio::sync::mpsc;
use tokio_util::codec::FramedWrite;
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, FuturesAsyncWriteCompatExt as _};

use crate::answer::{Shared, blame};
use crate::frame::{ClosingReason, Frame, FrameCodec, FrameError, HEADER_BYTES, LENGTH_BYTES, Outcome};
use crate::inbound::{Ended, Inbound};
use crate::window::{Admission, Charge, FREE_BYTES, Gate};
use crate::{HostId, Purpose};

/// Responses that are written before the stream is flushed, at most.
const RESPONSES_PER_FLUSH: usize = 64;

/// A response, and what is given back when it is written.
struct Response {
    frame: Frame,
    _admission: Admission,
    _charge: Charge,
}

type Responses = mpsc::UnboundedSender<Response>;

/// Serves one stream until it ends.
pub(crate) async fn serve<S>(shared: Arc<Shared>, from: HostId, purpose: Purpose, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    shared.counters.purpose(purpose).streams_accepted.increment();
    let (source, sink) = stream.split();
    let source = Inbound::new(source.compat(), purpose);
    let sink = FramedWrite::new(sink.compat_write(), FrameCodec::new(purpose));
    if let Err(error) = exchange(&shared, from, purpose, source, sink).await {
        tracing::debug!(%from, %purpose, %error, "a stream ended while responding");
    }
}

/// Reads and writes until both are over.
async fn exchange<R, W>(
    shared: &Arc<Shared>,
    from: HostId,
    purpose: Purpose,
    source: Inbound<R>,
    sink: W,
) -> Result<(), FrameError>
where
    R: tokio::io::AsyncRead + Unpin,
    W: Sink<Frame, Error = FrameError> + Unpin,
{
    // Bounded by the window: every response has its place there. Handlers hold clones of the sending end: the queue ends when
    // reading is over and the last handler has answered.
    let (responses, queue) = mpsc::unbounded_channel();
    let reading = async {
        tokio::select! {
            reason = read(shared, from, purpose, source, responses) => reason,
            () = shared.closed.cancelled() => Some(ClosingReason::Shutdown),
        }
    };
    let writing = write(shared, purpose, sink, queue);
    tokio::pin!(reading, writing);
    let reason = tokio::select! {
        reason = &mut reading => reason,
        ended = &mut writing => return ended.map(drop),
    };
    let mut sink = writing.await?;
    if let Some(reason) = reason {
        let frame = Frame::Closing { reason };
        count_out(shared, purpose, &frame);
        in_time(shared, sink.feed(frame)).await?;
    }
    in_time(shared, sink.close()).await
}

/// Says that the stream is being read, then writes responses until there will be no more.
async fn write<W>(
    shared: &Shared,
    purpose: Purpose,
    mut sink: W,
    mut queue: mpsc::UnboundedReceiver<Response>,
) -> Result<W, FrameError>
where
    W: Sink<Frame, Error = FrameError> + Unpin,
{
    in_time(shared, sink.send(Frame::Ready)).await?;
    let mut batch = Vec::with_capacity(RESPONSES_PER_FLUSH);
    while queue.recv_many(&mut batch, RESPONSES_PER_FLUSH).await > 0 {
        let batch = async {
            for response in batch.drain(..) {
                count_out(shared, purpose, &response.frame);
                // The rest of the response is given back when it is in the stream's buffer.
                let Response { frame, _admission, _charge } = response;
                sink.feed(frame).await?;
            }
            sink.flush().await
        };
        in_time(shared, batch).await?;
    }
    Ok(sink)
}

fn count_out(shared: &Shared, purpose: Purpose, frame: &Frame) {
    let counters = shared.counters.purpose(purpose);
    counters.frames_out.increment();
    counters.bytes_out.add(frame.wire_bytes() as u64);
}

/// A peer that does not take what is written loses its stream.
async fn in_time(shared: &Shared, writing: impl Future<Output = Result<(), FrameError>>) -> Result<(), FrameError> {
    let stalled = || io::Error::new(io::ErrorKind::TimedOut, "the peer does not take its responses");
    tokio::time::timeout(shared.limits.write_stall, writing).await.unwrap_or_else(|_| Err(stalled().into()))
}

/// Reads requests until the stream ends; the reason to tell the peer, if it is ours.
async fn read<R>(
    shared: &Arc<Shared>,
    from: HostId,
    purpose: Purpose,
    mut source: Inbound<R>,
    responses: Responses,
) -> Option<ClosingReason>
where
    R: tokio::io::AsyncRead + Unpin,
{
    let counters = shared.counters.purpose(purpose);
    let gate = shared.gate(from);
    // Opening streams is work as well, also those that are refused.
    shared.pace(&gate, from, purpose, 0).await;
    if !shared.handler.permits(from, purpose) {
        counters.refused_forbidden.increment();
        return Some(ClosingReason::Forbidden);
    }
    loop {
        match source.next(shared, from).await {
            Ok((Frame::Request { id, payload }, charge)) => {
                counters.frames_in.increment();
                counters.bytes_in.add((payload.len() + LENGTH_BYTES + HEADER_BYTES) as u64);
                accept(shared, &gate, from, purpose, Request { id, payload, charge }, &responses).await;
            }
            Ok(_) => return broken(shared, from, purpose, &FrameError::Malformed("no request")),
            Err(Ended::Broken(error)) => return broken(shared, from, purpose, &error),
            Err(Ended::Closed) => return None,
            Err(Ended::Idle) => return Some(ClosingReason::Idle),
            Err(Ended::Stalled) => {
                counters.stalled.increment();
                tracing::debug!(%from, %purpose, "a frame of a stranger did not come in time, or there was no room for it");
                return Some(ClosingReason::Idle);
            }
        }
    }
}

/// Counts what a peer did wrong; the reason to tell it, if it can still hear it.
fn broken(shared: &Shared, from: HostId, purpose: Purpose, error: &FrameError) -> Option<ClosingReason> {
    let counters = shared.counters.purpose(purpose);
    match error {
        FrameError::Malformed(_) => {
            counters.malformed.increment();
            blame!(shared, from, %purpose, %error, "a peer sent a malformed frame; its stream is closed");
            Some(ClosingReason::Malformed)
        }
        FrameError::Oversized { .. } => {
            counters.oversized.increment();
            blame!(shared, from, %purpose, %error, "a peer sent a frame over the limit; its stream is closed");
            Some(ClosingReason::Oversized)
        }
        FrameError::Truncated => {
            counters.truncated.increment();
            tracing::debug!(%from, %purpose, "a stream ended inside a frame");
            None
        }
        FrameError::Io(error) => {
            tracing::debug!(%from, %purpose, %error, "a stream failed");
            None
        }
    }
}

struct Request {
    id: u64,
    payload: bytes::Bytes,
    charge: Charge,
}

/// Waits for the request's turn and starts its handler: on this task as far as it goes without waiting, then on its own.
async fn accept(
    shared: &Arc<Shared>,
    gate: &Gate,
    from: HostId,
    purpose: Purpose,
    request: Request,
    responses: &Responses,
) {
    let Request { id, payload, charge } = request;
    shared.pace(gate, from, purpose, payload.len()).await;
    let admission = gate.window(purpose).enter(payload.len()).await;
    let mut answer = Box::pin(answer(Arc::clone(shared), from, purpose, payload, charge));
    let response = move |(outcome, charge)| {
        let frame = Frame::Response { id, outcome };
        Response { frame, _admission: admission, _charge: charge }
    };
    match (&mut answer).now_or_never() {
        Some(answer) => drop(responses.send(response(answer))),
        None => {
            let responses = responses.clone();
            tokio::spawn(async move { drop(responses.send(response(answer.await))) });
        }
    }
}

/// Answers a request. What was charged for it pays for its answer as well; a stranger's large answer may need more.
async fn answer(
    shared: Arc<Shared>,
    from: HostId,
    purpose: Purpose,
    payload: bytes::Bytes,
    mut charge: Charge,
) -> (Outcome, Charge) {
    let outcome = Arc::clone(&shared).answer(from, purpose, payload).await;
    if let Outcome::Answer(answer) = &outcome
        && answer.len() > FREE_BYTES
        && !shared.handler.trusts(from)
        && !shared.budget.try_cover(&mut charge, answer.len())
    {
        shared.counters.purpose(purpose).refused_unavailable.increment();
        return (Outcome::Unavailable("too many answers to strangers are on their way".into()), charge);
    }
    (outcome, charge)
}
