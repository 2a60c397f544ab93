//! `vat recover` on one host: its part of the recovery of a vat that has lost too many members.
//!
//! Invariants: a replica is stopped before it states how far its log goes, so that it goes no farther. The host signs nothing and leaves no member
//! out while it is connected with so many members that the vat can go on as it is, or with one that would be left out. Members
//! that the host's owner has muted do not count as connected: a liar can't block a recovery.

use super::{Host, HostError, Starting, VAT_RECORDS};
use quorate_consensus::{
    HostId, Introduction, MemberSignature, Membership, MembershipCertificate, RecoveryOffer, agree_to_recovery,
    carry_out_recovery, recovery_offer,
};
use quorate_protocol::{codec, provision::Provision};
use std::sync::PoisonError;

/// Why the replica does not run meanwhile.
const PAUSED: &str = "Q-N018 stopped, since its operator is recovering the vat: `vat recover` goes on with that, and a start of the host ends it";

impl Host {
    /// Stops the replica of a vat, and says what this member brings to a recovery.
    ///
    /// # Errors
    /// The vat can go on as it is, as far as this host sees, or this member can't take part; the replica goes on then.
    pub async fn offer_recovery(&self, name: &str) -> Result<RecoveryOffer, HostError> {
        let _starting = Starting::begin(&self.0);
        let provision = self.provided(name)?;
        if let Ok(service) = self.find(name) {
            let membership = service.replica.status().membership.clone();
            self.refuse_living(&provision.name, &membership)?;
        }
        let stopped = self.stop_for_recovery(&provision).await;
        let offered = recovery_offer(&self.0.store, &provision.genesis, self.key())
            .map_err(HostError::from)
            .and_then(|offer| self.refuse_living(&provision.name, &offer.present).map(|()| offer));
        drop(stopped);
        if offered.is_err() {
            self.end_recovery(name).await?;
        }
        offered
    }

    /// Signs the membership by which the members that are left go on.
    ///
    /// # Errors
    /// A member that would be left out is connected, or the recovery does not follow from what this member has.
    pub async fn agree_to_recovery(&self, name: &str, target: &Membership) -> Result<MemberSignature, HostError> {
        let _starting = Starting::begin(&self.0);
        let provision = self.provided(name)?;
        let _stopped = self.stop_for_recovery(&provision).await;
        let present = recovery_offer(&self.0.store, &provision.genesis, self.key())?.present;
        let left_out = present.members.iter().filter(|member| !target.contains(&member.key)).map(|member| member.key);
        let there = self.connected(&left_out.collect::<Vec<_>>());
        if !there.is_empty() {
            return Err(HostError::NotLost { name: provision.name, members: names(&present, &there) });
        }
        tracing::error!(vat = %provision.name, code = "Q-C048", epoch = target.epoch, "agrees to a recovery of the vat by hand");
        Ok(agree_to_recovery(&self.0.store, &provision.genesis, &self.0.key, target)?)
    }

    /// Carries out a recovery that so many have signed as must, and starts the replica.
    ///
    /// # Errors
    /// Too few have signed it, or it does not follow from what this member has; or the replica can't be started.
    pub async fn carry_out_recovery(&self, name: &str, certificate: &MembershipCertificate) -> Result<(), HostError> {
        let _starting = Starting::begin(&self.0);
        let provision = self.provided(name)?;
        let stopped = self.stop_for_recovery(&provision).await;
        carry_out_recovery(&self.0.store, &provision.genesis, self.key(), certificate)?;
        let vat = provision.genesis.vat_id();
        let known = self.0.directory.introduction(&vat);
        let mut introduction =
            known.unwrap_or_else(|| Introduction { genesis: provision.genesis.clone(), chain: Vec::new() });
        introduction.chain.push(certificate.clone());
        self.0.directory.learn(Some(&provision.name), &introduction);
        tracing::error!(vat = %provision.name, epoch = certificate.membership.epoch, "certified order is broken by hand: the vat was recovered");
        self.0.recover(&provision.name);
        drop(stopped);
        self.start_vat(provision).await
    }

    /// Has the replica go on as before, unless this host has agreed to a recovery.
    ///
    /// # Errors
    /// The replica can't be started.
    pub async fn end_recovery(&self, name: &str) -> Result<(), HostError> {
        let provision = self.provided(name)?;
        self.0.recover(&provision.name);
        self.start_vat(provision).await
    }

    fn key(&self) -> HostId {
        HostId(self.0.key.verifying_key().to_bytes())
    }

    /// Returns how this host was told to carry a vat.
    pub(super) fn provided(&self, name: &str) -> Result<Provision, HostError> {
        for (_, value) in self.0.store.list_meta(VAT_RECORDS)? {
            let Ok(provision) = codec::decode::<Provision>(&value) else { continue };
            if provision.name == name || provision.genesis.vat_id().to_string() == name {
                return Ok(provision);
            }
        }
        Err(HostError::NoSuchVat(name.to_owned()))
    }

    /// Stops the replica. It is not started as long as what is returned lives.
    async fn stop_for_recovery(&self, provision: &Provision) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        let one_at_a_time = self.0.carrying.write().await;
        let vat = provision.genesis.vat_id();
        let service = self.0.vats.write().unwrap_or_else(PoisonError::into_inner).remove(&vat);
        if let Some(service) = service {
            self.0.fail(provision.name.clone(), PAUSED.to_owned());
            service.shutdown().await;
        }
        one_at_a_time
    }

    fn connected(&self, members: &[HostId]) -> Vec<HostId> {
        let peers = self.network().peers();
        let is_connected = |key: &HostId| peers.iter().any(|peer| peer.connected && peer.host == *key);
        let is_there = |key: &&HostId| is_connected(key) && !self.0.muted.has(key);
        members.iter().filter(is_there).copied().collect()
    }

    /// Refuses to recover a vat of which this host sees so many members that they could go on.
    fn refuse_living(&self, name: &str, membership: &Membership) -> Result<(), HostError> {
        let keys: Vec<HostId> = membership.members.iter().map(|member| member.key).collect();
        let mut alive = self.connected(&keys);
        alive.push(self.key());
        if alive.len() < usize::from(membership.threshold) {
            return Ok(());
        }
        let needed = usize::from(membership.threshold);
        Err(HostError::VatLives { name: name.to_owned(), needed, members: names(membership, &alive) })
    }
}

fn names(membership: &Membership, keys: &[HostId]) -> String {
    let name = |key: &HostId| membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone());
    keys.iter().map(name).collect::<Vec<_>>().join(", ")
}
