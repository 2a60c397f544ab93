//! The keys by which a host keeps what is cut from the logs of its vats: in `host.toml`, and in `[[host]]` of a testnet.

use super::check::{Checker, Key};
use super::disk::size;
use super::syntax::Table;
use quorate_protocol::disk::size_text;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

pub(super) const FOLDER: Key =
    Key::new("archive", "archive = \"archive\"", &["archive_folder", "archive_dir", "transcript", "transcripts"]);
pub(super) const BYTES: Key =
    Key::new("archive_bytes", "archive_bytes = \"10 GiB\"", &["archive_size", "archive_limit", "archive_quota"]);
pub(super) const BLOCKS: Key =
    Key::new("archive_blocks", "archive_blocks = 1000000", &["archive_keep", "archive_age", "retention"]);

/// What the archive of one vat may take where nothing is said.
const DEFAULT_BYTES: u64 = 10 << 30;

/// Where a host keeps what is cut from its vats' logs, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveConfig {
    /// The folder; in the home, if it is relative.
    #[serde(rename = "archive")]
    pub folder: PathBuf,
    /// What the archive of one vat may take.
    #[serde(rename = "archive_bytes", serialize_with = "as_text")]
    pub bytes: u64,
    /// How many of its newest blocks are kept, if not as many as go into these bytes.
    #[serde(rename = "archive_blocks", skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u64>,
}

fn as_text<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&size_text(*bytes))
}

/// Reads the keys. The outer `None`: one of them is wrong, which has been said; the inner one: nothing is archived.
pub(super) fn archive(table: &Table, checker: &mut Checker) -> Option<Option<ArchiveConfig>> {
    let bytes = table.get(BYTES.name).map_or(Some(DEFAULT_BYTES), |entry| size(entry, &BYTES, checker));
    let blocks = table.get(BLOCKS.name).map(|entry| checker.whole_number(entry, &BLOCKS, 1..=i64::MAX as u64));
    let Some(entry) = table.get(FOLDER.name) else {
        let alone = [&BYTES, &BLOCKS].into_iter().find_map(|key| Some((key, table.get(key.name)?)));
        let Some((key, entry)) = alone else { return Some(None) };
        let problem = format!("`{}` without `{}`: nothing is archived", key.name, FOLDER.name);
        checker.mistake(entry.node.place, problem, format!("add the folder: {}", FOLDER.example));
        return None;
    };
    let folder = checker.string(entry, &FOLDER)?;
    if folder.trim().is_empty() {
        checker.mistake(entry.node.place, "the archive has no folder", format!("write {}", FOLDER.example));
        return None;
    }
    let blocks = match blocks {
        Some(blocks) => Some(blocks?),
        None => None,
    };
    Some(Some(ArchiveConfig { folder: folder.into(), bytes: bytes?, blocks }))
}

/// The same in a testnet, all of whose hosts may be on one machine.
pub(super) fn archive_in_home(table: &Table, checker: &mut Checker) -> Option<Option<ArchiveConfig>> {
    let found = archive(table, checker)?;
    if let (Some(config), Some(entry)) = (&found, table.get(FOLDER.name))
        && config.folder.is_absolute()
    {
        let problem = "the archive of a testnet's host is in its home: hosts can't share a folder";
        checker.mistake(entry.node.place, problem, format!("write {}", FOLDER.example));
        return None;
    }
    Some(found)
}
