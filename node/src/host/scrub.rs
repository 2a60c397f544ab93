//! Reads everything that the host has on disk, slowly, to find rot before the data is needed; reports the use of the disk.
//!
//! First come the tables of the database, of all vats together. Then come each vat's records, checked against hashes and chain. Damaged chunks
//! of a checkpoint come again from other members. Any other damage of a vat stops its replica here until it is repaired. A table
//! with an unreadable block is not compacted any more, so that the damage of one vat does not end the host with all others.
//!
//! Invariants: one reading at a time. None begins by itself while the disk is nearly full, as a reading writes a little.

use super::{Host, Inner, VAT_RECORDS};
use crate::system::{forget_pages, room_of};
use quorate_consensus::{Family, ScrubPace, StoreError, TableDamage};
use quorate_engine::VatId;
use quorate_protocol::{
    codec,
    disk::{DiskReport, ScrubStatus, VatDisk},
    provision::Provision,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// When a host that was started reads for the first time, and the pause between two readings.
const FIRST: Duration = Duration::from_secs(3_600);
const PAUSE: Duration = Duration::from_secs(24 * 3_600);
/// Bytes that are read in a second: a hundredth of what a disk gives.
const SLOW: u64 = 4 << 20;
/// The same while a caller waits for it.
const FAST: u64 = 256 << 20;
/// Bytes of a table that are read at once.
const PIECE: usize = 1 << 20;

/// How the reading stands.
pub(super) struct Scrub {
    status: Mutex<ScrubStatus>,
    /// Of each vat: damage that could not be repaired here, described.
    damage: Mutex<BTreeMap<VatId, String>>,
    wanted: Notify,
    pace: ScrubPace,
}

impl Default for Scrub {
    fn default() -> Self {
        Scrub { status: Mutex::default(), damage: Mutex::default(), wanted: Notify::new(), pace: ScrubPace::new(SLOW) }
    }
}

impl Scrub {
    fn status(&self) -> MutexGuard<'_, ScrubStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damage(&self) -> MutexGuard<'_, BTreeMap<VatId, String>> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads everything again and again, as long as the host lives. Returns at once where the store lies in memory.
pub(super) async fn run(host: Weak<Inner>) {
    let mut pause = FIRST;
    loop {
        let Some(inner) = host.upgrade() else { return };
        if inner.store.path().is_none() {
            return;
        }
        let scrub = inner.scrub.clone();
        // The host may end meanwhile.
        drop(inner);
        let is_wanted = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = scrub.wanted.notified() => true,
        };
        let Some(inner) = host.upgrade() else { return };
        let reader = Host(inner);
        pause = PAUSE;
        if !is_wanted && !reader.has_room() {
            pause = FIRST;
            continue;
        }
        scrub.pace.set(if is_wanted { FAST } else { SLOW });
        reader.scrub_once().await;
    }
}

impl Host {
    /// Begins to read everything now, and fast. [`Host::disk`] shows how far that is.
    pub fn begin_scrub(&self) {
        let scrub = &self.0.scrub;
        scrub.pace.set(FAST);
        scrub.status().running = true;
        scrub.wanted.notify_one();
    }

    async fn scrub_once(&self) {
        let scrub = &self.0.scrub;
        {
            let mut status = scrub.status();
            (status.running, status.progress_permille) = (true, 0);
        }
        let read = self.scrub_all().await;
        if let Err(error) = &read {
            tracing::error!(%error, "what is on disk could not be read to its end");
        }
        let mut status = scrub.status();
        status.running = false;
        status.passes += 1;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        status.finished_ms =
            read.is_ok().then(|| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)).or(status.finished_ms);
    }

    async fn scrub_all(&self) -> Result<(), StoreError> {
        let scrub = &self.0.scrub;
        let store = self.0.store.clone();
        blocking(move || {
            store.begin_scrub()?;
            store.path().map_or(Ok(()), |path| forget_pages(path).map_err(|error| StoreError::Io(error.to_string())))
        })
        .await?;
        let sizes = self.0.store.sizes();
        let all: u64 = sizes.iter().filter(|(part, _)| *part != "wal").map(|(_, bytes)| bytes).sum();
        // Half of it for the tables, half for the vats.
        let mut through = 0;
        for family in Family::ALL {
            let mut from = Some(Vec::new());
            while let Some(key) = from.take() {
                let store = self.0.store.clone();
                let piece = blocking(move || store.scrub(family, &key, PIECE)).await?;
                through += piece.bytes;
                {
                    let mut status = scrub.status();
                    status.read_bytes += piece.bytes;
                    status.progress_permille = (through * 500 / all.max(1)).min(500);
                }
                scrub.pace.spend(piece.bytes).await;
                if let Some(damage) = piece.found {
                    self.take_out(damage).await?;
                }
                from = piece.next;
            }
        }
        let vats = self.vats();
        let mut lost = 0;
        for (number, vat) in vats.iter().enumerate() {
            let found = vat.replica.scrub(&scrub.pace).await?;
            lost += found.lost;
            let mut words: Vec<String> = found.damage.into_iter().collect();
            if found.lost > 0 {
                words.push(format!("{} chunks of its checkpoint, which no member has given", found.lost));
            }
            if words.is_empty() {
                scrub.damage().remove(&vat.vat);
            } else {
                scrub.damage().insert(vat.vat, words.join("; "));
            }
            let mut status = scrub.status();
            status.read_bytes += found.bytes;
            status.fetched += found.fetched;
            status.progress_permille = 500 + (number as u64 + 1) * 500 / vats.len() as u64;
        }
        scrub.status().lost = lost;
        Ok(())
    }

    /// Takes a damaged table out of use, if all that may be lost with it can be fetched again.
    async fn take_out(&self, damage: TableDamage) -> Result<(), StoreError> {
        let TableDamage { family, table, error } = &damage;
        tracing::error!(code = "Q-C049", family = family.as_str(), table, %error, "a table of the database is damaged");
        self.0.scrub.status().tables += 1;
        let is_alone = |vat: &quorate_consensus::ReplicaStatus| vat.membership.members.len() < 2;
        if self.vats().iter().any(|vat| is_alone(&vat.replica.status())) {
            return Ok(());
        }
        let store = self.0.store.clone();
        let name = damage.table.clone();
        if blocking(move || store.set_aside(&damage)).await? {
            tracing::warn!(
                code = "Q-C049",
                table = name,
                "the damaged table is gone; what is missing comes from other members"
            );
        }
        Ok(())
    }

    /// Returns what is damaged on the disk, and what to do about it.
    pub(super) fn damage(&self) -> Vec<String> {
        let tables = self.0.store.damaged();
        let mut said: Vec<String> = tables
            .iter()
            .map(|TableDamage { family, table, .. }| {
                format!(
                    "Q-C049 {table} of its database ({}) is damaged, and is not compacted any more: stop the host when it suits, then `vat member repair`",
                    family.as_str()
                )
            })
            .collect();
        let names: BTreeMap<VatId, String> = self.vats().iter().map(|vat| (vat.vat, vat.name.clone())).collect();
        let of_vats = self.0.scrub.damage();
        // A replica that has stopped for it says so itself.
        said.extend(of_vats.iter().filter_map(|(vat, damage)| {
            let name = names.get(vat)?;
            let is_stopped = self.0.vat(vat).is_some_and(|vat| vat.replica.status().fault.is_some());
            (!is_stopped).then(|| {
                format!(
                    "Q-C049 {name}: damaged on its disk: {damage}; it goes on with what is in memory, and may not start again: \
                     add or replace a member before this host is stopped"
                )
            })
        }));
        said
    }

    pub(super) fn scrub_status(&self) -> ScrubStatus {
        *self.0.scrub.status()
    }

    /// Returns what takes the disk.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn disk(&self) -> Result<DiskReport, StoreError> {
        let (store, limits) = (&self.0.store, &self.0.disk);
        let disk = room_of(store.as_ref());
        let (services, failed) = (self.vats(), self.failed());
        let mut vats = Vec::new();
        for (_, value) in store.list_meta(VAT_RECORDS)? {
            let Ok(provision) = codec::decode::<Provision>(&value) else { continue };
            let vat = provision.genesis.vat_id();
            let bytes = store.bytes_of(&quorate_consensus::VatId(vat.0));
            let limited = match services.iter().find(|service| service.vat == vat) {
                Some(service) => service.inbox.limited(),
                None => failed.get(&provision.name).filter(|why| why.starts_with("Q-N016")).cloned(),
            };
            vats.push(VatDisk {
                name: provision.name,
                vat: vat.to_string(),
                log_bytes: bytes.log,
                checkpoint_bytes: bytes.checkpoints,
                certificate_bytes: bytes.certificates,
                evidence_bytes: bytes.evidence,
                total_bytes: bytes.total(),
                limited,
            });
        }
        vats.sort_by(|a, b| (b.total_bytes, &a.name).cmp(&(a.total_bytes, &b.name)));
        Ok(DiskReport {
            host: self.name().to_owned(),
            disk,
            soft_limit_bytes: disk.map(|disk| limits.soft_on(&disk)),
            hard_limit_bytes: disk.map(|disk| limits.hard_on(&disk)),
            vat_quota_bytes: limits.vat_quota,
            database: store.sizes().into_iter().map(|(part, bytes)| (part.to_owned(), bytes)).collect(),
            vats,
            damage: self.damage(),
            scrub: self.scrub_status(),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::Io(error.to_string())))
}
