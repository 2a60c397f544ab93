//! Counts the unread bytes of a Yamux connection, beneath Yamux, and bounds them.
//!
//! Yamux reads its socket without end into the buffers of its streams, a window for each of them. A frame of one byte costs a
//! hundred there, and Yamux does not know the peer. Here the frames are counted as they come from the socket. While too
//! many bytes are unread, nothing is read from the socket: the peer's sending stalls, as on a full window.
//!
//! Invariants: Yamux never holds more of a connection than its allowance and [`MAX_BODY`] for the incoming frame. Bytes
//! of a stream count until they are read, or until Yamux has dropped the stream. An honest host, whose streams are read
//! as fast as possible, is not slowed down.
//!
//! It does not look at the content of streams. A stranger that asks for more answers at once than
//! its windows take may hang, since its window updates wait behind its requests. Its streams end after
//! [`crate::NetLimits::write_stall`].

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::{AsyncRead, AsyncWrite};

use crate::stats::Counter;

/// Longest body of a Yamux frame, in bytes: the window that a stream has at first. Ours are of 16 KiB.
pub(crate) const MAX_BODY: usize = 256 * 1024;
/// What a frame costs Yamux beyond its bytes: an allocation of its own, and its place in a queue that doubles.
const FRAME_COST: usize = 128;
/// What a stream costs Yamux beyond its frames: its state, and the channel through which it writes.
const STREAM_COST: usize = 2048;
const HEADER_BYTES: usize = 12;

/// The beginning of a Yamux frame.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    stream: u32,
    /// It opens the stream.
    opens: bool,
    /// It ends the stream; Yamux throws its body away.
    resets: bool,
    /// Bytes that follow.
    body: usize,
}

impl Header {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let [_version, kind, _, flags, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        let is_data = kind == 0;
        // The other kind that may open a stream is a window update.
        let of_stream = is_data || kind == 1;
        Header {
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            opens: of_stream && flags & 1 != 0,
            resets: of_stream && flags & 8 != 0,
            body: if is_data { u32::from_be_bytes([l0, l1, l2, l3]) as usize } else { 0 },
        }
    }
}

/// What one stream holds.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// What frames cost beyond their bytes; given back when nothing is left to read, since it is not known what a frame was.
    overhead: usize,
}

/// The books of one connection.
#[derive(Debug, Default)]
struct Books {
    held: usize,
    streams: BTreeMap<u32, Held>,
    /// Streams that nobody uses any more and Yamux may still have.
    dropped: Vec<u32>,
    /// The reader that waits until less is held.
    waiting: Option<Waker>,
    /// Yamux cannot write, and so does not let go of streams.
    stuck: bool,
}

impl Books {
    fn open(&mut self, stream: u32) {
        // A peer may claim to open a stream again and again: the books stay as large as what they count.
        self.streams.entry(stream).or_insert_with(|| {
            self.held += STREAM_COST;
            Held::default()
        });
    }

    fn come(&mut self, header: &Header) {
        if header.opens {
            self.open(header.stream);
        }
        if header.resets || header.body == 0 {
            return;
        }
        // What comes for no stream is not kept.
        if let Some(held) = self.streams.get_mut(&header.stream) {
            held.bytes += header.body;
            held.overhead += FRAME_COST;
            self.held += header.body + FRAME_COST;
        }
    }

    fn read(&mut self, stream: u32, bytes: usize) {
        let Some(held) = self.streams.get_mut(&stream) else { return };
        held.bytes = held.bytes.saturating_sub(bytes);
        self.held = self.held.saturating_sub(bytes);
        if held.bytes == 0 {
            self.held = self.held.saturating_sub(std::mem::take(&mut held.overhead));
        }
    }

    fn gone(&mut self, stream: u32) {
        if let Some(held) = self.streams.remove(&stream) {
            self.held = self.held.saturating_sub(held.bytes + held.overhead + STREAM_COST);
        }
    }
}

/// How many bytes a connection may hold now. It is asked only if there are many.
pub(crate) type Allowance = Arc<dyn Fn() -> usize + Send + Sync>;

/// What the parts of one connection share.
#[derive(Clone)]
pub(crate) struct Ahead {
    books: Arc<Mutex<Books>>,
    allowance: Allowance,
    /// The least that the allowance can be.
    always: usize,
    /// Gauge of all connections.
    gauge: Arc<Counter>,
}

impl Ahead {
    pub(crate) fn new(always: usize, allowance: Allowance, gauge: Arc<Counter>) -> Ahead {
        Ahead { books: Arc::default(), allowance, always, gauge }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the books, the gauge with them, and wakes who waits for room if there is more.
    fn change<R>(&self, change: impl FnOnce(&mut Books) -> R) -> R {
        let mut books = self.books();
        let before = books.held;
        let result = change(&mut books);
        let after = books.held;
        let waiting = if after < before { books.waiting.take() } else { None };
        drop(books);
        self.gauge.add(after.saturating_sub(before) as u64);
        self.gauge.subtract(before.saturating_sub(after) as u64);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        result
    }

    /// A stream of ours.
    pub(crate) fn open(&self, stream: u32) {
        self.change(|books| books.open(stream));
    }

    /// Streams that were dropped by now.
    pub(crate) fn dropped(&self) -> Vec<u32> {
        std::mem::take(&mut self.books().dropped)
    }

    /// Yamux has done what it could since these were dropped: it has let go of them, unless it could not write.
    pub(crate) fn let_go(&self, mut dropped: Vec<u32>) {
        if dropped.is_empty() {
            return;
        }
        self.change(|books| {
            if books.stuck {
                books.dropped.append(&mut dropped);
            }
            dropped.into_iter().for_each(|stream| books.gone(stream));
        });
    }

    /// Returns whether nothing more is to be taken in now; if so, the task is woken when that may have changed.
    fn is_full(&self, context: &Context<'_>) -> bool {
        if self.books().held < self.always {
            return false;
        }
        // The books are not locked while others are asked.
        let allowance = (self.allowance)();
        let mut books = self.books();
        let full = books.held >= allowance;
        if full {
            books.waiting = Some(context.waker().clone());
        }
        full
    }
}

/// A socket from which no more is taken than may be held.
pub(crate) struct Socket<C> {
    socket: C,
    ahead: Ahead,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are there.
    begun: usize,
    /// Bytes of the body that are still to come.
    body: usize,
}

impl<C> Socket<C> {
    pub(crate) fn new(socket: C, ahead: Ahead) -> Socket<C> {
        Socket { socket, ahead, header: [0; HEADER_BYTES], begun: 0, body: 0 }
    }

    /// So many bytes came, of one header or one body.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.body > 0 {
            self.body -= bytes.len();
            return Ok(());
        }
        self.header[self.begun..][..bytes.len()].copy_from_slice(bytes);
        self.begun += bytes.len();
        if self.begun == HEADER_BYTES {
            let header = Header::decode(&self.header);
            if header.body > MAX_BODY {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of Yamux is too long"));
            }
            self.ahead.change(|books| books.come(&header));
            (self.begun, self.body) = (0, header.body);
        }
        Ok(())
    }
}

impl<C> Drop for Socket<C> {
    /// With the connection all is gone.
    fn drop(&mut self) {
        self.ahead.change(|books| {
            books.held = 0;
            books.streams.clear();
        });
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Socket<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let between_frames = this.begun == 0 && this.body == 0;
        if between_frames && this.ahead.is_full(context) {
            return Poll::Pending;
        }
        // Yamux reads a header and a body apart, too.
        let most = if this.body > 0 { this.body } else { HEADER_BYTES - this.begun };
        let most = most.min(buffer.len());
        let count = ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer[..most]))?;
        Poll::Ready(this.came(&buffer[..count]).map(|()| count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Socket<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, buffer);
        this.ahead.books().stuck = written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(context)
    }
}

/// A stream of which it is known what is read.
pub(crate) struct Stream {
    // First, so that it is gone when it is said to be.
    stream: yamux::Stream,
    id: StreamId,
}

/// Says that a stream is not used any more.
struct StreamId {
    id: u32,
    ahead: Ahead,
}

impl Drop for StreamId {
    fn drop(&mut self) {
        self.ahead.books().dropped.push(self.id);
    }
}

impl Stream {
    pub(crate) fn new(stream: yamux::Stream, ahead: &Ahead) -> Stream {
        let id = StreamId { id: stream.id().val(), ahead: ahead.clone() };
        Stream { stream, id }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.id.ahead.change(|books| books.read(this.id.id, count));
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
