//! Clock statements of members, and the log time that follows from them. Pure.
//!
//! A member signs what its clock shows, for a vat and an epoch. The log's time is the earliest of the statements in a
//! tick. A tick has statements of so many members ([`Membership::one_is_honest`]) that one of them is honest. So the log's time is never ahead of
//! every honest member's clock. An old statement can only hold time back.
//!
//! Invariant: statements count only if all of them are good, of different members of the present epoch, and enough.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::certificate::MemberSignature;
use crate::error::CertificateError;
use crate::membership::Membership;
use crate::tally::Tally;
use quorate_ids::{Canonical, VatId};

/// The latest time there is, in ms since the Unix epoch: the last that a `Date` of JavaScript can hold.
pub const MAX_TIME_MS: u64 = 8_640_000_000_000_000;

/// What a member's clock showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatement {
    /// In ms since the Unix epoch.
    pub ms: u64,
    pub signature: MemberSignature,
}

impl ClockStatement {
    /// The bytes that a member signs.
    pub fn payload(vat: &VatId, epoch: u64, ms: u64) -> Vec<u8> {
        let mut writer = Canonical::new("quorate/clock/1");
        writer.fixed(&vat.0).number(epoch).number(ms);
        writer.finish()
    }

    /// Signs what a clock shows, as a member of `present`.
    pub fn sign(key: &SigningKey, present: &Membership, ms: u64) -> Self {
        Self { ms, signature: MemberSignature::sign(key, &Self::payload(&present.vat, present.epoch, ms)) }
    }

    /// Checks that a member of `present` says this.
    pub fn verify(&self, present: &Membership) -> Result<(), CertificateError> {
        if !present.contains(&self.signature.key) {
            return Err(CertificateError::NotAMember(self.signature.key));
        }
        if self.ms > MAX_TIME_MS {
            return Err(CertificateError::Invalid(format!("{} is no time", self.ms)));
        }
        self.signature.verify(&Self::payload(&present.vat, present.epoch, self.ms))
    }
}

/// The time that follows from statements.
pub fn time_of(present: &Membership, clocks: &[ClockStatement]) -> Result<u64, CertificateError> {
    let (found, needed) = (clocks.len(), present.one_is_honest());
    if found < needed {
        return Err(CertificateError::BelowThreshold { found, needed });
    }
    let mut tally = Tally::default();
    for clock in clocks {
        // Before signatures are checked: a list that is too long has a member twice, or a stranger.
        if !tally.add(clock.signature) {
            return Err(CertificateError::Duplicate(clock.signature.key));
        }
        clock.verify(present)?;
    }
    Ok(clocks.iter().map(|clock| clock.ms).min().unwrap_or(0))
}
