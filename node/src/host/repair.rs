//! `vat member repair` on a host that runs: one replica begins anew.

use super::{Host, HostError, Starting, VAT_RECORDS};
use crate::repair::VatRepair;
use quorate_consensus::{Repaired, repair_vat};
use quorate_protocol::{codec, provision::Provision};

impl Host {
    /// Has a vat whose replica here has stopped by a fault, or could not be started, begin anew: it keeps its key and what it has
    /// promised, and fetches everything else from the other members.
    ///
    /// # Errors
    /// The vat is not here, or nothing is wrong with it; the whole store is damaged, which only [`crate::repair`] repairs; or this host
    /// does not know any more what it has promised.
    pub async fn repair(&self, name: &str) -> Result<VatRepair, HostError> {
        let _starting = Starting::begin(&self.0);
        let one_at_a_time = self.0.carrying.write().await;
        let (provision, why) = self.broken(name)?;
        let vat = provision.genesis.vat_id();
        // It waits for something, and has all that it had.
        if ["Q-C048 ", "Q-N003 ", "Q-N016 ", "Q-N018 "].iter().any(|code| why.starts_with(code)) {
            return Err(HostError::NotDamaged { name: provision.name, why });
        }
        if ["Q-C001 ", "Q-C002 "].iter().any(|code| why.contains(code)) {
            return Err(HostError::StoreDamaged { name: provision.name, why });
        }
        let service = self.0.vats.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&vat);
        if let Some(service) = service {
            service.shutdown().await;
        }
        let repaired = repair_vat(&self.0.store, vat, &why)?;
        let told = VatRepair::of(&vat, Some(&provision), &repaired);
        if matches!(repaired, Repaired::Forgotten { .. }) {
            self.0.fail(provision.name.clone(), why);
            return Err(HostError::Forgotten(provision.name));
        }
        tracing::warn!(vat = %provision.name, repair = ?repaired, "a replica begins anew");
        drop(one_at_a_time);
        self.0.recover(&provision.name);
        self.start_vat(provision).await?;
        Ok(told)
    }

    /// A vat that does not run here though it should, with the reason.
    fn broken(&self, name: &str) -> Result<(Provision, String), HostError> {
        let (failed, services) = (self.failed(), self.vats());
        for (_, value) in self.0.store.list_meta(VAT_RECORDS)? {
            let Ok(provision) = codec::decode::<Provision>(&value) else { continue };
            let vat = provision.genesis.vat_id();
            if provision.name != name && vat.to_string() != name {
                continue;
            }
            let fault = match services.iter().find(|service| service.vat == vat) {
                Some(service) if service.is_removed() => None,
                Some(service) => service.replica.status().fault,
                None => failed.get(&provision.name).cloned(),
            };
            return match fault {
                Some(fault) => Ok((provision, fault)),
                None => Err(HostError::Sound(provision.name)),
            };
        }
        Err(HostError::NoSuchVat(name.to_owned()))
    }
}
