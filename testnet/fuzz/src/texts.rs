//! Formats that are texts.

use crate::{Decoder, MEMORY, session};
use quorate_config::testnet::{TestnetConfig, host_file};
use quorate_ids::VatId;
use quorate_proof::check_address;
use quorate_protocol::card::{Card, announced, dialable};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_protocol::{exact_json, moment, names};
use quorate_streams::abi::Value;
use std::path::Path;

/// All of them.
pub(crate) fn all() -> Vec<Decoder> {
    let one = |name, from, run| Decoder { name, from, run, memory: MEMORY, runs: 1_000 };
    vec![
        one("card", "another operator", |bytes| text(bytes, card)),
        one("sturdyref", "anybody", |bytes| text(bytes, sturdyref)),
        one("vat-id", "anybody", |bytes| {
            text(bytes, |text| text.parse().is_ok_and(|vat: VatId| vat.to_string().parse() == Ok(vat)))
        }),
        one("address", "another member", |bytes| text(bytes, address)),
        one("names", "anybody", |bytes| text(bytes, |text| names::check_name(text).is_ok())),
        one("moment", "an operator", |bytes| {
            text(bytes, |text| moment::parse(text, 1 << 40).map(moment::shown).is_ok())
        }),
        one("exact-json", "a gateway's client", |bytes| text(bytes, json)),
        one("capnweb", "a gateway's client", session::talk),
        one("testnet-toml", "an operator", |bytes| text(bytes, testnet)),
        one("host-toml", "an operator", |bytes| text(bytes, host)),
    ]
}

fn text(bytes: &[u8], read: fn(&str) -> bool) -> bool {
    std::str::from_utf8(bytes).is_ok_and(read)
}

fn card(text: &str) -> bool {
    let Ok(card) = Card::read(text) else { return false };
    let again = Card::read(&serde_json::to_string(&card).expect("JSON")).expect("what was written here is read here");
    assert_eq!(serde_json::to_string(&again).ok(), serde_json::to_string(&card).ok());
    card.verify().is_ok()
}

fn sturdyref(text: &str) -> bool {
    let Ok(reference) = text.parse::<Sturdyref>() else { return false };
    assert_eq!(
        reference.to_string().parse::<Sturdyref>().as_ref(),
        Ok(&reference),
        "it is another one after one round"
    );
    let _ = reference.bearer_key();
    true
}

fn address(text: &str) -> bool {
    let _ = (dialable(text), announced(text));
    check_address(text).is_ok()
}

fn json(text: &str) -> bool {
    let Ok(json) = exact_json::read(text) else { return false };
    let again = exact_json::read(&json.to_string());
    assert_eq!(again.as_ref(), Ok(&json), "it is other JSON after one round");
    let Ok(value) = Value::from_json(&json) else { return false };
    assert_eq!(Value::decode(&value.encode()), Ok(value));
    true
}

fn testnet(text: &str) -> bool {
    let file = Path::new("/nowhere/testnet.toml");
    match TestnetConfig::parse(text, file) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn host(text: &str) -> bool {
    match host_file(text, Path::new("/nowhere/host.toml")) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
