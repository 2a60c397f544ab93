//! A copy of the heap as it was some deliveries ago, for rollbacks.
//!
//! The shadow is a second copy-on-write view of the image's base heap. [`Shadow::refresh`] copies into it those pages of
//! the live memory that differ. So pages that a vat never wrote cost nothing, and pages that it wrote are kept twice.
//!
//! Invariants: between a refresh and the next change of the live memory both are equal, bytes and globals. Every page that
//! differs from the base is in `own`. Every page refreshed since the last [`Shadow::take_changed`] is in `changed`.

use crate::error::EngineError;
use crate::sandbox::{BaseFile, GlobalValue, Instance, PAGE_BYTES, Reservation};
use std::io::{Read, Write};

/// How hard zstd tries: the least that still finds what is easy to find. A vat that wakes does not wait longer for more.
const PACK_LEVEL: i32 = 1;

/// A set of page numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    pub fn insert(&mut self, page: usize) {
        let word = page / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (page % 64);
    }

    /// The pages in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(word, &bits)| {
            let mut rest = bits;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                if bit == 64 {
                    return None;
                }
                rest &= rest - 1;
                Some(word * 64 + bit)
            })
        })
    }
}

#[derive(Debug)]
pub(crate) struct Shadow {
    region: Reservation,
    size: usize,
    own: PageSet,
    changed: PageSet,
    globals: Vec<GlobalValue>,
    /// The pages in `own`, compressed, while they are not in `region`.
    packed: Option<Vec<u8>>,
}

impl Shadow {
    /// A shadow equal to the base heap, that can grow to `limit` bytes.
    pub fn new(base: &BaseFile, globals: &[GlobalValue], limit: usize) -> Result<Shadow, EngineError> {
        assert!(base.len() <= limit, "the limit admits the base heap");
        let mut region = Reservation::zeroed(limit)?;
        region.map_base(base)?;
        Ok(Shadow {
            region,
            size: base.len(),
            own: PageSet::default(),
            changed: PageSet::default(),
            globals: globals.to_vec(),
            packed: None,
        })
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn globals(&self) -> &[GlobalValue] {
        &self.globals
    }

    /// The whole memory.
    pub fn bytes(&self) -> &[u8] {
        assert!(self.packed.is_none(), "a packed shadow is unpacked before it is read");
        // SAFETY: the region is accessible over its whole length, and written only through `&mut self`.
        unsafe { self.region.bytes(self.size) }
    }

    /// One page of the memory.
    pub fn page(&self, page: usize) -> &[u8] {
        &self.bytes()[page * PAGE_BYTES..][..PAGE_BYTES]
    }

    /// Becomes `size` bytes large; new pages are zeros.
    pub fn grow(&mut self, size: usize) {
        assert!(self.size <= size && size <= self.region.len(), "memories grow, up to their limit");
        self.size = size;
    }

    /// Writes one page.
    pub fn set_page(&mut self, page: usize, bytes: &[u8]) {
        assert!(bytes.len() == PAGE_BYTES && page < self.size / PAGE_BYTES, "a page within the memory");
        // SAFETY: the region is accessible over its whole length.
        let memory = unsafe { self.region.bytes_mut(self.size) };
        memory[page * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(bytes);
        self.own.insert(page);
        self.changed.insert(page);
    }

    pub fn set_globals(&mut self, globals: Vec<GlobalValue>) {
        self.globals = globals;
    }

    /// Becomes equal to the live instance.
    pub fn refresh(&mut self, live: &mut Instance) {
        self.globals = live.globals();
        let live = live.bytes();
        self.grow(live.len());
        // SAFETY: the region is accessible over its whole length.
        let memory = unsafe { self.region.bytes_mut(self.size) };
        let pairs = memory.chunks_exact_mut(PAGE_BYTES).zip(live.chunks_exact(PAGE_BYTES));
        for (page, (old, new)) in pairs.enumerate() {
            if old != new {
                old.copy_from_slice(new);
                self.own.insert(page);
                self.changed.insert(page);
            }
        }
    }

    /// Makes a fresh instance equal to the shadow.
    pub fn pour_into(&self, instance: &mut Instance, base: &BaseFile) -> Result<(), EngineError> {
        instance.lay_over(base, self.size)?;
        let memory = instance.bytes_mut();
        for page in self.own.iter() {
            memory[page * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(self.page(page));
        }
        instance.set_globals(&self.globals)
    }

    /// Keeps its own pages compressed, and gives their memory back. Until it is [unpacked](Shadow::unpack) only its size may be asked for.
    pub fn pack(&mut self, base: &BaseFile) -> Result<(), EngineError> {
        if self.packed.is_some() {
            return Ok(());
        }
        let failed = |error: std::io::Error| EngineError::System { what: "compressing a heap", source: error };
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), PACK_LEVEL).map_err(failed)?;
        // Bits that memory has lost meanwhile are a fault of the host, and not another state of the guest.
        encoder.include_checksum(true).map_err(failed)?;
        for page in self.own.iter() {
            encoder.write_all(self.page(page)).map_err(failed)?;
        }
        let mut packed = encoder.finish().map_err(failed)?;
        packed.shrink_to_fit();
        let mut region = Reservation::zeroed(self.region.len())?;
        region.map_base(base)?;
        (self.region, self.packed) = (region, Some(packed));
        Ok(())
    }

    /// Becomes as it was when it was packed.
    pub fn unpack(&mut self) -> Result<(), EngineError> {
        let Some(packed) = self.packed.take() else { return Ok(()) };
        let failed = |error: std::io::Error| EngineError::System { what: "decompressing a heap", source: error };
        let mut decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]).map_err(failed)?;
        // SAFETY: the region is accessible over its whole length.
        let memory = unsafe { self.region.bytes_mut(self.size) };
        for page in self.own.iter() {
            decoder.read_exact(&mut memory[page * PAGE_BYTES..][..PAGE_BYTES]).map_err(failed)?;
        }
        // To the end, where the checksum is.
        match decoder.read(&mut [0]).map_err(failed)? {
            0 => Ok(()),
            _ => Err(EngineError::Checkpoint("a packed heap is longer than it was".into())),
        }
    }

    /// The pages refreshed since this was last called. Growth is not among them.
    pub fn take_changed(&mut self) -> PageSet {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::PageSet;

    #[test]
    fn page_sets_list_what_was_put_in() {
        let mut set = PageSet::default();
        let pages = [0, 1, 63, 64, 200, 1000];
        pages.iter().rev().for_each(|&page| set.insert(page));
        set.insert(200);
        assert_eq!(set.iter().collect::<Vec<_>>(), pages);
        assert_eq!(PageSet::default().iter().count(), 0);
    }
}
