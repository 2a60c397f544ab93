//! The libp2p network over TCP: the conformance suite, and what can only go wrong on real sockets.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod hosts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{LONG, Script, World, ask, eventually, introduce};
use futures::future::join_all;
use hosts::{READY_BYTES, Raw, Sockets, closed, encoded, port, request};
use libp2p::core::{Endpoint, Transport as _, transport, upgrade};
use libp2p::{Multiaddr, identity, noise, tcp, yamux};
use quorate_net::frame::{ClosingReason, Frame};
use quorate_net::{HostId, Libp2pNetwork, NetError, NetLimits, NetOptions, NetReach, Network, PeerName, Purpose};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

conformance!(Sockets::tcp(), flavor = "multi_thread", worker_threads = 2);

const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// What a broken client sends, why its stream is closed, and which counter says so.
type Attack = (&'static str, Vec<u8>, Option<ClosingReason>);

fn attacks() -> Vec<Attack> {
    let malformed = Some(ClosingReason::Malformed);
    let mut wrong_version = request(1, b"echo");
    wrong_version[4] = 9;
    let mut wrong_kind = request(1, b"echo");
    wrong_kind[5] = 99;
    let too_long = u32::try_from(Purpose::Directory.max_frame_bytes() + 11).unwrap().to_be_bytes().to_vec();
    vec![
        ("a frame shorter than its header", vec![0, 0, 0, 3, 1, 0, 0], malformed),
        ("an empty frame", vec![0; 4], malformed),
        ("an unknown version", wrong_version, malformed),
        ("an unknown kind", wrong_kind, malformed),
        ("a response", encoded(Frame::Response { id: 1, outcome: quorate_net::frame::Outcome::Forbidden }), malformed),
        ("a closing", encoded(Frame::Closing { reason: ClosingReason::Idle }), malformed),
        ("one byte over the limit", too_long, Some(ClosingReason::Oversized)),
        ("four gigabytes", vec![0xff; 64], Some(ClosingReason::Oversized)),
        ("half a length", vec![0, 0], None),
        ("half a frame", request(1, b"echo")[..12].to_vec(), None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_cost_their_sender_the_stream() {
    let world = Sockets::tcp();
    let script = Script::new();
    let server = world.start(1, script.clone()).await;
    let honest = world.start(2, Script::new()).await;
    introduce(&honest, &server);
    let mut raw = Raw::connect(&server).await;
    let (mut malformed, mut oversized, mut truncated) = (0, 0, 0);
    for (what, bytes, reason) in attacks() {
        let mut stream = raw.open("/quorate/directory/1").await;
        stream.write_all(&bytes).await.unwrap();
        if reason.is_none() {
            stream.shutdown().await.unwrap();
        }
        let mut response = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut response)).await.expect(what);
        let expected = reason.map_or_else(|| encoded(Frame::Ready), closed);
        assert_eq!(response, expected, "{what}");
        match reason {
            Some(ClosingReason::Malformed) => malformed += 1,
            Some(ClosingReason::Oversized) => oversized += 1,
            _ => truncated += 1,
        }
        let stats = server.stats().purpose(Purpose::Directory).clone();
        assert_eq!((stats.malformed, stats.oversized, stats.truncated), (malformed, oversized, truncated), "{what}");
        assert!(ask(&honest, server.local(), "echo").await.is_ok(), "{what}");
    }
    // A good frame before a bad one is answered, and the bad one is no obstacle to a new stream.
    let mut stream = raw.open("/quorate/directory/1").await;
    stream.write_all(&[request(5, b"echo good"), vec![0; 4]].concat()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let answer = quorate_net::frame::Outcome::Answer(Bytes::from_static(b"echo good"));
    let closing = encoded(Frame::Closing { reason: ClosingReason::Malformed });
    let answer = encoded(Frame::Response { id: 5, outcome: answer });
    assert_eq!(response, [encoded(Frame::Ready), answer, closing].concat());
    assert_eq!(script.times()[&b"echo good"[..]], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_is_harmless() {
    let world = Sockets::tcp();
    let server = world.start(1, Script::new()).await;
    let honest = world.start(2, Script::new()).await;
    introduce(&honest, &server);
    let port = port(&server);
    let mut random = vec![0u8; 100_000];
    rand::fill(&mut random[..]);
    let attacks: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &random,
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff garbage instead of a handshake",
    ];
    for (index, attack) in attacks.into_iter().enumerate() {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = socket.write_all(attack).await;
        let _ = socket.shutdown().await;
        let mut response = Vec::new();
        let _ = tokio::time::timeout(LONG, socket.read_to_end(&mut response)).await.expect("closed");
        let failures = index as u64 + 1;
        eventually("counted", async || server.stats().connections.inbound_failures == failures).await;
        assert!(ask(&honest, server.local(), "echo").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection_are_limited() {
    let world = Sockets::new(TCP, NetLimits { max_inbound_streams_per_purpose: 3, ..NetLimits::default() });
    let server = world.start(1, Script::new()).await;
    let mut raw = Raw::connect(&server).await;
    let mut streams = Vec::new();
    for id in 0..3 {
        let mut stream = raw.open("/quorate/slice/1").await;
        stream.write_all(&request(id, b"echo")).await.unwrap();
        stream.read_exact(&mut [0; READY_BYTES + 18]).await.unwrap();
        streams.push(stream);
    }
    let mut fourth = raw.open("/quorate/slice/1").await;
    let mut response = Vec::new();
    let _ = fourth.write_all(&request(4, b"echo")).await;
    let _ = fourth.read_to_end(&mut response).await;
    assert!(response.is_empty());
    let mut other = raw.open("/quorate/directory/1").await;
    other.write_all(&request(5, b"echo")).await.unwrap();
    other.read_exact(&mut [0; READY_BYTES + 18]).await.expect("other purposes have their own places");
    eventually("counted", async || server.stats().purpose(Purpose::Slice).streams_rejected == 1).await;
    drop(streams.pop());
    let again = async || {
        let mut stream = raw.open("/quorate/slice/1").await;
        stream.write_all(&request(5, b"echo")).await.is_ok()
            && stream.read_exact(&mut [0; READY_BYTES + 18]).await.is_ok()
    };
    eventually("a place is free again", again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_unknown_hosts_are_limited() {
    let world = Sockets::new(TCP, NetLimits { max_unknown_connections: 2, ..NetLimits::default() });
    let server = world.start(1, Script::new()).await;
    let mut strangers = Vec::new();
    for seed in 10..12 {
        let stranger = world.start(seed, Script::new()).await;
        introduce(&stranger, &server);
        assert!(ask(&stranger, server.local(), "echo").await.is_ok());
        strangers.push(stranger);
    }
    let third = world.start(12, Script::new()).await;
    introduce(&third, &server);
    assert!(ask(&third, server.local(), "echo").await.is_err());
    assert_eq!(server.stats().connections.connected_peers, 2);
    // A host that the server was told of does not compete with strangers.
    let member = world.start(13, Script::new()).await;
    server.set_addresses(member.local(), vec![]);
    introduce(&member, &server);
    eventually("the member is in", async || ask(&member, server.local(), "echo").await.is_ok()).await;
    assert!(ask(&third, server.local(), "echo").await.is_err());
    strangers.pop().unwrap().shutdown().await;
    eventually("the third gets the free place", async || ask(&third, server.local(), "echo").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_slowed_down_and_lose_nothing() {
    // So few that a slow machine sends faster as well.
    let limits = NetLimits { untrusted_burst_units: 10, untrusted_units_per_second: 15, ..NetLimits::default() };
    let world = Sockets::new(TCP, limits);
    let script = Script::new();
    let server = world.start(1, script.clone()).await;
    let client = world.start(2, Script::new()).await;
    introduce(&client, &server);
    let burst = async |purpose| {
        let requests = (0..24).map(|_| client.request(server.local(), purpose, Bytes::from_static(b"echo"), LONG));
        assert!(join_all(requests).await.into_iter().all(|response| response.is_ok()));
        server.stats().purpose(purpose).rate_limited
    };
    for purpose in Purpose::ALL {
        assert_eq!(burst(purpose).await, 0, "trusted");
    }
    script.strangers.lock().unwrap().insert(client.local());
    for purpose in Purpose::ALL {
        eventually(&format!("{purpose}: a stranger is slowed down"), async || burst(purpose).await > 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_streams_of_strangers_are_closed_and_reopened() {
    let world = Sockets::new(TCP, NetLimits { untrusted_idle: Duration::from_millis(50), ..NetLimits::default() });
    let script = Script::new();
    let server = world.start(1, script.clone()).await;
    let client = world.start(2, Script::new()).await;
    script.strangers.lock().unwrap().insert(client.local());
    introduce(&client, &server);
    assert!(ask(&client, server.local(), "echo").await.is_ok());
    let mut raw = Raw::connect(&server).await;
    script.strangers.lock().unwrap().insert(raw.local);
    let mut stream = raw.open("/quorate/slice/1").await;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    assert_eq!(response, closed(ClosingReason::Idle));
    // On a slow machine a stream may be idle for too long before its first request comes: it is opened again.
    let opened = || client.stats().purpose(Purpose::Propose).streams_opened;
    let before = opened();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ask(&client, server.local(), "echo").await.is_ok(), "no error, no backoff");
    assert!(opened() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_dial_each_other_end_with_one_connection() {
    let world = Sockets::tcp();
    let pair = async |round: u8| {
        let one = world.start(2 * round + 1, Script::new()).await;
        let two = world.start(2 * round + 2, Script::new()).await;
        introduce(&one, &two);
        introduce(&two, &one);
        let open = |network: &Arc<dyn Network>| {
            let stats = network.stats().connections;
            stats.connections_opened - stats.connections_closed
        };
        let both =
            async || ask(&one, two.local(), "echo").await.is_ok() && ask(&two, one.local(), "echo").await.is_ok();
        assert!(both().await);
        eventually("one connection", async || open(&one) == 1 && open(&two) == 1).await;
        assert!(both().await);
        let met = one.stats().connections.connections_duplicate + two.stats().connections.connections_duplicate;
        one.shutdown().await;
        two.shutdown().await;
        met
    };
    // Whether they meet in the middle is chance; that none ever does would mean that this tests nothing.
    let mut met = 0;
    for _ in 0..10 {
        met += join_all((0..20).map(pair)).await.into_iter().sum::<u64>();
        if met > 0 {
            return;
        }
    }
    panic!("of 200 pairs that dialled each other none met in the middle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_at_an_address_is_not_talked_to() {
    let world = Sockets::tcp();
    let one = world.start(1, Script::new()).await;
    let script = Script::new();
    let impostor = world.start(2, script.clone()).await;
    let wanted = HostId::of_secret(&[3; 32]);
    one.set_addresses(wanted, impostor.listen_addresses());
    assert!(matches!(ask(&one, wanted, "echo").await, Err(NetError::Unreachable { .. })));
    assert_eq!(script.handled(), 0);
    assert!(one.peers().iter().all(|peer| !peer.connected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_resolved_and_useless_addresses_do_not_hurt() {
    let world = Sockets::tcp();
    let one = world.start(1, Script::new()).await;
    let two = world.start(2, Script::new()).await;
    let address = &two.listen_addresses()[0];
    let name = address.replace("/ip4/127.0.0.1", "/dns4/localhost");
    let dead = "/ip4/127.0.0.1/tcp/1".to_owned();
    let full = format!("{name}/p2p/{}", two.local().peer_id());
    one.set_addresses(two.local(), vec!["rubbish".into(), dead, "/dns4/no.such.name.invalid/tcp/1".into(), full]);
    assert!(ask(&one, two.local(), "echo").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_host_is_dialled_with_backoff_and_requests_fail_fast() {
    let limits = NetLimits { backoff_base: Duration::from_millis(20), ..NetLimits::default() };
    let world = Sockets::new(TCP, limits);
    let one = world.start(1, Script::new()).await;
    let dead = HostId::of_secret(&[9; 32]);
    one.set_addresses(dead, vec!["/ip4/127.0.0.1/tcp/1".into()]);
    eventually("dialled again and again", async || one.stats().connections.dials >= 4).await;
    let failed = ask(&one, dead, "echo").await;
    assert!(matches!(failed, Err(NetError::Unreachable { next_attempt_in: Some(_), .. })), "{failed:?}");
    let stats = one.stats();
    assert!(stats.connections.dial_failures >= 3);
    assert_eq!(stats.purpose(Purpose::Propose).requests_lost, 1);
    assert!(one.peers()[0].failed_attempts >= 3 && one.peers()[0].last_error.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_make_series_of_addresses() {
    let world = Sockets::tcp();
    let server = world.start(1, Script::new()).await;
    let count = |name: &str| {
        let text = server.metrics_text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
        value.unwrap_or_default()
    };
    let odd = |times: usize| format!("/ip4/192.0.2.1/tcp/1{}", "/ws".repeat(times));
    let mut strangers = Vec::new();
    for times in 1..=3 {
        let addresses = [odd(0), odd(times)].map(|text| text.parse().unwrap());
        strangers.push(Raw::connect_identified(&addresses, &odd(times + 3).parse().unwrap(), &server).await);
    }
    eventually("all have said who they are", async || count("libp2p_identify_received_total") == 3).await;
    let text = server.metrics_text();
    assert!(text.contains("libp2p_identify_remote_listen_addresses{listen_address=\"/ip4/tcp\"} 3\n"), "{text}");
    assert!(!text.contains("/ws"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_says_what_is_wrong_and_metrics_are_there() {
    let start = |listen: &str| {
        Libp2pNetwork::start(NetOptions {
            reach: NetReach::default(),
            secret: [1; 32],
            listen: vec![listen.into()],
            handler: Script::new(),
            limits: NetLimits::default(),
        })
    };
    let network = start(TCP).await.unwrap();
    let taken = network.listen_addresses()[0].clone();
    for bad in ["nonsense", "/ip4/127.0.0.1/sctp/1", &taken] {
        let Err(NetError::Start(text)) = start(bad).await else { panic!("{bad} is no place to listen") };
        assert!(text.contains(bad), "{text}");
    }
    let text = network.metrics_text();
    assert!(text.contains("libp2p_swarm") && !text.contains("# EOF"), "{text}");
    // Both transports at once; dropping a network without a shutdown ends it as well.
    let options = NetOptions {
        reach: NetReach::default(),
        secret: [2; 32],
        listen: vec![TCP.into(), "/ip4/127.0.0.1/udp/0/quic-v1".into()],
        handler: Script::new(),
        limits: NetLimits::default(),
    };
    let both = Libp2pNetwork::start(options).await.unwrap();
    assert_eq!(both.listen_addresses().len(), 2);
    network.set_addresses(both.local(), both.listen_addresses());
    let host = both.local();
    let echo = || network.request(host, Purpose::Vote, Bytes::from_static(b"echo"), LONG);
    assert!(echo().await.is_ok());
    drop(both);
    eventually("gone", async || echo().await.is_err()).await;
}

/// A host that announces both is dialled over both at once, so that neither one that is blocked is in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_both_transports_is_reached_over_the_one_that_is_not_blocked() {
    const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
    // They take what comes and say nothing, as behind a firewall.
    let silent_udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent_tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let blocked = [
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", silent_udp.local_addr().unwrap().port()),
        format!("/ip4/127.0.0.1/tcp/{}", silent_tcp.local_addr().unwrap().port()),
    ];
    let world = Sockets::tcp();
    let one = world.start(1, Script::new()).await;
    for (seed, listen, blocked) in [(2, TCP, &blocked[0]), (3, QUIC, &blocked[1])] {
        let options = NetOptions {
            reach: NetReach::default(),
            secret: [seed; 32],
            listen: vec![listen.into()],
            handler: Script::new(),
            limits: NetLimits::default(),
        };
        let other = Libp2pNetwork::start(options).await.unwrap();
        one.hint_addresses(other.local(), [vec![blocked.clone()], other.listen_addresses()].concat());
        assert!(ask(&one, other.local(), "echo").await.is_ok(), "{listen}");
        other.shutdown().await;
    }
}

/// Counts how often another process with the host's key was met.
#[derive(Default)]
struct Meets(std::sync::atomic::AtomicUsize);

impl quorate_net::Handler for Meets {
    fn permits(&self, _: HostId, _: Purpose) -> bool {
        true
    }

    fn handle(
        &self,
        _: HostId,
        _: Purpose,
        frame: Bytes,
    ) -> futures::future::BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(frame) })
    }

    fn own_key_met(&self, _: &str) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

async fn with_key(seed: u8) -> (Arc<Meets>, Arc<Libp2pNetwork>) {
    let meets = Arc::new(Meets::default());
    let handler = Arc::clone(&meets) as Arc<dyn quorate_net::Handler>;
    let options = NetOptions {
        secret: [seed; 32],
        listen: vec![TCP.to_owned()],
        handler,
        reach: NetReach::default(),
        limits: NetLimits::default(),
    };
    (meets, Libp2pNetwork::start(options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dials_a_second_process_with_its_key_notices() {
    let (meets, one) = with_key(71).await;
    let (_, two) = with_key(71).await;
    let (_, third) = with_key(72).await;
    // The address that the first has for a third host is now the second's.
    one.set_addresses(third.local(), two.listen_addresses());
    eventually("the meeting is reported", async || meets.0.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
    for network in [one, two, third] {
        network.shutdown().await;
    }
}

/// The dialler hangs up as soon as it sees whom it has reached, and the other end may then read only that the connection ended.
/// So here it stays until it was noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_the_key_that_dials_is_noticed() {
    let (meets, two) = with_key(75).await;
    let key = identity::Keypair::ed25519_from_bytes([75; 32]).unwrap();
    let mut transport = tcp::tokio::Transport::new(tcp::Config::new())
        .upgrade(upgrade::Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default());
    let address: Multiaddr = two.listen_addresses()[0].parse().unwrap();
    let options = transport::DialOpts { role: Endpoint::Dialer, port_use: transport::PortUse::New };
    let (peer, _connection) = transport.dial(address, options).unwrap().await.unwrap();
    assert_eq!(peer, two.local().peer_id());
    eventually("the meeting is reported", async || meets.0.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dials_itself_by_mistake_is_no_second_process() {
    let (meets, one) = with_key(73).await;
    let (_, third) = with_key(74).await;
    one.set_addresses(third.local(), one.listen_addresses());
    eventually("it has reached itself", async || one.stats().connections.dial_failures >= 2).await;
    assert_eq!(meets.0.load(std::sync::atomic::Ordering::SeqCst), 0);
    for network in [one, third] {
        network.shutdown().await;
    }
}
