//! What the gateway counts, for the host's metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a client has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// A session of Cap'n Web over a WebSocket.
    CapnWeb,
    /// A batch of Cap'n Web.
    Batch,
    /// Frames of a client that checks for itself.
    Frames,
}

impl Session {
    pub const ALL: [Session; 3] = [Session::CapnWeb, Session::Batch, Session::Frames];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Session::CapnWeb => "capnweb",
            Session::Batch => "batch",
            Session::Frames => "frames",
        }
    }
}

/// What came of a call over plain HTTP, or of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fulfilled,
    /// By the vat's code.
    Rejected,
    /// There is no answer, and the call was not made.
    NotDone,
    /// There is no answer, and the call may have been made.
    Unanswered,
}

impl Outcome {
    pub const ALL: [Outcome; 4] = [Outcome::Fulfilled, Outcome::Rejected, Outcome::NotDone, Outcome::Unanswered];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Fulfilled => "fulfilled",
            Outcome::Rejected => "rejected",
            Outcome::NotDone => "not_done",
            Outcome::Unanswered => "unanswered",
        }
    }
}

/// Why a client was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its page is not listed.
    Origin,
    /// It shows no reference, or one that does not open the object.
    Reference,
    /// What it asks is malformed, too large, or not to be had here.
    Request,
    /// All places are taken.
    Full,
    /// Its address has its share of places.
    Share,
    /// Its reference has as many calls under way, or keys that are kept, as one may.
    ReferenceShare,
}

impl Refusal {
    pub const ALL: [Refusal; 6] =
        [Refusal::Origin, Refusal::Reference, Refusal::Request, Refusal::Full, Refusal::Share, Refusal::ReferenceShare];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Origin => "origin",
            Refusal::Reference => "reference",
            Refusal::Request => "request",
            Refusal::Full => "full",
            Refusal::Share => "share",
            Refusal::ReferenceShare => "reference_share",
        }
    }
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::In, Direction::Out];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// Counts since the host has started.
#[derive(Debug, Default)]
pub struct Stats {
    opened: [AtomicU64; Session::ALL.len()],
    closed: [AtomicU64; Session::ALL.len()],
    calls: [AtomicU64; Outcome::ALL.len()],
    calls_begun: AtomicU64,
    messages: [AtomicU64; Direction::ALL.len()],
    frames: [AtomicU64; Direction::ALL.len()],
    frame_bytes: [AtomicU64; Direction::ALL.len()],
    slowed: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Stats {
    /// Counts what was opened as open until this is dropped.
    pub(crate) fn open(self: &Arc<Self>, session: Session) -> Open {
        add(&self.opened[session as usize], 1);
        Open { stats: Arc::clone(self), session }
    }

    pub(crate) fn call_begins(&self) {
        add(&self.calls_begun, 1);
    }

    pub(crate) fn call_ends(&self, outcome: Outcome) {
        add(&self.calls[outcome as usize], 1);
    }

    /// A message of a session of Cap'n Web.
    pub(crate) fn message(&self, direction: Direction) {
        add(&self.messages[direction as usize], 1);
    }

    /// A frame of a client that checks for itself.
    pub(crate) fn frame(&self, direction: Direction, bytes: usize) {
        add(&self.frames[direction as usize], 1);
        add(&self.frame_bytes[direction as usize], bytes as u64);
    }

    /// A message after which its address has to wait.
    pub(crate) fn slowed(&self) {
        add(&self.slowed, 1);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        add(&self.refused[refusal as usize], 1);
    }

    /// How many are open now.
    pub fn sessions(&self, session: Session) -> u64 {
        // Closed ones first, so that there are never fewer than none.
        let closed = read(&self.closed[session as usize]);
        self.sessions_total(session).saturating_sub(closed)
    }

    /// How many were opened.
    pub fn sessions_total(&self, session: Session) -> u64 {
        read(&self.opened[session as usize])
    }

    /// How many calls are under way now.
    pub fn calls(&self) -> u64 {
        let ended: u64 = self.calls.iter().map(read).sum();
        read(&self.calls_begun).saturating_sub(ended)
    }

    pub fn calls_total(&self, outcome: Outcome) -> u64 {
        read(&self.calls[outcome as usize])
    }

    pub fn messages_total(&self, direction: Direction) -> u64 {
        read(&self.messages[direction as usize])
    }

    pub fn frames_total(&self, direction: Direction) -> u64 {
        read(&self.frames[direction as usize])
    }

    pub fn frame_bytes_total(&self, direction: Direction) -> u64 {
        read(&self.frame_bytes[direction as usize])
    }

    pub fn slowed_total(&self) -> u64 {
        read(&self.slowed)
    }

    pub fn refused_total(&self, refusal: Refusal) -> u64 {
        read(&self.refused[refusal as usize])
    }
}

/// Something that is open.
pub(crate) struct Open {
    stats: Arc<Stats>,
    session: Session,
}

impl Drop for Open {
    fn drop(&mut self) {
        add(&self.stats.closed[self.session as usize], 1);
    }
}
