//! Provisions: vats that hosts are told to carry, as files in their homes.
//!
//! A provision is the same for all members of a vat: its name, its genesis, and what to install. A host that finds one for
//! which it is in the genesis carries the vat from its next start on (or at once, over the admin socket). Files survive; reading
//! one again changes nothing.

use crate::codec;
use quorate_consensus::{Genesis, Introduction};
use quorate_engine::machine::Install;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

/// A vat to carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provision {
    /// The vat's name on the hosts that carry it.
    pub name: String,
    /// Who its first members are, and everything else that its id is the hash of.
    pub genesis: Genesis,
    /// Its code and arguments; a vat can also get them later.
    pub install: Option<Install>,
    /// A member that joins later: it waits to be added, and has the chain of memberships so far from the others.
    pub joining: bool,
}

/// Vats to know about without carrying them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contacts {
    /// Name and introduction of each.
    pub vats: Vec<(String, Introduction)>,
}

/// Suffix of a provision's file.
pub const PROVISION_SUFFIX: &str = "vat";
/// The file of contacts.
pub const CONTACTS_FILE: &str = "contacts";

/// Writes a provision into a home's folder, atomically.
pub fn write(folder: &Path, provision: &Provision) -> io::Result<()> {
    let id = provision.genesis.vat_id().to_string();
    write_atomically(&folder.join(format!("{id}.{PROVISION_SUFFIX}")), &codec::encode(provision))
}

/// Writes the contacts into a home's folder, atomically.
pub fn write_contacts(folder: &Path, contacts: &Contacts) -> io::Result<()> {
    write_atomically(&folder.join(CONTACTS_FILE), &codec::encode(contacts))
}

/// Reads all provisions and contacts of a home's folder. A file that doesn't decode is an error that names it.
pub fn read(folder: &Path) -> io::Result<(Vec<Provision>, Contacts)> {
    let (mut provisions, mut contacts) = (Vec::new(), Contacts::default());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let named = |error: codec::CodecError| io::Error::other(format!("{}: {error}", path.display()));
        if path.extension().is_some_and(|suffix| suffix == PROVISION_SUFFIX) {
            provisions.push(codec::decode::<Provision>(&fs::read(&path)?).map_err(named)?);
        } else if path.file_name().is_some_and(|name| name == CONTACTS_FILE) {
            contacts = codec::decode(&fs::read(&path)?).map_err(named)?;
        }
    }
    provisions.sort_by(|a: &Provision, b| a.name.cmp(&b.name));
    Ok((provisions, contacts))
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("staged");
    fs::write(&staged, bytes)?;
    fs::File::open(&staged)?.sync_all()?;
    fs::rename(staged, path)
}
