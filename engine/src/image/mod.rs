//! The image: the one WebAssembly module that all vats of a kind run, compiled for this host, with its base heap.
//!
//! Compiling takes seconds and booting a fraction of one, so both are kept in a cache folder ([`cache`]). Invariants: an image
//! is known by the SHA-256 of its bytes as built; the base heap is a function of those bytes alone, equal on every host; what
//! is compiled differs from the image only in that its data segments are part of the base heap ([`prepare`]).

mod cache;
#[cfg(all(test, target_arch = "x86_64"))]
mod native_stack;
mod prepare;
mod store;

pub use cache::check_cache_folder;
pub use store::{Images, MAX_IMAGE_BYTES};

use crate::abi;
use crate::error::EngineError;
use crate::sandbox::{
    BaseFile, GlobalValue, HostState, Instance, PAGE_BYTES, WASM_PAGE_BYTES, ZERO_PAGE, config, fuel_prices_hash, link,
    with_engine_stack,
};
use cache::Cache;
use prepare::{Prepared, prepare};
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use wasmtime::{Engine, InstancePre, Module, Mutability, ValType};

/// The image that this program carries, as `build.rs` made it.
pub const IMAGE_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/image.wasm"));

/// The version of wasmtime, which fixes what a delivery costs in fuel. wasmtime does not tell it; a test holds it to `Cargo.toml`.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// SHA-256 of [`IMAGE_WASM`]; in hexadecimal it is also in the repository, as `engine/image.sha256`.
pub fn image_hash() -> Hash {
    static HASH: LazyLock<Hash> = LazyLock::new(|| Hash::of_parts(&[IMAGE_WASM]));
    *HASH
}

/// Fuel for making the base heap: minutes, so that a broken image does not hang.
const BOOT_FUEL: u64 = 1 << 38;
/// Memory for making the base heap.
const BOOT_MEMORY_BYTES: usize = 1 << 30;
const BASE_COMPRESSION_LEVEL: i32 = 3;
/// In the names of cache files; raised with any change of their content or of how they are made.
const CACHE_VERSION: u32 = 1;

/// Where a host has engine images from.
pub trait ImageSource: Send + Sync {
    /// The image with this hash, compiled. May take as long as it takes to fetch it from elsewhere.
    ///
    /// # Errors
    /// [`EngineError::NoImage`] if it is not to be had; a fault of the disk.
    fn image(&self, hash: &Hash) -> Result<Arc<Image>, EngineError>;
}

impl ImageSource for Images {
    fn image(&self, hash: &Hash) -> Result<Arc<Image>, EngineError> {
        self.get(hash)
    }
}

/// What an image exports that can hand over to another one what outlives an upgrade, and take it over.
const HANDS_OVER: &str = "quorate_hands_over";

/// A compiled image and its base heap. One for a process is enough.
pub struct Image {
    hash: Hash,
    engine: Engine,
    module: InstancePre<HostState>,
    global_names: Vec<String>,
    hands_over: bool,
    base: BaseHeap,
}

/// What every vat's heap begins as.
pub(crate) struct BaseHeap {
    pub file: BaseFile,
    pub globals: Vec<GlobalValue>,
    pub page_hashes: Vec<Hash>,
    /// Some page with this hash.
    index: BTreeMap<Hash, u32>,
}

/// The base heap as the cache keeps it: globals, then memory.
struct StoredBase {
    globals: Vec<GlobalValue>,
    memory: Vec<u8>,
}

impl Image {
    /// The program's own image, compiled for this host. Callers of one process share it.
    pub fn load(cache_dir: &Path) -> Result<Arc<Image>, EngineError> {
        static LOADED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = loaded.upgrade() {
            return Ok(image);
        }
        let image = Image::from_wasm(IMAGE_WASM, cache_dir)?;
        *loaded = Arc::downgrade(&image);
        Ok(image)
    }

    /// Compiles `wasm` and makes its base heap, or finds both in `cache_dir`.
    pub fn from_wasm(wasm: &[u8], cache_dir: &Path) -> Result<Arc<Image>, EngineError> {
        let hash = Hash::of_parts(&[wasm]);
        let cache = Cache::open(cache_dir)?;
        let engine = Engine::new(&config()).map_err(sandbox("configuring"))?;
        let module = load_module(&engine, &cache, hash, wasm)?;
        let global_names = exported_globals(&module)?;
        let hands_over = module.get_export(HANDS_OVER).is_some();
        let module = link(&engine, &module)?
            .instantiate_pre(&module)
            .map_err(|error| EngineError::Image(format!("{error:#}")))?;
        let stored = cache.get(
            &format!("base-{CACHE_VERSION}-{hash}.zst"),
            || with_engine_stack(|| make_base(&engine, &module, &global_names, wasm)),
            |payload| decode_base(payload, global_names.len()),
        )?;
        let base = BaseHeap::new(stored)?;
        Ok(Arc::new(Image { hash, engine, module, global_names, hands_over, base }))
    }

    /// SHA-256 of the image as built: what a genesis names.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Returns whether vats in it can be upgraded with what they keep: images of before upgrades cannot.
    pub fn hands_over(&self) -> bool {
        self.hands_over
    }

    /// Size of the heap that every vat begins with.
    pub fn base_heap_bytes(&self) -> u64 {
        self.base.file.len() as u64
    }

    /// Returns whether every host that has this image has this page by itself, so that checkpoints need not carry it.
    pub fn has_page(&self, hash: &Hash) -> bool {
        self.base.page_by_hash(hash).is_some()
    }

    pub(crate) fn base(&self) -> &BaseHeap {
        &self.base
    }

    /// An instance with an empty memory.
    pub(crate) fn instantiate(&self, memory_limit: usize) -> Result<Instance, EngineError> {
        Instance::bare(&self.engine, &self.module, &self.global_names, memory_limit)
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Image({})", self.hash)
    }
}

impl BaseHeap {
    fn new(stored: StoredBase) -> Result<BaseHeap, EngineError> {
        let file = BaseFile::new(&stored.memory)?;
        drop(stored.memory);
        let page_hashes: Vec<Hash> =
            file.bytes().chunks_exact(PAGE_BYTES).map(|page| Hash::of_parts(&[page])).collect();
        let index = page_hashes.iter().enumerate().map(|(page, hash)| (*hash, page as u32)).collect();
        Ok(BaseHeap { file, globals: stored.globals, page_hashes, index })
    }

    /// The page with this hash, if it is one of the base heap or all zeros.
    pub fn page_by_hash(&self, hash: &Hash) -> Option<&[u8]> {
        const ZEROS: &[u8] = &[0; PAGE_BYTES];
        if *hash == *ZERO_PAGE {
            return Some(ZEROS);
        }
        let page = *self.index.get(hash)? as usize;
        Some(&self.file.bytes()[page * PAGE_BYTES..][..PAGE_BYTES])
    }
}

fn sandbox(doing: &'static str) -> impl Fn(wasmtime::Error) -> EngineError {
    move |error| EngineError::Sandbox { doing, message: format!("{error:#}") }
}

fn load_module(engine: &Engine, cache: &Cache<'_>, hash: Hash, wasm: &[u8]) -> Result<Module, EngineError> {
    // Covers wasmtime's version, its settings and the features of this machine's processor. Prices are compiled in, and named apart.
    let mut compatibility = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let prices = hex::encode(&fuel_prices_hash().as_bytes()[..8]);
    let name = format!("image-{CACHE_VERSION}-{hash}-{prices}-{:016x}.module", compatibility.finish());
    let make = || {
        let Prepared { wasm, .. } = prepare(wasm)?;
        engine.precompile_module(&wasm).map_err(|error| EngineError::Image(format!("{error:#}")))
    };
    cache.get(&name, make, |payload| {
        // SAFETY: deserializing is unsafe because the bytes are native code, run as they are. These come from
        // `precompile_module` of this very program in one of its runs: the cache found them whole by their SHA-256, the name
        // holds the image's hash and this engine's compatibility hash, and wasmtime checks its own version and settings. Who
        // can forge such a file can write to the operator's folder and could replace the program itself.
        unsafe { Module::deserialize(engine, payload) }.map_err(sandbox("loading the compiled image"))
    })
}

/// Names of the exported mutable globals, in order: what of an instance is not in its memory.
fn exported_globals(module: &Module) -> Result<Vec<String>, EngineError> {
    let mut names = Vec::new();
    for export in module.exports() {
        let kind = export.ty();
        let Some(global) = kind.global() else { continue };
        if matches!(global.mutability(), Mutability::Const) {
            continue;
        }
        if !matches!(global.content(), ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64) {
            return Err(EngineError::Image(format!("its global {} is not a number", export.name())));
        }
        names.push(export.name().to_owned());
    }
    names.sort();
    Ok(names)
}

/// Boots the image once and returns its heap, encoded.
fn make_base(
    engine: &Engine,
    module: &InstancePre<HostState>,
    global_names: &[String],
    wasm: &[u8],
) -> Result<Vec<u8>, EngineError> {
    let Prepared { data, .. } = prepare(wasm)?;
    let mut instance = Instance::bare(engine, module, global_names, BOOT_MEMORY_BYTES)?;
    for (at, bytes) in data {
        let place = instance.bytes_mut().get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or_else(|| EngineError::Image("a data segment is out of bounds".into()))?.copy_from_slice(&bytes);
    }
    instance.run("_initialize", BOOT_FUEL)?;
    let version = instance.abi_version()?;
    if version != i32::from(abi::ABI_VERSION) {
        return Err(EngineError::Image(format!("it speaks protocol {version}, this engine {}", abi::ABI_VERSION)));
    }
    if !instance.run("quorate_boot", BOOT_FUEL)? {
        return Err(EngineError::Image("it does not export quorate_boot".into()));
    }
    for line in instance.take_logs() {
        tracing::debug!(text = line.text, "image boot");
    }
    let mut encoded = bincode::serde::encode_to_vec(instance.globals(), bincode::config::standard())
        .expect("plain data always encodes into memory");
    encoded.extend_from_slice(instance.bytes());
    zstd::encode_all(encoded.as_slice(), BASE_COMPRESSION_LEVEL)
        .map_err(|error| EngineError::Sandbox { doing: "compressing the base heap", message: error.to_string() })
}

fn decode_base(payload: &[u8], globals: usize) -> Result<StoredBase, EngineError> {
    let damaged = |what: &str| EngineError::Checkpoint(format!("the cached base heap {what}"));
    let mut encoded = zstd::decode_all(payload).map_err(|_| damaged("does not decompress"))?;
    let (values, used): (Vec<GlobalValue>, usize) =
        bincode::serde::decode_from_slice(&encoded, bincode::config::standard().with_limit::<{ 1 << 20 }>())
            .map_err(|_| damaged("does not decode"))?;
    let stored = StoredBase { globals: values, memory: encoded.split_off(used) };
    if stored.globals.len() != globals || !stored.memory.len().is_multiple_of(WASM_PAGE_BYTES) {
        return Err(damaged("does not fit the image"));
    }
    Ok(stored)
}
