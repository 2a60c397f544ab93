//! Traces of messages between vats, for OpenTelemetry: one message is one trace, whichever hosts saw a part of its way.
//!
//! Nothing of it travels. The trace's id follows from sender, receiver and the message's number in its stream, and each span's id from the
//! trace, the step and the host: so the replicas of both vats, of whatever owners, give parts of one trace, and know the ids of the spans above
//! theirs. What hosts export is put together by whatever collects it.
//!
//! ```text
//! message                    from being said to its answer; given by the host that leads then
//! ├─ say        each sender   the block that said it
//! │  └─ certify              until it had its signatures
//! │     └─ ship  the shipper  until a member of the receiver took it
//! │        └─ take  that one  until it was ordered and executed there
//! ├─ execute    each receiver the block that took it in
//! └─ settle     each sender   the block in which the answer came
//! ```
//!
//! Clients export nothing: of what they say, `take` is a child of `message`, which the receiver's leader gives.
//!
//! Invariants: what messages say is never exported; a queue that is full costs spans, and never a message; without an endpoint nothing of this
//! runs. Spans of blocks that are executed again after a restart are not given again. Times are of each host's own clock.

mod export;
pub mod vat;

pub use export::{OUTCOMES, Stats};

use quorate_config::testnet::TracesConfig;
use quorate_consensus::HostId;
use quorate_engine::VatId;
use sha2::{Digest, Sha256};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Spans that wait to be exported; more are dropped.
const QUEUE: usize = 8_192;

/// A message: the vat that said it, the vat that it was said to, and its number in the stream between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub sender: VatId,
    pub receiver: VatId,
    pub number: u64,
}

impl Message {
    /// The id of its trace.
    pub fn trace(&self) -> [u8; 16] {
        let parts: [&[u8]; 4] = [b"quorate-trace-1", &self.sender.0, &self.receiver.0, &self.number.to_be_bytes()];
        first_of(&parts)
    }
}

/// A part of a message's way, and the hosts that it was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Message,
    Say(HostId),
    Certify(HostId),
    Ship {
        from: HostId,
        to: HostId,
    },
    /// `from` is nobody if a client shipped it.
    Take {
        from: Option<HostId>,
        by: HostId,
    },
    Execute(HostId),
    Settle(HostId),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Message => "message",
            Step::Say(_) => "say",
            Step::Certify(_) => "certify",
            Step::Ship { .. } => "ship",
            Step::Take { .. } => "take",
            Step::Execute(_) => "execute",
            Step::Settle(_) => "settle",
        }
    }

    /// The id of its span in a trace.
    fn span(&self, trace: &[u8; 16]) -> [u8; 8] {
        let (one, other) = match self {
            Step::Message => (None, None),
            Step::Say(host) | Step::Certify(host) | Step::Execute(host) | Step::Settle(host) => (Some(host), None),
            Step::Ship { from, to } => (Some(from), Some(to)),
            Step::Take { from, by } => (Some(by), from.as_ref()),
        };
        let bytes = |host: Option<&HostId>| host.map_or([0; 32], |host| host.0);
        let parts: [&[u8]; 4] = [trace, self.name().as_bytes(), &bytes(one), &bytes(other)];
        first_of(&parts)
    }

    /// The step whose span is above this one's.
    fn parent(&self) -> Option<Step> {
        match *self {
            Step::Message => None,
            Step::Say(_) | Step::Execute(_) | Step::Settle(_) | Step::Take { from: None, .. } => Some(Step::Message),
            Step::Certify(host) => Some(Step::Say(host)),
            Step::Ship { from, .. } => Some(Step::Certify(from)),
            Step::Take { from: Some(from), by } => Some(Step::Ship { from, to: by }),
        }
    }
}

/// The first bytes of the hash of parts, each with its length.
fn first_of<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    std::array::from_fn(|at| hash[at])
}

/// When something was, in nanoseconds since 1970 by this host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// So much earlier.
    pub fn before(self, by: std::time::Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What is said of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub message: Message,
    pub step: Step,
    pub begin: Moment,
    pub end: Moment,
    /// The block in which it was, where it was in one.
    pub block: Option<u64>,
    /// The message that this one brought about, or that brought it about.
    pub link: Option<Message>,
}

/// Where spans go. Clones go to the same place.
#[derive(Clone)]
pub struct Traces {
    host: HostId,
    /// Traces whose ids begin with more than this are left out, by all hosts alike.
    last: u64,
    queue: mpsc::Sender<Span>,
    stats: Arc<Stats>,
}

impl Traces {
    /// Exports to an endpoint from now on, in the name of this host. Ends when all of its clones are gone.
    pub fn start(config: &TracesConfig, host: HostId, name: &str) -> Traces {
        let (queue, spans) = mpsc::channel(QUEUE);
        let stats = Arc::new(Stats::default());
        let exporter = export::Exporter::new(config.clone(), host, name, stats.clone());
        tokio::spawn(exporter.run(spans));
        // Every `sample`-th of the numbers that an id may begin with.
        let last = u64::MAX / config.sample.max(1);
        Traces { host, last, queue, stats }
    }

    /// Into a queue for so many spans, for tests.
    #[cfg(test)]
    pub(crate) fn into_queue(host: HostId, room: usize) -> (Traces, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(room);
        (Traces { host, last: u64::MAX, queue, stats: Arc::default() }, spans)
    }

    /// The host that exports.
    pub fn host(&self) -> HostId {
        self.host
    }

    /// Whether a message's trace is exported.
    pub fn wants(&self, message: &Message) -> bool {
        let trace = message.trace();
        let first: [u8; 8] = std::array::from_fn(|at| trace[at]);
        u64::from_be_bytes(first) <= self.last
    }

    /// Has a span exported, unless too many wait.
    pub fn give(&self, span: Span) {
        if self.wants(&span.message) && self.queue.try_send(span).is_err() {
            self.stats.dropped();
        }
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(seed: u8) -> HostId {
        HostId([seed; 32])
    }

    fn message(number: u64) -> Message {
        Message { sender: VatId([1; 32]), receiver: VatId([2; 32]), number }
    }

    #[test]
    fn ids_follow_from_the_message_and_the_step() {
        let trace = message(7).trace();
        assert_eq!(trace, message(7).trace());
        assert_ne!(trace, message(8).trace());
        let back = Message { sender: VatId([2; 32]), receiver: VatId([1; 32]), number: 7 };
        assert_ne!(trace, back.trace(), "the other direction is another stream");
        let steps = [
            Step::Message,
            Step::Say(host(1)),
            Step::Say(host(2)),
            Step::Certify(host(1)),
            Step::Ship { from: host(1), to: host(2) },
            Step::Ship { from: host(2), to: host(1) },
            Step::Take { from: Some(host(1)), by: host(2) },
            Step::Take { from: None, by: host(2) },
            Step::Execute(host(1)),
            Step::Settle(host(1)),
        ];
        let ids: std::collections::BTreeSet<_> = steps.iter().map(|step| step.span(&trace)).collect();
        assert_eq!(ids.len(), steps.len());
    }

    #[test]
    fn a_host_knows_the_span_above_its_own_without_being_told() {
        let (shipper, taker) = (host(1), host(2));
        let mut step = Step::Take { from: Some(shipper), by: taker };
        let mut way = vec![step.name()];
        while let Some(parent) = step.parent() {
            step = parent;
            way.push(step.name());
        }
        assert_eq!(way, ["take", "ship", "certify", "say", "message"]);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
        let (traces, mut spans) = Traces::into_queue(host(1), 1);
        let span = |number| Span {
            message: message(number),
            step: Step::Message,
            begin: Moment(1),
            end: Moment(2),
            block: None,
            link: None,
        };
        (1..=3).for_each(|number| traces.give(span(number)));
        assert_eq!((traces.stats().get(), spans.try_recv().map(|span| span.message.number)), ([0, 0, 2], Ok(1)));
    }

    #[test]
    fn all_hosts_leave_out_the_same_traces() {
        let (queue, _spans) = mpsc::channel(1);
        let of = |seed| Traces { host: host(seed), last: u64::MAX / 10, queue: queue.clone(), stats: Arc::default() };
        let (one, other) = (of(1), of(2));
        let wanted: Vec<u64> = (0..1_000).filter(|number| one.wants(&message(*number))).collect();
        assert!((50..150).contains(&wanted.len()), "about a tenth: {}", wanted.len());
        assert!(wanted.iter().all(|number| other.wants(&message(*number))));
    }
}
