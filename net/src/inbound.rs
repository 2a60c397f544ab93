//! Reads the requests of one stream, and bounds the memory and time that its peer takes.
//!
//! Invariants: an untrusted peer holds [`FREE_BYTES`] for nothing. Everything beyond counts against the budget that all
//! strangers share, from the bytes as they come (an announced length is no claim) until its request is answered. A frame of an untrusted peer
//! that has begun ends in time or costs the stream. A stream that waits for its next frame holds no memory of the last one.
//!
//! Why not `Framed`: it reads on without end, and shows neither when a frame began nor what it holds.

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Decoder as _;

use crate::answer::Shared;
use crate::frame::{Frame, FrameCodec, FrameError, LENGTH_BYTES, RESERVE_BYTES};
use crate::window::{Charge, FREE_BYTES};
use crate::{HostId, Purpose};

/// A stranger's frame that has begun gets its time prolonged by a second for each so many bytes that it announces: half a
/// megabit a second is the slowest line that may send the largest frame.
const SLOWEST_BYTES_PER_SECOND: usize = 64 * 1024;

/// Why there is no next request.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer closed its end, between two frames.
    Closed,
    /// What came is no frame, or the stream failed.
    Broken(FrameError),
    /// No frame began for too long.
    Idle,
    /// A frame began and did not end in time, or found no room.
    Stalled,
}

/// The reading end of a stream.
pub(crate) struct Inbound<R> {
    source: R,
    codec: FrameCodec,
    buffer: BytesMut,
    /// Size of the memory behind the buffer, which its own capacity does not say once frames were cut off.
    size: usize,
}

/// What is known of the frame that is coming in.
struct Coming {
    /// When it began; at first, when the wait for it began.
    since: Instant,
    begun: bool,
    charge: Charge,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(crate) fn new(source: R, purpose: Purpose) -> Inbound<R> {
        Inbound { source, codec: FrameCodec::new(purpose), buffer: BytesMut::new(), size: 0 }
    }

    /// The next frame, and what its bytes were charged.
    pub(crate) async fn next(&mut self, shared: &Shared, from: HostId) -> Result<(Frame, Charge), Ended> {
        let mut coming = Coming { since: Instant::now(), begun: !self.buffer.is_empty(), charge: Charge::default() };
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer).map_err(Ended::Broken)? {
                self.let_go();
                return Ok((frame, coming.charge));
            }
            self.make_room(shared, from, &mut coming).await?;
            let deadline = self.deadline(shared, &coming);
            let most = self.most();
            match timeout_at(deadline, self.source.read_buf(&mut (&mut self.buffer).limit(most))).await {
                Ok(Ok(0)) if self.buffer.is_empty() => return Err(Ended::Closed),
                Ok(Ok(0)) => return Err(Ended::Broken(FrameError::Truncated)),
                Ok(Ok(_)) if coming.begun => {}
                Ok(Ok(_)) => (coming.begun, coming.since) = (true, Instant::now()),
                Ok(Err(error)) => return Err(Ended::Broken(error.into())),
                // A trusted peer may take its time.
                Err(_) if shared.handler.trusts(from) => coming.since = Instant::now(),
                Err(_) => return Err(if coming.begun { Ended::Stalled } else { Ended::Idle }),
            }
        }
    }

    /// Room to read into. A stranger pays for it before anything is read, so that its memory is bounded at any time.
    async fn make_room(&mut self, shared: &Shared, from: HostId, coming: &mut Coming) -> Result<(), Ended> {
        // The codec has asked for what the frame needs next, which may be nothing yet.
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(RESERVE_BYTES);
        }
        self.size = self.buffer.capacity();
        if self.size <= FREE_BYTES || shared.handler.trusts(from) {
            return Ok(());
        }
        let room = shared.budget.cover(&mut coming.charge, self.size);
        tokio::time::timeout(shared.limits.untrusted_room_time, room).await.map_err(|_| Ended::Stalled)
    }

    /// Bytes of the frame that is coming in, if that is known already.
    fn announced(&self) -> Option<usize> {
        self.buffer.first_chunk::<LENGTH_BYTES>().map(|length| LENGTH_BYTES + u32::from_be_bytes(*length) as usize)
    }

    /// Returns how much may be read now: of a large frame to its end, so that what comes behind it begins a buffer of its own.
    fn most(&self) -> usize {
        self.announced().filter(|size| *size > FREE_BYTES).map_or(usize::MAX, |size| size - self.buffer.len())
    }

    /// Until when more has to come.
    fn deadline(&self, shared: &Shared, coming: &Coming) -> Instant {
        if !coming.begun {
            return coming.since + shared.limits.untrusted_idle;
        }
        let seconds = self.announced().unwrap_or(0) / SLOWEST_BYTES_PER_SECOND;
        coming.since + shared.limits.untrusted_frame_time + Duration::from_secs(seconds as u64)
    }

    /// Parts from the memory of a large frame, which the buffer would keep.
    fn let_go(&mut self) {
        if self.size > FREE_BYTES {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.size = self.buffer.capacity();
        }
    }
}
