//! The file in a database's folder that names its damaged tables, outside of the damaged database.
//!
//! While a column family has a damaged table, RocksDB does not compact that family. A compaction reads all of its tables. If it can't read a
//! block, the whole store fails, and with it every vat of the host. A repair makes a new database in a new folder, which has no such
//! file.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::scrub::TableDamage;
use super::store::Family;
use crate::error::StoreError;

/// Its name. RocksDB leaves files alone whose names it does not know.
const FILE: &str = "DAMAGED";

/// The damaged tables of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Damaged(Vec<TableDamage>);

/// The tables of the database in a folder that are noted as damaged. The host may run or not.
///
/// # Errors
/// The note is there and can't be read.
pub fn noted_damage(folder: &Path) -> Result<Vec<TableDamage>, StoreError> {
    Ok(Damaged::read(folder)?.all())
}

impl Damaged {
    /// Reads what is noted in a database's folder.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub(super) fn read(folder: &Path) -> Result<Damaged, StoreError> {
        let text = match fs::read_to_string(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Damaged::default()),
            // A file that is damaged itself still says that something is.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Damaged::unknown()),
            Err(error) => return Err(StoreError::Io(format!("{}: {error}", folder.join(FILE).display()))),
        };
        let tables: Option<Vec<TableDamage>> = text.lines().map(read_line).collect();
        Ok(tables.map_or_else(Damaged::unknown, Damaged))
    }

    fn unknown() -> Damaged {
        let of = |family| TableDamage { family, table: "?".into(), error: "the note of it is damaged as well".into() };
        Damaged(Family::ALL.into_iter().map(of).collect())
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<TableDamage> {
        self.0.clone()
    }

    /// Returns whether a family has one.
    pub(super) fn has(&self, family: Family) -> bool {
        self.0.iter().any(|damage| damage.family == family)
    }

    /// Returns whether this table is known to be damaged.
    pub(super) fn knows(&self, table: &str) -> bool {
        self.0.iter().any(|damage| damage.table == table)
    }

    /// Notes one more. On disk when it returns.
    pub(super) fn add(&mut self, folder: &Path, damage: &TableDamage) -> Result<(), StoreError> {
        self.0.retain(|known| known.table != damage.table || known.family != damage.family);
        self.0.push(damage.clone());
        self.write(folder)
    }

    /// Keeps those of which `is_there` says so. On disk when it returns.
    pub(super) fn retain(&mut self, folder: &Path, is_there: impl Fn(&TableDamage) -> bool) -> Result<(), StoreError> {
        let before = self.0.len();
        self.0.retain(is_there);
        if self.0.len() == before { Ok(()) } else { self.write(folder) }
    }

    fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let (path, staged) = (folder.join(FILE), folder.join("DAMAGED.new"));
        let line = |damage: &TableDamage| {
            let error = damage.error.replace(['\n', '\r', '\t'], " ");
            format!("{}\t{}\t{error}\n", damage.family.as_str(), damage.table)
        };
        let text: String = self.0.iter().map(line).collect();
        let written = || -> io::Result<()> {
            if self.0.is_empty() {
                fs::remove_file(&path)?;
            } else {
                let mut file = fs::File::create(&staged)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&staged, &path)?;
            }
            fs::File::open(folder)?.sync_all()
        };
        written().map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))
    }
}

fn read_line(line: &str) -> Option<TableDamage> {
    let mut parts = line.splitn(3, '\t');
    let (family, table, error) = (parts.next()?, parts.next()?, parts.next()?);
    let family = Family::ALL.into_iter().find(|known| known.as_str() == family)?;
    Some(TableDamage { family, table: table.to_owned(), error: error.to_owned() })
}
