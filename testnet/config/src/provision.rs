//! Provisions as files in the homes of hosts, and the parameters of new vats.
//!
//! A host that finds a provision for which it is in the genesis carries the vat from its next start on (or at once, over the admin socket).
//! Files survive; reading one again changes nothing.
//!
//! A file is a line that names the format, the SHA-256 of what follows, and the encoding. Most of a damaged file would decode all
//! the same, and a leader would give the vat other code than it was made with. Files of earlier versions are the encoding alone.

use quorate_consensus::Parameters;
use quorate_engine::fuel_prices_hash;
use quorate_protocol::{
    codec,
    provision::{Contacts, Provision},
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// The first line of a file with a checksum.
const MAGIC: &[u8] = b"quorate provision 1\n";
/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// The parameters of a new vat: the defaults, and the table by which this program counts fuel.
pub fn default_parameters() -> Parameters {
    Parameters { fuel_prices: fuel_prices_hash(), ..Parameters::default() }
}

/// Suffix of a provision's file.
pub const PROVISION_SUFFIX: &str = "vat";
/// Suffix of a file that is not whole yet.
pub const STAGED_SUFFIX: &str = "staged";
/// The file of contacts.
pub const CONTACTS_FILE: &str = "contacts";

/// Writes a provision into a home's folder, atomically.
pub fn write(folder: &Path, provision: &Provision) -> io::Result<()> {
    let id = provision.genesis.vat_id().to_string();
    write_atomically(&folder.join(format!("{id}.{PROVISION_SUFFIX}")), &codec::encode(provision))
}

/// Writes a provision, by its encoding, to a file of its own, atomically; the file and its name are on disk when it returns.
///
/// # Errors
/// It can't be written.
pub fn write_encoded(path: &Path, encoding: &[u8]) -> io::Result<()> {
    write_atomically(path, encoding)?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// The provision in such a file. `None`: the file is empty.
///
/// # Errors
/// It can't be read, or is damaged.
pub fn read_one(path: &Path) -> io::Result<Option<Provision>> {
    let bytes = fs::read(path)?;
    let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    if bytes.is_empty() { Ok(None) } else { decode(&bytes).map(Some).map_err(damaged) }
}

/// Writes the contacts into a home's folder, atomically.
pub fn write_contacts(folder: &Path, contacts: &Contacts) -> io::Result<()> {
    write_atomically(&folder.join(CONTACTS_FILE), &codec::encode(contacts))
}

/// Reads the contacts of a home's folder, and its provisions but for those of vats that are `carried` already: nothing of those is
/// needed any more. A file that is damaged is an error that names it.
pub fn read(folder: &Path, carried: impl Fn(&str) -> bool) -> io::Result<(Vec<Provision>, Contacts)> {
    let (mut provisions, mut contacts) = (Vec::new(), Contacts::default());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let damaged = |why: String| {
            let message = format!(
                "{} is damaged: {why}; put a good copy there, as another member of the vat has it",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|suffix| suffix == PROVISION_SUFFIX) {
            if carried(stem) {
                continue;
            }
            let provision: Provision = decode(&fs::read(&path)?).map_err(damaged)?;
            let id = provision.genesis.vat_id().to_string();
            if stem != id {
                return Err(damaged(format!("it is of vat {id}")));
            }
            provisions.push(provision);
        } else if path.file_name().is_some_and(|name| name == CONTACTS_FILE) {
            contacts = decode(&fs::read(&path)?).map_err(damaged)?;
        }
    }
    provisions.sort_by(|a: &Provision, b| a.name.cmp(&b.name));
    Ok((provisions, contacts))
}

/// Reads a file's content, and checks it where the file says what it must be.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let encoding = match bytes.strip_prefix(MAGIC).map(|rest| rest.split_at_checked(HASH_BYTES)) {
        None => bytes,
        Some(Some((hash, encoding))) if Sha256::digest(encoding)[..] == *hash => encoding,
        Some(_) => return Err("its content is not what its checksum says".to_owned()),
    };
    codec::decode(encoding).map_err(|error| error.to_string())
}

fn write_atomically(path: &Path, encoding: &[u8]) -> io::Result<()> {
    let staged = path.with_extension(STAGED_SUFFIX);
    let hash = Sha256::digest(encoding);
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    [MAGIC, &hash[..], encoding].iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(staged, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Genesis, Hash, HostId, Introduction, Member, Parameters};

    fn provision() -> Provision {
        let genesis = Genesis {
            members: vec![Member {
                key: HostId([1; 32]),
                name: "alpha".into(),
                addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
            }],
            threshold: 1,
            image: Hash([2; 32]),
            creator: [3; 32],
            bundle: None,
            nonce: [4; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        Provision { name: "counter".into(), genesis, install: None, joining: false }
    }

    fn only_file(folder: &Path) -> std::path::PathBuf {
        let mut files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.next().expect("a file")
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &provision()).expect("writable");
        assert_eq!(read(folder.path(), |_| false).expect("whole").0, [provision()]);
        let file = only_file(folder.path());
        let whole = fs::read(&file).expect("readable");
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&file, &flipped).expect("writable");
            let error = read(folder.path(), |_| false).expect_err("a bit is flipped").to_string();
            assert!(error.contains(&file.display().to_string()) && error.contains("is damaged"), "{place}: {error}");
            fs::write(&file, &whole[..place]).expect("writable");
            assert!(read(folder.path(), |_| false).is_err(), "cut to {place} bytes");
        }
    }

    #[test]
    fn contacts_are_checked_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let introduction = Introduction { genesis: provision().genesis, chain: Vec::new() };
        let contacts = Contacts { vats: vec![("counter".into(), introduction)] };
        write_contacts(folder.path(), &contacts).expect("writable");
        assert_eq!(read(folder.path(), |_| false).expect("whole").1, contacts);
        let file = only_file(folder.path());
        let mut bytes = fs::read(&file).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&file, bytes).expect("writable");
        assert!(read(folder.path(), |_| false).is_err());
    }

    #[test]
    fn a_file_of_an_earlier_version_is_read_and_one_of_another_vat_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &provision()).expect("writable");
        let file = only_file(folder.path());
        fs::write(&file, codec::encode(&provision())).expect("writable");
        assert_eq!(read(folder.path(), |_| false).expect("as it was").0, [provision()]);
        fs::write(&file, "damaged").expect("writable");
        let id = provision().genesis.vat_id().to_string();
        assert!(read(folder.path(), |vat| vat == id).expect("nobody needs it any more").0.is_empty());
        fs::write(&file, codec::encode(&provision())).expect("writable");
        fs::rename(&file, folder.path().join("00.vat")).expect("ours");
        assert!(read(folder.path(), |_| false).expect_err("another vat").to_string().contains("is damaged"));
    }
}
