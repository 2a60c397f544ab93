//! A file of an archive: frames of bytes, after a head that says whose they are and before a checksum of all of it.
//!
//! ```text
//! "quorate-archive/1\n"  vat (32)  kind (1)  first (8)  last (8)  { length (4)  bytes }*  SHA-256 (32)
//! ```
//!
//! Invariants: a file is whole under its name or not there: it is written beside it, synced, and renamed. Nothing of a file is believed before its
//! checksum was compared. Memory for a frame is taken only as far as the file has bytes.

use sha2::{Digest, Sha256};
use std::fmt;
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use quorate_ids::VatId;

const MAGIC: &[u8] = b"quorate-archive/1\n";
const HEAD_BYTES: usize = MAGIC.len() + 32 + 1 + 8 + 8;
const LENGTH_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// How a file is called while it is written.
const UNFINISHED: &str = "unfinished";

/// Why an archive can't be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system failed.
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: String },
    /// A file is not what was written.
    #[error("the archive's file {path} is damaged: {why}")]
    Damaged { path: PathBuf, why: String },
    /// There is too little room.
    #[error("{0}")]
    Room(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a file holds, which is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The state after a block.
    Checkpoint { block: u64 },
    /// The log from one block to another one, both of them included.
    Blocks { first: u64, last: u64 },
}

impl Content {
    /// What a file is called that holds this; names are in the order of blocks.
    pub(super) fn file_name(self) -> String {
        match self {
            Content::Checkpoint { block } => format!("{block:020}.checkpoint"),
            Content::Blocks { first, last } => format!("{first:020}-{last:020}.blocks"),
        }
    }

    /// Reads such a name. `None`: it is no file of an archive.
    pub(super) fn parse(name: &str) -> Option<Content> {
        let (numbers, kind) = name.split_once('.')?;
        let content = match (numbers.split_once('-'), kind) {
            (None, "checkpoint") => Content::Checkpoint { block: numbers.parse().ok()? },
            (Some((first, last)), "blocks") => Content::Blocks { first: first.parse().ok()?, last: last.parse().ok()? },
            _ => return None,
        };
        (content.file_name() == name).then_some(content)
    }

    fn head(self, vat: &VatId) -> [u8; HEAD_BYTES] {
        let (kind, first, last) = match self {
            Content::Checkpoint { block } => (b'c', block, block),
            Content::Blocks { first, last } => (b'b', first, last),
        };
        let parts: [&[u8]; 5] = [MAGIC, &vat.0, &[kind], &first.to_be_bytes(), &last.to_be_bytes()];
        parts.concat().try_into().expect("the parts are as long as the head")
    }
}

/// Returns whether a file was being written when a host ended.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).and_then(|name| Content::parse(name.strip_suffix('.')?)).is_some()
}

pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> ArchiveError + '_ {
    move |error| ArchiveError::Io { path: path.to_owned(), error: error.to_string() }
}

/// Has the names in a folder on disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

/// Writes a file. One that is not finished is removed.
pub(super) struct Writer {
    unfinished: PathBuf,
    path: PathBuf,
    out: Option<BufWriter<fs::File>>,
    hash: Sha256,
    bytes: u64,
}

impl Writer {
    /// Begins a file in a folder, which is there.
    pub(super) fn begin(folder: &Path, vat: &VatId, content: Content) -> Result<Writer, ArchiveError> {
        let name = content.file_name();
        let (path, unfinished) = (folder.join(&name), folder.join(format!("{name}.{UNFINISHED}")));
        let mut options = fs::File::options();
        // It holds what the vat was told.
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        let file = opened.map_err(io_error(&unfinished))?;
        let out = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        let mut writer = Writer { unfinished, path, out, hash: Sha256::new(), bytes: 0 };
        writer.write(&content.head(vat))?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(bytes);
        self.write_unhashed(bytes)
    }

    fn write_unhashed(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let out = self.out.as_mut().expect("it is taken only when the file is finished");
        out.write_all(bytes).map_err(io_error(&self.unfinished))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn frame(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let too_large = |_| io_error(&self.unfinished)(io::Error::other("a frame of over 4 GiB"));
        let length = u32::try_from(bytes.len()).map_err(too_large)?;
        self.write(&length.to_be_bytes())?;
        self.write(bytes)
    }

    /// Gives the file its name. It is on disk under that name when this returns. Returns its bytes.
    pub(super) fn finish(mut self) -> Result<u64, ArchiveError> {
        let hash = self.hash.clone().finalize();
        self.write_unhashed(&hash)?;
        let at = io_error(&self.unfinished);
        let out = self.out.as_mut().expect("it is taken below");
        out.flush().map_err(&at)?;
        out.get_ref().sync_all().map_err(&at)?;
        fs::rename(&self.unfinished, &self.path).map_err(&at)?;
        self.out = None;
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(self.bytes)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // It takes room that may be short. What stays is removed when the archive is opened.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// A file whose checksum is right.
#[derive(Debug)]
pub(crate) struct ArchiveFile {
    file: fs::File,
    path: PathBuf,
    /// Where each frame lies, and its length.
    frames: Vec<(u64, usize)>,
}

impl fmt::Display for ArchiveFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())
    }
}

impl ArchiveFile {
    /// Reads a file through, and compares its checksum.
    pub(super) fn open(folder: &Path, vat: &VatId, content: Content) -> Result<ArchiveFile, ArchiveError> {
        let path = folder.join(content.file_name());
        let at = |error| io_error(&path)(error);
        let file = fs::File::open(&path).map_err(&at)?;
        let length = file.metadata().map_err(&at)?.len();
        let damaged = |why: &str| ArchiveError::Damaged { path: path.clone(), why: why.to_owned() };
        let Some(end) = length.checked_sub(HASH_BYTES as u64).filter(|end| *end >= HEAD_BYTES as u64) else {
            return Err(damaged(&format!("it ends after {length} bytes")));
        };
        let mut reader = Hashed { from: BufReader::with_capacity(BUFFER_BYTES, &file), hash: Sha256::new() };
        let mut head = [0; HEAD_BYTES];
        reader.read(&mut head).map_err(&at)?;
        if !head.starts_with(MAGIC) {
            return Err(damaged("it does not begin as files of an archive of this version do"));
        }
        let (mut frames, mut place) = (Vec::new(), HEAD_BYTES as u64);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut is_torn = false;
        while place < end {
            let left = end - place;
            let mut bytes = [0; LENGTH_BYTES];
            if left < LENGTH_BYTES as u64 {
                is_torn = true;
                break;
            }
            reader.read(&mut bytes).map_err(&at)?;
            let frame = u64::from(u32::from_be_bytes(bytes));
            if frame > left - LENGTH_BYTES as u64 {
                is_torn = true;
                break;
            }
            let begin = place + LENGTH_BYTES as u64;
            let mut rest = usize::try_from(frame).map_err(|_| damaged("a part is too large for this machine"))?;
            frames.push((begin, rest));
            while rest > 0 {
                let piece = rest.min(BUFFER_BYTES);
                reader.read(&mut buffer[..piece]).map_err(&at)?;
                rest -= piece;
            }
            place = begin + frame;
        }
        let mut expected = [0; HASH_BYTES];
        if !is_torn {
            reader.from.read_exact(&mut expected).map_err(&at)?;
        }
        if is_torn || reader.hash.finalize()[..] != expected {
            return Err(damaged("its checksum does not fit its content; it was cut, or the disk changed it"));
        }
        // After the checksum: a wrong vat is then no damage.
        if head != content.head(vat) {
            return Err(damaged("it is of another vat, or of other blocks, than its name and folder say"));
        }
        Ok(ArchiveFile { file, path, frames })
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Reads a frame; `None`: there are not so many.
    pub(super) fn frame(&self, number: usize) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some((place, length)) = self.frames.get(number).copied() else { return Ok(None) };
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, place).map_err(io_error(&self.path))?;
        Ok(Some(bytes))
    }

    /// It does not hold what its kind does.
    pub(super) fn damaged(&self, why: impl fmt::Display) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), why: why.to_string() }
    }
}

struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(into)?;
        self.hash.update(into);
        Ok(())
    }
}
