//! What happened, in order: two runs of a seed must say the same.

use quorate_consensus::Hash;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Lines that are kept for the report of a failure.
const KEPT: usize = 40;

struct Inner {
    began: Instant,
    hash: Hash,
    lines: u64,
    last: VecDeque<String>,
    file: Option<BufWriter<File>>,
}

/// Cheap to clone; clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

impl Trace {
    /// A trace that begins now; all its lines go to `file` as well, if there is one.
    pub fn new(file: Option<File>) -> Trace {
        let file = file.map(BufWriter::new);
        let (hash, last) = (Hash::ZERO, VecDeque::new());
        Trace(Arc::new(Mutex::new(Inner { began: Instant::now(), hash, lines: 0, last, file })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, with the time.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        let mut inner = self.lock();
        let line = format!("{:>6} {text}", inner.began.elapsed().as_millis());
        let mut bytes = inner.hash.0.to_vec();
        bytes.extend_from_slice(line.as_bytes());
        inner.hash = Hash::of(&bytes);
        inner.lines += 1;
        if let Some(file) = &mut inner.file {
            // Only for people; what counts is the hash.
            let _ = writeln!(file, "{line}");
        }
        if inner.last.len() == KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// Milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.lock().began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Hash over all lines, and how many there are.
    pub fn digest(&self) -> (Hash, u64) {
        let mut inner = self.lock();
        if let Some(file) = &mut inner.file {
            let _ = file.flush();
        }
        (inner.hash, inner.lines)
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }
}
