//! Faults of this crate. Whatever a guest does is an outcome, never an error.
//!
//! Invariant: every variant is a fault of this host (its disk, its memory, its cache) or of the bytes that it was given to restore
//! from. A replica that meets one stops; it records nothing about the guest.

use quorate_ids::Hash;

/// A fault of the host or of restored state.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The image is not one that this engine can run.
    #[error("the engine image is unusable: {0}")]
    Image(String),
    /// A vat is of an image that is not here.
    #[error("engine image {hash} is not here")]
    NoImage { hash: Hash },
    /// A vat counts fuel by another table of prices than this program.
    #[error(
        "it counts fuel by the price table {wanted}, and this program has {own}: run it with a version of the program that has that table"
    )]
    FuelPrices { wanted: Hash, own: Hash },
    /// Reading or writing a file of an image failed.
    #[error("cannot {action} {path}: {source}; check its permissions, and the free space")]
    ImageFile { action: &'static str, path: String, source: std::io::Error },
    /// A file of an image is not what its name says.
    #[error(
        "{path} is damaged: its content is not what its name says; remove it, and start the host again: it fetches the image from members of the vat"
    )]
    DamagedImage { path: String },
    /// Reading or writing the cache folder failed.
    #[error(
        "cannot {action} {path}: {source}; check the folder's permissions and free space, or name another folder in QUORATE_CACHE"
    )]
    Cache { action: &'static str, path: String, source: std::io::Error },
    /// Another user may have put native code into the cache folder.
    #[error(
        "the cache folder {path} {why}; compiled code is run from there, so it must be this user's alone: remove it, or name another folder in QUORATE_CACHE"
    )]
    Untrusted { path: String, why: String },
    /// The operating system refused memory or a mapping.
    #[error("the system refused {what}: {source}")]
    System { what: &'static str, source: std::io::Error },
    /// The sandbox itself failed: not a trap of the guest.
    #[error("the sandbox failed while {doing}: {message}")]
    Sandbox { doing: &'static str, message: String },
    /// Running the journal again gave something else than the first time: memory of this host is not to be trusted.
    #[error("replaying delivery {index} of {count} after a rollback gave another result than before")]
    Replay { index: usize, count: usize },
    /// An earlier error left this heap without an instance.
    #[error("this heap has failed before and must be restored from a checkpoint")]
    Failed,
    /// Guest code may run only on a thread with [`crate::heap::ENGINE_STACK_BYTES`].
    #[error("this thread has {have} bytes of stack left and the engine needs {need}; start it with ENGINE_STACK_BYTES")]
    ThreadStack { have: usize, need: usize },
    /// The vat's limits do not admit even its base heap, or what is restored.
    #[error("the memory limit of {limit} bytes is below the {needed} bytes that the heap has")]
    MemoryLimit { limit: u64, needed: u64 },
    /// A checkpoint is of another image.
    #[error("the checkpoint is of engine image {found}, this host has {expected}")]
    ImageMismatch { expected: Hash, found: Hash },
    /// A checkpoint's bytes are not what its hashes say.
    #[error("the checkpoint is damaged: {0}")]
    Checkpoint(String),
    /// A page that a checkpoint names could not be had.
    #[error("page {hash} of the checkpoint is missing: {message}")]
    MissingPage { hash: Hash, message: String },
}
