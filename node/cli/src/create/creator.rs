//! The key of a vat's creator, which is needed as long as the vat has no code.

use super::usage;
use crate::{
    Exit, Failure,
    hosts::{HostsOption, LocalHost},
};
use ed25519_dalek::SigningKey;
use quorate_config::home::{private::make_folder, write_secret};
use quorate_engine::VatId;
use std::fs;

/// Keeps the key of a vat's creator until the vat has its code, in the home of the first host here, for this user alone.
pub(super) fn keep_creator(hosts: &[LocalHost], vat: &VatId, creator: &SigningKey) -> Result<(), Failure> {
    let host = hosts.first().ok_or_else(|| {
        usage("without --source, the creator's key is kept in the home of a member on this machine, and none is; add --source")
    })?;
    let file = host.creator_key(vat);
    if let Some(folder) = file.parent() {
        make_folder(folder)?;
    }
    write_secret(&file, &format!("{}\n", hex::encode(creator.to_bytes())))?;
    Ok(())
}

impl HostsOption {
    /// The key of the creator of a vat that has no code yet.
    pub(super) async fn creator(&self, name: &str, vat: &VatId) -> Result<SigningKey, Failure> {
        for host in self.all().await? {
            let file = host.creator_key(vat);
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let mut seed = [0; 32];
            hex::decode_to_slice(text.trim(), &mut seed)
                .map_err(|_| Failure::new(Exit::Failed, format!("{}: not a key of 64 hex digits", file.display())))?;
            return Ok(SigningKey::from_bytes(&seed));
        }
        Err(usage(format!(
            "only the creator of {name} gives it its code, and its key is in no home here; it is kept in `creators/` of the home where `vat create` ran, while the vat has no code (it has some, or is another's: `vat status {name}`)"
        )))
    }

    /// Removes it: the vat has its code.
    pub(super) async fn forget_creator(&self, vat: &VatId) {
        for host in self.all().await.unwrap_or_default() {
            // It may have been in another home.
            let _ = fs::remove_file(host.creator_key(vat));
        }
    }
}
