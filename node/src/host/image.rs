//! The engine images of a host's vats: those that are here, and those that are fetched from members.

use super::{Host, HostError, Inner};
use crate::images::fetch;
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

/// How often members are asked for an image that a vat moves to, before its replica stops.
const ATTEMPTS: u32 = 60;

/// The images that a vat moves to: those that are here, and those that its members have. The vat's log, which a threshold of them certify, says which: so
/// whoever asks waits, and does nothing else, until it is here.
pub(super) struct MemberImages {
    host: Weak<Inner>,
    vat: VatId,
    runtime: Handle,
}

impl MemberImages {
    /// Within the runtime on which the host runs.
    pub(super) fn new(host: &Arc<Inner>, vat: VatId) -> MemberImages {
        MemberImages { host: Arc::downgrade(host), vat, runtime: Handle::current() }
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
        match receiver.recv() {
            Ok(Ok(wasm)) => Some(wasm),
            Ok(Err(why)) => {
                tracing::warn!(vat_id = %self.vat, image = %hash, why, "the vat moves to an engine image that its members do not give yet");
                None
            }
            Err(_) => None,
        }
    }
}

impl ImageSource for MemberImages {
    fn image(&self, hash: &Hash) -> Result<Arc<Image>, EngineError> {
        let missing = || EngineError::NoImage { hash: *hash };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(FETCH_AGAIN);
            }
            let images = self.host.upgrade().ok_or_else(missing)?.images.images().clone();
            if !images.has(hash) {
                let Some(wasm) = self.fetch(*hash) else { continue };
                images.add(&wasm)?;
            }
            if *hash == image_hash() {
                images.keep_own()?;
            }
            return images.get(hash);
        }
        Err(missing())
    }
}

impl Host {
    /// Whether an image is here.
    pub fn has_image(&self, hash: &Hash) -> bool {
        self.0.images.images().has(hash)
    }

    /// The image that a vat runs in: one that is here, or else fetched from the vat's members. This host's owner had it carry the
    /// vat, whose id commits to the image.
    pub(super) async fn image_of(&self, provision: &Provision) -> Result<Arc<Image>, HostError> {
        let (name, wanted) = (&provision.name, provision.genesis.image);
        let images = self.0.images.images().clone();
        let unusable = |source| HostError::Image { name: name.clone(), source };
        if !images.has(&wanted) {
            let known = self.0.directory.members(&provision.genesis.vat_id()).into_iter();
            let members: Vec<Member> = known.chain(provision.genesis.members.iter().cloned()).collect();
            tracing::info!(vat = %name, image = %wanted, "fetching the vat's engine image from its members");
            let wasm = fetch(self.network(), &members, &wanted).await.map_err(|error| HostError::NoImage {
                name: name.clone(),
                wanted: wanted.to_string(),
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

/// Starts a vat whose image is not here, beside the other vats: asks its members for the image until one of them gives it, as long as
/// the host lives. Until then status and readiness say what the vat waits for.
pub(super) async fn fetch_and_run(host: Weak<Inner>, provision: Provision) {
    let name = provision.name.clone();
    loop {
        let Some(inner) = host.upgrade() else { return };
        match Host(inner.clone()).start_vat(provision.clone()).await {
            Ok(()) => return inner.recover(&name),
            Err(error) => {
                let is_final = !matches!(error, HostError::NoImage { .. });
                tracing::error!(vat = %name, %error, is_final, "a vat could not be started");
                inner.fail(name.clone(), error.to_string());
                if is_final {
                    return;
                }
            }
        }
        drop(inner);
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
