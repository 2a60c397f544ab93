//! Addresses of members, as texts: checks which of them other hosts can dial.
//!
//! A membership is for ever: a member whose address nobody can dial stays one. So a bad address is refused before it is signed.
//! This crate uses no network; it knows the few forms of addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes in the longest name of a host on the Internet (RFC 1035).
const MAX_DNS_BYTES: usize = 253;
/// Bytes in the longest part of one.
const MAX_DNS_PART_BYTES: usize = 63;

/// Checks that other hosts can dial an address: `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT` or `…/udp/PORT/quic-v1`, with or without
/// `/p2p/PEER` behind it, and no address that means every interface or none. `/memory/NUMBER` is the network of simulations.
///
/// # Errors
/// Why it is none, in a few words.
pub fn check_address(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it is no multiaddr: those begin with /ip4, /ip6 or /dns".to_owned());
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let parts = match &parts[..] {
        [before @ .., "p2p", peer] if is_word(peer) => before,
        all => all,
    };
    let (protocol, host, port) = match parts {
        ["memory", number] if number.parse::<u64>().is_ok() => return Ok(()),
        [protocol, host, "tcp", port] | [protocol, host, "udp", port, "quic-v1"] => (*protocol, *host, *port),
        _ => return Err("a multiaddr here ends in /tcp/PORT or /udp/PORT/quic-v1".to_owned()),
    };
    match port.parse::<u16>() {
        Ok(0) => return Err("port 0 is no port that others can dial".to_owned()),
        Ok(number) if number.to_string() == port => {}
        _ => return Err(format!("{} is not a port", port.escape_debug())),
    }
    let wrong = |kind: &str| format!("{} is not {kind}", host.escape_debug());
    match protocol {
        "ip4" => check_ip4(host.parse().map_err(|_| wrong("an IPv4 address"))?),
        "ip6" => check_ip6(host.parse().map_err(|_| wrong("an IPv6 address"))?),
        "dns" | "dns4" | "dns6" if is_dns_name(host) => Ok(()),
        "dns" | "dns4" | "dns6" => Err(wrong("a host's name")),
        _ => Err(format!("/{} is not one of /ip4, /ip6, /dns", protocol.escape_debug())),
    }
}

fn check_ip4(ip: Ipv4Addr) -> Result<(), String> {
    if ip.octets()[0] == 0 {
        return Err(format!("{ip} is no address of a host: no other host can dial it"));
    }
    if ip.is_multicast() || ip.is_broadcast() {
        return Err(format!("{ip} is the address of many hosts"));
    }
    Ok(())
}

fn check_ip6(ip: Ipv6Addr) -> Result<(), String> {
    if ip.is_unspecified() {
        return Err(format!("{ip} is no address of a host: no other host can dial it"));
    }
    if ip.is_multicast() {
        return Err(format!("{ip} is the address of many hosts"));
    }
    ip.to_ipv4_mapped().map_or(Ok(()), check_ip4)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_dns_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() <= MAX_DNS_BYTES
        && text.split('.').all(|part| {
            !part.is_empty()
                && part.len() <= MAX_DNS_PART_BYTES
                && part.bytes().all(fits)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_can_dial_are_told_from_all_else() {
        for good in [
            "/ip4/192.0.2.7/tcp/4001",
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.0.2.7/udp/65535/quic-v1",
            "/ip6/2001:db8::1/tcp/4001",
            "/ip6/::1/udp/4001/quic-v1",
            "/dns/alpha.example.org/tcp/4001",
            "/dns4/alpha/tcp/4001",
            "/dns6/a_b.example./tcp/4001",
            "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
            "/memory/7",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/",
            "garbage",
            "192.0.2.7:4001",
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/tcp",
            "/ip4/192.0.2.7/tcp/",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/192.0.2.7/tcp/+1",
            "/ip4/192.0.2.7/tcp/01",
            "/ip4/192.0.2.7/tcp/65536",
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/udp/4001/quic",
            "/ip4/192.0.2.7/udp/0/quic-v1",
            "/ip4/192.0.2.7/tcp/4001/ws",
            "/ip4/192.0.2.7/tcp/4001/p2p",
            "/ip4/192.0.2.7/tcp/4001/p2p/",
            "/ip4/192.0.2/tcp/4001",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/0.1.2.3/tcp/4001",
            "/ip4/224.0.0.1/tcp/4001",
            "/ip4/255.255.255.255/tcp/4001",
            "/ip4/::1/tcp/4001",
            "/ip6/::/tcp/4001",
            "/ip6/::ffff:0.0.0.0/tcp/4001",
            "/ip6/ff02::1/tcp/4001",
            "/dns//tcp/4001",
            "/dns/a b/tcp/4001",
            "/dns/-a/tcp/4001",
            "/dns/a..b/tcp/4001",
            "/onion3/x/tcp/4001",
            "/memory/x",
            " /ip4/192.0.2.7/tcp/4001",
            "/ip4/192.0.2.7/tcp/4001\n",
        ] {
            assert!(check_address(bad).is_err(), "{bad:?} is taken");
        }
        let long = format!("/dns/{}/tcp/1", "a.".repeat(200));
        assert!(check_address(&long).is_err());
    }
}
