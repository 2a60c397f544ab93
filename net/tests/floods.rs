//! Peers that flood, trickle, hang or vanish on real sockets: what it costs them, and that it costs nobody else anything.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod hosts;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{LONG, Script, World, ask, eventually, introduce};
use futures::future::join_all;
use hosts::{Proxy, READY_BYTES, Raw, Sockets, closed, connect_from, encoded, port, request};
use libp2p::identity;
use quorate_net::frame::{ClosingReason, Frame, HEADER_BYTES, LENGTH_BYTES, Outcome};
use quorate_net::{NetLimits, Network, Purpose};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const KIB: usize = 1024;

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A server to which nobody is trusted that the test names, with the script that says so.
async fn server(limits: NetLimits) -> (Sockets, Arc<dyn Network>, Arc<Script>) {
    let world = Sockets::new(TCP, limits);
    let script = Script::new();
    let server = world.start(1, script.clone()).await;
    (world, server, script)
}

/// A client without framing that is a stranger.
async fn stranger(server: &Arc<dyn Network>, script: &Script) -> Raw {
    let raw = Raw::connect(server).await;
    script.strangers.lock().unwrap().insert(raw.local);
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_take_no_places_but_those_of_their_address() {
    // The time of a handshake, too: those that are silent here stay.
    let limits = NetLimits {
        max_pending_connections: 4,
        max_pending_connections_per_address: 2,
        dial_timeout: LONG,
        ..NetLimits::default()
    };
    let (world, server, _) = server(limits).await;
    let port = port(&server);
    // Whether the host begins a handshake, on a connection that is kept.
    let greets = async |source: u8| {
        let mut socket = connect_from(loopback(source), port).await;
        let hello = b"\x13/multistream/1.0.0\n";
        let mut answer = [0; 20];
        let greeted = socket.write_all(hello).await.is_ok() && socket.read_exact(&mut answer).await.is_ok();
        greeted.then(|| {
            assert_eq!(answer, *hello);
            socket
        })
    };
    let _silent = [connect_from(loopback(1), port).await, connect_from(loopback(1), port).await];
    assert!(greets(1).await.is_none(), "no third place for one address");
    eventually("it is counted", async || server.stats().connections.inbound_failures == 1).await;
    let _second = greets(2).await.expect("others get in");
    let honest = world.start(2, Script::new()).await;
    honest.set_addresses(server.local(), vec![Proxy::start(loopback(3), port).await.address()]);
    assert!(ask(&honest, server.local(), "echo").await.is_ok(), "all the way");
    // All places taken: nobody gets in, but a host that is known to listen there.
    let _fourth = greets(2).await.expect("the last place");
    assert!(greets(4).await.is_none());
    let member = world.start(3, Script::new()).await;
    server.set_addresses(member.local(), vec!["/ip4/127.0.0.4/tcp/1".into()]);
    let proxy = Proxy::start(loopback(4), port).await;
    let gets_in = async || {
        member.forget(server.local());
        member.set_addresses(server.local(), vec![proxy.address()]);
        ask(&member, server.local(), "echo").await.is_ok()
    };
    eventually("the member gets in", gets_in).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_gets_four_connections() {
    let (world, server, _) = server(NetLimits::default()).await;
    let keypair = identity::Keypair::generate_ed25519();
    let mut raws = Vec::new();
    for _ in 0..50 {
        raws.push(Raw::connect_as(keypair.clone(), &server).await);
        let stats = server.stats().connections;
        assert!(stats.connections_opened - stats.connections_closed <= 4);
        if stats.inbound_failures > 0 {
            break;
        }
    }
    assert!(raws.len() > 4 && server.stats().connections.inbound_failures > 0);
    let honest = world.start(2, Script::new()).await;
    introduce(&honest, &server);
    assert!(ask(&honest, server.local(), "echo").await.is_ok());
}

/// A frame of which `sent` bytes are sent and the rest is not.
fn partial(announced: usize, sent: usize) -> Vec<u8> {
    let payload = Bytes::from(vec![b'e'; announced]);
    let mut bytes = encoded(Frame::Request { id: 1, payload });
    bytes.truncate(sent);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_strangers_share_a_bounded_memory_and_those_of_others_do_not() {
    const ROOM: usize = 512 * KIB;
    let limits = NetLimits {
        untrusted_bytes: ROOM,
        untrusted_room_time: Duration::from_millis(50),
        untrusted_frame_time: LONG,
        ..NetLimits::default()
    };
    let (world, server, script) = server(limits).await;
    // Each sends less than half of a frame and no more. Sooner or later there is no room for another one.
    let mut holders = Vec::new();
    let refused = loop {
        assert!(holders.len() < 16, "{} bytes are held", server.stats().connections.untrusted_bytes);
        let held = server.stats().connections.untrusted_bytes;
        let refused = || server.stats().purpose(Purpose::Slice).stalled > 0;
        let mut raw = stranger(&server, &script).await;
        let mut stream = raw.open("/quorate/slice/1").await;
        stream.write_all(&partial(1024 * KIB, 150 * KIB)).await.unwrap();
        let settled = async || {
            let now = server.stats().connections.untrusted_bytes;
            assert!(now <= ROOM as u64);
            now >= held + 100 * KIB as u64 || refused()
        };
        eventually("taken in or refused", settled).await;
        if refused() {
            break stream;
        }
        holders.push((raw, stream));
    };
    assert!(holders.len() >= 2);
    let mut refused = refused;
    let mut response = Vec::new();
    refused.read_to_end(&mut response).await.unwrap();
    assert_eq!(response, closed(ClosingReason::Idle));
    // Small frames of strangers, and all of those who are trusted, come in as ever.
    let mut raw = stranger(&server, &script).await;
    let mut stream = raw.open("/quorate/directory/1").await;
    stream.write_all(&request(7, b"echo")).await.unwrap();
    stream.read_exact(&mut [0; READY_BYTES + LENGTH_BYTES + HEADER_BYTES + 4]).await.unwrap();
    let member = world.start(2, Script::new()).await;
    introduce(&member, &server);
    let large = Bytes::from(vec![b'e'; Purpose::Append.max_frame_bytes()]);
    assert!(member.request(server.local(), Purpose::Append, large, LONG).await.is_ok());
    // What is given back is there for the next one, who gets an answer.
    holders.clear();
    eventually("all is given back", async || server.stats().connections.untrusted_bytes == 0).await;
    let mut stream = raw.open("/quorate/slice/1").await;
    let payload = Bytes::from(vec![b'e'; 200 * KIB]);
    stream.write_all(&encoded(Frame::Request { id: 9, payload: payload.clone() })).await.unwrap();
    let answer = encoded(Frame::Response { id: 9, outcome: Outcome::Answer(payload) });
    let expected = [encoded(Frame::Ready), answer].concat();
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer == expected);
    // A stream that is open keeps nothing of what came on it.
    eventually("all is given back again", async || server.stats().connections.untrusted_bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_bytes_of_strangers_are_bounded() {
    /// What a stranger's connection may hold: 512 KiB that wait to be read, and a frame of Yamux that is coming in.
    const HELD: u64 = 768 * 1024;
    // However slow the machine: nobody loses a stream or a connection for being held up.
    let limits = NetLimits {
        untrusted_units_per_second: 1_000_000,
        untrusted_room_time: LONG,
        untrusted_frame_time: LONG,
        ping_interval: LONG,
        write_stall: LONG,
        ..NetLimits::default()
    };
    let (world, server, script) = server(limits).await;
    let member = world.start(2, Script::new()).await;
    introduce(&member, &server);
    introduce(&server, &member);
    let unread = || server.stats().connections.unread_bytes;
    // Each sends on streams of all purposes until nothing more goes out: handlers hang, so that little of it is read.
    // The answers fit the windows: the peer's word that there is room for more would wait behind its requests.
    let payload = Bytes::from([&b"stuck, short"[..], &[b'e'; 4096]].concat());
    let frames = |purpose: Purpose| purpose.max_in_flight() + 128;
    let mut raws = Vec::new();
    let mut sending = Vec::new();
    for _ in 0..3 {
        let mut raw = stranger(&server, &script).await;
        let mut streams = Vec::new();
        for purpose in Purpose::ALL {
            streams.push((purpose, raw.open(purpose.protocol().to_string().leak()).await));
        }
        for (purpose, stream) in streams {
            let (mut answers, mut requests) = tokio::io::split(stream);
            let (payload, count) = (payload.clone(), frames(purpose));
            sending.push(tokio::spawn(async move {
                let mut answer = [0; LENGTH_BYTES + HEADER_BYTES + 4];
                let send = async {
                    for id in 0..count as u64 {
                        requests.write_all(&encoded(Frame::Request { id, payload: payload.clone() })).await.unwrap();
                    }
                };
                let receive = async {
                    answers.read_exact(&mut [0; READY_BYTES]).await.unwrap();
                    for _ in 0..count {
                        answers.read_exact(&mut answer).await.unwrap();
                    }
                };
                tokio::join!(send, receive)
            }));
        }
        raws.push(raw);
    }
    eventually("they are held up", async || unread() >= 3 * 512 * 1024).await;
    for _ in 0..200 {
        assert!(ask(&member, server.local(), "echo").await.is_ok(), "members are not");
        assert!(unread() <= 3 * HELD, "{} bytes are held", unread());
    }
    // Nothing of it is lost.
    script.release.add_permits(1_000_000);
    assert!(join_all(sending).await.into_iter().all(|sent| sent.is_ok()));
    // What remains is the cost of streams that are open.
    eventually("all is read", async || unread() < 64 * 1024).await;
    server.shutdown().await;
    assert_eq!(unread(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_frame_that_has_begun_ends_in_time() {
    let limits = NetLimits { untrusted_frame_time: Duration::from_millis(50), ..NetLimits::default() };
    let (_, server, script) = server(limits).await;
    let mut trusted = Raw::connect(&server).await;
    let mut slow = trusted.open("/quorate/slice/1").await;
    let whole = request(1, b"echo");
    let (begin, end) = whole.split_at(9);
    slow.write_all(begin).await.unwrap();
    for (number, sent) in [1, 9].into_iter().enumerate() {
        let mut raw = stranger(&server, &script).await;
        let mut stream = raw.open("/quorate/slice/1").await;
        stream.write_all(&partial(4, sent)).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        assert_eq!(response, closed(ClosingReason::Idle));
        assert_eq!(server.stats().purpose(Purpose::Slice).stalled, number as u64 + 1);
    }
    slow.write_all(end).await.unwrap();
    slow.read_exact(&mut [0; READY_BYTES + LENGTH_BYTES + HEADER_BYTES + 4])
        .await
        .expect("whoever is trusted may be slow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_slowed_down_together_and_for_streams_alone() {
    // So few that a slow machine sends faster as well.
    let limits =
        NetLimits { untrusted_total_burst_units: 5, untrusted_total_units_per_second: 4, ..NetLimits::default() };
    let (world, server, script) = server(limits).await;
    // None of them reaches its own limit.
    let mut clients = Vec::new();
    for seed in 2..6 {
        let client = world.start(seed, Script::new()).await;
        script.strangers.lock().unwrap().insert(client.local());
        introduce(&client, &server);
        clients.push(client);
    }
    let limited = async || {
        let requests = (0..8).map(|number| {
            clients[number % 4].request(server.local(), Purpose::Directory, Bytes::from_static(b"echo"), LONG)
        });
        assert!(join_all(requests).await.into_iter().all(|answer| answer.is_ok()));
        server.stats().purpose(Purpose::Directory).rate_limited > 0
    };
    eventually("they are slowed down", limited).await;
    // Streams that bring no frame cost as well.
    let mut raw = stranger(&server, &script).await;
    let limited = async || {
        for _ in 0..8 {
            let mut stream = raw.open("/quorate/slice/1").await;
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        server.stats().purpose(Purpose::Slice).rate_limited > 0
    };
    eventually("streams alone are slowed down", limited).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_loses_its_stream() {
    let limits = NetLimits {
        write_stall: Duration::from_millis(100),
        max_inbound_streams_per_purpose: 1,
        ..NetLimits::default()
    };
    let (_, server, script) = server(limits).await;
    let mut raw = Raw::connect(&server).await;
    let mut stream = raw.open("/quorate/slice/1").await;
    let payload = Bytes::from(vec![b'e'; 64 * KIB]);
    for id in 0..16 {
        // The server may be through with it already.
        let _ = stream.write_all(&encoded(Frame::Request { id, payload: payload.clone() })).await;
    }
    let again = async || {
        let mut stream = raw.open("/quorate/slice/1").await;
        stream.write_all(&request(1, b"echo again")).await.is_ok()
            && stream.read_exact(&mut [0; READY_BYTES + 24]).await.is_ok()
    };
    eventually("its place is free", again).await;
    assert!(script.times()[&b"echo again"[..]] > 0);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(response.len() < 16 * payload.len(), "{} bytes", response.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_line_is_noticed_though_it_is_full() {
    let limits = NetLimits {
        ping_interval: Duration::from_millis(200),
        backoff_base: Duration::from_millis(20),
        ..NetLimits::default()
    };
    let (world, server, _) = server(limits).await;
    let client = world.start(2, Script::new()).await;
    let proxy = Proxy::start(loopback(1), port(&server)).await;
    client.set_addresses(server.local(), vec![proxy.address()]);
    assert!(ask(&client, server.local(), "echo").await.is_ok());
    eventually("pinged", async || client.peers()[0].round_trip.is_some()).await;
    proxy.go_dead();
    // More than all buffers on the way hold.
    let frames = Purpose::ALL.into_iter().flat_map(|purpose| {
        let frame = Bytes::from(vec![b'e'; purpose.max_frame_bytes()]);
        (0..2).map(move |_| (purpose, frame.clone()))
    });
    let requests = frames.map(|(purpose, frame)| client.request(server.local(), purpose, frame, LONG));
    let requests = tokio::spawn(join_all(requests));
    assert!(requests.await.unwrap().into_iter().all(|answer| answer.is_err()));
    eventually("connected anew", async || ask(&client, server.local(), "echo").await.is_ok()).await;
    // On a slow machine a living one may be taken for dead as well.
    eventually("the old one is closed", async || client.stats().connections.connections_closed >= 1).await;
    assert_eq!(client.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_answers_what_it_can_and_says_so() {
    let (_, server, script) = server(NetLimits::default()).await;
    let mut raw = Raw::connect(&server).await;
    let mut idle = raw.open("/quorate/directory/1").await;
    let mut busy = raw.open("/quorate/slice/1").await;
    idle.write_all(&request(1, b"echo")).await.unwrap();
    idle.read_exact(&mut [0; READY_BYTES + LENGTH_BYTES + HEADER_BYTES + 4]).await.unwrap();
    busy.write_all(&request(2, b"stuck")).await.unwrap();
    eventually("begun", async || script.handled() == 2).await;
    server.shutdown().await;
    let closing = encoded(Frame::Closing { reason: ClosingReason::Shutdown });
    let mut said = Vec::new();
    idle.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, closing);
    let unavailable = Outcome::Unavailable("the host is shutting down".into());
    let mut said = Vec::new();
    busy.read_to_end(&mut said).await.unwrap();
    let response = encoded(Frame::Response { id: 2, outcome: unavailable });
    assert_eq!(said, [encoded(Frame::Ready), response, closing].concat());
}
