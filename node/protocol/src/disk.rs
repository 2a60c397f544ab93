//! A host's report on its disk (`GET /api/v1/disk`), and the limits that its owner sets.

use crate::status::DiskStatus;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// Units that sizes are written in, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a size such as `256 MiB`. `None`: it is none.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (unit, bytes) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    number.checked_mul(bytes)
}

/// Writes a size as [`parse_size`] reads it, if it is a multiple of a KiB.
pub fn size_text(bytes: u64) -> String {
    let unit = UNITS.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{} KiB", bytes >> 10), |(name, unit)| format!("{} {name}", bytes / unit))
}

/// What the owner of a host sets for its disk, in bytes. What is unset follows from the disk's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLimits {
    /// With less room than this, the host takes no new messages for the vat that takes most of the disk.
    #[serde(rename = "disk_soft_limit", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub soft: Option<u64>,
    /// With less room than this, it stops replicas in order.
    #[serde(rename = "disk_hard_limit", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
    /// What one vat may take; without it, as much as there is.
    #[serde(rename = "disk_vat_quota", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub vat_quota: Option<u64>,
}

fn as_text<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&bytes.map(size_text).unwrap_or_default())
}

/// The soft limit where none is set: so many bytes, or this part of a smaller disk.
const SOFT: (u64, u64) = (256 << 20, 20);
/// The hard limit, likewise.
const HARD: (u64, u64) = (64 << 20, 50);

impl DiskLimits {
    /// The soft limit on a disk, in bytes.
    pub fn soft_on(&self, disk: &DiskStatus) -> u64 {
        self.soft.unwrap_or_else(|| of_disk(SOFT, disk))
    }

    /// The hard limit, which is no more than the soft one.
    pub fn hard_on(&self, disk: &DiskStatus) -> u64 {
        self.hard.unwrap_or_else(|| of_disk(HARD, disk)).min(self.soft_on(disk))
    }
}

fn of_disk((bytes, part): (u64, u64), disk: &DiskStatus) -> u64 {
    bytes.min(disk.total_bytes / part)
}

/// What takes a host's disk, and what is damaged there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskReport {
    /// The host's name.
    pub host: String,
    /// The file system that its data lie on; unset where they lie in memory.
    pub disk: Option<DiskStatus>,
    /// With less room than this, no new messages for the largest vat.
    pub soft_limit_bytes: Option<u64>,
    /// With less room than this, replicas are stopped in order.
    pub hard_limit_bytes: Option<u64>,
    /// What one vat may take, if that is limited.
    pub vat_quota_bytes: Option<u64>,
    /// The database by families of records, and its write-ahead log, which all vats share.
    pub database: BTreeMap<String, u64>,
    /// What each vat takes of it, about.
    pub vats: Vec<VatDisk>,
    /// What is damaged on the disk, and what to do about it.
    pub damage: Vec<String>,
    /// What the reading of all that is on disk has found.
    pub scrub: ScrubStatus,
}

/// What a vat takes of a host's disk, about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VatDisk {
    pub name: String,
    pub vat: String,
    /// Log entries.
    pub log_bytes: u64,
    /// Checkpoints with their chunks.
    pub checkpoint_bytes: u64,
    /// Certificates, votes and watermarks.
    pub certificate_bytes: u64,
    /// Evidence.
    pub evidence_bytes: u64,
    pub total_bytes: u64,
    /// Why this host takes no new messages for it, or does not run it, if that is for its disk.
    pub limited: Option<String>,
}

/// How far the reading of everything on disk is, and what it has found since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Whether it is being read now.
    pub running: bool,
    /// Of a thousand parts, how many are read.
    pub progress_permille: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// How often everything was read.
    pub passes: u64,
    /// When that was last, in milliseconds since 1970.
    pub finished_ms: Option<u64>,
    /// Damaged tables of the database that were found.
    pub tables: u64,
    /// Chunks that were damaged and came again from other members.
    pub fetched: u64,
    /// Chunks that are damaged, and that no member has given, when everything was last read.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [("256 MiB", 256 << 20), ("2GiB", 2 << 30), ("1 TiB", 1 << 40), (" 64 KiB ", 64 << 10)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes), "{text}");
        }
        for text in ["", "256", "MiB", "1.5 GiB", "-1 MiB", "5 MB", "99999999 TiB", "1 MiBs"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!((size_text(1 << 30).as_str(), size_text(1536 << 20).as_str()), ("1 GiB", "1536 MiB"));
    }

    #[test]
    fn limits_are_bytes_on_large_disks_and_parts_of_small_ones_unless_they_are_set() {
        let disk = |total_bytes| DiskStatus { free_bytes: 0, total_bytes };
        let unset = DiskLimits::default();
        assert_eq!((unset.soft_on(&disk(1 << 40)), unset.hard_on(&disk(1 << 40))), (256 << 20, 64 << 20));
        assert_eq!((unset.soft_on(&disk(100 << 20)), unset.hard_on(&disk(100 << 20))), (5 << 20, 2 << 20));
        let set = DiskLimits { soft: Some(10 << 30), hard: Some(1 << 30), vat_quota: None };
        assert_eq!((set.soft_on(&disk(100 << 20)), set.hard_on(&disk(100 << 20))), (10 << 30, 1 << 30));
        // A soft limit below what the hard one would be by itself.
        let low = DiskLimits { soft: Some(1 << 20), ..unset };
        assert_eq!(low.hard_on(&disk(1 << 40)), 1 << 20);
    }
}
