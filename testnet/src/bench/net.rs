//! The testnet that figures are taken from: five hosts, one for each vat or member, and clients that call from outside.

use crate::process::{TestNet, members, own_file};
use anyhow::{Context, bail, ensure};
use quorate_admin::client::Endpoint;
use quorate_client::{Client, Reader};
use quorate_config::cluster::Cluster;
use quorate_consensus::Member;
use quorate_engine::{
    abi::{Method, Value},
    comms::client::ClientRef,
};
use quorate_protocol::{status::HostStatus, sturdyref::Sturdyref};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// The longest wait for anything of a testnet.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a host that is starting.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Ticks of `/proc/PID/stat` in a second, on every Linux that users see (proc(5)).
const TICKS: f64 = 100.0;

/// Bytes in one MiB.
pub const MIB: f64 = 1_048_576.0;

/// A vat of a testnet: name, hosts, threshold, file in `bench-vats/`, other vats in its `argv`.
pub type VatLine = (&'static str, &'static [&'static str], u16, &'static str, &'static [&'static str]);

/// The vats of all figures but that of idle memory.
pub const VATS: &[VatLine] = &[
    ("driver", &["outside"], 1, "driver.js", &["counter"]),
    ("counter", &["alpha", "beta", "gamma"], 2, "counter.js", &[]),
    ("lone", &["single"], 1, "counter.js", &[]),
    ("board", &["alpha", "beta", "gamma"], 2, "board.js", &[]),
];

/// The vat among them that publishes something.
const PUBLISHES: &str = "board";

/// A running testnet; dropping it kills its hosts.
pub struct BenchNet {
    net: TestNet,
    cluster: Cluster,
    members: Vec<Member>,
}

impl BenchNet {
    /// Starts a testnet of these vats.
    pub fn up(binary: &Path, vats: &[VatLine]) -> anyhow::Result<BenchNet> {
        let mut hosts: Vec<&str> = vats.iter().flat_map(|(_, hosts, ..)| hosts.iter().copied()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut text: String = hosts.iter().map(|host| format!("[[host]]\nname = \"{host}\"\n")).collect();
        for (name, hosts, threshold, file, argv) in vats {
            let source = own_file("bench-vats").join(file);
            text.push_str(&format!("[[vat]]\nname = \"{name}\"\nhosts = {hosts:?}\nthreshold = {threshold}\n"));
            text.push_str(&format!("source = {:?}\n[vat.argv]\n", source.display().to_string()));
            argv.iter().for_each(|other| text.push_str(&format!("{other} = {{ vat = \"{other}\" }}\n")));
            if *name == PUBLISHES {
                text.push_str("publisher = { endowment = \"publisher\" }\n");
            }
        }
        BenchNet::up_config(binary, &text)
    }

    /// Starts a testnet by the text of its config.
    pub fn up_config(binary: &Path, config: &str) -> anyhow::Result<BenchNet> {
        let net = TestNet::new(binary);
        let config = net.file("testnet.toml", config);
        net.up(&config, &[]).succeeded().context("the testnet did not start")?;
        let mut cluster = net.cluster();
        // Hosts are restarted by this process, so that nothing but their start is in the figure.
        binary.clone_into(&mut cluster.binary);
        Ok(BenchNet { members: members(&net), net, cluster })
    }

    /// The bearer of a vat's root, as text.
    pub fn reference(&self, vat: &str) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(self.net.dir().join("refs").join(format!("{vat}.ref")))?;
        Ok(text.trim().to_owned())
    }

    /// The testnet itself.
    pub fn testnet(&self) -> &TestNet {
        &self.net
    }

    /// Waits until a host has the code of a vat that the config does not have.
    pub async fn wait_installed(&self, vat: &str, host: &str) -> anyhow::Result<()> {
        let (endpoint, deadline) = (self.endpoint(host), Instant::now() + PATIENCE);
        loop {
            let status = endpoint.get::<HostStatus>("/api/v1/status").await;
            if status.is_ok_and(|status| status.vats.iter().any(|each| each.name == vat && each.installed)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{vat} has no code in time: {}", self.net.last_words());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A client of a vat's root.
    pub async fn client(&self, vat: &str) -> anyhow::Result<Client> {
        let sturdyref: Sturdyref = self.reference(vat)?.parse()?;
        let hosts = self.hosts_of(vat);
        let members: Vec<Member> = self.members.iter().filter(|member| hosts.contains(&member.name)).cloned().collect();
        Ok(Client::connect(&sturdyref, &members).await?)
    }

    /// A reader of what a vat publishes, that knows no member yet.
    pub async fn reader(&self, vat: &str) -> anyhow::Result<Reader> {
        let text = std::fs::read_to_string(self.net.dir().join("refs").join(format!("{vat}.ref")))?;
        let sturdyref: Sturdyref = text.trim().parse()?;
        Ok(Reader::start(sturdyref.vat, &self.members, None, tokio::time::Instant::now() + PATIENCE).await?)
    }

    /// The hosts that carry a vat.
    pub fn hosts_of(&self, vat: &str) -> Vec<String> {
        let places = self.cluster.layout.vats.iter().filter(|place| place.name == vat);
        places.flat_map(|place| place.hosts.clone()).collect()
    }

    /// Kills hosts as a power failure would.
    pub fn kill(&self, hosts: &[String]) -> anyhow::Result<()> {
        for host in hosts {
            self.cluster.kill(host)?;
        }
        Ok(())
    }

    /// Has a host use what of the processor the others leave. In life it is another machine, whose work takes nothing from them.
    pub fn give_way(&self, host: &str) -> anyhow::Result<()> {
        let pid = self.process(host)?;
        // A thread has a priority of its own, which those that it begins have, too.
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.file_name();
            let ran = Command::new("renice").args(["-n", "19", "-p"]).arg(&thread).output()?;
            ensure!(ran.status.success(), "renice {thread:?}: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Ok(())
    }

    fn process(&self, host: &str) -> anyhow::Result<u32> {
        self.cluster.process(host).with_context(|| format!("{host} does not run"))
    }

    /// Bytes of memory that a host's process takes: its own, and its part of what it shares with others (PSS).
    pub fn memory(&self, host: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process(host)?))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel tells no Pss")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// Seconds of the processors that a host's process has used, by the hundredth. (The metric of that counts whole seconds.)
    pub fn processor_seconds(&self, host: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process(host)?))?;
        // The name of the program, in parentheses, may hold anything. Behind it, the 12th and 13th are those of the user and of the system.
        let (_, fields) = text.rsplit_once(')').context("not such a line as proc(5) says")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS)
    }

    /// A host's home.
    pub fn home(&self, host: &str) -> PathBuf {
        self.net.dir().join("hosts").join(host)
    }

    /// Starts hosts, all at once, without waiting for any.
    pub fn start(&self, hosts: &[String]) -> anyhow::Result<Vec<Child>> {
        let children =
            hosts.iter().map(|host| self.cluster.spawn(host)?.with_context(|| format!("{host} runs already")));
        children.collect()
    }

    /// Waits until one of a vat's hosts leads it. (What the others say may be of the time before a restart.)
    pub async fn led(&self, vat: &str) -> anyhow::Result<()> {
        let (hosts, deadline) = (self.hosts_of(vat), Instant::now() + PATIENCE);
        loop {
            for host in &hosts {
                if self.leads(vat, host).await {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < deadline, "no leader of {vat} in time: {}", self.net.last_words());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn leads(&self, vat: &str, host: &str) -> bool {
        let status = self.endpoint(host).get::<HostStatus>("/api/v1/status").await;
        status.is_ok_and(|status| status.vats.iter().any(|each| each.name == vat && each.role == "leader"))
    }

    /// A host's metrics page.
    pub async fn metrics(&self, host: &str) -> String {
        self.endpoint(host).get_text("/metrics").await.unwrap_or_default()
    }

    fn endpoint(&self, host: &str) -> Endpoint {
        let mut places = self.cluster.layout.hosts.iter();
        Endpoint::Tcp(places.find(|place| place.name == host).expect("figures name hosts of their testnet").http)
    }
}

/// Calls a method of a client's vat and gives the number that it answers, 0 for nothing.
pub async fn call(client: &Client, method: &str, args: Vec<Value>) -> anyhow::Result<f64> {
    let answer = client.call(ClientRef::Object(0), Method::Call(method.into()), args, PATIENCE).await?;
    match answer.value {
        _ if !answer.fulfilled => bail!("{method} was rejected: {:?}", answer.value),
        Value::Number(number) => Ok(number),
        _ => Ok(0.0),
    }
}

/// A whole number as an argument.
pub fn number(number: u32) -> Value {
    Value::Number(number.into())
}
