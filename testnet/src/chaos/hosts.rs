//! The hosts under chaos: real processes, each in its namespace, if there are any.

use super::network::{Network, address};
use crate::process::TestNet;
use anyhow::{Context, bail, ensure};
use quorate_config::cluster::{Cluster, HostState};
use quorate_consensus::Member;
use quorate_protocol::status::{HostStatus, VatStatus};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// The hosts by place in the network, from 1 on. The first four begin as members of `ledger`, the fifth is its spare one, and the last one
/// has the solo vat that sends.
pub const HOSTS: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "outside"];
/// How many of them can be members of `ledger`.
pub const MEMBERS: usize = 5;
/// The hosts of which one is a member of `ledger`, and nothing else.
pub const SWAPPED: [usize; 2] = [3, 4];
/// The host whose disk can be full.
pub const SMALL_DISK: usize = 3;
/// What its file says of it, beside what all files say.
const DISK_LIMITS: &str = "disk_soft_limit = \"24 MiB\"\ndisk_hard_limit = \"8 MiB\"\n";
/// The host whose clock can be set.
pub const ODD_CLOCK: usize = 2;

const CONFIG: &str = r#"
[[vat]]
name = "ledger"
hosts = ["alpha", "beta", "gamma", "delta"]
threshold = 3
source = "ledger.js"
[vat.limits]
checkpoint_deliveries = 400

[[vat]]
name = "tally"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "ledger.js"
[vat.limits]
checkpoint_deliveries = 400

[[vat]]
name = "driver"
hosts = ["outside"]
threshold = 1
source = "driver.js"
[vat.argv]
ledger = { vat = "ledger" }
tally = { vat = "tally" }
"#;
/// Bytes of the small disk.
const DISK_MEGABYTES: u32 = 192;
/// Where Debian has the library that changes what a process' clock shows.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The hosts.
pub struct Hosts {
    pub net: TestNet,
    cluster: Cluster,
    binary: PathBuf,
    pub network: Option<Network>,
    pub has_small_disk: bool,
    pub has_odd_clock: bool,
    children: Mutex<BTreeMap<usize, Child>>,
    /// Hosts whose present keys are or were members of `ledger`.
    were_members: Mutex<BTreeSet<usize>>,
}

impl Hosts {
    /// Makes homes and starts all hosts.
    pub async fn up(binary: &Path, network: Option<Network>) -> anyhow::Result<Hosts> {
        let net = TestNet::new(binary);
        for file in ["ledger.js", "driver.js"] {
            let source = fs::read_to_string(crate::process::own_file("chaos-vats").join(file))?;
            net.file(file, &source);
        }
        let mut config = String::new();
        for (place, host) in HOSTS.iter().enumerate() {
            config.push_str(&format!("[[host]]\nname = \"{host}\"\n"));
            if network.is_some() {
                config.push_str(&format!("listen = \"{}:7001\"\n", address(place + 1)));
            }
            if place == SMALL_DISK {
                config.push_str(DISK_LIMITS);
            }
        }
        let config = net.file("testnet.toml", &(config + CONFIG));
        let made = net.vat(&["testnet", "init", config.to_str().context("a path that is text")?]);
        ensure!(made.code == 0, "the homes were not made: {}{}", made.stdout, made.stderr);
        let has_small_disk = network.is_some() && small_disk(&net.dir().join("hosts").join(HOSTS[SMALL_DISK]))?;
        let cluster = net.cluster();
        let has_odd_clock = Path::new(FAKETIME).exists();
        let binary = std::path::absolute(binary)?;
        let hosts = Hosts {
            net,
            cluster,
            binary,
            network,
            has_small_disk,
            has_odd_clock,
            children: Mutex::default(),
            were_members: Mutex::new((0..4).collect()),
        };
        hosts.set_clock(0)?;
        for place in 0..HOSTS.len() {
            hosts.start(place)?;
        }
        hosts
            .wait(Duration::from_secs(240), "hosts that serve", async || {
                let mut members = 0;
                for place in 0..HOSTS.len() {
                    let status = hosts.status(place).await?;
                    members += status.vats.iter().filter(|vat| vat.installed && vat.leader.is_some()).count();
                }
                (members == 8).then_some(())
            })
            .await?;
        Ok(hosts)
    }

    /// The folder of a host.
    pub fn home(&self, place: usize) -> PathBuf {
        self.cluster.dir.home(HOSTS[place])
    }

    /// Starts a host, unless it runs.
    pub fn start(&self, place: usize) -> anyhow::Result<()> {
        if self.cluster.process(HOSTS[place]).is_some() {
            return Ok(());
        }
        let log = fs::File::options().create(true).append(true).open(self.cluster.dir.host_log(HOSTS[place]))?;
        let mut command = Command::new(&self.binary);
        command.args(["node", "run", "--home"]).arg(fs::canonicalize(self.home(place))?);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.env_remove("NOTIFY_SOCKET");
        if place == ODD_CLOCK && self.has_odd_clock {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            command
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        if let Some(network) = &self.network {
            let namespace = network.namespace(place + 1);
            let enter = move || {
                // SAFETY: the call takes no pointers; the descriptor is open as long as the network is there.
                if unsafe { libc::setns(namespace, libc::CLONE_NEWNET) } == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            };
            // SAFETY: between fork and exec only a system call is made.
            unsafe { command.pre_exec(enter) };
        }
        let child = command.spawn().with_context(|| format!("starting {}", HOSTS[place]))?;
        let mut children = self.children.lock().expect("nothing panics with it");
        if let Some(mut before) = children.insert(place, child) {
            let _ = before.wait();
        }
        Ok(())
    }

    /// Kills a host as a power failure would.
    pub fn kill(&self, place: usize) -> anyhow::Result<()> {
        self.cluster.kill(HOSTS[place])?;
        if let Some(mut child) = self.children.lock().expect("nothing panics with it").remove(&place) {
            let _ = child.wait();
        }
        Ok(())
    }

    /// Gives a host that was a member of `ledger` a new home, and so a new key. Another host stays as it is. It is a member from now on.
    pub async fn renew(&self, place: usize) -> anyhow::Result<()> {
        let was_member = !self.were_members.lock().expect("nothing panics with it").insert(place);
        if !was_member {
            return Ok(());
        }
        let home = self.home(place);
        self.kill(place)?;
        let at = &self.cluster.layout.hosts[place];
        let (fresh, http) = (home.with_extension("fresh"), at.http.to_string());
        let to = fresh.to_str().context("a path that is text")?;
        let common = ["node", "init", "--home", to, "--name", HOSTS[place], "--listen", &at.address];
        let made = self.net.vat(&[&common[..], &["--http", &http, "--approve", "auto"]].concat());
        ensure!(made.code == 0, "a new home of {}: {}{}", HOSTS[place], made.stdout, made.stderr);
        if place == SMALL_DISK {
            let file = fresh.join("host.toml");
            fs::write(&file, fs::read_to_string(&file)? + DISK_LIMITS)?;
        }
        // The folder itself may be a disk.
        for entry in fs::read_dir(&home)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        let copied = Command::new("cp").arg("-a").arg(fresh.join(".")).arg(&home).output()?;
        ensure!(copied.status.success(), "copying a home: {}", String::from_utf8_lossy(&copied.stderr));
        fs::remove_dir_all(fresh)?;
        self.start(place)?;
        self.wait(Duration::from_secs(60), "host with a new home", async || self.status(place).await).await?;
        Ok(())
    }

    /// Halts a host's process, or has it go on.
    pub fn halt(&self, place: usize, halted: bool) -> anyhow::Result<()> {
        let process = self.cluster.process(HOSTS[place]).with_context(|| format!("{} does not run", HOSTS[place]))?;
        let signal = if halted { libc::SIGSTOP } else { libc::SIGCONT };
        // SAFETY: the call takes no pointers.
        ensure!(unsafe { libc::kill(process as libc::pid_t, signal) } == 0, "{}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Sets the odd clock so many seconds off.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        let staged = self.net.path("clock.staged");
        fs::write(&staged, format!("{seconds:+}\n"))?;
        Ok(fs::rename(staged, self.clock_file())?)
    }

    fn clock_file(&self) -> PathBuf {
        self.net.path("clock")
    }

    /// Fills the small disk.
    pub fn fill_disk(&self) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.home(SMALL_DISK).join("ballast"))?;
        let piece = [0x42; 64 << 10];
        while file.write_all(&piece).is_ok() {}
        Ok(())
    }

    /// Makes room on it again, and starts its host if it has ended.
    pub fn empty_disk(&self) -> anyhow::Result<()> {
        fs::remove_file(self.home(SMALL_DISK).join("ballast"))?;
        self.start(SMALL_DISK)
    }

    /// Changes single bits in a table of a stopped host's database. Returns how many; none if there is no table.
    pub fn flip_bits(&self, place: usize, chance: &mut ChaCha8Rng) -> anyhow::Result<usize> {
        let entries = fs::read_dir(self.home(place).join("data"))?.flatten().map(|entry| entry.path());
        let mut tables: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
        tables.sort();
        if tables.is_empty() {
            return Ok(0);
        }
        let table = &tables[chance.random_range(0..tables.len())];
        let mut bytes = fs::read(table)?;
        let flips = chance.random_range(1..=3);
        for _ in 0..flips {
            let at = chance.random_range(0..bytes.len());
            bytes[at] ^= 1 << chance.random_range(0..8);
        }
        fs::write(table, bytes)?;
        Ok(flips)
    }

    /// Repairs a stopped host as its operator does. Returns what was said.
    pub fn repair(&self, place: usize) -> anyhow::Result<String> {
        let ran = self.net.vat(&["member", "repair", "--host", HOSTS[place], "--json"]);
        ensure!(ran.code == 0, "`vat member repair` on {}: {}{}", HOSTS[place], ran.stdout, ran.stderr);
        Ok(ran.stdout.trim().to_owned())
    }

    /// What a host says of itself, if it does.
    pub async fn status(&self, place: usize) -> Option<HostStatus> {
        match self.cluster.state(HOSTS[place]).await {
            Ok(HostState::Up(status)) => Some(*status),
            _ => None,
        }
    }

    /// A host's replica of a vat.
    pub async fn replica(&self, place: usize, vat: &str) -> Option<VatStatus> {
        self.status(place).await?.vats.into_iter().find(|status| status.name == vat)
    }

    /// The members of `ledger` by the word of its leader: their places, and the leader's.
    pub async fn members(&self) -> Option<(Vec<usize>, usize)> {
        for place in 0..MEMBERS {
            if let Some(status) = self.replica(place, "ledger").await.filter(|status| status.role == "leader") {
                let is_member = |host: &&str| status.members.iter().any(|member| member.name == **host);
                let places = HOSTS.iter().enumerate().filter(|(_, host)| is_member(host)).map(|(place, _)| place);
                return Some((places.collect(), place));
            }
        }
        None
    }

    /// Waits until all hosts serve and each member of `ledger` and `tally` has certified what any had when the wait began.
    pub async fn caught_up(&self, patience: Duration) -> anyhow::Result<()> {
        let mut goals: BTreeMap<&str, u64> = BTreeMap::new();
        for vat in ["ledger", "tally"] {
            for place in 0..MEMBERS {
                let certified = self.replica(place, vat).await.map_or(0, |status| status.certified_block);
                let goal = goals.entry(vat).or_default();
                *goal = certified.max(*goal);
            }
        }
        self.wait(patience, "members that have all", async || {
            for place in 0..HOSTS.len() {
                let status = self.status(place).await?;
                if !status.failed_vats.is_empty() {
                    return None;
                }
                for vat in status.vats.iter().filter(|vat| vat.role != "removed" && vat.role != "leaving") {
                    let goal = goals.get(vat.name.as_str()).copied().unwrap_or(0);
                    if vat.fault.is_some()
                        || vat.standstill.is_some()
                        || vat.leader.is_none()
                        || vat.certified_block < goal
                    {
                        return None;
                    }
                }
            }
            Some(())
        })
        .await
    }

    /// Waits for something.
    ///
    /// # Errors
    /// It does not come in time; what the hosts said last.
    pub async fn wait<T>(
        &self,
        patience: Duration,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("no {what} in {} s\n{}", patience.as_secs(), self.net.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The hosts, as clients ask them.
    pub fn members_for_clients(&self) -> anyhow::Result<Vec<Member>> {
        Ok(self.cluster.layout.members()?)
    }

    /// The text of a vat's reference.
    pub fn reference(&self, vat: &str) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.net.dir().join("refs").join(format!("{vat}.ref")))?.trim().to_owned())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let children = self.children.get_mut().expect("nothing panics with it");
        for child in children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.has_small_disk {
            let _ = Command::new("umount").arg("-l").arg(self.home(SMALL_DISK)).status();
        }
    }
}

/// Moves a home onto a small disk, in this process' own mounts. Returns whether that is allowed.
fn small_disk(home: &Path) -> anyhow::Result<bool> {
    let aside = home.with_extension("aside");
    fs::rename(home, &aside)?;
    fs::create_dir(home)?;
    let size = format!("size={DISK_MEGABYTES}m,mode=0700");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(home).output();
    if !mounted.is_ok_and(|ran| ran.status.success()) {
        fs::remove_dir(home)?;
        fs::rename(&aside, home)?;
        return Ok(false);
    }
    let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(home).output()?;
    ensure!(copied.status.success(), "copying a home: {}", String::from_utf8_lossy(&copied.stderr));
    fs::remove_dir_all(aside)?;
    Ok(true)
}
