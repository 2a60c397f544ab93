//! The accepting end of one stream: reads requests, runs handlers, writes responses.
//!
//! Invariants: reading never waits for writing except through the window, so two hosts that both send a lot cannot block each
//! other; a request holds its place in the window until its response is in the stream's buffer, so a peer that does not read
//! makes us hold no more than one window; a handler that has begun is finished even if the stream ends.

use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite, FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use crate::answer::Shared;
use crate::frame::{ClosingReason, Frame, FrameCodec, FrameError};
use crate::window::{Admission, Gate};
use crate::{HostId, Purpose};

/// Responses that are written before the stream is flushed, at most.
const RESPONSES_PER_FLUSH: usize = 64;

type Responses = mpsc::UnboundedSender<(Frame, Option<Admission>)>;

/// Serves one stream until it ends.
pub(crate) async fn serve<S>(shared: Arc<Shared>, from: HostId, purpose: Purpose, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    shared.counters.purpose(purpose).streams_accepted.increment();
    let (mut sink, mut source) = Framed::new(stream.compat(), FrameCodec::new(purpose)).split();
    // Bounded by the window: every response but the last closing frame has its place there.
    let (responses, mut queue) = mpsc::unbounded_channel::<(Frame, Option<Admission>)>();

    let reading = async {
        let reason = read(&shared, from, purpose, &mut source, &responses).await;
        if let Some(reason) = reason {
            let _ = responses.send((Frame::Closing { reason }, None));
        }
        // Handlers hold clones: the queue ends when the last of them has answered.
        drop(responses);
        if reason.is_some() {
            // Nothing more is read from a peer that was told so.
            return;
        }
        std::future::pending::<()>().await
    };
    let writing = async {
        let mut batch = Vec::with_capacity(RESPONSES_PER_FLUSH);
        while queue.recv_many(&mut batch, RESPONSES_PER_FLUSH).await > 0 {
            let counters = shared.counters.purpose(purpose);
            let write = async {
                for (frame, admission) in batch.drain(..) {
                    counters.frames_out.increment();
                    counters.bytes_out.add(frame.wire_bytes() as u64);
                    sink.feed(frame).await?;
                    drop(admission);
                }
                sink.flush().await
            };
            match tokio::time::timeout(shared.limits.write_stall, write).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return tracing::debug!(%from, %purpose, %error, "a stream ended while responding"),
                Err(_) => return tracing::debug!(%from, %purpose, "a peer does not take its responses"),
            }
        }
        let _ = tokio::time::timeout(shared.limits.write_stall, sink.close()).await;
    };
    // The closing frame must still be written after reading is over, so writing alone ends the stream.
    let both = async {
        tokio::pin!(writing);
        tokio::select! {
            () = &mut writing => {}
            () = reading => writing.await,
        }
    };
    tokio::select! {
        () = both => {}
        () = shared.closed.cancelled() => {}
    }
}

/// Reads requests until the stream ends; the reason to tell the peer, if it is ours.
async fn read<R>(
    shared: &Arc<Shared>,
    from: HostId,
    purpose: Purpose,
    source: &mut R,
    responses: &Responses,
) -> Option<ClosingReason>
where
    R: futures::Stream<Item = Result<Frame, FrameError>> + Unpin,
{
    let counters = shared.counters.purpose(purpose);
    if !shared.handler.permits(from, purpose) {
        counters.refused_forbidden.increment();
        return Some(ClosingReason::Forbidden);
    }
    let gate = shared.gate(from);
    loop {
        let frame = match tokio::time::timeout(shared.limits.untrusted_idle, source.next()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(_) if shared.handler.trusts(from) => continue,
            Err(_) => return Some(ClosingReason::Idle),
        };
        match frame {
            Ok(Frame::Request { id, payload }) => {
                counters.frames_in.increment();
                counters.bytes_in.add((payload.len() + crate::frame::LENGTH_BYTES + crate::frame::HEADER_BYTES) as u64);
                accept(shared, &gate, from, purpose, id, payload, responses).await;
            }
            Ok(_) | Err(FrameError::Malformed(_)) => {
                counters.malformed.increment();
                tracing::warn!(%from, %purpose, "a peer sent a malformed frame; its stream is closed");
                return Some(ClosingReason::Malformed);
            }
            Err(FrameError::Oversized { limit }) => {
                counters.oversized.increment();
                tracing::warn!(%from, %purpose, limit, "a peer sent a frame over the limit; its stream is closed");
                return Some(ClosingReason::Oversized);
            }
            Err(FrameError::Truncated) => {
                counters.truncated.increment();
                tracing::debug!(%from, %purpose, "a stream ended inside a frame");
                return None;
            }
            Err(FrameError::Io(error)) => {
                tracing::debug!(%from, %purpose, %error, "a stream failed");
                return None;
            }
        }
    }
}

/// Waits for the request's turn and starts its handler: on this task as far as it goes without waiting, then on its own.
async fn accept(
    shared: &Arc<Shared>,
    gate: &Gate,
    from: HostId,
    purpose: Purpose,
    id: u64,
    payload: bytes::Bytes,
    responses: &Responses,
) {
    shared.pace(gate, from, purpose, payload.len()).await;
    let admission = gate.window(purpose).enter(payload.len()).await;
    let mut answer = Box::pin(Arc::clone(shared).answer(from, purpose, payload));
    match (&mut answer).now_or_never() {
        Some(outcome) => {
            let _ = responses.send((Frame::Response { id, outcome }, Some(admission)));
        }
        None => {
            let responses = responses.clone();
            tokio::spawn(async move {
                let outcome = answer.await;
                let _ = responses.send((Frame::Response { id, outcome }, Some(admission)));
            });
        }
    }
}
