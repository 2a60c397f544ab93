//! The engine images of a host's vats: those that are here, and those that are fetched from members.

use super::{Host, HostError, Inner};
use crate::images::fetch;
use quorate_consensus::Member;
use quorate_engine::{
    EngineError,
    image::{Image, image_hash},
};
use quorate_protocol::provision::Provision;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// The pause before members are asked again for an image that none of them gave.
const FETCH_AGAIN: Duration = Duration::from_secs(5);

impl Host {
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
