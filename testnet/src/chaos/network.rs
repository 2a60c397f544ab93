//! A network of namespaces on this machine: each host has one with a single interface, a TUN device, and this process carries the packets
//! between them: late, not all of them, or none. Kernels without `netem` can do it, and nothing outside of this process' own namespace changes.

use rand::{RngExt, SeedableRng};
use std::ffi::c_char;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longest packet, in bytes.
const PACKET_BYTES: usize = 1_500;
/// From `linux/if_tun.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: libc::c_short = 1;
const IFF_NO_PI: libc::c_short = 0x1000;

/// What happens to packets one way between two places.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    pub is_cut: bool,
    pub delay: Duration,
    /// Of a thousand packets, so many are lost.
    pub lost_permille: u32,
}

/// The links from each place to each other one.
struct Links {
    links: Mutex<Vec<Vec<Link>>>,
    carried: AtomicU64,
    lost: AtomicU64,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network. Place 0 is this process; the others are hosts.
pub struct Network {
    links: Arc<Links>,
    namespaces: Vec<OwnedFd>,
}

/// Where a place is.
pub fn address(place: usize) -> String {
    format!("10.77.0.{}", place + 1)
}

/// Gives this process a network and mounts of its own. To be called before there are other threads.
///
/// # Errors
/// It may not have any.
pub fn leave_the_machines_network() -> io::Result<()> {
    // Whatever is missing is missed by a thread of its own first: what this process has left it can't go back to.
    thread::spawn(|| namespace(0).map(drop)).join().map_err(|_| io::Error::other("a thread died"))??;
    // SAFETY: the call takes no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    run("mount", &["--make-rprivate", "/"])
}

impl Network {
    /// Makes a network of so many places, this process' among them.
    ///
    /// # Errors
    /// The system does not let this process make namespaces or TUN devices.
    pub fn new(places: usize, seed: u64) -> io::Result<Network> {
        let links = vec![vec![Link::default(); places]; places];
        let links = Arc::new(Links { links: Mutex::new(links), carried: AtomicU64::new(0), lost: AtomicU64::new(0) });
        let mut devices = vec![Arc::new(device(0)?)];
        let mut namespaces = Vec::new();
        for place in 1..places {
            let made = thread::spawn(move || namespace(place)).join().map_err(|_| io::Error::other("a thread died"))?;
            let (namespace, device) = made?;
            namespaces.push(namespace);
            devices.push(Arc::new(device));
        }
        let senders: Vec<_> = devices.iter().map(|device| deliver(device.clone())).collect();
        for (place, device) in devices.into_iter().enumerate() {
            let (links, senders) = (links.clone(), senders.clone());
            thread::spawn(move || carry(&device, place, &links, &senders, seed + place as u64));
        }
        Ok(Network { links, namespaces })
    }

    /// The namespace of a host.
    pub fn namespace(&self, place: usize) -> RawFd {
        self.namespaces[place - 1].as_raw_fd()
    }

    /// Changes links: from, to, and what it is now.
    pub fn change(&self, change: impl Fn(usize, usize, Link) -> Link) {
        for (from, row) in self.links.lock().iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate() {
                *link = change(from, to, *link);
            }
        }
    }

    /// How many packets were carried, and lost.
    pub fn packets(&self) -> (u64, u64) {
        (self.links.carried.load(Ordering::Relaxed), self.links.lost.load(Ordering::Relaxed))
    }
}

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let ran = Command::new(program).args(args).output()?;
    if ran.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim())))
}

/// A namespace for a host, and its device. This thread goes into it.
fn namespace(place: usize) -> io::Result<(OwnedFd, File)> {
    // SAFETY: the call takes no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let device = device(place)?;
    Ok((File::open("/proc/thread-self/ns/net")?.into(), device))
}

/// Makes the device of a place in the namespace of this thread.
fn device(place: usize) -> io::Result<File> {
    let file = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all zeros is a value of this C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
    // SAFETY: the structure is of the kind that this request reads, and lives until it returns.
    if unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    run("ip", &["address", "add", &format!("{}/24", address(place)), "dev", "tun0"])?;
    run("ip", &["link", "set", "lo", "up"])?;
    run("ip", &["link", "set", "tun0", "up"])?;
    Ok(file)
}

/// Writes packets to a device when they are due, in the order in which they come.
fn deliver(device: Arc<File>) -> mpsc::Sender<(Instant, Vec<u8>)> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, packet) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A packet that has no room is lost, as on any network.
            let _ = (&*device).write(&packet);
        }
    });
    sender
}

fn carry(device: &File, from: usize, links: &Links, to: &[mpsc::Sender<(Instant, Vec<u8>)>], seed: u64) {
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut buffer = [0; PACKET_BYTES];
    while let Ok(length) = (&*device).read(&mut buffer) {
        let packet = &buffer[..length];
        // IPv4 only: the destination.
        let place = match packet {
            [version, ..] if version >> 4 == 4 && length >= 20 => usize::from(packet[19]).checked_sub(1),
            _ => None,
        };
        let Some(place) = place.filter(|place| *place < to.len()) else { continue };
        let link = links.lock()[from][place];
        if link.is_cut || chance.random_ratio(link.lost_permille, 1_000) {
            links.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        links.carried.fetch_add(1, Ordering::Relaxed);
        let _ = to[place].send((Instant::now() + link.delay, packet.to_vec()));
    }
}
