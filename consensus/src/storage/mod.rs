//! Storage of a host's replicas: the store, one vat's part of it, and its checkpoints.

pub(crate) mod archive;
mod archive_file;
#[cfg(test)]
mod archive_tests;
pub(crate) mod checkpoints;
#[cfg(test)]
mod damage_tests;
mod damaged;
pub(crate) mod evidence;
pub(crate) mod marks;
mod memory;
pub(crate) mod records;
mod repair;
#[cfg(test)]
mod repair_tests;
mod rocks;
mod salvage;
mod scrub;
#[cfg(test)]
mod scrub_tests;
mod store;
#[cfg(test)]
mod tests;
mod vat;

pub use archive::ArchiveOptions;
pub use archive_file::ArchiveError;
pub use checkpoints::ManifestInfo;
pub use damaged::noted_damage;
pub use marks::Marks;
pub use memory::MemoryStore;
pub use repair::{RepairReport, Repaired, repair_store, repair_vat};
pub use rocks::RocksStore;
pub use scrub::{Scrubbed, TableDamage};
pub use store::{Family, Flushed, Record, Store, StoreHealth, VatBytes, Write};
pub(crate) use vat::{SCAN_BYTES, SignedWatermark, VOTE, VatStore, read};
