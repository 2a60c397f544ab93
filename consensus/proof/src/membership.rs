//! The members of a vat: genesis, memberships by epoch, and the chain of certificates between them.
//!
//! Invariants: the VatId is the hash of the genesis. A membership of epoch e+1 counts only with signatures of at least
//! the threshold of epoch e over its canonical bytes, and names the hash of epoch e. So a genesis and a chain prove the
//! newest membership to every reader that knows the VatId. A threshold is always more than half of the members.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::address::check_address;
use crate::certificate::MemberSignature;
use crate::error::CertificateError;
use crate::signers::Signers;
use crate::survival::recovered_threshold;
use quorate_ids::{Canonical, Hash, HostId, VatId};

/// Most members that a vat may have. Every member sends its share to every other, so work is quadratic.
pub const MAX_MEMBERS: usize = 31;
/// Bytes in the longest name of a member.
pub const MAX_NAME_BYTES: usize = 64;
/// Most addresses of a member.
pub const MAX_ADDRESSES: usize = 16;
/// Bytes in the longest address.
pub const MAX_ADDRESS_BYTES: usize = 256;
/// Most memberships in a chain that is accepted from outside.
pub const MAX_CHAIN: usize = 4096;

/// One host in a vat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its host key: it authenticates its connections and signs its shares.
    pub key: HostId,
    /// A name for people.
    pub name: String,
    /// Where it can be reached, as multiaddrs.
    pub addresses: Vec<String>,
}

impl Member {
    /// Writes what identifies the member.
    pub fn canonical(&self, writer: &mut Canonical) {
        writer.fixed(&self.key.0).bytes(self.name.as_bytes()).number(self.addresses.len() as u64);
        for address in &self.addresses {
            writer.bytes(address.as_bytes());
        }
    }

    /// Refuses members that are out of bounds, whose key is no key, or that have an address that nobody can dial.
    pub fn validate(&self) -> Result<(), CertificateError> {
        if self.name.len() > MAX_NAME_BYTES {
            return Err(CertificateError::Invalid(format!("the name of {} is over {MAX_NAME_BYTES} bytes", self.key)));
        }
        if self.addresses.len() > MAX_ADDRESSES || self.addresses.iter().any(|a| a.len() > MAX_ADDRESS_BYTES) {
            return Err(CertificateError::Invalid(format!("the addresses of {} are too many or too long", self.key)));
        }
        for address in &self.addresses {
            check_address(address).map_err(|why| {
                let (name, address) = (self.name.escape_debug(), address.escape_debug());
                CertificateError::Invalid(format!("the address `{address}` of {name}: {why}"))
            })?;
        }
        match ed25519_dalek::VerifyingKey::from_bytes(&self.key.0) {
            Ok(key) if !key.is_weak() => Ok(()),
            _ => Err(CertificateError::Invalid(format!("{} is not a usable ed25519 public key", self.key))),
        }
    }
}

/// What is fixed for a vat for ever, because all its replicas must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Fuel that one delivery may spend.
    pub fuel_per_delivery: u64,
    /// Fuel that a sender's messages may burn more than those of any other sender that has work, and still be taken in.
    pub fuel_per_turn: u64,
    /// Fuel after which a block takes in no more messages.
    pub fuel_per_block: u64,
    /// Hash of the table by which fuel is counted.
    pub fuel_prices: Hash,
    /// Bytes that the heap may have.
    pub memory_bytes: u64,
    /// A checkpoint is due after this many blocks,
    pub checkpoint_blocks: u64,
    /// or after this many commands,
    pub checkpoint_commands: u64,
    /// or after this much work (fuel), whichever comes first. It bounds what a restart executes again.
    pub checkpoint_work: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            fuel_per_delivery: 5_000_000_000,
            fuel_per_turn: 50_000_000,
            fuel_per_block: 100_000_000,
            fuel_prices: Hash::ZERO,
            memory_bytes: 128 << 20,
            checkpoint_blocks: 2_000,
            checkpoint_commands: 20_000,
            checkpoint_work: 10_000_000_000,
        }
    }
}

/// The beginning of a vat. Its hash is the VatId.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The members of epoch 0.
    pub members: Vec<Member>,
    /// How many of them must sign what the vat says.
    pub threshold: u16,
    /// SHA-256 of the engine image that executes the vat.
    pub image: Hash,
    /// Ed25519 public key of the vat's creator: its signature authorises the vat's first code.
    pub creator: [u8; 32],
    /// Hash of the vat's code, to which its creator commits by the VatId. `None`: any code that the creator signs.
    pub bundle: Option<Hash>,
    /// Makes equal vats different.
    pub nonce: [u8; 32],
    /// For a vat that speaks with one other only and not for long, a client: the last block of that other one at which it is
    /// heard. From then on the other one may forget it, since nothing that it ever said is believed any more. 0: for ever.
    pub expires: u64,
    /// See [`Parameters`].
    pub parameters: Parameters,
}

impl Genesis {
    /// The identity of the vat.
    pub fn vat_id(&self) -> VatId {
        let mut writer = Canonical::new("quorate/genesis/3");
        canonical_members(&mut writer, &self.members, self.threshold);
        writer.fixed(&self.image.0).fixed(&self.creator);
        match &self.bundle {
            None => writer.number(0),
            Some(hash) => writer.number(1).fixed(&hash.0),
        };
        writer.fixed(&self.nonce);
        let parameters = &self.parameters;
        writer.number(parameters.fuel_per_delivery).number(parameters.fuel_per_turn).number(parameters.fuel_per_block);
        writer.fixed(&parameters.fuel_prices.0).number(parameters.memory_bytes);
        writer.number(parameters.checkpoint_blocks).number(parameters.checkpoint_commands);
        writer.number(parameters.checkpoint_work).number(self.expires);
        VatId(writer.hash().0)
    }

    /// Refuses a genesis that breaks the bounds.
    pub fn validate(&self) -> Result<(), CertificateError> {
        validate_members(&self.members, self.threshold)?;
        let parameters = &self.parameters;
        if parameters.checkpoint_blocks == 0 || parameters.checkpoint_commands == 0 || parameters.checkpoint_work == 0 {
            return Err(CertificateError::Invalid("a checkpoint interval is zero".into()));
        }
        Ok(())
    }

    /// The membership of epoch 0.
    pub fn membership(&self) -> Membership {
        Membership {
            vat: self.vat_id(),
            epoch: 0,
            previous: Hash::ZERO,
            members: self.members.clone(),
            threshold: self.threshold,
            recovered: None,
        }
    }
}

/// Where certified order was broken by hand: the mark of a membership that the one before it did not certify. See
/// [`Signers::verify_membership`](crate::Signers::verify_membership).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// The last block of the log that the vat goes on from. All after it, if there was any, is given up.
    pub block: u64,
    /// Raft's term of that block.
    pub block_term: u64,
    /// Stands for the log through that block.
    pub chain: Hash,
    /// Raft's term of the entries that record the recovery: later than all that the signers have heard of.
    pub term: u64,
}

/// The members that sign for a vat in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The vat.
    pub vat: VatId,
    /// Counts memberships from 0.
    pub epoch: u64,
    /// Hash of the membership of the epoch before; zero for epoch 0.
    pub previous: Hash,
    /// The members.
    pub members: Vec<Member>,
    /// How many of them must sign.
    pub threshold: u16,
    /// Set where members that were left over made this membership, since too few of those before were alive to certify one.
    pub recovered: Option<Recovered>,
}

impl Membership {
    /// The bytes that the members of the epoch before sign.
    pub fn payload(&self) -> Vec<u8> {
        let mut writer = Canonical::new(match self.recovered {
            None => "quorate/membership/1",
            Some(_) => "quorate/recovered-membership/1",
        });
        writer.fixed(&self.vat.0).number(self.epoch).fixed(&self.previous.0);
        if let Some(Recovered { block, block_term, chain, term }) = &self.recovered {
            writer.number(*block).number(*block_term).fixed(&chain.0).number(*term);
        }
        canonical_members(&mut writer, &self.members, self.threshold);
        writer.finish()
    }

    /// Identifies this membership in the chain.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.payload())
    }

    /// The member with this key.
    pub fn member(&self, key: &HostId) -> Option<&Member> {
        self.members.iter().find(|member| member.key == *key)
    }

    /// Returns whether the key is a member's.
    pub fn contains(&self, key: &HostId) -> bool {
        self.member(key).is_some()
    }

    /// Returns how many members must say something before it counts: one more than may lie, and one more than may be away. So many liars
    /// that the vat is safe against can't say it alone, nor can as many as it may lack; and those who are left can.
    pub fn one_is_honest(&self) -> usize {
        one_is_honest(self.members.len(), usize::from(self.threshold))
    }

    /// The membership by which `survivors` of these members go on alone after `recovered`. Its threshold keeps the number of liars that
    /// the vat is built for, as far as so few can.
    ///
    /// # Errors
    /// The chain is as long as one may be, or nobody survives.
    pub fn recovery(&self, survivors: &[HostId], recovered: Recovered) -> Result<Membership, CertificateError> {
        let members: Vec<Member> =
            self.members.iter().filter(|member| survivors.contains(&member.key)).cloned().collect();
        let threshold = recovered_threshold(self.members.len(), usize::from(self.threshold), members.len());
        let threshold = u16::try_from(threshold).unwrap_or(u16::MAX);
        let (epoch, previous) = (self.epoch + 1, self.hash());
        let next = Membership { vat: self.vat, epoch, previous, members, threshold, recovered: Some(recovered) };
        if self.epoch >= MAX_CHAIN as u64 {
            return Err(CertificateError::ChainTooLong(MAX_CHAIN + 1));
        }
        next.validate()?;
        Ok(next)
    }

    /// Refuses a membership that breaks the bounds.
    pub fn validate(&self) -> Result<(), CertificateError> {
        validate_members(&self.members, self.threshold)
    }
}

/// See [`Membership::one_is_honest`].
pub fn one_is_honest(members: usize, threshold: usize) -> usize {
    (2 * threshold).saturating_sub(members).max((members + 1).saturating_sub(threshold))
}

/// A membership with the signatures of the epoch before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipCertificate {
    /// The new membership.
    pub membership: Membership,
    /// Signatures of members of the epoch before, over [`Membership::payload`].
    pub signatures: Vec<MemberSignature>,
}

/// Checks that a membership continues `previous` and is signed by at least its threshold; a recovered one by as many as are
/// [needed](crate::Signers::verify_membership).
pub fn verify_membership(certificate: &MembershipCertificate, previous: &Membership) -> Result<(), CertificateError> {
    Signers::from(previous).verify_membership(certificate)
}

/// Everything that proves a vat's members to a reader that knows the VatId: self-certifying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The beginning.
    pub genesis: Genesis,
    /// The memberships after it, in order.
    pub chain: Vec<MembershipCertificate>,
}

impl Introduction {
    /// The vat that it introduces.
    pub fn vat_id(&self) -> VatId {
        self.genesis.vat_id()
    }

    /// The epochs that were not certified by the members before them, with those members: certified order was broken by hand there.
    pub fn recoveries(&self) -> Vec<(Membership, &MembershipCertificate)> {
        let later = self.chain.iter().map(|certificate| certificate.membership.clone());
        let before = std::iter::once(self.genesis.membership()).chain(later);
        before.zip(&self.chain).filter(|(_, next)| next.membership.recovered.is_some()).collect()
    }

    /// Checks all of it and returns the newest membership.
    pub fn verify(&self) -> Result<Membership, CertificateError> {
        self.genesis.validate()?;
        if self.chain.len() > MAX_CHAIN {
            return Err(CertificateError::ChainTooLong(self.chain.len()));
        }
        let mut membership = self.genesis.membership();
        for certificate in &self.chain {
            verify_membership(certificate, &membership)?;
            membership = certificate.membership.clone();
        }
        Ok(membership)
    }
}

fn canonical_members(writer: &mut Canonical, members: &[Member], threshold: u16) {
    writer.number(members.len() as u64);
    for member in members {
        member.canonical(writer);
    }
    writer.number(u64::from(threshold));
}

fn validate_members(members: &[Member], threshold: u16) -> Result<(), CertificateError> {
    let invalid = |text: String| Err(CertificateError::Invalid(text));
    if members.is_empty() || members.len() > MAX_MEMBERS {
        return invalid(format!("{} members; 1 to {MAX_MEMBERS} are allowed", members.len()));
    }
    let keys: BTreeSet<HostId> = members.iter().map(|member| member.key).collect();
    if keys.len() != members.len() {
        return invalid("two members have the same key".into());
    }
    members.iter().try_for_each(Member::validate)?;
    let threshold = usize::from(threshold);
    if threshold > members.len() || threshold * 2 <= members.len() {
        return invalid(format!(
            "threshold {threshold} of {} members; it must be more than half of them and at most all",
            members.len()
        ));
    }
    Ok(())
}
