//! An in-memory network with seeded delay, loss, reordering and partition, for simulations and tests.
//!
//! It works on tokio's time only, so that it runs under `start_paused`. Every request and every response is one frame that is
//! encoded, carried by one scheduler in the order of its arrival time, and decoded, with the limits of the real network.
//!
//! What happens to the n-th frame from one host to another is a function of the seed, the two hosts and n alone: on a
//! current-thread runtime the same seed and the same program give the same run, and traffic between other hosts does not
//! change what happens between these two.
//!
//! A frame that is lost or meets a partition is never answered (the request times out), as on a link that went dark; a host
//! that has not joined, or has left, is unreachable at once, as one whose port is closed. As on the real network, a host can be
//! asked only if its addresses were set or hinted or there is a connection, and never by itself; a network that is dropped leaves.
//!
//! What differs from the real network:
//! - A lost frame gives its place in the window back at once. Really nothing is lost but a whole connection, and its requests
//!   keep their places until it ends: there a dark link ends in [`NetError::Overloaded`], here only in [`NetError::Timeout`].
//! - Frames come in at once and whole, so that nothing is to be said about partial ones, their time and their memory; nor are
//!   there streams and connections to be limited, closed, held back after a refusal, or found dead by a ping.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::codec::{Decoder as _, Encoder as _};

use crate::answer::Shared;
use crate::frame::{Frame, FrameCodec, FrameError, Outcome};
use crate::peers::ASKED_LATELY;
use crate::window::{Admission, Window};
use crate::{Handler, HostId, NetError, NetLimits, Network, Purpose};
use host::MemoryHost;

mod host;

/// What a link does to frames, one way.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkOptions {
    /// Each frame takes a time from this range; frames overtake one another if it is wide.
    pub delay: RangeInclusive<Duration>,
    /// Share of frames that are lost, 0 to 1.
    pub loss: f64,
}

impl Default for LinkOptions {
    /// A quick local network: 1 to 3 ms, no loss.
    fn default() -> LinkOptions {
        LinkOptions { delay: Duration::from_millis(1)..=Duration::from_millis(3), loss: 0.0 }
    }
}

/// One network that hosts join; cheap to clone.
#[derive(Clone)]
pub struct MemoryNetwork {
    world: Arc<World>,
}

struct World {
    seed: u64,
    state: Mutex<State>,
    /// Something new is the first to arrive, or the world is gone.
    changed: Arc<Notify>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<HostId, Arc<Node>>,
    default_link: LinkOptions,
    links: BTreeMap<(HostId, HostId), LinkOptions>,
    /// Pairs whose frames are dropped, by direction.
    cut: BTreeSet<(HostId, HostId)>,
    /// Frames sent so far, by direction.
    sent: BTreeMap<(HostId, HostId), u64>,
    on_the_way: BinaryHeap<Reverse<Parcel>>,
    next_parcel: u64,
    scheduler_runs: bool,
}

/// One host of the world.
struct Node {
    shared: Arc<Shared>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    addresses: BTreeMap<HostId, Vec<String>>,
    /// With the time when each was last given or used.
    hints: BTreeMap<HostId, (Vec<String>, Instant)>,
    /// Hosts that have asked us, or answered: there is a connection.
    connected: BTreeSet<HostId>,
    windows: BTreeMap<(HostId, Purpose), Arc<Window>>,
    pending: BTreeMap<u64, oneshot::Sender<Result<Bytes, NetError>>>,
    next_id: u64,
}

impl Links {
    /// Returns whether the host was hinted at, and hinted at or asked for lately.
    fn is_hinted(&self, host: HostId, now: Instant) -> bool {
        self.hints.get(&host).is_some_and(|(_, asked)| now.saturating_duration_since(*asked) < ASKED_LATELY)
    }

    /// Returns whether there is any way to the host; it is asked for.
    fn ask(&mut self, host: HostId, now: Instant) -> bool {
        let hinted = self.is_hinted(host, now);
        match self.hints.get_mut(&host) {
            Some((_, asked)) if hinted => *asked = now,
            _ => drop(self.hints.remove(&host)),
        }
        hinted || self.addresses.contains_key(&host) || self.connected.contains(&host)
    }
}

/// A frame on its way.
struct Parcel {
    at: Instant,
    number: u64,
    from: HostId,
    to: HostId,
    purpose: Purpose,
    bytes: Bytes,
    /// The requester's process: a response to one that has restarted since is lost.
    requester: Arc<Node>,
    /// The place in the window that the request holds until its response arrives.
    admission: Option<Admission>,
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Parcel) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Parcel {}

impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Parcel) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parcel {
    fn cmp(&self, other: &Parcel) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryNetwork {
    /// An empty network.
    pub fn new(seed: u64) -> MemoryNetwork {
        MemoryNetwork { world: Arc::new(World { seed, state: Mutex::default(), changed: Arc::default() }) }
    }

    /// Adds a host with the default limits, or replaces it (a restart). Must be called on a tokio runtime.
    pub fn join(&self, id: HostId, handler: Arc<dyn Handler>) -> Arc<dyn Network> {
        self.join_with(id, handler, NetLimits::default())
    }

    /// Adds a host, or replaces it (a restart). Must be called on a tokio runtime.
    pub fn join_with(&self, id: HostId, handler: Arc<dyn Handler>, limits: NetLimits) -> Arc<dyn Network> {
        let node = Arc::new(Node { shared: Shared::new(id, handler, limits), links: Mutex::default() });
        let mut state = lock(&self.world.state);
        if let Some(old) = state.hosts.insert(id, Arc::clone(&node)) {
            old.close();
        }
        for other in state.hosts.values().filter(|other| other.shared.local != id) {
            lock(&other.links).connected.remove(&id);
        }
        if !state.scheduler_runs {
            state.scheduler_runs = true;
            tokio::spawn(schedule(Arc::downgrade(&self.world), Arc::clone(&self.world.changed)));
        }
        drop(state);
        Arc::new(MemoryHost { world: Arc::clone(&self.world), node })
    }

    /// What all links do that have no options of their own.
    pub fn set_default_link(&self, options: LinkOptions) {
        lock(&self.world.state).default_link = options;
    }

    /// What the link between two hosts does, both ways.
    pub fn set_link(&self, one: HostId, other: HostId, options: LinkOptions) {
        let mut state = lock(&self.world.state);
        state.links.insert((one, other), options.clone());
        state.links.insert((other, one), options);
    }

    /// Drops all frames between the two groups, also those on their way, until [`MemoryNetwork::heal`].
    pub fn partition(&self, some: &[HostId], others: &[HostId]) {
        for one in some {
            for other in others.iter().filter(|other| *other != one) {
                self.cut(*one, *other);
                self.cut(*other, *one);
            }
        }
    }

    /// Drops all frames from one host to another, this way only.
    pub fn cut(&self, from: HostId, to: HostId) {
        lock(&self.world.state).cut.insert((from, to));
    }

    /// Drops all frames to and from one host.
    pub fn isolate(&self, host: HostId) {
        let others: Vec<HostId> = lock(&self.world.state).hosts.keys().copied().collect();
        self.partition(&[host], &others);
    }

    /// Ends all partitions and cuts; delays and losses stay.
    pub fn heal(&self) {
        lock(&self.world.state).cut.clear();
    }

    /// Ends all delays beyond the default, all losses, partitions and cuts.
    pub fn calm(&self) {
        let mut state = lock(&self.world.state);
        state.cut.clear();
        state.links.clear();
        state.default_link = LinkOptions::default();
    }
}

impl World {
    /// Sends a frame; what becomes of it is decided here, by the seed.
    fn send(
        &self,
        from: HostId,
        to: HostId,
        purpose: Purpose,
        frame: Frame,
        requester: Arc<Node>,
        admission: Option<Admission>,
    ) -> Result<(), FrameError> {
        let mut bytes = BytesMut::new();
        FrameCodec::new(purpose).encode(frame, &mut bytes)?;
        let mut state = lock(&self.state);
        if let Some(node) = state.hosts.get(&from) {
            let counters = node.shared.counters.purpose(purpose);
            counters.frames_out.increment();
            counters.bytes_out.add(bytes.len() as u64);
        }
        let count = state.sent.entry((from, to)).or_default();
        *count += 1;
        let mut chance = chance(self.seed, from, to, *count);
        let link = state.links.get(&(from, to)).unwrap_or(&state.default_link);
        let (lost, delay) = (chance.random_bool(link.loss.clamp(0.0, 1.0)), chance.random_range(link.delay.clone()));
        if lost {
            return Ok(());
        }
        let number = state.next_parcel;
        state.next_parcel += 1;
        let at = Instant::now() + delay;
        let parcel = Parcel { at, number, from, to, purpose, bytes: bytes.freeze(), requester, admission };
        let first = state.on_the_way.peek().is_none_or(|Reverse(first)| parcel < *first);
        state.on_the_way.push(Reverse(parcel));
        drop(state);
        if first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Delivers what has arrived; when the next parcel does.
    fn deliver_due(self: &Arc<World>) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut state = lock(&self.state);
            let Reverse(first) = state.on_the_way.peek()?;
            if first.at > now {
                return Some(first.at);
            }
            let parcel = state.on_the_way.pop();
            drop(state);
            if let Some(Reverse(parcel)) = parcel {
                self.deliver(parcel);
            }
        }
    }

    /// A parcel has arrived.
    fn deliver(self: &Arc<World>, parcel: Parcel) {
        let state = lock(&self.state);
        let target = state.hosts.get(&parcel.to).cloned();
        let dark = state.cut.contains(&(parcel.from, parcel.to));
        drop(state);
        let Parcel { from, to, purpose, bytes, requester, admission, .. } = parcel;
        let frame = FrameCodec::new(purpose).decode(&mut BytesMut::from(bytes));
        let Ok(Some(frame)) = frame else {
            tracing::error!(%from, %to, %purpose, "the in-memory network carried a frame that does not decode");
            return;
        };
        if dark {
            return;
        }
        match frame {
            Frame::Request { id, payload } => match target {
                Some(node) => {
                    lock(&node.links).connected.insert(from);
                    let world = Arc::clone(self);
                    tokio::spawn(world.serve(node, requester, purpose, id, payload, admission));
                }
                // It left while the request was on its way.
                None => requester.settle(id, Err(unreachable(to, "the host has left"))),
            },
            Frame::Response { id, outcome } => {
                let counters = requester.shared.counters.purpose(purpose);
                counters.frames_in.increment();
                counters.bytes_in.add((crate::frame::LENGTH_BYTES + crate::frame::HEADER_BYTES) as u64);
                let result = match outcome {
                    Outcome::Answer(payload) => {
                        counters.bytes_in.add(payload.len() as u64);
                        Ok(payload)
                    }
                    Outcome::Refused(text) => Err(NetError::Refused(text)),
                    Outcome::Unavailable(text) => Err(NetError::Unavailable(text)),
                    Outcome::Forbidden => Err(NetError::Forbidden { host: from, purpose }),
                };
                if target.is_some_and(|target| Arc::ptr_eq(&target, &requester)) {
                    lock(&requester.links).connected.insert(from);
                }
                requester.settle(id, result);
            }
            // There are no streams here.
            Frame::Ready | Frame::Closing { .. } => {}
        }
    }

    /// The accepting side of one request.
    async fn serve(
        self: Arc<World>,
        node: Arc<Node>,
        requester: Arc<Node>,
        purpose: Purpose,
        id: u64,
        payload: Bytes,
        admission: Option<Admission>,
    ) {
        let from = requester.shared.local;
        let frame = Frame::Request { id, payload: payload.clone() };
        let counters = node.shared.counters.purpose(purpose);
        counters.frames_in.increment();
        counters.bytes_in.add(frame.wire_bytes() as u64);
        let gate = node.shared.gate(from);
        node.shared.pace(&gate, from, purpose, payload.len()).await;
        let _place = gate.window(purpose).enter(payload.len()).await;
        let outcome = Arc::clone(&node.shared).answer(from, purpose, payload).await;
        if node.shared.closed.is_cancelled() {
            let reason = "the host has left".to_owned();
            return requester.settle(id, Err(NetError::Lost { host: node.shared.local, purpose, reason }));
        }
        let frame = Frame::Response { id, outcome };
        if let Err(error) = self.send(node.shared.local, from, purpose, frame, requester, admission) {
            tracing::error!(%error, "the in-memory network cannot encode a response");
        }
    }
}

/// The dice of one frame.
fn chance(seed: u64, from: HostId, to: HostId, count: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        // The two hosts must not cancel out, nor may their order: one is turned round.
        *byte = from.0[index] ^ to.0[31 - index].rotate_left(3);
    }
    for (index, byte) in seed.to_le_bytes().into_iter().enumerate() {
        key[index] ^= byte;
    }
    let mut chance = ChaCha8Rng::from_seed(key);
    chance.set_stream(count);
    chance
}

/// Delivers parcels in the order of their arrival until the world is gone.
async fn schedule(world: Weak<World>, changed: Arc<Notify>) {
    while let Some(next) = world.upgrade().map(|world| world.deliver_due()) {
        let arrival = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Else tokio rolls its own dice.
            biased;
            () = arrival => {}
            () = changed.notified() => {}
        }
    }
}

fn unreachable(host: HostId, reason: &str) -> NetError {
    NetError::Unreachable { host, next_attempt_in: None, reason: reason.into() }
}

impl Node {
    fn settle(&self, id: u64, result: Result<Bytes, NetError>) {
        if let Some(reply) = lock(&self.links).pending.remove(&id) {
            let _ = reply.send(result);
        }
    }

    /// Fails everything that waits.
    fn close(&self) {
        self.shared.closed.cancel();
        lock(&self.links).pending.clear();
    }
}
