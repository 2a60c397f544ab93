//! `[[host]]`: names, and addresses that can be listened on and dialled.

use super::archive;
use super::check::{Checker, Key, socket_address};
use super::disk::{self, disk_limits};
use super::gateway;
use super::syntax::{Entry, Table};
use super::{HostConfig, Place};
use quorate_consensus::Approve;
use quorate_protocol::names::check_name;
use std::net::{IpAddr, SocketAddr};

const NAME: Key = Key::new("name", "name = \"alpha\"", &["id", "host"]);
const LISTEN: Key = Key::new(
    "listen",
    "listen = \"127.0.0.1:7001\", or leave it out to have a port chosen",
    &["address", "addr", "port", "multiaddr", "bind"],
);
const LISTEN_EXAMPLE: &str = "listen = \"0.0.0.0:7001\"";
const ANNOUNCE: Key = Key::new("announce", "announce = \"192.0.2.7:7001\"", &["public", "external", "advertise"]);
const HTTP: Key = Key::new("http", "http = \"127.0.0.1:9001\"", &["metrics", "api", "http_address", "metrics_address"]);
pub(super) const APPROVE: Key = Key::new("approve", "approve = \"ask\"", &["approval", "approvals", "policy"]);
pub(super) const KEYS: [Key; 14] = [
    NAME,
    LISTEN,
    ANNOUNCE,
    HTTP,
    APPROVE,
    disk::SOFT,
    disk::HARD,
    disk::VAT_QUOTA,
    archive::FOLDER,
    archive::BYTES,
    archive::BLOCKS,
    gateway::LISTEN,
    gateway::ORIGINS,
    gateway::PROXIES,
];

/// Which socket an address takes on its machine.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Socket {
    udp: bool,
    address: SocketAddr,
}

/// What a host takes: a socket, and of which machine, as far as the address tells by which others reach it.
#[derive(Clone, PartialEq, Eq)]
struct Claim {
    socket: Socket,
    machine: Option<String>,
}

/// Which addresses are in use, for messages about the second use.
#[derive(Default)]
pub(super) struct Claims {
    /// Sockets, their owners, and the line of each.
    taken: Vec<(Claim, String, Place)>,
    /// What hosts are dialled at, by which key, and in which line.
    dialled: Vec<(String, &'static str, String, Place)>,
}

impl Claims {
    /// Reports an address that another host, or this host's other key, already has.
    fn claim(&mut self, claim: Claim, owner: String, place: Place, checker: &mut Checker) {
        match self.taken.iter().find(|(other, ..)| overlap(other, &claim)) {
            Some((_, holder, at)) => {
                let problem = format!("{} is taken by {holder} (line {at})", claim.socket.address);
                let remedy =
                    "choose another port; hosts on different machines may have the same, if each announces where it is";
                checker.mistake(place, problem, remedy);
            }
            None => self.taken.push((claim, owner, place)),
        }
    }

    /// Reports an address at which another host is dialled. What two hosts listen at is reported by [`Claims::claim`].
    fn dial(&mut self, address: &str, key: &Key, host: &str, place: Place, checker: &mut Checker) {
        let same = self.dialled.iter().find(|(other, ..)| other.eq_ignore_ascii_case(address));
        let both_listen = same.is_some_and(|(_, other_key, ..)| *other_key == LISTEN.name && key.name == LISTEN.name);
        if let Some((_, other_key, holder, at)) = same.filter(|_| !both_listen) {
            let problem = format!("{address} is `{other_key}` of {holder} already (line {at})");
            checker.mistake(
                place,
                problem,
                "give each host an address of its own, or the others reach only one of them",
            );
        }
        self.dialled.push((address.to_owned(), key.name, host.to_owned(), place));
    }
}

fn overlap(one: &Claim, other: &Claim) -> bool {
    let (socket, other_socket) = (one.socket, other.socket);
    let (ip, other_ip) = (socket.address.ip(), other_socket.address.ip());
    let same_address = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    let apart =
        matches!((&one.machine, &other.machine), (Some(here), Some(there)) if !here.eq_ignore_ascii_case(there));
    socket.udp == other_socket.udp && socket.address.port() == other_socket.address.port() && same_address && !apart
}

/// The machine of a multiaddr: its IP address or name, unless every machine has that address.
fn machine(multiaddr: &str) -> Option<String> {
    let host = multiaddr.split('/').nth(2)?;
    let everywhere = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_loopback());
    (!everywhere).then(|| host.to_owned())
}

/// Reads one host. `None` where it has no usable name.
pub(super) fn host(table: &Table, claims: &mut Claims, checker: &mut Checker) -> Option<HostConfig> {
    checker.unknown_keys("[[host]]", table, &KEYS);
    let name = name("[[host]]", table, &KEYS, &NAME, checker);
    let shown = name.as_ref().map_or("a host".to_string(), |name| format!("host `{name}`"));
    let multiaddr = |key: &Key, checker: &mut Checker| {
        let entry = table.get(key.name)?;
        let text = checker.string(entry, key)?;
        dialable(text, entry, key, checker)
    };
    let listen = multiaddr(&LISTEN, checker);
    let announce = multiaddr(&ANNOUNCE, checker);
    let machine = announce.as_ref().or(listen.as_ref()).and_then(|(_, address)| machine(address));
    if let Some((Some(socket), _)) = listen {
        let claim = Claim { socket, machine: machine.clone() };
        claims.claim(claim, format!("`{}` of {shown}", LISTEN.name), place_of(table, &LISTEN), checker);
    }
    if let Some(entry) = table.get(ANNOUNCE.name).filter(|_| table.get(LISTEN.name).is_none()) {
        let problem = "`announce` without `listen`: a port would be chosen, and the others would dial another one";
        let remedy = format!("add the address that it listens on: {}", LISTEN_EXAMPLE);
        checker.mistake(entry.node.place, problem.to_owned(), remedy);
    }
    // What others dial, unless it was to be announced and could not be read.
    let dialled = match (&announce, &listen, table.get(ANNOUNCE.name)) {
        (Some(announce), _, Some(entry)) => Some((announce, &ANNOUNCE, entry.node.place)),
        (_, Some(listen), None) => Some((listen, &LISTEN, place_of(table, &LISTEN))),
        _ => None,
    };
    if let Some(((socket, address), key, place)) = dialled {
        match socket.filter(|socket| socket.address.ip().is_unspecified()) {
            Some(socket) => {
                let problem = format!("no other host can dial {}", socket.address.ip());
                let verb = if key.name == LISTEN.name { "add" } else { "write" };
                checker.mistake(
                    place,
                    problem,
                    format!("{verb} the address that they can reach: {}", ANNOUNCE.example),
                );
            }
            None => claims.dial(address, key, &shown, place, checker),
        }
    }
    let http = table.get(HTTP.name).and_then(|entry| {
        let address = http_address(entry, checker)?;
        let owner = format!("`http` of {shown}");
        let claim = Claim { socket: Socket { udp: false, address }, machine: machine.clone() };
        claims.claim(claim, owner, entry.node.place, checker);
        Some(address)
    });
    let gateway = gateway::gateway(table, checker);
    if let Some(Some(gateway)) = &gateway
        && gateway.listen.port() != 0
    {
        let claim = Claim { socket: Socket { udp: false, address: gateway.listen }, machine };
        let owner = format!("`{}` of {shown}", gateway::LISTEN.name);
        claims.claim(claim, owner, place_of(table, &gateway::LISTEN), checker);
    }
    let approve = match table.get(APPROVE.name) {
        Some(entry) => approve(entry, checker),
        // All hosts of a testnet have one owner.
        None => Some(Approve::Auto),
    };
    let text = |found: Option<(Option<Socket>, String)>| found.map(|(_, text)| text);
    let (listen, announce, line) = (text(listen), text(announce), table.place.line);
    let disk = disk_limits(table, checker);
    let archive = archive::archive_in_home(table, checker);
    let (approve, disk, archive, gateway) = (approve?, disk?, archive?, gateway?);
    Some(HostConfig { name: name?, listen, announce, http, approve, disk, archive, gateway, line })
}

/// Returns how a host approves of changes of members.
pub(super) fn approve(entry: &Entry, checker: &mut Checker) -> Option<Approve> {
    let text = checker.string(entry, &APPROVE)?;
    let approve = Approve::from_word(text);
    if approve.is_none() {
        let problem = format!("`{}` is no way to approve of changes of members", text.escape_debug());
        checker.mistake(entry.node.place, problem, "write approve = \"auto\" or approve = \"ask\"");
    }
    approve
}

fn place_of(table: &Table, key: &Key) -> Place {
    table.get(key.name).map_or(table.place, |entry| entry.node.place)
}

fn http_address(entry: &Entry, checker: &mut Checker) -> Option<SocketAddr> {
    let text = checker.string(entry, &HTTP)?;
    let address = socket_address(text);
    let problem = match address {
        None => format!("`{text}` is not an IP address with a port"),
        Some(address) if address.port() == 0 => "port 0 is no address that others can be told".to_string(),
        Some(_) => return address,
    };
    checker.mistake(entry.node.place, problem, format!("write {}, or leave it out", HTTP.example));
    None
}

/// A name that is fit for files, folders and command lines.
pub(super) fn name(section: &str, table: &Table, keys: &[Key], key: &Key, checker: &mut Checker) -> Option<String> {
    let entry = checker.required(section, table, keys, key)?;
    let text = checker.string(entry, key)?;
    match check_name(text) {
        Ok(()) => Some(text.to_string()),
        Err((problem, fix)) => {
            checker.mistake(entry.node.place, problem, fix);
            None
        }
    }
}

/// A multiaddr of the kinds that hosts speak, from either way of writing it, and the socket if it names an IP address.
fn dialable(text: &str, entry: &Entry, key: &Key, checker: &mut Checker) -> Option<(Option<Socket>, String)> {
    let parsed = match socket_address(text) {
        Some(address) => Ok((Some(Socket { udp: false, address }), multiaddr_text(address))),
        None => multiaddr(text, key.name == LISTEN.name).map(|socket| (socket, text.to_string())),
    };
    let why = match parsed {
        Ok((Some(socket), _)) if socket.address.port() == 0 => {
            "port 0 is no address that others can be told".to_string()
        }
        Ok(found) => return Some(found),
        Err(why) => why,
    };
    let problem = format!("`{}` is no address to {}: {why}", text.escape_debug(), key.name);
    checker.mistake(
        entry.node.place,
        problem,
        format!("write {} (or a multiaddr such as /ip4/127.0.0.1/tcp/7001)", key.example),
    );
    None
}

/// Returns what a host listens at, as a multiaddr, from either way of writing it; if it is none, why.
pub fn listen_address(text: &str) -> Result<String, String> {
    match socket_address(text) {
        Some(address) => Ok(multiaddr_text(address)),
        None => multiaddr(text, true).map(|_| text.to_owned()),
    }
}

fn multiaddr_text(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/{}", address.port()),
        IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/{}", address.port()),
    }
}

/// `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT` or `…/udp/PORT/quic-v1`. Names can be dialled, not listened on.
fn multiaddr(text: &str, listens: bool) -> Result<Option<Socket>, String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it is neither IP:PORT nor a multiaddr".into());
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let (protocol, host, transport, port) = match parts[..] {
        [protocol, host, "tcp", port] => (protocol, host, "tcp", port),
        [protocol, host, "udp", port, "quic-v1"] => (protocol, host, "udp", port),
        [.., "p2p", _] => return Err("the peer id does not belong here: hosts are known by their keys".into()),
        _ => return Err("a multiaddr here ends in /tcp/PORT or /udp/PORT/quic-v1".into()),
    };
    let port: u16 = port.parse().map_err(|_| format!("{port} is not a port"))?;
    let ip = match protocol {
        "ip4" => host.parse().map(IpAddr::V4).map_err(|_| format!("{host} is not an IPv4 address"))?,
        "ip6" => host.parse().map(IpAddr::V6).map_err(|_| format!("{host} is not an IPv6 address"))?,
        "dns" | "dns4" | "dns6" if listens => return Err("a host listens on an IP address, not on a name".into()),
        "dns" | "dns4" | "dns6" if !host.is_empty() => return Ok(None),
        _ => return Err(format!("/{protocol} is not one of /ip4, /ip6, /dns")),
    };
    Ok(Some(Socket { udp: transport == "udp", address: SocketAddr::new(ip, port) }))
}

#[cfg(test)]
mod tests {
    use super::multiaddr;

    #[test]
    fn multiaddrs_are_told_from_other_texts() {
        for good in ["/ip4/127.0.0.1/tcp/7001", "/ip6/::1/tcp/1", "/ip4/10.0.0.1/udp/9/quic-v1"] {
            assert!(matches!(multiaddr(good, true), Ok(Some(_))), "{good}");
        }
        assert!(matches!(multiaddr("/dns/example.org/tcp/7001", false), Ok(None)));
        for bad in [
            "",
            "/",
            "/ip4",
            "/ip4/1.2.3/tcp/1",
            "/ip4/1.2.3.4/tcp/70000",
            "/dns/a/tcp/1",
            "/ip4/1.2.3.4/udp/1",
            "/onion/x/tcp/1",
        ] {
            assert!(multiaddr(bad, true).is_err(), "{bad}");
        }
    }
}
