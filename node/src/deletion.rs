//! How what a host has of a vat is deleted: the steps on disk behind `vat delete`.
//!
//! Invariants: wherever it is interrupted, the next start finishes it, before it looks at what is carried; the host's marks of the vat
//! stay, so a host that has promised anything for a vat never carries it again ([`may_carry`]): without its log it could vote, acknowledge
//! and sign once more; evidence stays as well, since it is of use to others.

use crate::host::VAT_RECORDS;
use quorate_config::{home::Home, provision::PROVISION_SUFFIX};
use quorate_consensus::{Store, StoreError, VatId, has_promised, remove_vat};
use std::{fs, io, path::Path, sync::Arc};

/// Before a vat's id: the note that it is being deleted; it holds the vat's name.
const DELETING: &str = "deleting/";
/// Before a vat's id: the note that it was deleted here after the host had promised something for it.
const DELETED: &str = "deleted/";

/// Why a deletion did not come to its end. The next start goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{path}: {source}")]
    Files { path: String, source: io::Error },
}

/// Whether this host notes that it carries a vat, and is not deleting it.
///
/// # Errors
/// The store fails.
pub(crate) fn is_carried(store: &Arc<dyn Store>, vat: VatId) -> Result<bool, StoreError> {
    let has = |key: &str| Ok::<bool, StoreError>(store.get_meta(&format!("{key}{vat}"))?.is_some());
    Ok(has(VAT_RECORDS)? && !has(DELETING)?)
}

/// Whether this host may carry a vat: it does already, or has promised nothing for it.
///
/// # Errors
/// The store fails.
pub(crate) fn may_carry(store: &Arc<dyn Store>, vat: VatId) -> Result<bool, StoreError> {
    if is_carried(store, vat)? {
        return Ok(true);
    }
    if store.get_meta(&format!("{DELETING}{vat}"))?.is_some() {
        return Ok(false);
    }
    let was_deleted = store.get_meta(&format!("{DELETED}{vat}"))?.is_some();
    Ok(!was_deleted && !has_promised(store, vat))
}

/// Notes that a vat is to be deleted. From then on it is, whatever happens.
///
/// # Errors
/// The store fails.
pub(crate) fn begin(store: &Arc<dyn Store>, vat: VatId, name: &str) -> Result<(), StoreError> {
    if has_promised(store, vat) {
        store.put_meta(&format!("{DELETED}{vat}"), &[])?;
    }
    store.put_meta(&format!("{DELETING}{vat}"), name.as_bytes())
}

/// Finishes all deletions that were begun.
///
/// # Errors
/// Something can't be removed.
pub(crate) fn finish_all(home: &Home, store: &Arc<dyn Store>) -> Result<(), DeletionError> {
    for (key, name) in store.list_meta(DELETING)? {
        let Ok(vat) = key.strip_prefix(DELETING).unwrap_or(&key).parse::<VatId>() else { continue };
        finish(home, store, vat, &String::from_utf8_lossy(&name))?;
        tracing::warn!(vat = %vat, "a deletion that was interrupted is finished");
    }
    Ok(())
}

/// Deletes a vat whose deletion was begun, and whose replica does not run.
///
/// # Errors
/// Something can't be removed.
pub(crate) fn finish(home: &Home, store: &Arc<dyn Store>, vat: VatId, name: &str) -> Result<(), DeletionError> {
    // The files first: a start that finds the mark of a vat whose records are gone refuses to go on.
    remove_files(home, &vat.to_string(), name)?;
    remove_vat(store, vat)?;
    store.delete_meta(&format!("{VAT_RECORDS}{vat}"))?;
    store.delete_meta(&format!("{DELETING}{vat}"))?;
    Ok(())
}

fn remove_files(home: &Home, vat: &str, name: &str) -> Result<(), DeletionError> {
    let console = home.console(name);
    let older = console.with_extension("console.1");
    let provision = home.provision().join(format!("{vat}.{PROVISION_SUFFIX}"));
    for path in [provision, home.carried_mark(vat), Home::creator_key(home.path(), vat), console, older] {
        let failed = |source| DeletionError::Files { path: path.display().to_string(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Err(_) => {}
            Ok(()) => sync_folder(&path).map_err(failed)?,
        }
    }
    Ok(())
}

/// Has the removal of a file on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_config::home::HostConfig;
    use quorate_consensus::{Family, RocksStore, Write};

    const HERE: VatId = VatId([1; 32]);
    const THERE: VatId = VatId([2; 32]);

    fn home(folder: &Path) -> Home {
        let config = HostConfig {
            name: "alpha".into(),
            listen: vec![],
            http: "127.0.0.1:9001".parse().expect("an address"),
            approve: quorate_consensus::Approve::Auto,
            disk: Default::default(),
            archive: None,
            gateway: None,
            reach: Default::default(),
            traces: None,
        };
        Home::init(&folder.join("home"), config).expect("a new home")
    }

    fn open(home: &Home) -> Arc<dyn Store> {
        Arc::new(RocksStore::open_with_marks(home.data(), home.marks()).expect("a store"))
    }

    /// Lays down what a host has of a vat.
    fn carry(home: &Home, store: &Arc<dyn Store>, vat: VatId, name: &str) {
        let key = |suffix: &[u8]| [&vat.0[..], suffix].concat();
        let families =
            [Family::Log, Family::State, Family::Checkpoint, Family::Chunk, Family::Certificate, Family::Evidence];
        let puts = families.map(|family| Write::Put(family, key(&[7; 8]), b"record".to_vec()));
        store.write(puts.to_vec()).expect("written");
        store.put_meta(&format!("{VAT_RECORDS}{vat}"), b"a provision").expect("written");
        fs::write(home.carried_mark(&vat.to_string()), b"a provision").expect("written");
        fs::write(home.provision().join(format!("{vat}.{PROVISION_SUFFIX}")), b"a provision").expect("written");
        fs::write(home.console(name), b"1\tinfo\thello\n").expect("written");
    }

    /// What is left of a vat: records by family, and files.
    fn left(home: &Home, store: &Arc<dyn Store>, vat: VatId, name: &str) -> (Vec<&'static str>, usize) {
        let mut end = vat.0.to_vec();
        end.extend([u8::MAX; 32]);
        let has = |family: &Family| !store.scan(*family, &vat.0, &end, 1).expect("readable").is_empty();
        let mut families: Vec<&'static str> =
            Family::ALL.iter().filter(|family| has(family)).map(|family| family.as_str()).collect();
        if store.get_meta(&format!("{VAT_RECORDS}{vat}")).expect("readable").is_some() {
            families.push("note");
        }
        let files = [
            home.carried_mark(&vat.to_string()),
            home.provision().join(format!("{vat}.{PROVISION_SUFFIX}")),
            home.console(name),
        ];
        (families, files.iter().filter(|file| file.exists()).count())
    }

    #[test]
    fn a_deletion_that_was_cut_off_anywhere_is_finished_by_the_next_start_and_touches_no_other_vat() {
        // After so many of its steps the process dies.
        for steps in 0..=4 {
            let folder = tempfile::tempdir().expect("a folder");
            let home = home(folder.path());
            let store = open(&home);
            carry(&home, &store, HERE, "here");
            carry(&home, &store, THERE, "there");
            let before = left(&home, &store, THERE, "there");
            assert_eq!((before.0.len(), before.1), (7, 3));
            assert!(is_carried(&store, HERE).expect("readable"));
            begin(&store, HERE, "here").expect("noted");
            // Should the disk have failed, nothing starts what is half gone.
            assert!(!is_carried(&store, HERE).expect("readable") && !may_carry(&store, HERE).expect("readable"));
            if steps > 0 {
                remove_files(&home, &HERE.to_string(), "here").expect("removed");
            }
            if steps > 1 {
                remove_vat(&store, HERE).expect("removed");
            }
            if steps > 2 {
                store.delete_meta(&format!("{VAT_RECORDS}{HERE}")).expect("removed");
            }
            if steps > 3 {
                store.delete_meta(&format!("{DELETING}{HERE}")).expect("removed");
            }
            drop(store);
            let store = open(&home);
            finish_all(&home, &store).expect("finished");
            assert_eq!(left(&home, &store, HERE, "here"), (vec!["evidence"], 0), "after {steps} steps");
            assert_eq!(left(&home, &store, THERE, "there"), before, "after {steps} steps");
            assert!(store.list_meta(DELETING).expect("readable").is_empty());
            finish_all(&home, &store).expect("there is nothing to do");
        }
    }

    #[test]
    fn a_vat_for_which_nothing_was_promised_may_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = home(folder.path());
        let store = open(&home);
        carry(&home, &store, HERE, "here");
        begin(&store, HERE, "here").expect("noted");
        finish(&home, &store, HERE, "here").expect("deleted");
        assert!(may_carry(&store, HERE).expect("readable") && !is_carried(&store, HERE).expect("readable"));
        // The note of a deletion stands for the marks, should they be lost.
        store.put_meta(&format!("{DELETED}{HERE}"), &[]).expect("noted");
        assert!(!may_carry(&store, HERE).expect("readable"));
        assert!(may_carry(&store, THERE).expect("readable"));
    }
}
