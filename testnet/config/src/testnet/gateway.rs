//! The keys by which a host opens a door for programs that know nothing of vats: in `host.toml`, and in `[[host]]` of a testnet.

use super::check::{Checker, Key};
use super::syntax::{Entry, Table, Value};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

pub(super) const LISTEN: Key =
    Key::new("gateway", "gateway = \"127.0.0.1:8080\"", &["gateway_listen", "capnweb", "websocket", "gateway_address"]);
pub(super) const ORIGINS: Key = Key::new(
    "gateway_origins",
    "gateway_origins = [\"https://example.org\"]",
    &["origins", "cors", "allowed_origins", "gateway_origin"],
);
pub(super) const PROXIES: Key = Key::new(
    "gateway_proxies",
    "gateway_proxies = [\"10.0.0.5\"]",
    &["proxies", "trusted_proxies", "gateway_proxy", "forwarded"],
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
    /// Proxies of other machines that say whose requests they bring.
    #[serde(rename = "gateway_proxies", skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<IpAddr>,
}

/// Reads the keys. The outer `None`: one of them is wrong, which has been said; the inner one: there is no gateway.
pub(super) fn gateway(table: &Table, checker: &mut Checker) -> Option<Option<GatewayConfig>> {
    let listen = table.get(LISTEN.name).map(|entry| checker.address(entry, &LISTEN));
    let origins = table.get(ORIGINS.name).map_or(Some(Vec::new()), |entry| {
        let read = |text: &str| is_origin(text).then(|| text.to_owned());
        let remedy = "write it as browsers do: https://example.org, or with a port, without a path";
        list(entry, checker, &ORIGINS, read, "no origin of a page", remedy)
    });
    let proxies = table.get(PROXIES.name).map_or(Some(Vec::new()), |entry| {
        let remedy = "write the address that the proxy's connections come from, without a port: 10.0.0.5";
        list(entry, checker, &PROXIES, |text| text.parse().ok(), "no IP address", remedy)
    });
    let Some(listen) = listen else {
        let alone = [&ORIGINS, &PROXIES].into_iter().find_map(|key| Some((key, table.get(key.name)?)));
        let Some((key, entry)) = alone else { return Some(None) };
        let problem = format!("`{}` without `{}`: nothing listens", key.name, LISTEN.name);
        checker.mistake(entry.node.place, problem, format!("add where it listens: {}", LISTEN.example));
        return None;
    };
    Some(Some(GatewayConfig { listen: listen?, origins: origins?, proxies: proxies? }))
}

/// Returns what a browser names a page's origin by: scheme, name, and the port if it is not the scheme's own; no path.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
        !rest.is_empty() && rest.chars().all(is_fine) && !rest.chars().any(|letter| letter.is_ascii_uppercase())
    })
}

/// Reads an array of strings. Each that `read` can't is a mistake: `is` says what it is, and `remedy` what to write.
pub(super) fn list<T>(
    entry: &Entry,
    checker: &mut Checker,
    key: &Key,
    read: impl Fn(&str) -> Option<T>,
    is: &str,
    remedy: &str,
) -> Option<Vec<T>> {
    let items = checker.array(entry, key)?;
    let mut good = Some(Vec::new());
    for item in items {
        let found = match &item.value {
            Value::String(text) => {
                let found = read(text);
                if found.is_none() {
                    checker.mistake(item.place, format!("`{}` is {is}", text.escape_debug()), remedy);
                }
                found
            }
            other => checker.wrong_type(item.place, other, "an array of strings", key),
        };
        good = good.zip(found).map(|(mut good, found)| {
            good.push(found);
            good
        });
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
