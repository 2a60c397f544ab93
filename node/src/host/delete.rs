//! `vat delete` on a host that runs: a replica that is not wanted any more is stopped, and what the host has of it is deleted.
//!
//! Invariant: a host that may still be needed by the vat, as a member or as one that is leaving, deletes nothing unless its owner says
//! so by the vat's name.

use super::{Host, HostError, VAT_RECORDS};
use crate::directory::newest_membership;
use quorate_consensus::{HostId, VatId};
use quorate_protocol::{codec, provision::Provision};
use std::{sync::PoisonError, time::Instant};

/// What was deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub name: String,
    pub vat: VatId,
    /// What it took of the disk, about.
    pub bytes: u64,
}

impl Host {
    /// Deletes what this host has of a vat, and never carries it again if it has promised anything for it. `finish` removes records and
    /// files of a vat whose deletion is noted. `force`: also where this host is a member.
    ///
    /// # Errors
    /// The vat is not here, or the host may be needed by it; nothing was changed. Or the disk fails: then the next start goes on.
    pub async fn delete(
        &self,
        name: &str,
        force: bool,
        finish: impl FnOnce(VatId, &str) -> Result<(), HostError> + Send + 'static,
    ) -> Result<Deleted, HostError> {
        let _one_at_a_time = self.0.carrying.write().await;
        let provision = self.recorded(name)?;
        let vat = provision.genesis.vat_id();
        if let Some(why) = self.may_be_needed(&provision).filter(|_| !force) {
            return Err(HostError::StillMember { name: provision.name, why });
        }
        let store = self.0.store.clone();
        let bytes = store.bytes_of(&vat).total();
        crate::deletion::begin(&store, vat, &provision.name)?;
        let service = self.0.vats.write().unwrap_or_else(PoisonError::into_inner).remove(&vat);
        if let Some(service) = service {
            service.shutdown().await;
        }
        self.0.co_members().set(vat, &[], Instant::now());
        self.0.recover(&provision.name);
        let name = provision.name.clone();
        let finished = tokio::task::spawn_blocking(move || {
            finish(vat, &name)?;
            store.reclaim(&vat)?;
            Ok::<(), HostError>(())
        });
        finished.await.map_err(|error| HostError::Vat(error.to_string()))??;
        tracing::warn!(vat = %provision.name, vat_id = %vat, bytes, "deleted");
        Ok(Deleted { name: provision.name, vat, bytes })
    }

    /// How a vat is carried that is noted here, whether it runs or not.
    fn recorded(&self, name: &str) -> Result<Provision, HostError> {
        let records = self.0.store.list_meta(VAT_RECORDS)?;
        let provisions = records.iter().filter_map(|(_, value)| codec::decode::<Provision>(value).ok());
        let mut meant =
            provisions.filter(|provision| provision.name == name || provision.genesis.vat_id().to_string() == name);
        meant.next().ok_or_else(|| HostError::NoSuchVat(name.to_owned()))
    }

    /// Why the vat may need this host.
    fn may_be_needed(&self, provision: &Provision) -> Option<String> {
        let key = HostId(self.0.key.verifying_key().to_bytes());
        let members = match self.find(&provision.genesis.vat_id().to_string()) {
            Ok(service) if service.is_removed() => return None,
            Ok(service) if service.is_leaving() => {
                return Some("this host is leaving the vat, and its signature is needed until the next epoch is certified: wait for that".to_owned());
            }
            Ok(service) => service.replica.status().membership.clone(),
            Err(_) => newest_membership(&self.0.directory.introduction(&provision.genesis.vat_id())?).into(),
        };
        let others = members.members.iter().filter(|member| member.key != key).count();
        match (members.contains(&key), others) {
            (false, _) => None,
            (true, 0) => Some("this host is its only member, and the vat would be gone for ever".to_owned()),
            (true, others) => Some(format!(
                "this host is one of its members, of whom {} must sign, and {others} would be left. Have it leave first: `vat member replace` or `vat member remove --vat {} --out {}`",
                members.threshold, provision.name, self.0.name
            )),
        }
    }
}
