//! What the tables of a session hold.

use crate::data::{Data, Remote};
use crate::expression::Expression;
use quorate_streams::client::Owed;

#[derive(Clone, Debug)]
pub(super) enum State {
    /// What a session begins with.
    Main,
    /// If there is something, that can be called already.
    Pending(Option<Remote>),
    Fulfilled(Data),
    Rejected(Data),
}

/// Something that the other side can name, or that a job needs.
#[derive(Debug)]
pub(super) struct Export {
    pub state: State,
    /// How often the other side was told of it, less what it has released.
    pub named: u64,
    /// How many jobs and values refer to it.
    pub users: u64,
    pub is_pulled: bool,
    /// It goes when it is resolved, without a release.
    pub is_stream: bool,
    pub waiting: Vec<Job>,
    pub bytes: usize,
    /// Which answer of a vat it was settled by.
    pub answer: Option<Remote>,
}

/// Something of the other side.
#[derive(Debug, Default)]
pub(super) struct Import {
    /// How often it was named.
    pub named: u64,
    /// How many jobs, values and vats refer to it.
    pub users: usize,
    pub is_promise: bool,
    /// What it came out as, if it is a promise of the other side.
    pub resolved: Option<Result<Data, Data>>,
    pub waiting: Vec<Job>,
    pub bytes: usize,
    /// The call of a vat that it answers, for a push of this side.
    pub call: Option<Call>,
}

/// A call of something of the other side by a vat.
#[derive(Debug)]
pub(super) struct Call {
    pub vat: usize,
    pub answers: Option<Owed>,
    /// The answer that it was made on, if it was not made on an object.
    pub on: Option<i64>,
    /// How many calls of its answer are under way.
    pub pipelined: usize,
    pub is_settled: bool,
    pub comes_home: bool,
    /// No more calls of its answer come.
    pub is_quiet: bool,
}

/// An expression whose parts may have to be waited for. Whatever it refers to is whole: other references in it have their own jobs.
#[derive(Debug)]
pub(super) struct Job {
    pub expression: Expression,
    pub then: Then,
    pub exports: Vec<i64>,
    pub imports: Vec<i64>,
}

/// What becomes of what an expression comes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Export(i64),
    /// Of an import; `true`: it is fulfilled.
    Resolve(i64, bool),
}
