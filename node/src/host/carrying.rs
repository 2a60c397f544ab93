//! How a host takes vats on, and starts those that it has noted.
//!
//! Invariant: a name or a vat is never taken twice. What is taken on is noted, on disk, before it runs.

use super::{
    Host, HostError, Inner, VAT_RECORDS,
    image::{MemberImages, fetch_and_run},
};
use crate::{
    deletion,
    directory::newest_membership,
    images::wait::ImageWait,
    vat::{VatOptions, VatService},
};
use quorate_consensus::Introduction;
use quorate_engine::{VatId, fuel_prices_hash, image::Image};
use quorate_protocol::{codec, provision::Provision};
use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

impl Host {
    /// Carries a vat from now on; the same provision again changes nothing.
    pub async fn carry(&self, provision: Provision) -> Result<VatId, HostError> {
        let vat = provision.genesis.vat_id();
        provision
            .genesis
            .validate()
            .map_err(|error| HostError::Genesis { name: provision.name.clone(), why: error.to_string() })?;
        check_prices(&provision)?;
        let _starting = Starting::begin(&self.0);
        // Before anything is noted, and while other vats can be carried.
        let image = self.image_of(&provision).await?;
        let _one_at_a_time = self.0.carrying.write().await;
        if let Ok(service) = self.find(&vat.to_string()) {
            if provision.joining && service.is_removed() {
                return Err(HostError::WasMember(provision.name));
            }
            return Ok(vat);
        }
        if self.vats().iter().any(|other| other.name == provision.name) {
            return Err(HostError::NameTaken(provision.name));
        }
        let name = provision.name.clone();
        let record = format!("{VAT_RECORDS}{vat}");
        if !deletion::may_carry(&self.0.store, vat)? {
            return Err(HostError::WasMember(name));
        }
        self.0.store.put_meta(&record, &codec::encode(&provision))?;
        self.0.store.sync()?;
        self.run_vat(provision, image).await?;
        self.0.recover(&name);
        Ok(vat)
    }

    /// Starts a vat that this host has noted before.
    pub(super) async fn start_vat(&self, provision: Provision) -> Result<(), HostError> {
        check_prices(&provision)?;
        let image = self.image_of(&provision).await?;
        let _nothing_is_taken_on = self.0.carrying.read().await;
        let Some(_begun) = Begun::begin(&self.0, provision.genesis.vat_id()) else { return Ok(()) };
        if self.carries(&provision.genesis.vat_id()) {
            // Its owner had the host carry it again meanwhile.
            return Ok(());
        }
        if !deletion::is_carried(&self.0.store, provision.genesis.vat_id())? {
            // Its owner had the host delete it meanwhile.
            return Ok(());
        }
        self.run_vat(provision, image).await
    }

    /// Notes why a vat was not started. One that waits for an image which it has moved to is started when that is here.
    pub(super) fn not_started(&self, provision: Provision, error: &HostError) {
        tracing::error!(vat = %provision.name, %error, "a vat could not be started");
        self.0.fail(provision.name.clone(), error.to_string());
        if let HostError::NoImage { wanted, .. } = error {
            tokio::spawn(fetch_and_run(Arc::downgrade(&self.0), provision, *wanted));
        }
    }

    pub(super) async fn run_vat(&self, provision: Provision, image: Arc<Image>) -> Result<(), HostError> {
        let vat = provision.genesis.vat_id();
        let co_members = self.0.co_members().clone();
        let introduction = Introduction { genesis: provision.genesis.clone(), chain: Vec::new() };
        self.0.directory.learn(Some(&provision.name), &introduction);
        let introduction = self.0.directory.introduction(&vat).unwrap_or(introduction);
        co_members.set(vat, &newest_membership(&introduction).members, Instant::now());
        let wait = Arc::new(ImageWait::default());
        let service = VatService::start(VatOptions {
            name: provision.name.clone(),
            genesis: provision.genesis,
            chain: introduction.chain,
            joining: provision.joining,
            install: provision.install,
            approve: self.0.approve,
            key: self.0.key.clone(),
            image,
            images: Arc::new(MemberImages::new(&self.0, vat, wait.clone())),
            image_wait: wait.clone(),
            store: self.0.store.clone(),
            archive: self.0.archive.clone(),
            transport: co_members.transport(vat),
            co_members,
            directory: self.0.directory.clone(),
            peer_evidence: self.0.peer_evidence.clone(),
            telemetry: self.0.telemetry.clone(),
            traces: self.0.traces.clone(),
            console: self.0.console.as_ref().map(|console| console(&provision.name)),
            timing: self.0.timing,
            pace: self.0.pace.clone(),
        })
        .await
        .map_err(|why| match wait.missing() {
            Some(wanted) => HostError::NoImage {
                name: provision.name.clone(),
                wanted,
                why: "the vat has moved to it, and the host asks the vat's members".to_owned(),
            },
            None => HostError::Vat(why),
        })?;
        tracing::info!(vat = %provision.name, vat_id = %vat, "carrying");
        self.0.vats.write().unwrap_or_else(PoisonError::into_inner).insert(vat, Arc::new(service));
        // Members of this vat were strangers.
        self.0.served().forget();
        Ok(())
    }
}

/// Vats are being started as long as this lives.
pub(super) struct Starting(Arc<Inner>);

impl Starting {
    pub(super) fn begin(host: &Arc<Inner>) -> Starting {
        host.starting.fetch_add(1, Ordering::Relaxed);
        Starting(host.clone())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A noted vat is being started as long as this lives.
struct Begun(Arc<Inner>, VatId);

impl Begun {
    /// `None`: it is being started already.
    fn begin(host: &Arc<Inner>, vat: VatId) -> Option<Begun> {
        let is_first = host.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(vat);
        is_first.then(|| Begun(host.clone(), vat))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Refuses a vat that counts fuel otherwise than this program.
fn check_prices(provision: &Provision) -> Result<(), HostError> {
    let (wanted, own) = (provision.genesis.parameters.fuel_prices, fuel_prices_hash());
    if wanted == own { Ok(()) } else { Err(HostError::FuelPrices { name: provision.name.clone(), wanted, own }) }
}
