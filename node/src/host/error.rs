//! Errors of a host's operations.

use quorate_engine::{EngineError, Hash, image::image_hash};
use quorate_net::NetError;

/// Why a host can't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("Q-N001 the network could not be started: {0}")]
    Network(#[from] NetError),
    #[error("Q-N002 {0}")]
    Store(#[from] quorate_consensus::StoreError),
    #[error(
        "Q-N003 vat {name} runs in engine image {wanted}, which is not here: {why}; this version's own is {}. Bring the file of the image (`vat image add --home HOME FILE`), or replace this member of the vat",
        image_hash()
    )]
    NoImage { name: String, wanted: Hash, why: String },
    #[error("Q-N010 the engine image of vat {name} can't be used: {source}")]
    Image { name: String, source: EngineError },
    #[error(
        "Q-N012 vat {name} counts fuel by the price table {wanted}, and this version of the program has {own}: run it with a version that has that table, such as the one that made the vat"
    )]
    FuelPrices { name: String, wanted: Hash, own: Hash },
    #[error("Q-N004 the vat could not be started: {0}")]
    Vat(String),
    #[error("Q-N005 there is no vat {0} on this host; `vat status` lists its vats")]
    NoSuchVat(String),
    #[error("Q-N006 this host already carries another vat named {0}; choose another name")]
    NameTaken(String),
    #[error(
        "Q-N008 this host was a member of vat {0} before, and a key that has signed may not join again; make a new home (`vat node init`) and let that one join"
    )]
    WasMember(String),
    #[error(
        "Q-N013 nothing is wrong with the replica of {0} on this host; `vat status {0}` shows how it stands. A member that shall go is replaced: `vat member replace`"
    )]
    Sound(String),
    #[error(
        "Q-N014 the store of this host is damaged, which its other vats live in as well ({name}: {why}); stop the host, then `vat member repair` again: it repairs the home of a host that does not run"
    )]
    StoreDamaged { name: String, why: String },
    #[error(
        "Q-N015 this host has no mark any more of what it has signed for vat {0}, so it must not sign for it again: let a host with a new home take its place (`vat member replace`)"
    )]
    Forgotten(String),
    #[error(
        "Q-N019 vat {name} is not lost: {needed} members can go on with it, and this host is connected with so many ({members}). What is missing is replaced: `vat member replace`; `vat status {name}` shows how they stand. Nothing was changed"
    )]
    VatLives { name: String, needed: usize, members: String },
    #[error(
        "Q-N020 members of vat {name} that the recovery would leave out are connected with this host: {members}. Take them along, or have their owners stop those hosts, or mute them here if they lie (`vat member mute`); then `vat recover {name}` again"
    )]
    NotLost { name: String, members: String },
    #[error("Q-N021 the replica of {name} on this host is not damaged, and is not to begin anew: {why}")]
    NotDamaged { name: String, why: String },
    #[error("{0}")]
    Recovery(#[from] quorate_consensus::RecoveryError),
    #[error("Q-N007 the genesis of vat {name} is not valid: {why}")]
    Genesis { name: String, why: String },
    #[error(
        "Q-N025 what this host has of vat {name} is not deleted: {why}. Where the vat need not go on: `vat delete {name} --force {name}`. Nothing was changed"
    )]
    StillMember { name: String, why: String },
    #[error("Q-N026 what this host has of a vat could not be deleted: {0}; the next start of the host goes on with it")]
    Deletion(#[from] crate::deletion::DeletionError),
}
