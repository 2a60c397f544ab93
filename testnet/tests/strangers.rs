//! Broken bytes on the port of a running host, of nobody, of a stranger and of a member: no harm is done, and all is counted.

mod support;

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, SwarmBuilder, identity, noise,
    swarm::{StreamProtocol, SwarmEvent},
    tcp, yamux,
};
use quorate_config::layout::HostPlace;
use quorate_net::{
    HostId, PeerName, Purpose,
    frame::{ClosingReason, FRAME_VERSION, HEADER_BYTES},
};
use quorate_testnet::process::TestNet;
use std::{io::Write as _, net::TcpStream};
use support::{LONG, counter_net, metric};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

/// A counter with a member that never runs: the tests use its key.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "absent"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "absent"]
threshold = 2
source = "counter.js"
"#;

#[test]
fn broken_bytes_on_the_port_do_no_harm_and_are_counted() {
    let (net, config) = counter_net(CONFIG);
    net.up(&config, &["--without", "absent"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(1));
    let failures = || metric(&net.metrics("alpha"), "quorate_inbound_failures_total", &[]);
    let before = failures();
    let noise: Vec<u8> = (0..1_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let attacks: [&[u8]; 6] = [
        b"",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        &noise,
        &[0xff; 4096],
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xffgarbage instead of a handshake",
    ];
    // Half of them hang up, half stay for as long as they are let.
    let mut open = Vec::new();
    for attack in attacks {
        for stays in [false, true] {
            let mut socket = TcpStream::connect(("127.0.0.1", port(&net, "alpha"))).expect("the port is open");
            // The host may hang up before it has taken everything.
            let _ = socket.write_all(attack);
            open.extend(stays.then_some(socket));
        }
    }
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(2));
    net.wait("failed connections in the metrics", || (failures() >= before + 2.0 * attacks.len() as f64).then_some(()));
    drop(open);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut key = net.cluster().home("absent").expect("a home").key.to_bytes();
    let member = identity::Keypair::ed25519_from_bytes(&mut key).expect("a key");
    runtime.block_on(async {
        let mut stranger = Raw::connect(&net, "alpha", identity::Keypair::generate_ed25519()).await;
        break_streams(&mut stranger, |purpose| matches!(purpose, Purpose::Slice | Purpose::Directory | Purpose::Share))
            .await;
        let mut member = Raw::connect(&net, "alpha", member).await;
        break_streams(&mut member, |purpose| purpose != Purpose::Admin).await;
    });
    let page = net.metrics("alpha");
    for purpose in Purpose::ALL {
        // Of the member, and of the stranger where it is let in. Neither is an operator of the host.
        let times = match purpose {
            Purpose::Slice | Purpose::Directory | Purpose::Share => 2.0,
            Purpose::Admin => 0.0,
            _ => 1.0,
        };
        for (reason, count) in [
            ("malformed", 2.0 * times),
            ("oversized", 2.0 * times),
            ("truncated", times),
            ("forbidden", 5.0 * (2.0 - times)),
        ] {
            let labels = [format!("purpose=\"{purpose}\""), format!("reason=\"{reason}\"")];
            let labels = [labels[0].as_str(), labels[1].as_str()];
            let counted = metric(&page, "quorate_net_rejected_total", &labels);
            assert_eq!(counted, count, "{purpose}, {reason}");
        }
    }
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(3));
    net.wait("one complaint, that a member is absent", || {
        let status = net.vat(&["status"]);
        let problems: Vec<&str> = status.stdout.lines().filter(|line| line.starts_with('!')).collect();
        let absent = |problem: &&str| problem.contains("absent does not run");
        (status.code == 1 && problems.len() == 1 && problems.iter().all(absent)).then_some(())
    });
}

/// Sends what is no frame on a stream of each purpose, of which some are open to the client.
async fn break_streams(raw: &mut Raw, open: impl Fn(Purpose) -> bool) {
    let frame =
        |length: u32, version: u8| [&length.to_be_bytes()[..], &[version, 0], &1u64.to_be_bytes(), b"payload"].concat();
    let whole = (HEADER_BYTES + 7) as u32;
    for purpose in Purpose::ALL {
        let too_long = (HEADER_BYTES + purpose.max_frame_bytes() + 1) as u32;
        for (bytes, reason) in [
            (frame(whole, FRAME_VERSION + 1), Some(ClosingReason::Malformed)),
            (vec![0; 64], Some(ClosingReason::Malformed)),
            (frame(too_long, FRAME_VERSION), Some(ClosingReason::Oversized)),
            (frame(u32::MAX, FRAME_VERSION), Some(ClosingReason::Oversized)),
            (frame(whole, FRAME_VERSION)[..9].to_vec(), None),
        ] {
            let reason = if open(purpose) { reason } else { Some(ClosingReason::Forbidden) };
            let said = raw.say(purpose.protocol(), &bytes).await;
            match reason {
                // A closing: length, version, kind, id 0, and the reason.
                Some(reason) => assert_eq!(said.last(), Some(&(reason as u8)), "{purpose}: {said:?}"),
                // That it is ready, and nothing else.
                None => assert_eq!(said.len(), 4 + HEADER_BYTES, "{purpose}: {said:?}"),
            }
        }
    }
}

fn place(net: &TestNet, host: &str) -> HostPlace {
    net.cluster().layout.hosts.into_iter().find(|place| place.name == host).expect("a known host")
}

/// Where a host listens for others.
fn port(net: &TestNet, host: &str) -> u16 {
    place(net, host).address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// A client that speaks libp2p but none of our framing.
struct Raw {
    server: PeerId,
    control: libp2p_stream::Control,
}

impl Raw {
    async fn connect(net: &TestNet, host: &str, key: identity::Keypair) -> Raw {
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("TCP")
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .expect("a behaviour")
            .build();
        let place = place(net, host);
        let address: Multiaddr = place.address.parse().expect("a multiaddr");
        let server = place.key.parse::<HostId>().expect("a layout's keys are keys").peer_id();
        swarm.dial(address.with_p2p(server).expect("no other peer")).expect("dialling");
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        let control = swarm.behaviour().new_control();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Raw { server, control }
    }

    /// Sends bytes on a stream of their own, and returns what comes until the other side closes it.
    async fn say(&mut self, protocol: StreamProtocol, bytes: &[u8]) -> Vec<u8> {
        let stream = self.control.open_stream(self.server, protocol).await.expect("a stream");
        let mut stream: Compat<libp2p::Stream> = stream.compat();
        // The other side may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await.expect("it closes the stream");
        said
    }
}
