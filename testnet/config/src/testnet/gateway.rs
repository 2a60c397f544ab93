//! The keys by which a host opens a door for programs that know nothing of vats: in `host.toml`, and in `[[host]]` of a testnet.

use super::check::{Checker, Key};
use super::syntax::{Entry, Table, Value};
use serde::Serialize;
use std::net::SocketAddr;

pub(super) const LISTEN: Key =
    Key::new("gateway", "gateway = \"127.0.0.1:8080\"", &["gateway_listen", "capnweb", "websocket", "gateway_address"]);
pub(super) const ORIGINS: Key = Key::new(
    "gateway_origins",
    "gateway_origins = [\"https://example.org\"]",
    &["origins", "cors", "allowed_origins", "gateway_origin"],
);

/// Where programs may connect, and which pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayConfig {
    /// Where it listens.
    #[serde(rename = "gateway")]
    pub listen: SocketAddr,
    /// Origins of the pages that may connect, as browsers name them.
    #[serde(rename = "gateway_origins", skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

/// Reads the keys. The outer `None`: one of them is wrong, which has been said; the inner one: there is no gateway.
pub(super) fn gateway(table: &Table, checker: &mut Checker) -> Option<Option<GatewayConfig>> {
    let listen = table.get(LISTEN.name).map(|entry| checker.address(entry, &LISTEN));
    let origins = table.get(ORIGINS.name).map(|entry| (entry, origins(entry, checker)));
    match (listen, origins) {
        (None, None) => Some(None),
        (None, Some((entry, _))) => {
            let problem = format!("`{}` without `{}`: nothing listens", ORIGINS.name, LISTEN.name);
            checker.mistake(entry.node.place, problem, format!("add where it listens: {}", LISTEN.example));
            None
        }
        (Some(listen), None) => Some(Some(GatewayConfig { listen: listen?, origins: Vec::new() })),
        (Some(listen), Some((_, origins))) => Some(Some(GatewayConfig { listen: listen?, origins: origins? })),
    }
}

/// What a browser names a page's origin by: scheme, name, and the port if it is not the scheme's own; no path.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
        !rest.is_empty() && rest.chars().all(is_fine) && !rest.chars().any(|letter| letter.is_ascii_uppercase())
    })
}

fn origins(entry: &Entry, checker: &mut Checker) -> Option<Vec<String>> {
    let items = checker.array(entry, &ORIGINS)?;
    let mut good = Some(Vec::new());
    for item in items {
        match &item.value {
            Value::String(text) if is_origin(text) => good.iter_mut().for_each(|good| good.push(text.clone())),
            Value::String(text) => {
                let problem = format!("`{}` is no origin of a page", text.escape_debug());
                let remedy = "write it as browsers do: https://example.org, or with a port, without a path";
                checker.mistake(item.place, problem, remedy);
                good = None;
            }
            other => {
                let _: Option<()> = checker.wrong_type(item.place, other, "an array of strings", &ORIGINS);
                good = None;
            }
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_name() {
        for good in ["https://example.org", "http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:80"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in
            ["", "*", "null", "example.org", "https://", "https://example.org/", "https://Example.org", "ftp://a"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
