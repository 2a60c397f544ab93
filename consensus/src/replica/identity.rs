//! The identity of a replica. Nothing here changes while it runs.

use ed25519_dalek::SigningKey;
use std::sync::Arc;

use crate::proof::certificate::MemberSignature;
use crate::proof::membership::Genesis;
use crate::replica::clock::Clock;
use crate::timing::Timing;
use quorate_ids::{HostId, VatId};

/// See the head of the module.
pub(crate) struct Identity {
    pub(crate) vat: VatId,
    pub(crate) genesis: Genesis,
    /// The public part of `signing`.
    pub(crate) key: HostId,
    pub(crate) signing: SigningKey,
    pub(crate) timing: Timing,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Identity {
    /// This host's signature over a payload.
    pub(crate) fn sign(&self, payload: &[u8]) -> MemberSignature {
        MemberSignature::sign(&self.signing, payload)
    }
}
