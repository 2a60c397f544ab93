//! Address space: reservations, private mappings of a shared base, and the linear memories made of them.
//!
//! All of the crate's `mmap` is here. Invariants: a [`Reservation`] is mapped for as long as it lives and unmapped once. Every
//! offset is checked against its length before the system call. A [`BaseFile`] is never written after it was made, so
//! private mappings of it read the same bytes for ever. Unix only. Nothing here depends on the meaning of the bytes.

use crate::error::EngineError;
use quorate_ids::Hash;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::LazyLock;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// The unit of changes, hashes and mappings. Every platform that we run on can map at this granularity or coarser with
/// lengths that are multiples of a wasm page (64 KiB).
pub const PAGE_BYTES: usize = 4096;

/// SHA-256 of a page of zeros. Such pages are never stored.
pub static ZERO_PAGE: LazyLock<Hash> = LazyLock::new(|| Hash::of_parts(&[&[0; PAGE_BYTES]]));

fn system(what: &'static str) -> EngineError {
    EngineError::System { what, source: io::Error::last_os_error() }
}

/// A range of address space that belongs to this value.
#[derive(Debug)]
pub struct Reservation {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the range is owned by this value alone, and the value hands out pointers only through `&self`/`&mut self`
// methods whose callers keep the usual borrowing rules; nothing in it is tied to a thread.
unsafe impl Send for Reservation {}
// SAFETY: as above; shared access gives only a raw pointer or a shared slice.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `length` bytes that cannot be touched yet.
    pub fn inaccessible(length: usize) -> Result<Reservation, EngineError> {
        Reservation::anonymous(length, libc::PROT_NONE)
    }

    /// Reserves `length` bytes of zeros; pages take room when they are first written.
    pub fn zeroed(length: usize) -> Result<Reservation, EngineError> {
        Reservation::anonymous(length, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn anonymous(length: usize, protection: libc::c_int) -> Result<Reservation, EngineError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches nothing that exists.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(system("address space"));
        }
        let start = NonNull::new(address.cast()).expect("a successful mapping is not at address zero");
        Ok(Reservation { start, length })
    }

    /// First byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes of address space, accessible or not.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Makes `from..to` readable and writable. Both are multiples of the system's page.
    pub fn open(&mut self, from: usize, to: usize) -> Result<(), EngineError> {
        assert!(from <= to && to <= self.length, "range within the reservation");
        if from == to {
            return Ok(());
        }
        // SAFETY: the range lies within our own mapping (asserted), where a change of protection breaks no one's borrow.
        let result =
            unsafe { libc::mprotect(self.as_ptr().add(from).cast(), to - from, libc::PROT_READ | libc::PROT_WRITE) };
        if result != 0 { Err(system("memory for a vat to grow")) } else { Ok(()) }
    }

    /// Replaces the beginning by a private, writable, copy-on-write view of `base`.
    pub fn map_base(&mut self, base: &BaseFile) -> Result<(), EngineError> {
        assert!(base.len() <= self.length, "the base fits in the reservation");
        // SAFETY: the range is within our own reservation, which `&mut self` holds exclusively.
        unsafe { base.map_private_at(self.as_ptr()) }
    }

    /// The first `length` bytes. They must be accessible: the reservation is `zeroed`, or was opened so far.
    ///
    /// # Safety
    /// `length` bytes were made accessible, and nothing else writes to them meanwhile.
    pub unsafe fn bytes(&self, length: usize) -> &[u8] {
        assert!(length <= self.length, "slice within the reservation");
        // SAFETY: in range (asserted), accessible and unaliased by writers (the caller's promise).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), length) }
    }

    /// As [`Reservation::bytes`], writable.
    ///
    /// # Safety
    /// `length` bytes were made accessible.
    pub unsafe fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.length, "slice within the reservation");
        // SAFETY: in range (asserted), accessible (the caller's promise), exclusive through `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), length) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `anonymous` (and `map_base` inside it) mapped; no slice outlives the value.
        let result = unsafe { libc::munmap(self.as_ptr().cast(), self.length) };
        debug_assert_eq!(result, 0, "unmapping our own range");
    }
}

/// Bytes in an anonymous file that any number of private mappings share until they write.
#[derive(Debug)]
pub struct BaseFile {
    file: File,
    view: Reservation,
}

impl BaseFile {
    /// Copies `bytes`, whose length is a multiple of the wasm page, into a nameless file.
    pub fn new(bytes: &[u8]) -> Result<BaseFile, EngineError> {
        let wrap = |source| EngineError::System { what: "a file for the base heap", source };
        let file = nameless_file().map_err(wrap)?;
        file.write_all_at(bytes, 0).map_err(wrap)?;
        let view = Reservation::inaccessible(bytes.len())?;
        // SAFETY: `view` is our own reservation of exactly this length; the file has this length and is never changed again.
        unsafe { map_file_at(&file, view.as_ptr(), bytes.len(), libc::PROT_READ, libc::MAP_SHARED)? };
        Ok(BaseFile { file, view })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// The bytes, through a mapping that all share.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the whole view is mapped readable, and the file behind it is never written.
        unsafe { self.view.bytes(self.view.len()) }
    }

    /// Maps the file copy-on-write over the addresses from `start`.
    ///
    /// # Safety
    /// `start` is page-aligned, and the `self.len()` bytes from it are a mapping that the caller owns and that nothing
    /// borrows.
    pub unsafe fn map_private_at(&self, start: *mut u8) -> Result<(), EngineError> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the caller's promise.
        unsafe { map_file_at(&self.file, start, self.len(), protection, libc::MAP_PRIVATE) }
    }
}

/// # Safety
/// The `length` bytes from the page-aligned `start` are a mapping that the caller owns and that nothing borrows; `file` has
/// at least `length` bytes and never shrinks.
unsafe fn map_file_at(
    file: &File,
    start: *mut u8,
    length: usize,
    protection: libc::c_int,
    sharing: libc::c_int,
) -> Result<(), EngineError> {
    // SAFETY: the caller's promise; the descriptor is open for the call, and a mapping keeps the file alive by itself.
    let address =
        unsafe { libc::mmap(start.cast(), length, protection, sharing | libc::MAP_FIXED, file.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED { Err(system("a mapping of the base heap")) } else { Ok(()) }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn nameless_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the result is checked.
    let descriptor = unsafe { libc::memfd_create(c"quorate-base".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to no one else.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn nameless_file() -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("quorate-base-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Makes wasmtime's linear memories out of our reservations, so that a base can be mapped over them.
#[derive(Debug)]
pub struct VatMemories;

// SAFETY: a new memory is a fresh anonymous reservation of the reserved size plus the guard, of which only the minimum is
// accessible and reads as zeros; it never moves.
unsafe impl MemoryCreator for VatMemories {
    fn new_memory(
        &self,
        _kind: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.ok_or("the engine needs memories that never move")?;
        let length = capacity.checked_add(guard).ok_or("reservation too large")?;
        let mut reservation = Reservation::inaccessible(length).map_err(|error| error.to_string())?;
        reservation.open(0, minimum).map_err(|error| error.to_string())?;
        Ok(Box::new(VatMemory { reservation, accessible: minimum, capacity }))
    }
}

struct VatMemory {
    reservation: Reservation,
    accessible: usize,
    capacity: usize,
}

// SAFETY: `byte_size` bytes from `as_ptr` are accessible at any time, the base never moves, and all beyond stays
// inaccessible up to the end of the guard.
unsafe impl LinearMemory for VatMemory {
    fn byte_size(&self) -> usize {
        self.accessible
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.capacity || size < self.accessible {
            return Err(wasmtime::Error::msg("growth beyond the reservation"));
        }
        self.reservation.open(self.accessible, size).map_err(wasmtime::Error::new)?;
        self.accessible = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.reservation.as_ptr()
    }
}
