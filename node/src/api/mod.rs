//! The HTTP interface of a host.
//!
//! On loopback TCP (or where `host.toml` says): `/metrics`, `/healthz`, `/readyz`, `GET /api/v1/status`: reading only. On the
//! home's Unix socket, which only the host's own user can open: the same, and everything that changes something. Over TCP, what
//! clients can take of a host is bounded: see [`listener`].

pub mod client;
pub mod listener;
pub mod server;

use crate::provision::{Contacts, Provision};
use serde::{Deserialize, Serialize};

/// Asks a host to carry a vat (`POST /api/v1/vats`). The binary parts are the encoding of [`crate::codec`], in hex.
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
    /// A [`SignedInstall`](crate::authority::SignedInstall), encoded and in hex.
    pub install: String,
    /// [`Contacts`] that the vat needs.
    pub contacts: String,
}

/// Changes who may use what of a vat (`POST /api/v1/vats/{vat}/access`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessRequest {
    /// An [`AccessChange`](crate::authority::AccessChange), encoded and in hex.
    pub change: String,
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
    /// A [`ProofFile`](crate::proof::ProofFile), encoded and in hex.
    pub evidence: String,
    /// Names of vats on that host, by their ids.
    pub names: std::collections::BTreeMap<String, String>,
}

/// What a vat has certified (`GET /api/v1/vats/{vat}/proof`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProofReply {
    /// A [`ProofFile`](crate::proof::ProofFile), encoded and in hex; none if there is nothing to show.
    pub proof: Option<String>,
}

/// A step of a host in the recovery of a vat (`POST /api/v1/vats/{vat}/recovery`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryStep {
    /// Stop the replica, and say what it has: the answer is a [`RecoveryOffer`](quorate_consensus::RecoveryOffer).
    Offer,
    /// Sign this [`Membership`](quorate_consensus::Membership), encoded and in hex: the answer is the signature.
    Agree { target: String },
    /// Go on with this [`MembershipCertificate`](quorate_consensus::MembershipCertificate), encoded and in hex.
    CarryOut { certificate: String },
    /// Go on as before, unless the host has agreed to a recovery.
    End,
}

/// The answer to a [`RecoveryStep`], encoded and in hex, if there is anything to answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecoveryReply {
    pub result: Option<String>,
}

/// Which proof is wanted of a vat: what it certified itself, or what another vat said to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProofQuery {
    /// The other vat, by its VatId or its name on that host.
    pub from: Option<String>,
}

impl CarryRequest {
    /// Wraps a provision and contacts.
    pub fn new(provision: &Provision, contacts: &Contacts) -> Self {
        CarryRequest {
            provision: hex::encode(crate::codec::encode(provision)),
            contacts: hex::encode(crate::codec::encode(contacts)),
        }
    }
}
