//! Acts before the disk is full.
//!
//! At a *soft* limit the vat that takes most of the disk gets no new work at this host: no messages at its inbox, and no commands where
//! its replica leads. The same holds for a vat that has reached its *quota*. As a follower the replica goes on, and stores what another
//! member orders: a member that refused that would fall behind as if it were stopped. Members without limits take the messages and the lead
//! meanwhile (`consensus/src/replica/intake.rs`).
//!
//! At a *hard* limit no vat gets new work, and the host stops replicas in order, the largest first and another one
//! every few moments, as long as room stays short. So the remaining ones can finish their writes, and no failed write of the database
//! tears them down. All go on by themselves once there is room.
//!
//! Absent: a disk that fills up faster than the host checks it. Then the database fails, and the host ends (`Q-C005`).

use super::{Host, Inner, VAT_RECORDS};
use crate::{system::room_of, vat::VatService};
use quorate_consensus::Store;
use quorate_engine::VatId;
use quorate_protocol::{
    codec,
    disk::{DiskLimits, size_text},
    provision::Provision,
    status::DiskStatus,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// How often is looked how much room there is.
const LOOK: Duration = Duration::from_millis(250);
/// The pause before another replica is stopped.
const NEXT_STOP: Duration = Duration::from_secs(2);
/// How often is looked what each vat takes, where there is a quota.
const QUOTA_LOOK: Duration = Duration::from_secs(1);
/// The pause before what a vat at its quota has given up is collected once more.
const NEXT_RECLAIM: Duration = Duration::from_secs(600);

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

fn judge(limits: &DiskLimits, disk: &DiskStatus) -> Room {
    let (soft, hard) = (limits.soft_on(disk), limits.hard_on(disk));
    match disk.free_bytes {
        free if free < hard => Room::Hard,
        free if free < soft => Room::Soft,
        free if free < soft + soft / 4 => Room::Scant,
        _ => Room::Enough,
    }
}

/// Returns whether a vat is at its quota. One that was stays so until it takes an eighth less.
fn is_over(quota: u64, bytes: u64, was_over: bool) -> bool {
    bytes > if was_over { quota - quota / 8 } else { quota }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn takes_no_work(limits: &DiskLimits, disk: &DiskStatus) -> String {
    format!(
        "Q-N017 this host takes no new work for the vat: its disk has {} left, less than {}; make room, or call at another member",
        mebibytes(disk.free_bytes),
        mebibytes(limits.soft_on(disk))
    )
}

fn is_stopped(limits: &DiskLimits, disk: &DiskStatus) -> String {
    format!(
        "Q-N016 stopped in order, since the disk of this host has {} left, less than {}: make room, and it goes on by itself; nothing is lost",
        mebibytes(disk.free_bytes),
        mebibytes(limits.hard_on(disk))
    )
}

fn is_at_quota(quota: u64, bytes: u64) -> String {
    format!(
        "Q-N024 this host takes no new work for the vat: it takes {} of its disk, and may take {}; raise `disk_vat_quota` in `host.toml` and start the host again, or call at another member",
        mebibytes(bytes),
        size_text(quota)
    )
}

/// Why vats take no new work.
#[derive(Default)]
struct Limited {
    by_room: BTreeMap<VatId, String>,
    by_quota: BTreeMap<VatId, Quota>,
}

/// A vat at its quota.
struct Quota {
    why: String,
    reclaimed: Instant,
}

impl Limited {
    fn why(&self, vat: &VatId) -> Option<&String> {
        self.by_room.get(vat).or_else(|| self.by_quota.get(vat).map(|quota| &quota.why))
    }
}

/// Looks after the room on the disk, as long as the host lives. Returns at once where the store lies in memory.
pub(super) async fn watch(host: Weak<Inner>) {
    let mut stopped: BTreeMap<VatId, Provision> = BTreeMap::new();
    let mut limited = Limited::default();
    let (mut next_stop, mut next_quota) = (Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(inner) = host.upgrade() else { return };
        let Some(disk) = room_of(inner.store.as_ref()) else { return };
        let host = Host(inner);
        let limits = host.0.disk;
        let vats = host.vats();
        match judge(&limits, &disk) {
            Room::Enough => {
                limited.by_room.clear();
                while let Some((_, provision)) = stopped.pop_first() {
                    host.resume(provision).await;
                }
            }
            Room::Scant => {}
            Room::Soft => {
                if let Some(vat) = host.largest() {
                    limited.by_room.insert(vat.vat, takes_no_work(&limits, &disk));
                }
            }
            Room::Hard => {
                limited.by_room.extend(vats.iter().map(|vat| (vat.vat, takes_no_work(&limits, &disk))));
                if Instant::now() >= next_stop
                    && let Some(vat) = host.largest()
                    && let Some(provision) = host.pause(&vat, &disk).await
                {
                    stopped.insert(vat.vat, provision);
                    next_stop = Instant::now() + NEXT_STOP;
                }
            }
        }
        if let Some(quota) = limits.vat_quota
            && Instant::now() >= next_quota
        {
            host.look_at_quotas(quota, &mut limited.by_quota).await;
            next_quota = Instant::now() + QUOTA_LOOK;
        }
        // Those that were started meanwhile as well.
        host.vats().iter().for_each(|vat| note_limit(vat, limited.why(&vat.vat)));
    }
}

fn note_limit(vat: &VatService, why: Option<&String>) {
    match (vat.inbox.limited(), why) {
        (None, Some(why)) => {
            let code = why.split(' ').next().unwrap_or_default();
            tracing::warn!(vat = %vat.name, code, why, "no new work is taken");
        }
        (Some(_), None) => tracing::info!(vat = %vat.name, "new work is taken again"),
        _ => {}
    }
    vat.limit(why.cloned());
}

fn bytes_of(store: &dyn Store, vat: &VatId) -> u64 {
    store.bytes_of(&quorate_consensus::VatId(vat.0)).total()
}

impl Host {
    /// Returns whether there is more room on the disk than the soft limit.
    pub(super) fn has_room(&self) -> bool {
        room_of(self.0.store.as_ref()).is_none_or(|disk| judge(&self.0.disk, &disk) == Room::Enough)
    }

    /// The vat that runs here and takes most of the disk.
    fn largest(&self) -> Option<Arc<VatService>> {
        let runs = |vat: &Arc<VatService>| vat.replica.status().fault.is_none() && !vat.is_removed();
        let store = &self.0.store;
        self.vats().into_iter().filter(runs).max_by_key(|vat| bytes_of(store.as_ref(), &vat.vat))
    }

    /// Finds the vats that are at their quota. What such a vat has given up since is collected first, which the database would do at its
    /// next occasion, and a vat that writes nothing gives it none.
    async fn look_at_quotas(&self, quota: u64, over: &mut BTreeMap<VatId, Quota>) {
        let vats = self.vats();
        over.retain(|known, _| vats.iter().any(|vat| vat.vat == *known));
        for vat in vats {
            let (store, id) = (self.0.store.clone(), vat.vat);
            let known = over.remove(&id);
            if !is_over(quota, bytes_of(store.as_ref(), &id), known.is_some()) {
                continue;
            }
            let mut reclaimed = known.as_ref().map(|known| known.reclaimed);
            if reclaimed.is_none_or(|at| at.elapsed() >= NEXT_RECLAIM) {
                let collecting = store.clone();
                let collect = move || collecting.reclaim(&quorate_consensus::VatId(id.0));
                if let Ok(Err(error)) = tokio::task::spawn_blocking(collect).await {
                    tracing::error!(%error, "what vats have given up could not be collected");
                }
                reclaimed = Some(Instant::now());
            }
            let bytes = bytes_of(store.as_ref(), &id);
            if is_over(quota, bytes, known.is_some()) {
                let reclaimed = reclaimed.unwrap_or_else(Instant::now);
                over.insert(id, Quota { why: is_at_quota(quota, bytes), reclaimed });
            }
        }
    }

    /// Stops a vat's replica in order until [`Host::resume`]. Nothing if it can't be started again.
    async fn pause(&self, vat: &VatService, disk: &DiskStatus) -> Option<Provision> {
        let _one_at_a_time = self.0.carrying.write().await;
        let record = self.0.store.get_meta(&format!("{VAT_RECORDS}{}", vat.vat)).ok()??;
        let provision: Provision = codec::decode(&record).ok()?;
        let service = self.0.vats.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&vat.vat)?;
        tracing::error!(vat = %vat.name, code = "Q-N016", free = disk.free_bytes, "stopped: the disk is nearly full");
        self.0.fail(vat.name.clone(), is_stopped(&self.0.disk, disk));
        service.shutdown().await;
        Some(provision)
    }

    async fn resume(&self, provision: Provision) {
        let name = provision.name.clone();
        tracing::info!(vat = %name, "there is room again");
        match self.start_vat(provision.clone()).await {
            Ok(()) => self.0.recover(&name),
            Err(error) => self.not_started(provision, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_limits_that_follow_from_the_disk_or_are_set() {
        let judged = |limits, free_bytes, total_bytes| judge(&limits, &DiskStatus { free_bytes, total_bytes });
        let unset = DiskLimits::default();
        let large = 1 << 40;
        for (free, room) in
            [(1 << 30, Room::Enough), (300, Room::Scant), (255, Room::Soft), (64, Room::Soft), (63, Room::Hard)]
        {
            let bytes = if free < 1_000 { free << 20 } else { free };
            assert_eq!(judged(unset, bytes, large), room, "{free}");
        }
        let small = 100 << 20;
        for (mebibytes, room) in
            [(7, Room::Enough), (6, Room::Scant), (4, Room::Soft), (1, Room::Hard), (0, Room::Hard)]
        {
            assert_eq!(judged(unset, mebibytes << 20, small), room, "{mebibytes}");
        }
        let set = DiskLimits { soft: Some(40 << 20), hard: Some(20 << 20), vat_quota: None };
        for (mebibytes, room) in
            [(51, Room::Enough), (49, Room::Scant), (39, Room::Soft), (20, Room::Soft), (19, Room::Hard)]
        {
            assert_eq!(judged(set, mebibytes << 20, small), room, "{mebibytes}");
        }
        let disk = DiskStatus { free_bytes: 1 << 20, total_bytes: small };
        assert!(takes_no_work(&unset, &disk).contains("1.0 MiB left, less than 5.0 MiB"));
        assert!(is_stopped(&unset, &disk).contains("1.0 MiB left, less than 2.0 MiB"));
        assert!(takes_no_work(&set, &disk).contains("1.0 MiB left, less than 40.0 MiB"));
    }

    #[test]
    fn a_vat_is_at_its_quota_until_it_takes_an_eighth_less() {
        let cases = [(99, false, false), (101, false, true), (100, true, true), (89, true, true), (88, true, false)];
        for (bytes, was, is) in cases {
            assert_eq!(is_over(100, bytes, was), is, "{bytes} {was}");
        }
        assert!(is_at_quota(64 << 20, 65 << 20).contains("takes 65.0 MiB of its disk, and may take 64 MiB"));
    }
}
