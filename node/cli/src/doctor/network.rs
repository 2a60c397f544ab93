//! The host's own addresses: free while it does not run, answering while it does, and where others look for it.

use super::{Finding, Patient};
use quorate_admin::client::Endpoint;
use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

/// How long an address may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

pub async fn check(patient: &Patient) -> Vec<Finding> {
    match (&patient.host.status, patient.process) {
        (Some(_), _) => answering(patient).await,
        // It is about to take its ports, or holds them.
        (None, Some(_)) => Vec::new(),
        (None, None) => free(patient),
    }
}

/// An address that hosts have, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    pub host: String,
    pub port: u16,
    pub is_udp: bool,
}

/// Takes a multiaddr of the kinds that hosts speak apart.
pub fn dialled(multiaddr: &str) -> Option<Dialled> {
    let mut parts = multiaddr.strip_prefix('/')?.split('/');
    let (_, host) = (parts.next()?, parts.next()?.to_owned());
    let (transport, port) = (parts.next()?, parts.next()?.parse().ok()?);
    Some(Dialled { host, port, is_udp: transport == "udp" })
}

/// Whether something accepts connections there. `None`: it is not of TCP, and not tried.
pub async fn accepts(multiaddr: &str) -> Option<Result<(), String>> {
    let Dialled { host, port, is_udp } = dialled(multiaddr)?;
    if is_udp {
        return None;
    }
    let connecting = tokio::net::TcpStream::connect((host.as_str(), port));
    Some(match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    })
}

/// Whether the ports that the host will want can be had.
fn free(patient: &Patient) -> Vec<Finding> {
    let Ok(home) = &patient.home else { return Vec::new() };
    let mut findings = Vec::new();
    for address in &home.config.listen {
        let wanted = dialled(address)
            .and_then(|found| Some((SocketAddr::new(found.host.parse().ok()?, found.port), found.is_udp)));
        findings.extend(wanted.map(|(socket, is_udp)| port("listen", address, socket, is_udp)));
    }
    findings.push(port("http", &home.config.http.to_string(), home.config.http, false));
    if let Some(gateway) = &home.config.gateway {
        findings.push(port("gateway", &gateway.listen.to_string(), gateway.listen, false));
    }
    findings
}

fn port(key: &str, shown: &str, socket: SocketAddr, is_udp: bool) -> Finding {
    if socket.port() == 0 {
        return Finding::warning(
            "ports",
            format!("`{key}` is {shown}: the system chooses a port at each start, and others can't be told which"),
            format!("write a port in host.toml, such as {key} = \"…:{}\"", if key == "listen" { 7001 } else { 9464 }),
        );
    }
    let bound = if is_udp { UdpSocket::bind(socket).map(drop) } else { TcpListener::bind(socket).map(drop) };
    match bound {
        Ok(()) => Finding::ok("ports", format!("{shown} (`{key}`) is free")),
        Err(error) => {
            let fix = match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "`ss -lntup 'sport = :{}'` says what has it: stop that, or change `{key}` in host.toml",
                    socket.port()
                ),
                io::ErrorKind::AddrNotAvailable => format!(
                    "no interface of this machine has it (`ip address`): write 0.0.0.0 in `{key}` of host.toml, or the right one"
                ),
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege that a host should not have: take another one".to_owned()
                }
                _ => format!("see `{key}` in host.toml"),
            };
            Finding::problem("ports", format!("{shown} (`{key}`) can't be had: {error}"), fix)
        }
    }
}

async fn answering(patient: &Patient) -> Vec<Finding> {
    let Some(status) = &patient.host.status else { return Vec::new() };
    let mut findings = Vec::new();
    let http = match status.http.parse() {
        Ok(address) => tokio::time::timeout(PATIENCE, Endpoint::Tcp(address).get_text("/healthz")).await,
        Err(_) => return findings,
    };
    findings.push(match http {
        Ok(Ok(_)) => Finding::ok("ports", format!("metrics and status answer at {}", status.http)),
        _ => Finding::problem(
            "ports",
            format!("nothing answers at {} (`http`)", status.http),
            "look at the host's log; is the address still one of this machine?",
        ),
    });
    for address in &status.listen {
        match accepts(address).await {
            None => {}
            Some(Ok(())) => findings.push(Finding::ok("ports", format!("{address} takes connections"))),
            Some(Err(error)) => findings.push(Finding::warning(
                "ports",
                format!("{address}, at which the host listens, takes no connection from here: {error}"),
                "is there a firewall on this machine (`nft list ruleset`)?",
            )),
        }
    }
    // What the vats' members have been told, for as long as the membership lasts.
    let own = status.vats.iter().flat_map(|vat| &vat.members).filter(|member| member.key == status.key);
    let told: BTreeSet<&String> =
        own.flat_map(|member| &member.addresses).filter(|address| !status.listen.contains(address)).collect();
    for address in told {
        match accepts(address).await {
            None => {}
            Some(Ok(())) => findings.push(Finding::ok("reach", format!("others dial this host at {address}, which takes connections"))),
            Some(Err(error)) => findings.push(Finding::warning(
                "reach",
                format!("others dial this host at {address}, and from here that takes no connection: {error}"),
                "forward that port to this machine, or, where the address is no longer this host's, replace the member by one with the new address. A router may refuse only what comes from inside: then another member's `vat doctor` tells",
            )),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let of = |text| dialled(text).map(|found| (found.host, found.port, found.is_udp));
        assert_eq!(of("/ip4/192.0.2.1/tcp/7001"), Some(("192.0.2.1".into(), 7001, false)));
        assert_eq!(of("/ip6/::1/udp/7001/quic-v1"), Some(("::1".into(), 7001, true)));
        assert_eq!(of("/dns/alpha.example.org/tcp/1"), Some(("alpha.example.org".into(), 1, false)));
        for bad in ["", "/", "/ip4/1.2.3.4", "192.0.2.1:7001", "/ip4/1.2.3.4/tcp/x"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
