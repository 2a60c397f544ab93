//! What the tests of both networks share: a scripted handler, a way to start hosts, and the conformance suite.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod conformance;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_net::{BoxFuture, Handler, HostId, NetError, Network, Purpose};
use tokio::sync::Semaphore;

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(180);
/// Enough for a request that should fail.
pub const SHORT: Duration = Duration::from_millis(300);

/// Starts hosts on one network. Host `seed` has the secret `[seed; 32]`; starting it again is a restart on the same address.
pub trait World: Send + Sync {
    fn start(&self, seed: u8, handler: Arc<dyn Handler>) -> BoxFuture<'_, Arc<dyn Network>>;
}

/// Does what requests say: `echo…`, `from`, `refuse …`, `slow…` (echo after some milliseconds), `stuck…` (echo when released),
/// `huge` (a response over the limit), `panic`.
pub struct Script {
    pub forbidden: Mutex<BTreeSet<(HostId, Purpose)>>,
    pub strangers: Mutex<BTreeSet<HostId>>,
    pub handled: Mutex<Vec<Bytes>>,
    pub running: Mutex<(usize, usize)>,
    pub release: Semaphore,
    myself: std::sync::Weak<Script>,
}

impl Script {
    pub fn new() -> Arc<Script> {
        Arc::new_cyclic(|myself| Script {
            forbidden: Mutex::default(),
            strangers: Mutex::default(),
            handled: Mutex::default(),
            running: Mutex::default(),
            release: Semaphore::new(0),
            myself: myself.clone(),
        })
    }

    pub fn forbid(&self, host: HostId, purpose: Purpose) {
        self.forbidden.lock().unwrap().insert((host, purpose));
    }

    pub fn permit_all(&self) {
        self.forbidden.lock().unwrap().clear();
    }

    pub fn handled(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    /// How often each request was handled.
    pub fn times(&self) -> BTreeMap<Bytes, usize> {
        let mut times = BTreeMap::new();
        for request in self.handled.lock().unwrap().iter() {
            *times.entry(request.clone()).or_default() += 1;
        }
        times
    }
}

impl Handler for Script {
    fn permits(&self, from: HostId, purpose: Purpose) -> bool {
        !self.forbidden.lock().unwrap().contains(&(from, purpose))
    }

    fn trusts(&self, from: HostId) -> bool {
        !self.strangers.lock().unwrap().contains(&from)
    }

    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        self.handled.lock().unwrap().push(frame.slice(..frame.len().min(64)));
        let script = self.myself.upgrade().unwrap();
        Box::pin(async move {
            {
                let mut running = script.running.lock().unwrap();
                running.0 += 1;
                running.1 = running.1.max(running.0);
            }
            let result = script.play(from, purpose, frame).await;
            script.running.lock().unwrap().0 -= 1;
            result
        })
    }
}

impl Script {
    async fn play(&self, from: HostId, purpose: Purpose, frame: Bytes) -> Result<Bytes, String> {
        if frame.starts_with(b"refuse ") {
            return Err(String::from_utf8_lossy(&frame[7..]).into_owned());
        } else if frame.starts_with(b"from") {
            return Ok(Bytes::copy_from_slice(&from.0));
        } else if frame.starts_with(b"slow") {
            let wait = frame.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 13;
            tokio::time::sleep(Duration::from_millis(wait)).await;
        } else if frame.starts_with(b"stuck") {
            self.release.acquire().await.unwrap().forget();
            if frame.starts_with(b"stuck, short") {
                return Ok(Bytes::from_static(b"done"));
            }
        } else if frame.starts_with(b"huge") {
            return Ok(Bytes::from(vec![1; purpose.max_frame_bytes() + 1]));
        } else if frame.starts_with(b"panic") {
            // As `panic!`, but without the hook: writing down where it was may take a busy machine seconds, and holds up a thread of
            // the runtime.
            std::panic::resume_unwind(Box::new("the handler was told to"));
        }
        Ok(frame)
    }
}

/// Tells `one` where `other` listens.
pub fn introduce(one: &Arc<dyn Network>, other: &Arc<dyn Network>) {
    one.set_addresses(other.local(), other.listen_addresses());
}

pub async fn ask(network: &Arc<dyn Network>, to: HostId, text: &str) -> Result<Bytes, NetError> {
    network.request(to, Purpose::Propose, Bytes::copy_from_slice(text.as_bytes()), LONG).await
}

/// Waits until something is true. The limit only ends a test that has failed.
pub async fn eventually(what: &str, mut test: impl AsyncFnMut() -> bool) {
    for _ in 0..12_000 {
        if test().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
