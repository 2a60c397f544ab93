//! Provisions: vats that hosts are told to carry.
//!
//! A provision is the same for all members of a vat: its name, its genesis, and what to install. A host that gets one for
//! which it is in the genesis carries the vat.

use crate::authority::SignedInstall;
use quorate_proof::{Genesis, Introduction};
use serde::{Deserialize, Serialize};

/// A vat to carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provision {
    /// The vat's name on the hosts that carry it.
    pub name: String,
    /// Its genesis: the first members, and everything else that its id commits to.
    pub genesis: Genesis,
    /// Its code and arguments; a vat can also get them later.
    pub install: Option<SignedInstall>,
    /// A member that joins later: it waits to be added, and has the chain of memberships so far from the others.
    pub joining: bool,
}

/// Vats to know about without carrying them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contacts {
    /// Name and introduction of each.
    pub vats: Vec<(String, Introduction)>,
}
