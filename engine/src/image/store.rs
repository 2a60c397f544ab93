//! The images that a host can run vats with: the program's own, and those in a folder of the host.
//!
//! A vat's genesis names its image by hash, so a file needs no other proof than its bytes. Invariants: an image is identified by the
//! SHA-256 of its bytes alone. A file is written whole or not at all. Each image is run once before it is kept, so the host refuses one
//! that this engine can't run when it comes, and not when a vat needs it.

use super::{IMAGE_WASM, Image, image_hash};
use crate::error::EngineError;
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the largest image that is taken in: five times the program's own.
pub const MAX_IMAGE_BYTES: u64 = 32 << 20;
/// How a file of an image ends; its hash in hexadecimal comes before.
const SUFFIX: &str = ".wasm";

/// Images by hash. Each is compiled when it is first asked for, and stays.
pub struct Images {
    /// Where compiled images and base heaps are kept.
    cache: PathBuf,
    /// Where files of images lie; `None`: only what is compiled already can be had, and the program's own.
    folder: Option<PathBuf>,
    compiled: Mutex<BTreeMap<Hash, Arc<Image>>>,
    /// One file is written at a time: vats of one image start together.
    writing: Mutex<()>,
}

impl Images {
    /// Images of the program and of `folder`, compiled into `cache`. Reads nothing yet.
    pub fn open(cache: PathBuf, folder: PathBuf) -> Images {
        Images { cache, folder: Some(folder), compiled: Mutex::default(), writing: Mutex::default() }
    }

    /// Returns whether [`Images::get`] has something to compile, or has done so.
    pub fn has(&self, hash: &Hash) -> bool {
        *hash == image_hash() || self.compiled().contains_key(hash) || self.file(hash).is_some_and(|file| file.exists())
    }

    /// The image with this hash, compiled: seconds where it is the first time on this machine.
    ///
    /// # Errors
    /// [`EngineError::NoImage`] if it is neither the program's own nor in the folder; what compiling it says.
    pub fn get(&self, hash: &Hash) -> Result<Arc<Image>, EngineError> {
        // Held while one is compiled, so that two vats do not compile the same one.
        let mut compiled = self.compiled();
        if let Some(image) = compiled.get(hash) {
            return Ok(image.clone());
        }
        let image = if *hash == image_hash() {
            Image::load(&self.cache)?
        } else {
            let wasm = self.read(hash)?.ok_or(EngineError::NoImage { hash: *hash })?;
            Image::from_wasm(&wasm, &self.cache)?
        };
        compiled.insert(*hash, image.clone());
        Ok(image)
    }

    /// Keeps an image in the folder, if this engine can run it.
    ///
    /// # Errors
    /// [`EngineError::Image`] if it can't, or is too large; a fault of the disk.
    pub fn add(&self, wasm: &[u8]) -> Result<Hash, EngineError> {
        if wasm.len() as u64 > MAX_IMAGE_BYTES {
            return Err(EngineError::Image(format!("it has {} bytes, over {MAX_IMAGE_BYTES}", wasm.len())));
        }
        let image = Image::from_wasm(wasm, &self.cache)?;
        let hash = image.hash();
        self.write(&hash, wasm)?;
        self.compiled().insert(hash, image);
        Ok(hash)
    }

    /// Keeps the program's own image in the folder, so that a later version of the program finds it there.
    pub fn keep_own(&self) -> Result<(), EngineError> {
        let hash = image_hash();
        match self.file(&hash) {
            Some(file) if !file.exists() => self.write(&hash, IMAGE_WASM),
            _ => Ok(()),
        }
    }

    /// Up to `length` bytes of an image from `offset` on, and how many it has as a whole; `None` if it is not here. Nothing is
    /// checked: the receiver of all parts knows the hash.
    pub fn part(&self, hash: &Hash, offset: u64, length: usize) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        if *hash == image_hash() {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(IMAGE_WASM.len());
            let to = from.saturating_add(length).min(IMAGE_WASM.len());
            return Ok(Some((IMAGE_WASM.len() as u64, IMAGE_WASM[from..to].to_vec())));
        }
        let Some(path) = self.file(hash) else { return Ok(None) };
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(fault("open", &path))?,
        };
        let whole = file.metadata().map_err(fault("read", &path))?.len();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset.min(whole)))
            .and_then(|_| file.take(length as u64).read_to_end(&mut bytes))
            .map_err(fault("read", &path))?;
        Ok(Some((whole, bytes)))
    }

    /// All that can be had: the program's own, then those of the folder, in order.
    pub fn list(&self) -> Result<Vec<Hash>, EngineError> {
        let mut hashes = vec![image_hash()];
        let Some(folder) = &self.folder else { return Ok(hashes) };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(hashes),
            entries => entries.map_err(fault("read", folder))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut kept: Vec<Hash> = names
            .filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok())
            .filter(|hash| *hash != image_hash())
            .collect();
        kept.sort();
        hashes.extend(kept);
        Ok(hashes)
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, BTreeMap<Hash, Arc<Image>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, hash: &Hash) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{hash}{SUFFIX}")))
    }

    /// The file's bytes, if they are what its name says.
    fn read(&self, hash: &Hash) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(path) = self.file(hash) else { return Ok(None) };
        let mut wasm = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_IMAGE_BYTES + 1).read_to_end(&mut wasm)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(fault("read", &path))?,
        };
        if Hash::of_parts(&[&wasm]) != *hash {
            return Err(EngineError::DamagedImage { path: path.display().to_string() });
        }
        Ok(Some(wasm))
    }

    fn write(&self, hash: &Hash, wasm: &[u8]) -> Result<(), EngineError> {
        let (Some(folder), Some(path)) = (&self.folder, self.file(hash)) else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault("create", folder))?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary);
        written
            .and_then(|mut file| file.write_all(wasm).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path))
            // The name has to be on disk as well.
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(fault("write", &path))
    }
}

/// For tests and simulations: one image that is compiled already, and no folder.
impl From<Arc<Image>> for Images {
    fn from(image: Arc<Image>) -> Images {
        let compiled = Mutex::new(BTreeMap::from([(image.hash(), image)]));
        Images { cache: PathBuf::new(), folder: None, compiled, writing: Mutex::default() }
    }
}

fn fault(action: &'static str, path: &Path) -> impl Fn(io::Error) -> EngineError {
    let path = path.display().to_string();
    move |source| EngineError::ImageFile { action, path: path.clone(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As vats do that start together.
    #[test]
    fn an_image_that_several_want_to_keep_at_once_is_kept() {
        for _ in 0..10 {
            let place = tempfile::tempdir().unwrap();
            let images = Images::open(place.path().join("cache"), place.path().join("images"));
            std::thread::scope(|scope| {
                let keepers: Vec<_> = (0..8).map(|_| scope.spawn(|| images.keep_own())).collect();
                keepers.into_iter().for_each(|keeper| keeper.join().unwrap().unwrap());
            });
            assert_eq!(images.read(&image_hash()).unwrap().as_deref(), Some(IMAGE_WASM));
        }
    }
}
