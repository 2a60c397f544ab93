//! Where a host can be dialled, by its own word: signed by the host's key, and numbered.
//!
//! A vat's membership also has addresses of hosts, but these change only with the membership. A host that moves makes a new record instead.
//! A record is evidence for the addresses of the key that signed it, and for nothing else. Of two records of a host, the one with the higher
//! number counts.
//!
//! Invariants: a verified record has at most [`MAX_ADDRESSES`] addresses, and all of them can be dialled. It is at most
//! [`MAX_RECORD_BYTES`] long.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use quorate_proof::{HostId, MAX_ADDRESS_BYTES, MAX_ADDRESSES, check_address};
use serde::{Deserialize, Serialize};

/// What the signature begins with.
const DOMAIN: &str = "quorate/addresses/1";
/// What ends an address that leads through a relay.
const CIRCUIT: &str = "/p2p-circuit";
/// Bytes of a record beside its addresses: key, number, signature, and counts.
const FIXED_BYTES: usize = 32 + 8 + 64 + 8;
/// The longest record.
pub const MAX_RECORD_BYTES: usize = FIXED_BYTES + MAX_ADDRESSES * (MAX_ADDRESS_BYTES + 8);

/// Why a record does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRecordError {
    #[error("the record has {0} addresses; 1 to {MAX_ADDRESSES} are allowed")]
    Count(usize),
    #[error("an address of the record can't be dialled: {0}")]
    Address(String),
    #[error("the record is not signed by the host that it names")]
    Signature,
}

/// See the head of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    pub host: HostId,
    /// Each record of a host has a higher one than the record before.
    pub sequence: u64,
    /// Multiaddrs; those through a relay end in `/p2p/RELAY/p2p-circuit`.
    pub addresses: Vec<String>,
    /// By the host's key; 64 bytes.
    pub signature: Vec<u8>,
}

impl AddressRecord {
    /// Signs a record.
    pub fn sign(key: &SigningKey, sequence: u64, addresses: Vec<String>) -> AddressRecord {
        let host = HostId(key.verifying_key().to_bytes());
        let signature = key.sign(&payload(&host, sequence, &addresses)).to_bytes().to_vec();
        AddressRecord { host, sequence, addresses, signature }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// It does not count.
    pub fn verify(&self) -> Result<(), AddressRecordError> {
        if self.addresses.is_empty() || self.addresses.len() > MAX_ADDRESSES {
            return Err(AddressRecordError::Count(self.addresses.len()));
        }
        for address in &self.addresses {
            check_record_address(address).map_err(AddressRecordError::Address)?;
        }
        let signature = Signature::from_slice(&self.signature).map_err(|_| AddressRecordError::Signature)?;
        let key = VerifyingKey::from_bytes(&self.host.0).map_err(|_| AddressRecordError::Signature)?;
        let signed = payload(&self.host, self.sequence, &self.addresses);
        key.verify_strict(&signed, &signature).map_err(|_| AddressRecordError::Signature)
    }

    /// Returns whether this record counts more than another one of the same host. Between two of one number, all hosts choose the same one.
    pub fn is_newer_than(&self, other: &AddressRecord) -> bool {
        (self.sequence, &self.addresses) > (other.sequence, &other.addresses)
    }

    /// Returns the bytes that keeping the record takes, about.
    pub fn size(&self) -> usize {
        FIXED_BYTES + self.addresses.iter().map(|address| address.len() + 8).sum::<usize>()
    }
}

/// Checks an address of a record: as those in memberships, or through a relay that has such an address.
///
/// # Errors
/// Why nobody can dial it.
pub fn check_record_address(address: &str) -> Result<(), String> {
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(format!("it has over {MAX_ADDRESS_BYTES} bytes"));
    }
    let Some(relay) = address.strip_suffix(CIRCUIT) else { return check_address(address) };
    check_address(relay)?;
    let names_relay = relay.rsplit('/').nth(1) == Some("p2p");
    names_relay
        .then_some(())
        .ok_or_else(|| "an address through a relay names the relay: /p2p/RELAY/p2p-circuit".to_owned())
}

/// Returns whether an address leads through a relay.
pub fn is_relayed(address: &str) -> bool {
    address.contains(CIRCUIT)
}

fn payload(host: &HostId, sequence: u64, addresses: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8]| {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    };
    put(DOMAIN.as_bytes());
    put(&host.0);
    put(&sequence.to_be_bytes());
    addresses.iter().for_each(|address| put(address.as_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn record(sequence: u64, address: &str) -> AddressRecord {
        AddressRecord::sign(&key(1), sequence, vec![address.to_owned()])
    }

    #[test]
    fn a_record_counts_only_as_its_host_signed_it() {
        let good = record(7, "/ip4/192.0.2.7/tcp/4001");
        assert_eq!(good.verify(), Ok(()));
        type Change = fn(&mut AddressRecord);
        let changes: [Change; 6] = [
            |record| record.host = HostId(key(2).verifying_key().to_bytes()),
            |record| record.sequence += 1,
            |record| record.addresses[0] = "/ip4/192.0.2.8/tcp/4001".into(),
            |record| record.addresses.push("/ip4/192.0.2.8/tcp/4001".into()),
            |record| record.signature[0] ^= 1,
            |record| record.signature.truncate(63),
        ];
        for change in changes {
            let mut changed = good.clone();
            change(&mut changed);
            assert_eq!(changed.verify(), Err(AddressRecordError::Signature));
        }
    }

    #[test]
    fn the_higher_number_counts_and_two_of_one_number_are_in_one_order() {
        let (old, new) = (record(1, "/ip4/192.0.2.9/tcp/1"), record(2, "/ip4/192.0.2.1/tcp/1"));
        assert!(new.is_newer_than(&old) && !old.is_newer_than(&new) && !old.is_newer_than(&old));
        let other = record(2, "/ip4/192.0.2.2/tcp/1");
        assert_ne!(new.is_newer_than(&other), other.is_newer_than(&new));
    }

    #[test]
    fn addresses_can_be_dialled_directly_or_through_a_relay() {
        let relay = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWQ";
        for good in ["/ip4/192.0.2.7/udp/4001/quic-v1", "/dns/a.example/tcp/1", &format!("{relay}/p2p-circuit")] {
            assert_eq!(record(1, good).verify(), Ok(()), "{good}");
        }
        let bad = ["", "garbage", "/p2p-circuit", "/ip4/192.0.2.7/tcp/4001/p2p-circuit", "/ip4/0.0.0.0/tcp/1"];
        for bad in bad.into_iter().chain([&*format!("{relay}/p2p-circuit/p2p-circuit"), &"/ip4/1".repeat(200)]) {
            assert!(matches!(record(1, bad).verify(), Err(AddressRecordError::Address(_))), "{bad}");
        }
        for count in [0, MAX_ADDRESSES + 1] {
            let many = AddressRecord::sign(&key(1), 1, vec!["/ip4/192.0.2.7/tcp/1".to_owned(); count]);
            assert_eq!(many.verify(), Err(AddressRecordError::Count(count)));
        }
        let longest = AddressRecord::sign(&key(1), 1, vec!["a".repeat(MAX_ADDRESS_BYTES); MAX_ADDRESSES]);
        assert_eq!(longest.size(), MAX_RECORD_BYTES);
    }
}
