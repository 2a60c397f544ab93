//! Upgrades of a running vat, to other code or another engine image: what its members' owners approve, and what is ordered. Pure.
//!
//! Invariants: an upgrade counts with the approvals of a threshold of the present members over a motion. The motion holds the hash of everything in the
//! upgrade. It counts once, whether it succeeds or not. It changes exactly what the owners were shown.

use crate::{
    authority::{AuthorityError, CodeDigest, bundle_hash, write_arguments},
    codec,
};
use quorate_proof::{Canonical, Hash, MemberSignature, Membership, verify_motion};
use quorate_streams::{
    abi::Bundle,
    command::{ArgValue, Upgrade},
};
use serde::{Deserialize, Serialize};

/// What an encoded [`UpgradeMotion`] begins with: no other motion does.
const DOMAIN: &str = "quorate/upgrade/1";
/// Bytes of what differs that the owners are told: it fits a motion.
const MAX_CHANGES_BYTES: usize = 2_800;

/// What the owners of members approve of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeMotion {
    domain: String,
    /// Of everything in the upgrade.
    pub content: Hash,
    /// The image that the vat moves to, if it does.
    pub image: Option<Hash>,
    /// The files and arguments that differ.
    pub changes: Vec<String>,
    /// How many upgrades were ordered before: each counts once.
    pub number: u64,
}

/// An upgrade, as it is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeOrder {
    pub upgrade: Upgrade,
    /// An encoded [`UpgradeMotion`].
    pub motion: Vec<u8>,
    /// Approvals of it by at least a threshold of the present members.
    pub approvals: Vec<MemberSignature>,
}

/// An upgrade as it is asked for. What is not given stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeDraft {
    pub bundle: Option<Bundle>,
    pub argv: Option<Vec<(String, ArgValue)>>,
    pub endowments: Option<Vec<String>>,
    pub image: Option<Hash>,
}

impl UpgradeMotion {
    /// The motion for an upgrade of the code `present`, the next of which has this number.
    pub fn of(upgrade: &Upgrade, present: &CodeDigest, number: u64) -> UpgradeMotion {
        UpgradeMotion {
            domain: DOMAIN.to_owned(),
            content: content_hash(upgrade),
            image: upgrade.image,
            changes: present.changes(&present.upgraded(upgrade), MAX_CHANGES_BYTES),
            number,
        }
    }

    /// The bytes that are approved of.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads one; nothing if the bytes are another motion.
    pub fn decode(bytes: &[u8]) -> Option<UpgradeMotion> {
        codec::decode::<UpgradeMotion>(bytes).ok().filter(|motion| motion.domain == DOMAIN)
    }

    /// Returns what it asks for, in words.
    pub fn describe(&self) -> String {
        let image = self.image.map(|image| format!("move to engine image {image}"));
        let changes = match &self.changes[..] {
            [] => "the code and its arguments stay".to_owned(),
            changes => changes.join("; "),
        };
        let what = image.into_iter().chain([changes]).collect::<Vec<_>>().join("; ");
        format!("upgrade: {what} (content {})", &self.content.to_string()[..12])
    }
}

impl UpgradeOrder {
    /// Checks that a threshold of the members want this, that it is the next one, and that it changes what they were told. Returns what the code
    /// then is.
    ///
    /// # Errors
    /// One of that does not hold.
    pub fn check(&self, members: &Membership, present: &CodeDigest, next: u64) -> Result<CodeDigest, AuthorityError> {
        let undecoded = || AuthorityError::Motion("it is no upgrade".to_owned());
        let motion = UpgradeMotion::decode(&self.motion).ok_or_else(undecoded)?;
        if motion.number != next {
            return Err(AuthorityError::UpgradeOrder { found: motion.number, next });
        }
        verify_motion(members, &self.motion, &self.approvals).map_err(AuthorityError::Upgrade)?;
        if motion != UpgradeMotion::of(&self.upgrade, present, next) {
            return Err(AuthorityError::OtherUpgrade);
        }
        Ok(present.upgraded(&self.upgrade))
    }
}

/// The hash of everything in an upgrade.
fn content_hash(upgrade: &Upgrade) -> Hash {
    let Upgrade { bundle, argv, endowments, image } = upgrade;
    let mut writer = Canonical::new("quorate/upgrade-content/1");
    writer.fixed(&bundle_hash(bundle).0);
    write_arguments(&mut writer, argv, endowments);
    match image {
        None => writer.number(0),
        Some(image) => writer.number(1).fixed(&image.0),
    };
    writer.hash()
}
