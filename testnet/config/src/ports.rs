//! Ports of loopback for the hosts of a testnet, where its config names none.
//!
//! A port that is free now may belong to a testnet that is being made at the same time, or whose hosts are down. So the ports of a user's testnets are
//! written to one file, which is locked while ports are chosen; a testnet whose directory is gone gives its ports back. Where that file can't be
//! used, only ports that something listens at are passed over.

use crate::cache;
use anyhow::bail;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
};

/// Below the range from which Linux takes the ports of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// The longest list that is read: a line for each of [`PORTS`], with a path that is not too long.
const LIST_BYTES: u64 = 8 << 20;

/// Chooses free ports for one testnet, from a place in the range that differs between testnets.
pub(crate) struct PortChooser {
    next: u16,
    tried: u16,
    testnet: PathBuf,
    list: Option<List>,
}

impl PortChooser {
    /// Of the testnet in the directory `testnet`, whose config has that digest; `list`: the file with the ports of all. Nobody else chooses until
    /// this is dropped.
    pub(crate) fn new(testnet: &Path, digest: &str, list: Option<&Path>) -> Self {
        let seed = Sha256::digest(format!("{digest}{}", std::process::id()));
        let testnet = std::path::absolute(testnet).unwrap_or_else(|_| testnet.to_owned());
        let mut list = list.and_then(|file| List::open(file).ok());
        if let Some(list) = &mut list {
            list.taken.retain(|_, of| *of != testnet && of.exists());
        }
        PortChooser { next: u16::from_be_bytes([seed[0], seed[1]]) % span(), tried: 0, testnet, list }
    }

    /// # Errors
    /// All of them are in use, or belong to other testnets.
    pub(crate) fn choose(&mut self) -> anyhow::Result<u16> {
        while self.tried < span() {
            let port = PORTS.start + self.next;
            self.next = (self.next + 1) % span();
            self.tried += 1;
            let is_taken = self.list.as_ref().is_some_and(|list| list.taken.contains_key(&port));
            if !is_taken && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                if let Some(list) = &mut self.list {
                    list.taken.insert(port, self.testnet.clone());
                }
                return Ok(port);
            }
        }
        bail!("no free port between {} and {}", PORTS.start, PORTS.end)
    }

    /// Keeps what was chosen for this testnet, as long as its directory is there.
    pub(crate) fn keep(self) {
        // Without it the ports are chosen all the same.
        let _ = self.list.map(List::write);
    }
}

fn span() -> u16 {
    PORTS.end - PORTS.start
}

/// Returns the file with the ports of this user's testnets, if a variable names a folder for such a file.
pub(crate) fn list_of_user() -> Option<PathBuf> {
    Some(cache::of_user(|name| std::env::var_os(name))?.join("testnet-ports"))
}

/// The locked file: a line for each port, `PORT DIRECTORY`.
struct List {
    file: File,
    taken: BTreeMap<u16, PathBuf>,
}

impl List {
    fn open(path: &Path) -> io::Result<List> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        let mut text = String::new();
        (&file).take(LIST_BYTES).read_to_string(&mut text)?;
        // What can't be read is no port of anybody's: the file is only a help.
        let taken = text.lines().filter_map(|line| {
            let (port, testnet) = line.split_once(' ')?;
            Some((port.parse().ok()?, PathBuf::from(testnet)))
        });
        Ok(List { taken: taken.collect(), file })
    }

    fn write(mut self) -> io::Result<()> {
        let lines: String =
            self.taken.iter().map(|(port, testnet)| format!("{port} {}\n", testnet.display())).collect();
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn testnets_whose_hosts_do_not_listen_yet_have_different_ports() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("cache").join("ports");
        let of = |name: &str| {
            let testnet = folder.path().join(name);
            fs::create_dir_all(&testnet).expect("writable");
            let mut chooser = PortChooser::new(&testnet, "the same digest", Some(&list));
            let ports = [(); 3].map(|()| chooser.choose().expect("a free port"));
            chooser.keep();
            ports
        };
        let (first, second) = (of("first"), of("second"));
        assert!(first.iter().all(|port| !second.contains(port)), "{first:?} {second:?}");
        // One that is made anew begins where it began, and one that is gone leaves its ports.
        assert_eq!(of("first"), first);
        fs::remove_dir_all(folder.path().join("first")).expect("it is there");
        assert_eq!(of("third"), first);
    }

    #[test]
    fn without_a_list_and_with_a_damaged_one_ports_are_chosen() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("ports");
        for damaged in ["99999999 /\n20000\n \nx y", "\n\n", "20001 "] {
            fs::write(&list, damaged).expect("writable");
            PortChooser::new(folder.path(), "", Some(&list)).choose().expect("a free port");
        }
        fs::write(&list, [0xFF, 0xFE]).expect("writable");
        for unusable in [None, Some(list.as_path()), Some(folder.path())] {
            PortChooser::new(folder.path(), "", unusable).choose().expect("a free port");
        }
    }
}
