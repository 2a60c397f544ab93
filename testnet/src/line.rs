//! A line between processes that takes its time: TCP connections through it arrive late, both ways.

use crate::process::TestNet;
use anyhow::Context as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What bytes through proxies go through; it can be changed at any time.
#[derive(Default)]
pub struct Line {
    delay_ms: AtomicU64,
    jitter_ms: AtomicU64,
    pieces: AtomicU64,
}

impl Line {
    /// From now on everything takes so long, one way.
    pub fn delay(&self, one_way_ms: u64, jitter_ms: u64) {
        self.delay_ms.store(one_way_ms, Ordering::SeqCst);
        self.jitter_ms.store(jitter_ms, Ordering::SeqCst);
    }

    fn arrival(&self) -> Instant {
        let jitter = self.jitter_ms.load(Ordering::SeqCst);
        // Spread evenly, and the same in each run.
        let piece = self.pieces.fetch_add(1, Ordering::SeqCst).wrapping_mul(7_919);
        let late = self.delay_ms.load(Ordering::SeqCst) + piece % (jitter + 1);
        Instant::now() + Duration::from_millis(late)
    }
}

/// Listens on loopback for `target`; returns where. Ends with the process.
///
/// # Panics
/// Loopback has no port left.
pub fn proxy(target: SocketAddr, line: &Arc<Line>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens");
    let line = Arc::clone(line);
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(target) else { continue };
            for stream in [&near, &far] {
                let _ = stream.set_nodelay(true);
            }
            let ends = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
            let Ok((near_again, far_again)) = ends else { continue };
            carry(near, far, Arc::clone(&line));
            carry(far_again, near_again, Arc::clone(&line));
        }
    });
    address
}

/// Writes a card of each host of a testnet, `NAME.card`, by which others reach it through the line.
///
/// # Errors
/// A host listens on something else than TCP, or the command fails.
pub fn cards(net: &TestNet, line: &Arc<Line>) -> anyhow::Result<()> {
    for place in net.cluster().layout.hosts {
        let far = proxy(socket(&place.address).context("hosts of a testnet listen on TCP")?, line);
        let announced = format!("/ip4/127.0.0.1/tcp/{}", far.port());
        let card = net.vat(&["card", "--home", &home(&place.name), "--announce", &announced]).succeeded()?;
        net.file(&format!("{}.card", place.name), &card);
    }
    Ok(())
}

/// Makes a vat on hosts that have [`cards`], and has all of them join. Returns its reference.
///
/// # Errors
/// A command fails.
pub fn vat(net: &TestNet, name: &str, hosts: &[&str], threshold: u16, source: &str) -> anyhow::Result<String> {
    let cards = hosts.iter().map(|host| format!("{host}.card")).collect::<Vec<_>>().join(",");
    let (threshold, first) = (threshold.to_string(), home(hosts[0]));
    let create = ["create", name, "--on", &cards, "--threshold", &threshold, "--source", source, "--home", &first];
    let reference = net.vat(&create).succeeded()?;
    for host in &hosts[1..] {
        net.vat(&["join", &format!("{name}.vat"), "--home", &home(host)]).succeeded()?;
    }
    Ok(reference.trim().to_owned())
}

fn home(host: &str) -> String {
    format!("net/hosts/{host}")
}

/// Carries bytes one way, in order.
fn carry(mut from: TcpStream, mut to: TcpStream, line: Arc<Line>) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        // No bytes: the end, which takes its time as well.
        while let Ok(read) = from.read(&mut buffer) {
            if sender.send((line.arrival(), buffer[..read].to_vec())).is_err() || read == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (at, bytes) in receiver {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if bytes.is_empty() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// Returns where the address of a host's card points: `/ip4/ADDRESS/tcp/PORT`, with what may follow.
pub fn socket(multiaddr: &str) -> Option<SocketAddr> {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    format!("{}:{}", parts.get(2)?, parts.get(4)?).parse().ok()
}
