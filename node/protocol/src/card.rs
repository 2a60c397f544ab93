//! Cards: descriptions of hosts, in files that partners send each other.
//!
//! A card is signed by the key that it names, so nobody can offer a key that is not theirs, or alter the addresses.
//! It does not prove that it is the partner's own: for that, people compare fingerprints by another way.
//!
//! Invariants: a card that this module reads has a good signature, a good name, and addresses that can be dialled. It never makes a card without
//! these.

use crate::names::check_name;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use quorate_proof::{HostId, MAX_ADDRESS_BYTES, MAX_ADDRESSES, Member, check_address};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// The version of cards that this build makes and reads.
pub const CARD_VERSION: u64 = 1;
/// What a fingerprint is written in: digits and letters without those that are taken for others.
const FINGERPRINT_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of a fingerprint, five bits each, and how many stand together.
const FINGERPRINT_LENGTH: usize = 16;
const FINGERPRINT_GROUP: usize = 4;

/// Why a card can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("it is not a host's card ({0}); `vat card --home HOME` makes one")]
    Other(String),
    #[error("the card is not signed by its host: an older version made it; ask for a new one: `vat card --home HOME`")]
    Unsigned,
    #[error("the card has version {0}, this build reads version {CARD_VERSION}; ask for one by the same version")]
    Version(u64),
    #[error(
        "the card's signature is not good: it was changed after it was made, or its key is another host's; ask for a new one, and compare the fingerprint"
    )]
    Signature,
    #[error("the card's name: {0}")]
    Name(String),
    #[error("the card's address `{address}`: {why}; ask for a new one: `vat card --home HOME --announce IP:PORT`")]
    Address { address: String, why: String },
    #[error(
        "the card has no address: nobody could dial the host; ask for a new one: `vat card --home HOME --announce IP:PORT`"
    )]
    Nowhere,
}

/// A card as it is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub version: u64,
    /// What its members call the host.
    pub name: String,
    /// The host's key, in hex.
    pub key: String,
    /// Where others dial it.
    pub addresses: Vec<String>,
    /// Over all that, by the key; in hex.
    pub signature: String,
}

impl Card {
    /// The card of a host.
    ///
    /// # Errors
    /// Its name or an address is none, or it has no address.
    pub fn make(key: &SigningKey, name: &str, addresses: Vec<String>) -> Result<Card, CardError> {
        let public = HostId(key.verifying_key().to_bytes());
        let signature = key.sign(&payload(&public, name, &addresses));
        let card = Card {
            version: CARD_VERSION,
            name: name.to_owned(),
            key: public.to_string(),
            addresses,
            signature: hex::encode(signature.to_bytes()),
        };
        card.verify()?;
        Ok(card)
    }

    /// Reads a card.
    ///
    /// # Errors
    /// It is none, or not a good one.
    pub fn read(text: &str) -> Result<Card, CardError> {
        let other = |error: serde_json::Error| CardError::Other(error.to_string());
        let json: serde_json::Value = serde_json::from_str(text).map_err(other)?;
        let has = |field: &str| json.get(field).is_some();
        if let Some(version) = json.get("version").and_then(serde_json::Value::as_u64)
            && version != CARD_VERSION
        {
            return Err(CardError::Version(version));
        }
        if has("key") && has("addresses") && !has("signature") {
            return Err(CardError::Unsigned);
        }
        // From the text: two fields of one name are an error there.
        let card: Card = serde_json::from_str(text).map_err(other)?;
        card.verify()?;
        Ok(card)
    }

    /// Checks everything, and returns the host as a vat's member.
    pub fn verify(&self) -> Result<Member, CardError> {
        if self.version != CARD_VERSION {
            return Err(CardError::Version(self.version));
        }
        let key: HostId = self.key.parse().map_err(|error| CardError::Other(format!("{error}")))?;
        let bytes = hex::decode(&self.signature).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let signature = Signature::from_bytes(&bytes.ok_or(CardError::Signature)?);
        let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| CardError::Signature)?;
        let signed = payload(&key, &self.name, &self.addresses);
        verifying.verify_strict(&signed, &signature).map_err(|_| CardError::Signature)?;
        check_name(&self.name).map_err(|(problem, fix)| CardError::Name(format!("{problem}; {fix}")))?;
        if self.addresses.is_empty() {
            return Err(CardError::Nowhere);
        }
        if self.addresses.len() > MAX_ADDRESSES {
            return Err(CardError::Other(format!("over {MAX_ADDRESSES} addresses")));
        }
        for address in &self.addresses {
            let long = (address.len() > MAX_ADDRESS_BYTES).then(|| "it is too long".to_owned());
            if let Some(why) = long.or_else(|| dialable(address).err()) {
                return Err(CardError::Address { address: shown(address), why });
            }
        }
        Ok(Member { key, name: self.name.clone(), addresses: self.addresses.clone() })
    }
}

/// Checks that other machines can dial an address.
///
/// # Errors
/// Why they can't.
pub fn dialable(address: &str) -> Result<(), String> {
    check_address(address)?;
    if address.starts_with("/memory/") {
        return Err("/memory is not one of /ip4, /ip6, /dns".to_owned());
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Returns what a card's key signs.
fn payload(key: &HostId, name: &str, addresses: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut field = |field: &[u8]| {
        bytes.extend((field.len() as u64).to_be_bytes());
        bytes.extend(field);
    };
    field(b"quorate/card/1");
    field(&key.0);
    field(name.as_bytes());
    field(&(addresses.len() as u64).to_be_bytes());
    addresses.iter().for_each(|address| field(address.as_bytes()));
    bytes
}

/// A key's fingerprint: 80 bits of a hash, short enough to be read over the phone, long enough that nobody makes a key with the same.
pub fn fingerprint(key: &HostId) -> String {
    let hash = Sha256::new().chain_update(b"quorate/fingerprint/1").chain_update(key.0).finalize();
    let letters = (0..FINGERPRINT_LENGTH).map(|index| {
        let (byte, shift) = (index * 5 / 8, index * 5 % 8);
        let two = u16::from(hash[byte]) << 8 | u16::from(hash[byte + 1]);
        char::from(FINGERPRINT_LETTERS[usize::from(two >> (11 - shift) & 31)])
    });
    let letters: Vec<char> = letters.collect();
    letters.chunks(FINGERPRINT_GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// Returns what others dial, as people write it: a multiaddr, or `IP:PORT`, or `NAME:PORT`.
///
/// # Errors
/// Why it is no address that others can dial.
pub fn announced(text: &str) -> Result<String, String> {
    let address = if text.starts_with('/') {
        text.to_owned()
    } else if let Ok(socket) = text.parse::<SocketAddr>() {
        let protocol = if socket.is_ipv4() { "ip4" } else { "ip6" };
        format!("/{protocol}/{}/tcp/{}", socket.ip(), socket.port())
    } else if let Some((name, port)) = text.rsplit_once(':')
        && name.contains(|letter: char| letter.is_ascii_alphabetic())
        && !name.contains(':')
    {
        format!("/dns/{name}/tcp/{port}")
    } else {
        return Err("it is neither IP:PORT nor a multiaddr".to_owned());
    };
    dialable(&address)?;
    if address.contains("/p2p/") {
        return Err("the peer id does not belong here: hosts are known by their keys".to_owned());
    }
    Ok(address)
}

/// Returns whether an address is of the machine itself, so that only that machine can dial it.
pub fn is_loopback(address: &str) -> bool {
    let host = address.split('/').nth(2).unwrap_or_default();
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()) || host == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn card() -> Card {
        Card::make(&key(), "alpha", vec!["/ip4/192.0.2.7/tcp/4001".into()]).expect("a good card")
    }

    fn text(card: &Card) -> String {
        serde_json::to_string_pretty(card).expect("plain data")
    }

    #[test]
    fn a_card_is_read_as_it_was_made_and_refused_when_anything_was_changed() {
        let good = card();
        assert_eq!(Card::read(&text(&good)), Ok(good.clone()));
        let stranger = HostId(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes()).to_string();
        type Change = fn(&mut Card, &str);
        let changes: [(&str, Change); 5] = [
            ("name", |card, _| card.name = "beta".into()),
            ("key", |card, stranger| card.key = stranger.into()),
            ("address", |card, _| card.addresses[0] = "/ip4/192.0.2.8/tcp/4001".into()),
            ("one more", |card, _| card.addresses.push("/ip4/192.0.2.8/tcp/4001".into())),
            ("signature", |card, _| card.signature = "00".repeat(64)),
        ];
        for (what, change) in changes {
            let mut changed = good.clone();
            change(&mut changed, &stranger);
            assert_eq!(Card::read(&text(&changed)), Err(CardError::Signature), "{what}");
        }
    }

    #[test]
    fn what_is_no_card_is_refused_by_name() {
        let unsigned = r#"{"name":"alpha","key":"00","addresses":["/ip4/192.0.2.7/tcp/4001"]}"#;
        assert_eq!(Card::read(unsigned), Err(CardError::Unsigned));
        let later = text(&card()).replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Card::read(&later), Err(CardError::Version(2)));
        for other in ["", "{}", "[1]", "hello", r#"{"version":1}"#, &text(&card()).replace("\"name\"", "\"nome\"")] {
            assert!(matches!(Card::read(other), Err(CardError::Other(_))), "{other}");
        }
    }

    #[test]
    fn no_card_is_made_or_read_with_what_nobody_can_dial() {
        for address in ["garbage", "127.0.0.1:1", "/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip4/192.0.2.7/tcp/0"] {
            let made = Card::make(&key(), "alpha", vec![address.into()]);
            assert!(matches!(made, Err(CardError::Address { .. })), "{address}");
            // One that is signed all the same.
            let addresses = vec![address.to_owned()];
            let signature = key().sign(&payload(&HostId(key().verifying_key().to_bytes()), "alpha", &addresses));
            let forged = Card { addresses, signature: hex::encode(signature.to_bytes()), ..card() };
            assert!(matches!(Card::read(&text(&forged)), Err(CardError::Address { .. })), "{address}");
        }
        assert_eq!(Card::make(&key(), "alpha", vec![]), Err(CardError::Nowhere));
        assert!(matches!(Card::make(&key(), "Bad Name!", card().addresses), Err(CardError::Name(_))));
    }

    #[test]
    fn fingerprints_are_short_and_differ() {
        let of = |seed: u8| fingerprint(&HostId([seed; 32]));
        assert_eq!(of(1).len(), 19);
        assert!(of(1).split('-').all(|group| group.len() == 4));
        let all: std::collections::BTreeSet<String> = (0..=255).map(of).collect();
        assert_eq!(all.len(), 256);
        // Every letter counts: the last one is not always the same.
        let last: std::collections::BTreeSet<char> = all.iter().filter_map(|text| text.chars().last()).collect();
        assert!(last.len() > 16, "{last:?}");
    }

    #[test]
    fn an_announced_address_is_a_multiaddr_or_a_place_with_a_port() {
        for (text, address) in [
            ("127.0.0.1:41002", "/ip4/127.0.0.1/tcp/41002"),
            ("[2001:db8::1]:4001", "/ip6/2001:db8::1/tcp/4001"),
            ("alpha.example.org:4001", "/dns/alpha.example.org/tcp/4001"),
            ("/ip4/192.0.2.7/udp/4001/quic-v1", "/ip4/192.0.2.7/udp/4001/quic-v1"),
        ] {
            assert_eq!(announced(text).as_deref(), Ok(address), "{text}");
        }
        for bad in [
            "",
            "garbage",
            "0.0.0.0:4001",
            "[::]:4001",
            "127.0.0.1:0",
            "127.0.0.1",
            "alpha:",
            "alpha:0",
            "alpha:70000",
            "300.0.0.1:4001",
            "/ip4/127.0.0.1",
            "/memory/1",
            "/ip4/192.0.2.7/tcp/1/p2p/abc",
        ] {
            assert!(announced(bad).is_err(), "{bad}");
        }
    }
}
