//! The engine images of a host's vats: those that are here, and those that are fetched from members.

use super::{Host, HostError, Inner};
use crate::images::{fetch, wait::ImageWait};
use quorate_consensus::Member;
use quorate_engine::{
    EngineError, Hash, VatId,
    image::{Image, ImageSource, image_hash},
};
use quorate_protocol::provision::Provision;
use std::{
    sync::{Arc, Weak, mpsc},
    time::Duration,
};
use tokio::runtime::Handle;

/// The pause before members are asked again for an image that none of them gave.
const FETCH_AGAIN: Duration = Duration::from_secs(5);

/// How often a thread that waits for an answer looks whether it is still wanted.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// The images that a vat moves to: those that are here, and those that its members have. The vat's log, which a threshold of them certify, says which: so
/// a replica that runs waits, and does nothing else, until the image is here or the replica is stopped. One that starts does not wait: its host has
/// other vats to start.
pub(super) struct MemberImages {
    host: Weak<Inner>,
    vat: VatId,
    runtime: Handle,
    wait: Arc<ImageWait>,
}

impl MemberImages {
    /// Within the runtime on which the host runs.
    pub(super) fn new(host: &Arc<Inner>, vat: VatId, wait: Arc<ImageWait>) -> MemberImages {
        MemberImages { host: Arc::downgrade(host), vat, runtime: Handle::current(), wait }
    }

    fn fetch(&self, hash: Hash) -> Option<Vec<u8>> {
        let (sender, receiver) = mpsc::channel();
        let (host, vat) = (self.host.clone(), self.vat);
        self.runtime.spawn(async move {
            let fetched = match host.upgrade() {
                Some(inner) => {
                    let members = inner.directory.members(&vat);
                    fetch(inner.network(), &members, &hash).await.map_err(|error| error.to_string())
                }
                None => Err("this host is stopping".to_owned()),
            };
            // Nobody waits any more where the replica was stopped meanwhile.
            let _ = sender.send(fetched);
        });
        let fetched = loop {
            match receiver.recv_timeout(LOOK_AROUND) {
                Err(mpsc::RecvTimeoutError::Timeout) if !self.wait.is_stopped() => {}
                Err(_) => return None,
                Ok(fetched) => break fetched,
            }
        };
        fetched
            .inspect_err(|why| {
                tracing::warn!(vat_id = %self.vat, image = %hash, why, "the vat moves to an engine image that its members do not give yet");
            })
            .ok()
    }
}

impl ImageSource for MemberImages {
    fn image(&self, hash: &Hash) -> Result<Arc<Image>, EngineError> {
        let missing = || EngineError::NoImage { hash: *hash };
        let images = self.host.upgrade().ok_or_else(missing)?.images.images().clone();
        if !images.has(hash) {
            let wasm = self.wait.until(*hash, FETCH_AGAIN, || self.fetch(*hash)).ok_or_else(missing)?;
            images.add(&wasm)?;
        }
        if *hash == image_hash() {
            images.keep_own()?;
        }
        images.get(hash)
    }
}

impl Host {
    /// Returns whether an image is here.
    pub fn has_image(&self, hash: &Hash) -> bool {
        self.0.images.images().has(hash)
    }

    /// The image of a vat's genesis: one that is here, or else fetched from the vat's members.
    pub(super) async fn image_of(&self, provision: &Provision) -> Result<Arc<Image>, HostError> {
        self.fetch_image(provision, provision.genesis.image).await
    }

    /// An image that a vat runs in: one that is here, or else fetched from the vat's members. This host's owner had it carry the
    /// vat, whose id commits to the image of its genesis; what the vat moved to since, its certified state says.
    async fn fetch_image(&self, provision: &Provision, wanted: Hash) -> Result<Arc<Image>, HostError> {
        let name = &provision.name;
        let images = self.0.images.images().clone();
        let unusable = |source| HostError::Image { name: name.clone(), source };
        if !images.has(&wanted) {
            let known = self.0.directory.members(&provision.genesis.vat_id()).into_iter();
            let members: Vec<Member> = known.chain(provision.genesis.members.iter().cloned()).collect();
            tracing::info!(vat = %name, image = %wanted, "fetching the vat's engine image from its members");
            let wasm = fetch(self.network(), &members, &wanted).await.map_err(|error| HostError::NoImage {
                name: name.clone(),
                wanted,
                why: error.to_string(),
            })?;
            let images = images.clone();
            blocking(move || images.add(&wasm)).await.map_err(unusable)?;
        }
        blocking(move || {
            if wanted == image_hash() {
                images.keep_own()?;
            }
            images.get(&wanted)
        })
        .await
        .map_err(unusable)
    }
}

/// Starts a vat that waits for the image `wanted`, beside the other vats: asks its members for the image until one of them gives it, as long as
/// the host lives. Until then status and readiness say what the vat waits for.
pub(super) async fn fetch_and_run(host: Weak<Inner>, provision: Provision, mut wanted: Hash) {
    let name = provision.name.clone();
    loop {
        let Some(inner) = host.upgrade() else { return };
        let host = Host(inner.clone());
        let started = match host.fetch_image(&provision, wanted).await {
            Ok(_) => host.start_vat(provision.clone()).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => return inner.recover(&name),
            Err(error) => {
                let next = if let HostError::NoImage { wanted, .. } = &error { Some(*wanted) } else { None };
                tracing::error!(vat = %name, %error, is_final = next.is_none(), "a vat could not be started");
                inner.fail(name.clone(), error.to_string());
                match next {
                    // What it moved to since its genesis.
                    Some(next) if next != wanted => {
                        wanted = next;
                        continue;
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        }
        drop((host, inner));
        tokio::time::sleep(FETCH_AGAIN).await;
    }
}

/// Runs what takes seconds, such as compiling an image, beside everything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| EngineError::Image(format!("compiling it was cut off: {error}")))?
}
