//! Frames on a stream: a length, then one byte of version, one of kind, eight of request id, and the payload.
//!
//! ```text
//! u32 length of the rest | u8 version = 1 | u8 kind | u64 request id | payload
//! ```
//! All numbers are big-endian. These bytes are a protocol: the golden files in `net/golden` hold them.
//!
//! Invariants: decoding never panics and never allocates more than the limit of the purpose, whatever the bytes; a length over
//! the limit is refused before its payload is read; after the first error a stream is useless and must be closed. Payloads
//! are not copied on the way in. It does not know which kinds may travel which way: the two ends of a stream check that.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::Purpose;

/// Version of this format; the first byte of every frame.
pub const FRAME_VERSION: u8 = 1;
/// Bytes of a frame before the payload, without the length.
pub const HEADER_BYTES: usize = 1 + 1 + 8;
/// Bytes of the length.
pub const LENGTH_BYTES: usize = 4;
/// Longest text of a refusal, in bytes. Longer ones are cut: it is for people to read.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Room made at a time while a frame comes in, in bytes, at least.
pub(crate) const RESERVE_BYTES: usize = 16 * 1024;

const KIND_REQUEST: u8 = 0;
const KIND_ANSWER: u8 = 1;
const KIND_REFUSED: u8 = 2;
const KIND_UNAVAILABLE: u8 = 3;
const KIND_FORBIDDEN: u8 = 4;
const KIND_CLOSING: u8 = 5;
const KIND_READY: u8 = 6;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A request. `id` is chosen by the requester, unique on its stream.
    Request {
        /// Repeated in the response.
        id: u64,
        /// For the handler.
        payload: Bytes,
    },
    /// The response to request `id`.
    Response {
        /// Of the request.
        id: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The first frame of the accepting side: the stream is being read. Its id is 0.
    Ready,
    /// The last frame of the accepting side: why it closes the stream. Its id is 0.
    Closing {
        /// Why.
        reason: ClosingReason,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's answer.
    Answer(Bytes),
    /// The handler's refusal.
    Refused(String),
    /// There is no answer, and it is not the request's fault.
    Unavailable(String),
    /// The requester may not send requests of this purpose.
    Forbidden,
}

/// Why the accepting side closes a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClosingReason {
    /// The requester may not use this purpose.
    Forbidden = 1,
    /// A frame did not decode, or had no place here.
    Malformed = 2,
    /// A frame's length was over the limit.
    Oversized = 3,
    /// No frame came for too long.
    Idle = 4,
    /// The host is shutting down.
    Shutdown = 5,
}

impl ClosingReason {
    fn from_byte(byte: u8) -> Option<ClosingReason> {
        Some(match byte {
            1 => ClosingReason::Forbidden,
            2 => ClosingReason::Malformed,
            3 => ClosingReason::Oversized,
            4 => ClosingReason::Idle,
            5 => ClosingReason::Shutdown,
            _ => return None,
        })
    }

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClosingReason::Forbidden => "the peer does not permit this purpose",
            ClosingReason::Malformed => "the peer could not decode a frame",
            ClosingReason::Oversized => "the peer got a frame over the limit",
            ClosingReason::Idle => "the peer closed the idle stream",
            ClosingReason::Shutdown => "the peer is shutting down",
        }
    }
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is over the limit.
    #[error("a frame over the limit of {limit} bytes")]
    Oversized {
        /// The limit, in bytes of payload.
        limit: usize,
    },
    /// The bytes break the format.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Request { .. } => KIND_REQUEST,
            Frame::Response { outcome: Outcome::Answer(_), .. } => KIND_ANSWER,
            Frame::Response { outcome: Outcome::Refused(_), .. } => KIND_REFUSED,
            Frame::Response { outcome: Outcome::Unavailable(_), .. } => KIND_UNAVAILABLE,
            Frame::Response { outcome: Outcome::Forbidden, .. } => KIND_FORBIDDEN,
            Frame::Ready => KIND_READY,
            Frame::Closing { .. } => KIND_CLOSING,
        }
    }

    fn id(&self) -> u64 {
        match self {
            Frame::Request { id, .. } | Frame::Response { id, .. } => *id,
            Frame::Ready | Frame::Closing { .. } => 0,
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Frame::Request { payload, .. } | Frame::Response { outcome: Outcome::Answer(payload), .. } => payload,
            Frame::Response { outcome: Outcome::Refused(text) | Outcome::Unavailable(text), .. } => {
                cut(text).as_bytes()
            }
            Frame::Response { outcome: Outcome::Forbidden, .. } | Frame::Ready => &[],
            Frame::Closing { reason } => match reason {
                ClosingReason::Forbidden => &[1],
                ClosingReason::Malformed => &[2],
                ClosingReason::Oversized => &[3],
                ClosingReason::Idle => &[4],
                ClosingReason::Shutdown => &[5],
            },
        }
    }

    /// Bytes of the whole frame on the wire.
    pub fn wire_bytes(&self) -> usize {
        LENGTH_BYTES + HEADER_BYTES + self.payload().len()
    }

    /// Decodes one frame without its length.
    ///
    /// # Errors
    /// [`FrameError::Malformed`].
    pub fn decode(mut body: Bytes) -> Result<Frame, FrameError> {
        if body.len() < HEADER_BYTES {
            return Err(FrameError::Malformed("shorter than a header"));
        }
        if body.get_u8() != FRAME_VERSION {
            return Err(FrameError::Malformed("unknown version"));
        }
        let kind = body.get_u8();
        let id = body.get_u64();
        Ok(match kind {
            KIND_REQUEST => Frame::Request { id, payload: body },
            KIND_ANSWER => Frame::Response { id, outcome: Outcome::Answer(body) },
            KIND_REFUSED => Frame::Response { id, outcome: Outcome::Refused(text(&body)?) },
            KIND_UNAVAILABLE => Frame::Response { id, outcome: Outcome::Unavailable(text(&body)?) },
            KIND_FORBIDDEN if body.is_empty() => Frame::Response { id, outcome: Outcome::Forbidden },
            KIND_FORBIDDEN => return Err(FrameError::Malformed("payload where none belongs")),
            KIND_CLOSING => match (id, &body[..]) {
                (0, [byte]) => Frame::Closing {
                    reason: ClosingReason::from_byte(*byte).ok_or(FrameError::Malformed("unknown closing reason"))?,
                },
                _ => return Err(FrameError::Malformed("bad closing frame")),
            },
            KIND_READY if id == 0 && body.is_empty() => Frame::Ready,
            KIND_READY => return Err(FrameError::Malformed("bad ready frame")),
            _ => return Err(FrameError::Malformed("unknown kind")),
        })
    }
}

fn text(bytes: &[u8]) -> Result<String, FrameError> {
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(FrameError::Malformed("text too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| FrameError::Malformed("text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// The longest prefix of `text` within [`MAX_TEXT_BYTES`].
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// Frames of one stream, both ways.
#[derive(Debug)]
pub struct FrameCodec {
    limit: usize,
}

impl FrameCodec {
    /// The codec of streams of this purpose.
    pub fn new(purpose: Purpose) -> FrameCodec {
        FrameCodec::with_limit(purpose.max_frame_bytes())
    }

    /// A codec that refuses payloads over `limit` bytes. Texts of refusals fit whatever the limit is.
    pub fn with_limit(limit: usize) -> FrameCodec {
        FrameCodec { limit: limit.max(MAX_TEXT_BYTES) }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = source.first_chunk::<LENGTH_BYTES>() else {
            source.reserve(LENGTH_BYTES + HEADER_BYTES);
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > HEADER_BYTES + self.limit {
            return Err(FrameError::Oversized { limit: self.limit });
        }
        let missing = (LENGTH_BYTES + length).saturating_sub(source.len());
        if missing > 0 {
            // Room grows with what has come, not with what was announced: lengths are cheap to send. The last step takes what
            // is missing, or the buffer would double for the last few bytes.
            if source.capacity() == source.len() {
                let step = if missing <= 2 * source.len() { missing } else { source.len().max(RESERVE_BYTES) };
                source.reserve(step.min(missing));
            }
            return Ok(None);
        }
        source.advance(LENGTH_BYTES);
        Frame::decode(source.split_to(length).freeze()).map(Some)
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        match self.decode(source)? {
            Some(frame) => Ok(Some(frame)),
            None if source.is_empty() => Ok(None),
            None => Err(FrameError::Truncated),
        }
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, target: &mut BytesMut) -> Result<(), FrameError> {
        let payload = frame.payload();
        let length = HEADER_BYTES + payload.len();
        if payload.len() > self.limit {
            return Err(FrameError::Oversized { limit: self.limit });
        }
        target.reserve(LENGTH_BYTES + length);
        target.put_u32(u32::try_from(length).expect("every limit is far below 4 GiB"));
        target.put_u8(FRAME_VERSION);
        target.put_u8(frame.kind());
        target.put_u64(frame.id());
        target.put_slice(payload);
        Ok(())
    }
}
