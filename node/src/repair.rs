//! `vat member repair` on a host that does not run: a new database for its home, without the damaged parts of the old one.
//!
//! The old database is kept beside it under another name. Undamaged vats are taken over. A damaged vat
//! begins anew with the promises in the home's marks, and fetches the rest from its other members.

use crate::{
    host::VAT_RECORDS,
    run::{RunError, carried},
};
use quorate_config::{
    home::{Home, HomeError},
    provision,
};
use quorate_consensus::{RepairReport, Repaired, RocksStore, Store, StoreError, VatId, repair_store};
use quorate_protocol::{codec, provision::Provision};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Why a home can't be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("Q-R001 {0}")]
    Home(#[from] HomeError),
    #[error("{0}")]
    Run(#[from] RunError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("Q-R003 {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{0} was never carried here; without a name, everything that is damaged is repaired")]
    NoSuchVat(String),
    #[error(
        "Q-R008 how to carry vat {vat} is neither in the database nor in {file}: take the vat's file from another member (`vat introduce`), and replace this member (`vat member replace`)"
    )]
    NoProvision { vat: String, file: String },
}

/// What a repair did, for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct HomeRepair {
    /// The host's name.
    pub host: String,
    /// Nothing was damaged, and nothing was changed.
    pub sound: bool,
    /// Where the old database is now, if it was put aside.
    pub kept: Option<PathBuf>,
    /// What became of each vat.
    pub vats: Vec<VatRepair>,
    /// What is lost beside the vats, such as notes of other vats' addresses, and why.
    pub lost: Vec<String>,
}

/// What became of a vat in a repair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VatRepair {
    /// Its name, where it is known.
    pub name: Option<String>,
    /// Its id.
    pub vat: String,
    /// `whole`: nothing of it was damaged. `anew`: it fetches its state from the other members. `forgotten`: this host's marks of it
    /// are gone as well; it must be replaced as a member.
    pub outcome: String,
    /// If it begins anew: it does not vote before its log has this index.
    pub votes_after: Option<u64>,
    /// Likewise: it signs no statement of this block or an earlier one.
    pub signs_after: Option<u64>,
    /// What was wrong with it.
    pub why: Option<String>,
    /// It has no other member that could have its state, unless it got one since it was made.
    pub alone: bool,
}

impl VatRepair {
    /// Of what became of a vat.
    pub fn of(vat: &VatId, provision: Option<&Provision>, repaired: &Repaired) -> VatRepair {
        let (outcome, after, why) = match repaired {
            Repaired::Whole => ("whole", None, None),
            Repaired::Anew { votes_after, signs_after, why } => ("anew", Some((*votes_after, *signs_after)), Some(why)),
            Repaired::Forgotten { why } => ("forgotten", None, Some(why)),
        };
        VatRepair {
            name: provision.map(|provision| provision.name.clone()),
            vat: vat.to_string(),
            outcome: outcome.to_owned(),
            votes_after: after.map(|(votes, _)| votes),
            signs_after: after.map(|(_, signs)| signs),
            why: why.cloned(),
            alone: provision.is_some_and(|provision| provision.genesis.members.len() == 1),
        }
    }
}

fn failed(what: &Path) -> impl FnOnce(io::Error) -> RepairError {
    let what = what.display().to_string();
    |source| RepairError::Io { what, source }
}

/// Repairs the store of a home whose host does not run. `anew`: the name or id of a vat that begins anew even if nothing of it is
/// damaged.
///
/// # Errors
/// The host runs, its marks can't be read, or nothing can be written. Nothing was changed then.
pub fn repair_home(home: &Home, anew: Option<&str>) -> Result<HomeRepair, RepairError> {
    let _lock = home.lock()?;
    let provisions = provisions(home)?;
    let vats: Vec<VatId> = provisions.keys().copied().collect();
    let anew: Vec<VatId> = match anew {
        None => Vec::new(),
        Some(name) => vec![named(&provisions, name)?],
    };
    let (staged, whole) = (home.path().join("data.repaired"), whole(home));
    let remove = |path: &Path| if path.exists() { fs::remove_dir_all(path).map_err(failed(path)) } else { Ok(()) };
    if whole.exists() && !home.data().exists() {
        // A repair that died between its last two steps: what it has saved of vats without other members is nowhere else.
        put(home, &whole, &home.data())?;
    }
    remove(&staged)?;
    remove(&whole)?;
    let report = repair_store(&home.data(), &home.marks(), &staged, &vats, &anew)?;
    let kept = if report.sound {
        remove(&staged)?;
        None
    } else {
        carry_again(home, &staged, &provisions)?;
        Some(exchange(home, &staged)?)
    };
    Ok(told(home, &provisions, report, kept))
}

/// Those that were carried, as far as it is noted outside of the database how.
fn provisions(home: &Home) -> Result<BTreeMap<VatId, Option<Provision>>, RepairError> {
    let mut found = BTreeMap::new();
    for name in carried(home)? {
        let Ok(vat) = name.parse::<VatId>() else { continue };
        // A damaged one is as good as none: the database may have it.
        found.insert(vat, provision::read_one(&home.carried_mark(&name)).ok().flatten());
    }
    Ok(found)
}

fn named(provisions: &BTreeMap<VatId, Option<Provision>>, name: &str) -> Result<VatId, RepairError> {
    let is_meant = |vat: &VatId, provision: &Option<Provision>| {
        vat.to_string() == name || provision.as_ref().is_some_and(|provision| provision.name == name)
    };
    let found = provisions.iter().find(|(vat, provision)| is_meant(vat, provision));
    found.map(|(vat, _)| *vat).ok_or_else(|| RepairError::NoSuchVat(name.to_owned()))
}

/// Writes into a new database how to carry the vats, where that was not among what could be read.
fn carry_again(home: &Home, staged: &Path, provisions: &BTreeMap<VatId, Option<Provision>>) -> Result<(), RepairError> {
    let store = RocksStore::open(staged)?;
    for (vat, provision) in provisions {
        let key = format!("{VAT_RECORDS}{vat}");
        if store.get_meta(&key)?.is_some() {
            continue;
        }
        let Some(provision) = provision else {
            let file = home.carried_mark(&vat.to_string()).display().to_string();
            return Err(RepairError::NoProvision { vat: vat.to_string(), file });
        };
        store.put_meta(&key, &codec::encode(provision))?;
    }
    Ok(())
}

/// Returns where a new database lies that has everything, until it is in the place of the old one.
fn whole(home: &Home) -> PathBuf {
    home.path().join("data.whole")
}

/// Renames something of the home. On disk when it returns.
fn put(home: &Home, from: &Path, to: &Path) -> Result<(), RepairError> {
    fs::rename(from, to).map_err(failed(to))?;
    fs::File::open(home.path()).and_then(|folder| folder.sync_all()).map_err(failed(home.path()))
}

/// Puts the new database in the place of the old one, and returns where that is now. Wherever it is interrupted, one of the two is whole
/// and is found.
fn exchange(home: &Home, staged: &Path) -> Result<PathBuf, RepairError> {
    let (data, whole) = (home.data(), whole(home));
    put(home, staged, &whole)?;
    let kept = (1..).map(|number| home.path().join(format!("data.damaged-{number}"))).find(|path| !path.exists());
    let kept = kept.unwrap_or_else(|| home.path().join("data.damaged"));
    if data.exists() {
        put(home, &data, &kept)?;
    }
    put(home, &whole, &data)?;
    Ok(kept)
}

fn told(
    home: &Home,
    provisions: &BTreeMap<VatId, Option<Provision>>,
    report: RepairReport,
    kept: Option<PathBuf>,
) -> HomeRepair {
    let of = |(vat, repaired): (&VatId, &Repaired)| {
        VatRepair::of(vat, provisions.get(vat).and_then(Option::as_ref), repaired)
    };
    let vats = report.vats.iter().map(of).collect();
    HomeRepair { host: home.config.name.clone(), sound: report.sound, kept, vats, lost: report.lost }
}
