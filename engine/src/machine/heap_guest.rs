//! The guest that production uses: a heap of the image.

use super::{FuelShares, Guest, GuestCheckpoint, GuestManifest, Machine};
use crate::abi::{Delivery, News};
use crate::error::EngineError;
use crate::heap::{Crank, CrankOutcome, Heap, HeapManifest, LimitKind, Limits};
use crate::image::Image;
use quorate_ids::{Hash, VatId};
use std::collections::BTreeSet;
use std::sync::Arc;

impl GuestManifest for HeapManifest {
    fn root(&self) -> Hash {
        HeapManifest::root(self)
    }

    /// Each page once, also those that every host has with the image.
    fn chunks(&self) -> Vec<Hash> {
        self.pages.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Guest for Heap {
    type Manifest = HeapManifest;

    /// A delivery that finds no room is tried once more after a collection: what fills the memory may be garbage. The interpreter
    /// collects by how many objects there are, whatever texts and bytes they hold.
    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let first = self.deliver_with(delivery, news)?;
        if first.outcome != (CrankOutcome::RolledBack { limit: LimitKind::Memory }) {
            return Ok(first);
        }
        let collection = Heap::deliver(self, &Delivery::MakeRoom)?;
        let mut second = self.deliver_with(delivery, news)?;
        second.fuel = second.fuel.saturating_add(first.fuel).saturating_add(collection.fuel);
        Ok(second)
    }

    fn hand_over(&mut self, news: &News) -> Result<Option<Crank>, EngineError> {
        if !self.image().hands_over() {
            return Ok(None);
        }
        self.look(&Delivery::HandOver, news).map(Some)
    }

    fn successor(&self, image: Option<&Hash>) -> Result<Option<Heap>, EngineError> {
        Heap::successor(self, image)
    }

    fn checkpoint(&mut self) -> Result<GuestCheckpoint<HeapManifest>, EngineError> {
        let checkpoint = Heap::checkpoint(self)?;
        Ok(GuestCheckpoint { manifest: checkpoint.manifest, new_chunks: checkpoint.new_pages })
    }

    fn rest(&mut self) -> Result<(), EngineError> {
        Heap::rest(self)
    }

    /// Hash tables of different vats are seeded differently, and those of replicas alike.
    fn set_vat(&mut self, vat: &VatId) {
        let hash = Hash::of_parts(&[b"quorate/hash-seed/1", vat.as_bytes()]);
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash.as_bytes()[..8]);
        self.set_seed(u64::from_le_bytes(seed));
    }

    fn memory_bytes(&self) -> u64 {
        Heap::memory_bytes(self)
    }

    fn memory_limit(&self) -> u64 {
        self.limits().memory_bytes
    }
}

impl Machine<Heap> {
    /// A vat without code, on a new heap of `image`.
    pub fn for_image(vat: VatId, image: Arc<Image>, limits: Limits) -> Result<Machine<Heap>, EngineError> {
        Ok(Machine::new(vat, Heap::new(image, limits)?).with_fuel(FuelShares::DEFAULT))
    }

    /// A vat as it was at a checkpoint whose root the caller has checked. `fetch` is asked for the chunks that the image has not.
    pub fn restore(
        vat: VatId,
        image: Arc<Image>,
        limits: Limits,
        manifest: &[u8],
        fetch: &mut dyn FnMut(&Hash) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Machine<Heap>, EngineError> {
        let machine = Machine::restore_with(vat, manifest, |heap| Heap::restore(image, limits, heap, fetch))?;
        Ok(machine.with_fuel(FuelShares::DEFAULT))
    }
}
