//! A host that lies as a leader, or as one that would like to be one. Its replicas are the product's and know nothing of it: the lie is
//! made between them and the network, while a certain file is there.

use crate::liar::VAT_BYTES;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quorate_consensus::{
    Channel, HostId, VatId,
    testing::{LeaderLie, LyingLeader as Story},
};
use quorate_net::{BoxFuture, Handler, NetError, Network, NetworkLayer, Purpose};
use quorate_node::run::Between;
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// After so many frames of Raft that it hears it sends some that it made up.
const HEARD_PER_LIE: u64 = 4;
/// How long it waits for an answer to them.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the head of the module.
#[derive(Clone)]
pub struct LyingLeader(Arc<Plot>);

struct Plot {
    story: Mutex<Story>,
    /// It lies while this is there, and adds a byte for each lie.
    switch: PathBuf,
    hosts: Mutex<BTreeSet<HostId>>,
    heard: Mutex<u64>,
    network: OnceLock<Arc<dyn Network>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn channel(purpose: Purpose) -> Option<Channel> {
    match purpose {
        Purpose::Append => Some(Channel::Append),
        Purpose::Vote => Some(Channel::Vote),
        _ => None,
    }
}

/// The vat that a frame is of, and the rest.
fn addressed(frame: &[u8]) -> Option<(VatId, &[u8])> {
    let (vat, body) = frame.split_first_chunk::<VAT_BYTES>()?;
    Some((VatId(*vat), body))
}

impl LyingLeader {
    /// The host with this key, which lies while there is a file `switch`.
    pub fn new(key: SigningKey, lie: LeaderLie, switch: PathBuf) -> LyingLeader {
        LyingLeader(Arc::new(Plot {
            story: Mutex::new(Story::new(key, lie)),
            switch,
            hosts: Mutex::default(),
            heard: Mutex::default(),
            network: OnceLock::new(),
        }))
    }
}

impl Plot {
    fn lies(&self) -> bool {
        self.switch.exists()
    }

    fn lied(&self) {
        // If the test has removed the file, it wants no count any more.
        let _ = fs::File::options().append(true).open(&self.switch).and_then(|mut file| file.write_all(b"."));
    }

    /// Returns what leaves instead of a request.
    fn request(&self, to: HostId, purpose: Purpose, frame: &Bytes) -> Option<Bytes> {
        let (channel, (vat, body)) = (channel(purpose)?, addressed(frame)?);
        let lie = lock(&self.story).request(vat, to, channel, body).filter(|lie| lie != body)?;
        self.lied();
        Some([&vat.0[..], &lie].concat().into())
    }

    /// Returns what is answered instead.
    fn answer(&self, purpose: Purpose, request: &Bytes) -> Option<Bytes> {
        let (channel, (vat, body)) = (channel(purpose)?, addressed(request)?);
        let lie = lock(&self.story).answer(vat, channel, body)?;
        self.lied();
        Some(lie.into())
    }

    /// The answer to a request that its replica never sees.
    fn keeps(&self, purpose: Purpose, frame: &Bytes) -> Option<Result<Bytes, String>> {
        let story = lock(&self.story);
        let answer: Result<Bytes, String> = match purpose {
            Purpose::Slice => story.keeps_slice(frame).then(|| Err("this host is busy".to_owned()))?,
            Purpose::Propose => Ok(story.keeps_from_its_replica(Channel::Propose, addressed(frame)?.1)?.into()),
            Purpose::Share => Ok(story.keeps_from_its_replica(Channel::Share, addressed(frame)?.1)?.into()),
            _ => return None,
        };
        drop(story);
        self.lied();
        Some(answer)
    }

    /// Takes a request in, and now and then sends all hosts what it made up.
    fn hears(&self, from: HostId, purpose: Purpose, frame: &Bytes) {
        lock(&self.hosts).insert(from);
        let (Some(channel), Some((vat, body))) = (channel(purpose), addressed(frame)) else { return };
        lock(&self.story).hears(vat, channel, body);
        let is_due = {
            let mut heard = lock(&self.heard);
            *heard += 1;
            heard.is_multiple_of(HEARD_PER_LIE)
        };
        let Some(network) = self.network.get().filter(|_| is_due && self.lies()) else { return };
        let frames = lock(&self.story).frames(vat);
        for to in lock(&self.hosts).iter().copied() {
            for frame in &frames {
                self.lied();
                let (network, frame) = (network.clone(), Bytes::from([&vat.0[..], frame].concat()));
                tokio::spawn(async move { network.request(to, Purpose::Vote, frame, PATIENCE).await });
            }
        }
    }
}

impl Between for LyingLeader {
    fn inbound(&self, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
        Arc::new(Answers { plot: self.0.clone(), handler })
    }

    fn outbound(&self, network: Arc<dyn Network>) -> Arc<dyn Network> {
        let beneath = network.clone();
        self.0.network.get_or_init(|| beneath);
        Arc::new(Requests { plot: self.0.clone(), network })
    }
}

struct Answers {
    plot: Arc<Plot>,
    handler: Arc<dyn Handler>,
}

impl Handler for Answers {
    fn permits(&self, from: HostId, purpose: Purpose) -> bool {
        self.handler.permits(from, purpose)
    }

    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        if self.plot.lies()
            && let Some(answer) = self.plot.keeps(purpose, &frame)
        {
            return Box::pin(async move { answer });
        }
        self.plot.hears(from, purpose, &frame);
        if self.plot.lies()
            && let Some(lie) = self.plot.answer(purpose, &frame)
        {
            return Box::pin(async move { Ok(lie) });
        }
        self.handler.handle(from, purpose, frame)
    }

    fn own_key_met(&self, address: &str) {
        self.handler.own_key_met(address);
    }

    fn trusts(&self, from: HostId) -> bool {
        self.handler.trusts(from)
    }
}

struct Requests {
    plot: Arc<Plot>,
    network: Arc<dyn Network>,
}

impl NetworkLayer for Requests {
    fn beneath(&self) -> &dyn Network {
        self.network.as_ref()
    }

    fn send(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        lock(&self.plot.hosts).insert(to);
        let lie = if self.plot.lies() { self.plot.request(to, purpose, &frame) } else { None };
        self.network.request(to, purpose, lie.unwrap_or(frame), deadline)
    }
}
