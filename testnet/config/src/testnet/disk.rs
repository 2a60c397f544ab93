//! The keys by which the owner of a host limits what it takes of its disk: in `host.toml`, and in `[[host]]` of a testnet.

use super::check::{Checker, Key};
use super::syntax::Table;
use quorate_protocol::disk::{DiskLimits, parse_size, size_text};

pub(super) const SOFT: Key =
    Key::new("disk_soft_limit", "disk_soft_limit = \"1 GiB\"", &["soft_limit", "disk_soft", "disk_limit"]);
pub(super) const HARD: Key = Key::new("disk_hard_limit", "disk_hard_limit = \"256 MiB\"", &["hard_limit", "disk_hard"]);
pub(super) const VAT_QUOTA: Key =
    Key::new("disk_vat_quota", "disk_vat_quota = \"4 GiB\"", &["vat_quota", "quota", "disk_quota"]);

/// The least that may be set: below, no vat could write a checkpoint.
const LEAST: u64 = 1 << 20;

/// Reads the limits. `None`: one of them is wrong, which has been said.
pub(super) fn disk_limits(table: &Table, checker: &mut Checker) -> Option<DiskLimits> {
    let mut is_good = true;
    let mut read = |key: &Key, checker: &mut Checker| {
        let entry = table.get(key.name)?;
        let size = size(entry, key, checker);
        is_good &= size.is_some();
        size
    };
    let (soft, hard) = (read(&SOFT, checker), read(&HARD, checker));
    let vat_quota = read(&VAT_QUOTA, checker);
    if let (Some(soft), Some(hard), Some(entry)) = (soft, hard, table.get(HARD.name))
        && hard >= soft
    {
        let problem = format!("`{}` is not below `{}` ({})", HARD.name, SOFT.name, size_text(soft));
        checker.mistake(
            entry.node.place,
            problem,
            "vats first take no new messages, and stop when there is even less room",
        );
        is_good = false;
    }
    is_good.then_some(DiskLimits { soft, hard, vat_quota })
}

/// Reads a size of at least 1 MiB.
pub(super) fn size(entry: &super::syntax::Entry, key: &Key, checker: &mut Checker) -> Option<u64> {
    let text = checker.string(entry, key)?;
    let size = parse_size(text);
    let problem = match size {
        None => format!("`{}` is no size: a whole number and KiB, MiB, GiB or TiB", text.escape_debug()),
        Some(size) if size < LEAST => format!("`{}` must be at least {}", key.name, size_text(LEAST)),
        Some(_) => return size,
    };
    checker.mistake(entry.node.place, problem, format!("write {}", key.example));
    None
}
