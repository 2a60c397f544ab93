//! The HTTP interface of a host: its requests and answers, and the client.
//!
//! On loopback TCP (or where `host.toml` says) a host answers only requests that read. On the home's Unix socket, which only the host's own user can
//! open, it also answers requests that change something; so it does for operators that its config names, over the network between hosts.

pub mod client;
pub mod evidence;
pub mod remote;
mod socket;

pub use socket::SocketAddress;

use quorate_protocol::{
    provision::{Contacts, Provision},
    status::{Done, ForecastStatus},
    upgrade::UpgradeDraft,
};
use serde::{Deserialize, Serialize};

/// Asks a host to carry a vat (`POST /api/v1/vats`). The binary parts are the encoding of [`quorate_protocol::codec`], in hex.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarryRequest {
    /// A [`Provision`].
    pub provision: String,
    /// [`Contacts`] that the vat needs.
    pub contacts: String,
}

/// Gives a vat its code (`POST /api/v1/vats/{vat}/install`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstallRequest {
    /// A [`SignedInstall`](quorate_protocol::authority::SignedInstall), encoded and in hex.
    pub install: String,
    /// [`Contacts`] that the vat needs.
    pub contacts: String,
}

/// Changes who may use what of a vat (`POST /api/v1/vats/{vat}/access`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessRequest {
    /// An [`AccessChange`](quorate_protocol::authority::AccessChange), encoded and in hex.
    pub change: String,
}

/// Upgrades a vat (`POST /api/v1/vats/{vat}/upgrade`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpgradeRequest {
    /// An [`UpgradeDraft`], encoded and in hex.
    pub upgrade: String,
    /// Only say what would come of it.
    pub foresee: bool,
}

impl UpgradeRequest {
    /// Asks for an upgrade, or for what would come of it.
    pub fn new(draft: &UpgradeDraft, foresee: bool) -> UpgradeRequest {
        UpgradeRequest { upgrade: hex::encode(quorate_protocol::codec::encode(draft)), foresee }
    }
}

/// The answer: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpgradeReply {
    pub forecast: Option<ForecastStatus>,
    pub done: Option<Done>,
}

/// A vat's introduction (`GET /api/v1/vats/{vat}/introduction`), encoded and in hex.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IntroductionReply {
    pub vat: String,
    pub introduction: String,
}

/// What a host keeps as evidence (`GET /api/v1/evidence`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceReply {
    /// A [`ProofFile`](quorate_protocol::proof::ProofFile), encoded and in hex.
    pub evidence: String,
    /// Names of vats on that host, by their ids.
    pub names: std::collections::BTreeMap<String, String>,
}

/// What a vat has certified (`GET /api/v1/vats/{vat}/proof`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProofReply {
    /// A [`ProofFile`](quorate_protocol::proof::ProofFile), encoded and in hex; none if there is nothing to show.
    pub proof: Option<String>,
}

/// A step of a host in the recovery of a vat (`POST /api/v1/vats/{vat}/recovery`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryStep {
    /// Stop the replica, and say what it has: the answer is a `RecoveryOffer` of consensus.
    Offer,
    /// Sign this [`Membership`](quorate_proof::Membership), encoded and in hex: the answer is the signature.
    Agree { target: String },
    /// Go on with this [`MembershipCertificate`](quorate_proof::MembershipCertificate), encoded and in hex.
    CarryOut { certificate: String },
    /// Go on as before, unless the host has agreed to a recovery.
    End,
}

/// The answer to a [`RecoveryStep`], encoded and in hex, if there is anything to answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecoveryReply {
    pub result: Option<String>,
}

/// Has a host delete what it has of a vat (`POST /api/v1/vats/{vat}/delete`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Also where the vat may need this host.
    pub force: bool,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteReply {
    pub name: String,
    pub vat: String,
    /// What it took of the host's disk, about.
    pub bytes: u64,
}

/// Which proof is wanted of a vat: what it certified itself, or what another vat said to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProofQuery {
    /// The other vat, by its VatId or its name on that host.
    pub from: Option<String>,
}

/// What is to be read of what a vat publishes (`GET /api/v1/vats/{vat}/read`); the answer is a [`ProofReply`], whose file holds a reading. No
/// proof: nothing so new is certified there yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReadQuery {
    pub name: String,
    /// The answer is to be of this block or a later one.
    #[serde(default)]
    pub at_least: u64,
    /// The answer is to have all that the host's log held when it was asked.
    #[serde(default)]
    pub current: bool,
}

impl CarryRequest {
    /// Wraps a provision and contacts.
    pub fn new(provision: &Provision, contacts: &Contacts) -> Self {
        CarryRequest {
            provision: hex::encode(quorate_protocol::codec::encode(provision)),
            contacts: hex::encode(quorate_protocol::codec::encode(contacts)),
        }
    }
}
