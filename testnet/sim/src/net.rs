//! The network of a world: one request, one answer, each of which is delayed, lost, doubled or held up on its way.
//!
//! A frame that is lost, or meets a partition, is not answered: the request times out. A host that is down refuses at once. Frames
//! overtake one another, and a copy may come much later, also to a later process of the same host.

use futures::future::BoxFuture;
use quorate_consensus::{Channel, Hash, HostId, Member, ReplicaHandle, Transport, TransportError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

use crate::dice::Dice;
use crate::trace::Trace;

/// What the network does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How long a frame takes, in milliseconds.
    pub delay_ms: (u64, u64),
    /// Of 1,000 frames, how many are lost.
    pub loss: u64,
    /// Of 1,000 requests, how many come twice.
    pub doubled: u64,
    /// How much later the copy comes at most, in milliseconds.
    pub copy_ms: u64,
}

impl Weather {
    /// A quick local network.
    pub const FAIR: Weather = Weather { delay_ms: (1, 3), loss: 0, doubled: 0, copy_ms: 0 };
}

/// One life of a host, as the network sees it.
#[derive(Clone)]
pub struct Process {
    pub place: usize,
    pub alive: Arc<AtomicBool>,
}

impl Process {
    /// Returns whether the process still runs.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }
}

/// Sees the frames of a host on their way, and may change them.
pub trait Interceptor: Send + Sync {
    /// A request that leaves. `None`: it does not leave.
    fn request(&self, to: &HostId, channel: Channel, frame: Vec<u8>) -> Option<Vec<u8>>;

    /// Returns whether the replica gets a request of another host; if not, nobody answers it.
    fn takes(&self, _channel: Channel, _frame: &[u8]) -> bool {
        true
    }

    /// The answer to a request of another host.
    fn answer(&self, to: &HostId, channel: Channel, request: &[u8], answer: Vec<u8>) -> Vec<u8>;
}

struct Port {
    process: Process,
    handle: ReplicaHandle,
    interceptor: Option<Arc<dyn Interceptor>>,
}

struct State {
    ports: BTreeMap<HostId, Port>,
    /// Pairs of hosts, sender first, between which nothing goes.
    cut: BTreeSet<(usize, usize)>,
    weather: Weather,
    dice: Dice,
}

/// Cheap to clone; clones are the same network.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Net {
    /// A network without hosts.
    pub fn new(dice: Dice, trace: Trace) -> Net {
        let state = State { ports: BTreeMap::new(), cut: BTreeSet::new(), weather: Weather::FAIR, dice };
        Net { state: Arc::new(Mutex::new(state)), trace }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on frames for this host go there.
    pub fn join(
        &self,
        key: HostId,
        process: Process,
        handle: ReplicaHandle,
        interceptor: Option<Arc<dyn Interceptor>>,
    ) {
        self.lock().ports.insert(key, Port { process, handle, interceptor });
    }

    /// From now on the host is down.
    pub fn leave(&self, key: &HostId) {
        self.lock().ports.remove(key);
    }

    /// From now on nothing goes from one place to another.
    pub fn cut(&self, from: usize, to: usize) {
        self.lock().cut.insert((from, to));
    }

    /// All ways are open again.
    pub fn mend(&self) {
        self.lock().cut.clear();
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// Returns how long a frame takes; `None`: it never comes.
    fn passage(&self, from: usize, to: usize) -> Option<Duration> {
        let mut state = self.lock();
        let weather = state.weather;
        let lost = state.dice.chance(weather.loss);
        let (least, most) = weather.delay_ms;
        let delay = state.dice.between(least, most);
        let open = !state.cut.contains(&(from, to));
        (open && !lost).then(|| Duration::from_millis(delay))
    }

    fn copy(&self) -> Option<Duration> {
        let mut state = self.lock();
        let weather = state.weather;
        let doubled = state.dice.chance(weather.doubled);
        let delay = state.dice.between(0, weather.copy_ms);
        doubled.then(|| Duration::from_millis(delay))
    }

    /// Has a frame handled after a while, and brings the answer as far as it gets.
    async fn deliver(
        self,
        way: (Process, HostId, Member),
        channel: Channel,
        frame: Vec<u8>,
        delay: Duration,
    ) -> Option<Result<Vec<u8>, TransportError>> {
        let (sender, from, to) = way;
        tokio::time::sleep(delay).await;
        let port = {
            let state = self.lock();
            state.ports.get(&to.key).map(|port| (port.process.clone(), port.handle.clone(), port.interceptor.clone()))
        };
        let Some((process, handle, interceptor)) = port else {
            return Some(Err(TransportError::Unreachable("the host is down".into())));
        };
        self.trace.line(format_args!("{}>{} {}", sender.place, process.place, Shown(channel, &frame)));
        if interceptor.as_ref().is_some_and(|interceptor| !interceptor.takes(channel, &frame)) {
            return None;
        }
        let mut answer = handle.handle(from, channel, &frame).await;
        if !process.is_alive() {
            return None;
        }
        if let (Some(interceptor), Ok(bytes)) = (&interceptor, &answer) {
            answer = Ok(interceptor.answer(&from, channel, &frame, bytes.clone()));
        }
        tokio::time::sleep(self.passage(process.place, sender.place)?).await;
        let shown = answer.as_ref().map(|bytes| Shown(channel, bytes).to_string());
        self.trace.line(format_args!("{}<{} {shown:?}", sender.place, process.place));
        Some(answer)
    }
}

/// A frame, as a trace shows it.
struct Shown<'a>(Channel, &'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hash = Hash::of(self.1).to_string();
        write!(formatter, "{} {} {}", self.0.as_str(), self.1.len(), &hash[..8])
    }
}

/// The network as one process sees it.
pub struct Wire {
    pub net: Net,
    pub process: Process,
    pub key: HostId,
    pub interceptor: Option<Arc<dyn Interceptor>>,
}

impl Transport for Wire {
    fn request(
        &self,
        to: &Member,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        let to = to.clone();
        Box::pin(async move {
            if !self.process.is_alive() {
                return Err(TransportError::Lost("the process has ended".into()));
            }
            let frame = match &self.interceptor {
                Some(interceptor) => interceptor.request(&to.key, channel, frame),
                None => Some(frame),
            };
            let target = self.net.lock().ports.get(&to.key).map(|port| port.process.place);
            let passage = match target {
                Some(target) => self.net.passage(self.process.place, target),
                None => return Err(TransportError::Unreachable("the host is down".into())),
            };
            let (Some(frame), Some(delay)) = (frame, passage) else {
                tokio::time::sleep(deadline).await;
                return Err(TransportError::Timeout);
            };
            let way = (self.process.clone(), self.key, to);
            if let Some(later) = self.net.copy() {
                tokio::spawn(self.net.clone().deliver(way.clone(), channel, frame.clone(), delay + later));
            }
            let (sender, receiver) = oneshot::channel();
            let delivery = self.net.clone().deliver(way, channel, frame, delay);
            // A task of its own: the receiver goes on when the sender gives up.
            tokio::spawn(async move {
                if let Some(answer) = delivery.await {
                    // Nobody waits for it after the deadline.
                    let _ = sender.send(answer);
                }
            });
            let answer = tokio::time::timeout(deadline, async {
                match receiver.await {
                    Ok(answer) => answer,
                    Err(_) => std::future::pending().await,
                }
            });
            let answer = answer.await.unwrap_or(Err(TransportError::Timeout));
            if self.process.is_alive() { answer } else { Err(TransportError::Lost("the process has ended".into())) }
        })
    }
}
