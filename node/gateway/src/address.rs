//! From where a client comes, as far as fairness goes: a client that causes work shares places with those of the same address, and with nobody else.
//!
//! An address is an IPv4 address, or the first half of an IPv6 address, which is what one line to the Internet has. Behind a proxy it is what the proxy
//! says (`X-Forwarded-For`), if the proxy is on this machine or listed.

use axum::http::{HeaderMap, HeaderName};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection, which the listener puts beside each of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// See the head of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// Of an address of the network.
    pub fn of(address: IpAddr) -> Address {
        match address.to_canonical() {
            IpAddr::V4(address) => Address(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Address(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }

    /// Of a request. What it says of itself counts only if it comes from a proxy.
    pub fn of_request(peer: Peer, headers: &HeaderMap, proxies: &[IpAddr]) -> Address {
        let is_proxy = |address: IpAddr| {
            let address = address.to_canonical();
            address.is_loopback() || proxies.iter().any(|proxy| proxy.to_canonical() == address)
        };
        let mut address = peer.0.ip();
        // Each proxy adds the address that asked it at the end.
        let said = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let said: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
        for text in said.into_iter().rev() {
            if !is_proxy(address) {
                break;
            }
            let Some(before) = parsed(text.trim()) else { break };
            address = before;
        }
        Address::of(address)
    }
}

/// An address with or without a port.
fn parsed(text: &str) -> Option<IpAddr> {
    let with_port = text.parse::<SocketAddr>().map(|address| address.ip());
    with_port.or_else(|_| text.trim_matches(['[', ']']).parse()).ok()
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(address) => write!(formatter, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn shown(peer: &str, said: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for said in said {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(said).expect("a header"));
        }
        let proxies: Vec<IpAddr> = proxies.iter().map(|proxy| proxy.parse().expect("an address")).collect();
        Address::of_request(Peer(peer.parse().expect("an address")), &headers, &proxies).to_string()
    }

    #[test]
    fn an_address_is_that_of_the_connection_unless_a_proxy_says_another() {
        assert_eq!(shown("192.0.2.1:5", &[], &[]), "192.0.2.1");
        assert_eq!(shown("[2001:db8:1:2:3::9]:5", &[], &[]), "2001:db8:1:2::/64");
        assert_eq!(shown("[::ffff:192.0.2.1]:5", &[], &[]), "192.0.2.1");
        // Anybody can say anything of himself.
        assert_eq!(shown("192.0.2.1:5", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(shown("127.0.0.1:5", &["198.51.100.7"], &[]), "198.51.100.7");
        assert_eq!(shown("[::1]:5", &["[2001:db8::7]:81"], &[]), "2001:db8::/64");
        assert_eq!(shown("10.0.0.5:5", &["198.51.100.7"], &["10.0.0.5"]), "198.51.100.7");
        // What came to the proxy already does not count.
        assert_eq!(shown("127.0.0.1:5", &["203.0.113.9, 198.51.100.7"], &[]), "198.51.100.7");
        assert_eq!(shown("127.0.0.1:5", &["203.0.113.9", "198.51.100.7"], &[]), "198.51.100.7");
        // Two proxies, one behind the other.
        assert_eq!(shown("127.0.0.1:5", &["198.51.100.7, 10.0.0.5"], &["10.0.0.5"]), "198.51.100.7");
        assert_eq!(shown("127.0.0.1:5", &["unknown"], &[]), "127.0.0.1");
    }
}
