//! Encodes a whole machine as bytes, and restores one from them.
//!
//! `root = H("quorate/machine/1" || root of the guest || H(tables))`, where the tables are everything beside the guest. The
//! manifest holds the tables and names the guest's chunks. The root is recomputed from the manifest, never read out of it.

use super::{Collector, Guest, GuestCheckpoint, GuestManifest, Machine, Published, Status, Timers, Turns};
use crate::comms::{Added, Comms};
use crate::error::EngineError;
use crate::wire::codec;
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};

const MANIFEST_VERSION: u8 = 1;
const TABLES_VERSION: u8 = 10;
/// The same, followed by what was added: only where there is some of it.
const TABLES_WITH_ADDED_VERSION: u8 = 11;
/// Longest manifest, in bytes. It holds unacknowledged messages.
const MAX_MANIFEST_BYTES: usize = 1 << 30;

#[derive(Clone, Debug)]
pub struct MachineCheckpoint {
    /// Commits to guest and tables.
    pub root: Hash,
    pub manifest: Vec<u8>,
    /// Chunks that no earlier checkpoint of this machine had.
    pub new_chunks: Vec<(Hash, Vec<u8>)>,
}

/// What a manifest speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    pub root: Hash,
    /// What must be at hand for a restore.
    pub chunks: Vec<Hash>,
}

#[derive(Serialize, Deserialize)]
struct Manifest<M> {
    guest: M,
    #[serde(with = "codec::bytes")]
    tables: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Tables {
    vat: VatId,
    comms: Comms,
    status: Status,
    timers: Timers,
    collector: Collector,
    turns: Turns,
    published: Published,
}

#[derive(Serialize)]
struct TablesRef<'a> {
    vat: &'a VatId,
    comms: &'a Comms,
    status: &'a Status,
    timers: &'a Timers,
    collector: &'a Collector,
    turns: &'a Turns,
    published: &'a Published,
}

impl<M: GuestManifest> Manifest<M> {
    fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        codec::decode::<Self, MAX_MANIFEST_BYTES>(MANIFEST_VERSION, bytes)
            .map_err(|error| EngineError::Checkpoint(format!("its manifest is {error}")))
    }

    fn root(&self) -> Hash {
        let tables = Hash::of_parts(&[&self.tables]);
        Hash::of_parts(&[b"quorate/machine/1", &self.guest.root().0, &tables.0])
    }
}

impl<G: Guest> Machine<G> {
    /// Between blocks only: effects that were not taken would be lost.
    pub fn checkpoint(&mut self) -> Result<MachineCheckpoint, EngineError> {
        assert!(self.comms.is_settled(), "a checkpoint is taken after end_block");
        let GuestCheckpoint { manifest, new_chunks } = self.guest.checkpoint()?;
        let tables = TablesRef {
            vat: &self.vat,
            comms: &self.comms,
            status: &self.status,
            timers: &self.timers,
            collector: &self.collector,
            turns: &self.turns,
            published: &self.published,
        };
        let tables = match self.comms.added() {
            added if added.is_empty() => codec::encode(TABLES_VERSION, &tables),
            added => codec::encode(TABLES_WITH_ADDED_VERSION, &(tables, added)),
        };
        let manifest = Manifest { guest: manifest, tables };
        let (root, manifest) = (manifest.root(), codec::encode(MANIFEST_VERSION, &manifest));
        Ok(MachineCheckpoint { root, manifest, new_chunks })
    }

    /// Returns what a manifest commits to and needs. Its bytes may be anything.
    pub fn describe(manifest: &[u8]) -> Result<ManifestInfo, EngineError> {
        let manifest = Manifest::<G::Manifest>::decode(manifest)?;
        Ok(ManifestInfo { root: manifest.root(), chunks: manifest.guest.chunks() })
    }

    /// Nothing will be applied for a while: the guest gives back memory that can be filled again. It changes nothing that can be observed.
    pub fn rest(&mut self) -> Result<(), EngineError> {
        self.guest.rest()
    }

    /// A machine as it was at a checkpoint, over the guest that `make` restores. The caller has checked the root.
    pub fn restore_with(
        vat: VatId,
        manifest: &[u8],
        make: impl FnOnce(&G::Manifest) -> Result<G, EngineError>,
    ) -> Result<Machine<G>, EngineError> {
        let manifest = Manifest::<G::Manifest>::decode(manifest)?;
        let decoded = match manifest.tables.first() {
            Some(&TABLES_WITH_ADDED_VERSION) => {
                codec::decode::<_, MAX_MANIFEST_BYTES>(TABLES_WITH_ADDED_VERSION, &manifest.tables)
            }
            _ => codec::decode::<Tables, MAX_MANIFEST_BYTES>(TABLES_VERSION, &manifest.tables)
                .map(|tables| (tables, Added::default())),
        };
        let (tables, added) = decoded.map_err(|error| EngineError::Checkpoint(format!("its tables are {error}")))?;
        if tables.vat != vat {
            return Err(EngineError::Checkpoint(format!("it is of vat {}, not of {vat}", tables.vat)));
        }
        let mut machine = Machine::new(vat, make(&manifest.guest)?);
        machine.comms = tables.comms;
        machine.comms.set_memory(machine.guest.memory_limit());
        machine.comms.set_added(added);
        machine.status = tables.status;
        machine.timers = tables.timers;
        machine.collector = tables.collector;
        machine.turns = tables.turns;
        machine.published = tables.published;
        Ok(machine)
    }
}
