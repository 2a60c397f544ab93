//! Room on the disk, before there is none.
//!
//! At a *soft* limit the vat that takes most of the disk takes no more messages at this host. At a *hard* one none does, and their
//! replicas are stopped in order, the one that takes most first and another one every few moments, as long as room stays short.
//! What runs on can so finish what it writes, and is not torn down by a database that could not write. All goes on by itself once
//! there is room. The other members, on other disks, take the messages meanwhile.
//!
//! Absent: a disk that fills up faster than it is looked at. Then the database fails, and the host ends (`Q-C005`).

use super::{Host, Inner, VAT_RECORDS};
use crate::{system::room_of, vat::VatService};
use quorate_engine::VatId;
use quorate_protocol::{codec, provision::Provision, status::DiskStatus};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// How often is looked how much room there is.
const LOOK: Duration = Duration::from_millis(250);
/// The pause before another replica is stopped.
const NEXT_STOP: Duration = Duration::from_secs(2);
/// The soft limit: so many bytes, or this part of a smaller disk.
const SOFT: (u64, u64) = (256 << 20, 20);
/// The hard limit, likewise.
const HARD: (u64, u64) = (64 << 20, 50);

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// More than the soft limit, by far enough that it may be relied on.
    Enough,
    /// About the soft limit: what is stopped stays so, and what runs goes on.
    Scant,
    /// Less than the soft limit.
    Soft,
    /// Less than the hard limit.
    Hard,
}

fn limit((bytes, part): (u64, u64), disk: &DiskStatus) -> u64 {
    bytes.min(disk.total_bytes / part)
}

fn judge(disk: &DiskStatus) -> Room {
    let (soft, hard) = (limit(SOFT, disk), limit(HARD, disk));
    match disk.free_bytes {
        free if free < hard => Room::Hard,
        free if free < soft => Room::Soft,
        free if free < soft + soft / 4 => Room::Scant,
        _ => Room::Enough,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn takes_no_work(disk: &DiskStatus) -> String {
    format!(
        "Q-N017 this host takes no new work for the vat: its disk has {} left, less than {}; make room, or call at another member",
        mebibytes(disk.free_bytes),
        mebibytes(limit(SOFT, disk))
    )
}

fn is_stopped(disk: &DiskStatus) -> String {
    format!(
        "Q-N016 stopped in order, since the disk of this host has {} left, less than {}: make room, and it goes on by itself; nothing is lost",
        mebibytes(disk.free_bytes),
        mebibytes(limit(HARD, disk))
    )
}

/// Looks after the room on the disk, as long as the host lives. Returns at once where the store lies in memory.
pub(super) async fn watch(host: Weak<Inner>) {
    let mut stopped: BTreeMap<VatId, Provision> = BTreeMap::new();
    let mut next_stop = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(inner) = host.upgrade() else { return };
        let Some(disk) = room_of(inner.store.as_ref()) else { return };
        let host = Host(inner);
        match judge(&disk) {
            Room::Enough => {
                host.vats().iter().for_each(|vat| vat.inbox.limit(None));
                while let Some((_, provision)) = stopped.pop_first() {
                    host.resume(provision).await;
                }
            }
            Room::Scant => {}
            Room::Soft => {
                if let Some(vat) = host.largest() {
                    note_limit(&vat, &disk);
                }
            }
            Room::Hard => {
                host.vats().iter().for_each(|vat| note_limit(vat, &disk));
                if Instant::now() >= next_stop
                    && let Some(vat) = host.largest()
                    && let Some(provision) = host.pause(&vat, &disk).await
                {
                    stopped.insert(vat.vat, provision);
                    next_stop = Instant::now() + NEXT_STOP;
                }
            }
        }
    }
}

fn note_limit(vat: &VatService, disk: &DiskStatus) {
    if vat.inbox.limited().is_none() {
        tracing::warn!(vat = %vat.name, code = "Q-N017", free = disk.free_bytes, "no new work is taken: the disk is nearly full");
    }
    vat.inbox.limit(Some(takes_no_work(disk)));
}

impl Host {
    /// The vat that runs here and takes most of the disk.
    fn largest(&self) -> Option<Arc<VatService>> {
        let runs = |vat: &Arc<VatService>| vat.replica.status().fault.is_none() && !vat.is_removed();
        let store = &self.0.store;
        self.vats()
            .into_iter()
            .filter(runs)
            .max_by_key(|vat| store.bytes_of(&quorate_consensus::VatId(vat.vat.0)).total())
    }

    /// Stops a vat's replica in order until [`Host::resume`]. Nothing if it can't be started again.
    async fn pause(&self, vat: &VatService, disk: &DiskStatus) -> Option<Provision> {
        let _one_at_a_time = self.0.carrying.lock().await;
        let record = self.0.store.get_meta(&format!("{VAT_RECORDS}{}", vat.vat)).ok()??;
        let provision: Provision = codec::decode(&record).ok()?;
        let service = self.0.vats.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&vat.vat)?;
        tracing::error!(vat = %vat.name, code = "Q-N016", free = disk.free_bytes, "stopped: the disk is nearly full");
        self.0.fail(vat.name.clone(), is_stopped(disk));
        service.shutdown().await;
        Some(provision)
    }

    async fn resume(&self, provision: Provision) {
        let name = provision.name.clone();
        tracing::info!(vat = %name, "there is room again");
        match self.start_vat(provision).await {
            Ok(()) => self.0.recover(&name),
            Err(error) => {
                tracing::error!(vat = %name, %error, "a vat could not be started");
                self.0.fail(name, error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_on_large_disks_and_parts_of_small_ones() {
        let judged = |free_bytes, total_bytes| judge(&DiskStatus { free_bytes, total_bytes });
        let large = 1 << 40;
        for (free, room) in
            [(1 << 30, Room::Enough), (300, Room::Scant), (255, Room::Soft), (64, Room::Soft), (63, Room::Hard)]
        {
            let bytes = if free < 1_000 { free << 20 } else { free };
            assert_eq!(judged(bytes, large), room, "{free}");
        }
        let small = 100 << 20;
        for (mebibytes, room) in
            [(7, Room::Enough), (6, Room::Scant), (4, Room::Soft), (1, Room::Hard), (0, Room::Hard)]
        {
            assert_eq!(judged(mebibytes << 20, small), room, "{mebibytes}");
        }
        let disk = DiskStatus { free_bytes: 1 << 20, total_bytes: small };
        assert!(takes_no_work(&disk).contains("1.0 MiB left, less than 5.0 MiB"), "{}", takes_no_work(&disk));
        assert!(is_stopped(&disk).contains("1.0 MiB left, less than 2.0 MiB"), "{}", is_stopped(&disk));
    }
}
