//! Heaps at rest: takes a checkpoint of a heap, and restores a heap from one.

use super::manifest::HeapManifest;
use super::{Heap, Limits};
use crate::error::EngineError;
use crate::image::{Image, ImageSource};
use crate::sandbox::{PAGE_BYTES, WASM_PAGE_BYTES, ZERO_PAGE};
use quorate_ids::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A heap at one moment.
#[derive(Clone, Debug)]
pub struct HeapCheckpoint {
    pub manifest: HeapManifest,
    /// Pages that neither the previous checkpoint nor the base heap of the vat's first image has.
    pub new_pages: Vec<(Hash, Vec<u8>)>,
}

/// Hashes of a heap's pages at its last checkpoint.
pub(super) struct Checkpointed {
    pages: Vec<Hash>,
    /// How often each page that is not of the base heap occurs.
    stored: BTreeMap<Hash, u32>,
}

impl Heap {
    /// The heap that `manifest` describes. `fetch` is asked for the pages that the image's base heap has not; what it gives
    /// is checked.
    pub fn restore(
        image: Arc<Image>,
        limits: Limits,
        manifest: &HeapManifest,
        fetch: &mut dyn FnMut(&Hash) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Heap, EngineError> {
        Heap::restore_in(image.clone(), image, limits, manifest, fetch)
    }

    /// The same of a vat that may have moved to another image than that of its genesis, `origin`, whose pages every host of the vat has. The
    /// other one is taken from `images`.
    pub fn restore_moved(
        origin: Arc<Image>,
        images: Arc<dyn ImageSource>,
        limits: Limits,
        manifest: &HeapManifest,
        fetch: &mut dyn FnMut(&Hash) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Heap, EngineError> {
        let image = if manifest.image == origin.hash() { origin.clone() } else { images.image(&manifest.image)? };
        Ok(Heap::restore_in(image, origin, limits, manifest, fetch)?.with_images(images))
    }

    fn restore_in(
        image: Arc<Image>,
        origin: Arc<Image>,
        limits: Limits,
        manifest: &HeapManifest,
        fetch: &mut dyn FnMut(&Hash) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Heap, EngineError> {
        let base = image.base();
        if manifest.image != image.hash() {
            return Err(EngineError::ImageMismatch { expected: image.hash(), found: manifest.image });
        }
        let size = manifest.pages.len() * PAGE_BYTES;
        if size < base.file.len() || !size.is_multiple_of(WASM_PAGE_BYTES) {
            return Err(EngineError::Checkpoint(format!("{size} bytes is no size of a heap of this image")));
        }
        let same_globals = manifest.globals.len() == base.globals.len()
            && manifest.globals.iter().zip(&base.globals).all(|(one, other)| one.same_type(*other));
        if !same_globals {
            return Err(EngineError::Checkpoint("its globals are not those of this image".into()));
        }
        let mut shadow = Heap::base_shadow(&image, limits, size)?;
        shadow.grow(size);
        shadow.set_globals(manifest.globals.clone());
        for (page, hash) in manifest.pages.iter().enumerate() {
            let expected_already = base.page_hashes.get(page).unwrap_or(&ZERO_PAGE);
            if hash == expected_already {
                continue;
            }
            if let Some(bytes) = base.page_by_hash(hash) {
                shadow.set_page(page, bytes);
                continue;
            }
            let bytes = fetch(hash)?;
            if bytes.len() != PAGE_BYTES || Hash::of_parts(&[&bytes]) != *hash {
                return Err(EngineError::Checkpoint(format!("what was given as page {hash} is something else")));
            }
            shadow.set_page(page, &bytes);
        }
        shadow.take_changed();
        let mut heap = Heap::over(image, origin, limits, shadow)?;
        heap.checkpointed = Some(Checkpointed::of(&heap.origin, manifest.pages.clone()));
        Ok(heap)
    }

    /// The heap as it is now, with the pages that are new since the last checkpoint. The first one of a heap that has moved to another image has
    /// all pages but those of the image that it came from.
    pub fn checkpoint(&mut self) -> Result<HeapCheckpoint, EngineError> {
        self.rouse()?;
        if self.live.is_none() {
            return Err(EngineError::Failed);
        }
        self.rebase();
        let (base, origin) = (self.image.base(), self.origin.base());
        let moved = self.image.hash() != self.origin.hash() && self.checkpointed.is_none();
        let at_first = || Checkpointed::of(&self.origin, base.page_hashes.clone());
        let Checkpointed { pages, stored } = self.checkpointed.get_or_insert_with(at_first);
        pages.resize(self.shadow.size() / PAGE_BYTES, *ZERO_PAGE);
        let changes: Vec<(usize, Hash)> = self
            .shadow
            .take_changed()
            .iter()
            .map(|page| (page, Hash::of_parts(&[self.shadow.page(page)])))
            .filter(|(page, hash)| pages[*page] != *hash)
            .collect();
        let mut new_pages = Vec::new();
        let mut seen = BTreeSet::new();
        for (page, hash) in &changes {
            if !moved && origin.page_by_hash(hash).is_none() && !stored.contains_key(hash) && seen.insert(*hash) {
                new_pages.push((*hash, self.shadow.page(*page).to_vec()));
            }
        }
        for (page, hash) in changes {
            let old = std::mem::replace(&mut pages[page], hash);
            if let Some(count) = stored.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    stored.remove(&old);
                }
            }
            if origin.page_by_hash(&hash).is_none() {
                *stored.entry(hash).or_insert(0) += 1;
            }
        }
        if moved {
            for (page, hash) in pages.iter().enumerate() {
                if origin.page_by_hash(hash).is_none() && seen.insert(*hash) {
                    new_pages.push((*hash, self.shadow.page(page).to_vec()));
                }
            }
        }
        let manifest =
            HeapManifest { image: self.image.hash(), globals: self.shadow.globals().to_vec(), pages: pages.clone() };
        Ok(HeapCheckpoint { manifest, new_pages })
    }

    /// The manifest of the live memory, hashed anew from its first byte to its last: what a checkpoint taken now must say.
    /// Slow; for tests and audits.
    pub fn full_manifest(&mut self) -> Result<HeapManifest, EngineError> {
        self.rouse()?;
        let live = self.live.as_mut().ok_or(EngineError::Failed)?;
        let globals = live.globals();
        let pages = live.bytes().chunks_exact(PAGE_BYTES).map(|page| Hash::of_parts(&[page])).collect();
        Ok(HeapManifest { image: self.image.hash(), globals, pages })
    }
}

impl Checkpointed {
    /// `origin` is the image whose pages are not counted.
    fn of(origin: &Image, pages: Vec<Hash>) -> Checkpointed {
        let base = origin.base();
        let mut stored = BTreeMap::new();
        for hash in &pages {
            if base.page_by_hash(hash).is_none() {
                *stored.entry(*hash).or_insert(0) += 1;
            }
        }
        Checkpointed { pages, stored }
    }
}
