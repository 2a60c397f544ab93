//! Calls by programs outside: of an open session of Cap'n Web, over plain HTTP, by `vat call`; and, for comparison, puts into etcd, where it is
//! installed. All are of 100 bytes and, but for one etcd, of three members on this machine's disk, one after the other, each with its syncs.

use super::{
    Figure, Promise, Sizes, median,
    net::{BenchNet, PATIENCE},
    percentile,
};
use crate::process::own_file;
use anyhow::{Context, ensure};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};
use tempfile::TempDir;

/// The program that is looked for to compare with.
const ETCD: &str = "etcd";

/// How many clients call at once in the second half.
const CROWD: u32 = 64;
/// How often a call may take longer than a put into etcd, and how many more there may be of a crowd.
const LONGER: f64 = 1.5;
const MORE: f64 = 3.0;

/// What is timed: how the script names it, how people do, and what it is called at.
pub(super) struct Subject {
    pub(super) what: &'static str,
    pub(super) name: &'static str,
    pub(super) url: String,
    pub(super) argument: String,
}

/// Measures all of them.
pub async fn measure(binary: &Path, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mut calls) = (Vec::new(), Vec::new());
    {
        let gateway = format!("127.0.0.1:{}", free_port()?);
        let net = BenchNet::up_config(binary, &config(&gateway))?;
        net.led("counter").await?;
        let subject = |what, name, url: String| {
            Ok::<_, anyhow::Error>(Subject { what, name, url, argument: net.reference("counter")? })
        };
        let of_session = subject("session", "call of an open session", format!("ws://{gateway}/capnweb"))?;
        let over_http = subject("http", "call over plain HTTP", format!("http://{gateway}"))?;
        calls.push(timed(&of_session, sizes, &mut figures).await?);
        // Not of a crowd: one reference may have 16 calls under way over HTTP.
        figures.extend(figures_of(over_http.name, &run(&over_http, sizes.client_calls, 1).await?.calls));
        let mut processes = Vec::new();
        for _ in 0..sizes.client_calls / 10 {
            let started = Instant::now();
            net.testnet().vat(&["call", "counter", "increment"]).succeeded().context("vat call")?;
            processes.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        figures.extend(figures_of("vat call, a process each", &processes));
    }
    for (members, name) in [(1, "put into etcd, one member"), (3, "put into etcd, three members")] {
        let Some(etcd) = Etcd::start(members).await? else {
            eprintln!("bench: {ETCD} is not installed (Debian: etcd-server), so there is no figure of it");
            continue;
        };
        let subject = Subject { what: "etcd", name, url: etcd.url.clone(), argument: "counter".into() };
        let puts = timed(&subject, sizes, &mut figures).await?;
        if members == 3 {
            figures.extend(beside(&calls[0], &puts));
        }
    }
    Ok(figures)
}

fn config(gateway: &str) -> String {
    let hosts = ["beta", "gamma"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let source = own_file("bench-vats/counter.js").display().to_string();
    let vat = "[[vat]]\nname = \"counter\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\n";
    format!("[[host]]\nname = \"alpha\"\ngateway = \"{gateway}\"\n{hosts}{vat}source = {source:?}\n")
}

/// What the promises are about.
struct Timed {
    /// Median of one client's calls, in ms.
    median: f64,
    /// Calls a second of a crowd.
    rate: f64,
}

/// The session's calls against puts into etcd.
fn beside(calls: &Timed, puts: &Timed) -> [Figure; 2] {
    [
        Figure::new("call of an open session, in puts into etcd", calls.median / puts.median, "")
            .promised(Promise::Under(LONGER))
            .note("medians of one client; both with three members"),
        Figure::new(format!("calls of {CROWD} sessions for each put into etcd"), calls.rate / puts.rate, "")
            .promised(Promise::Over(MORE))
            .note(format!("rates of {CROWD} clients; both with three members")),
    ]
}

fn figures_of(what: &str, samples: &[f64]) -> [Figure; 2] {
    let of = format!("of {} in a row", samples.len());
    [
        Figure::new(format!("{what}, median"), median(samples.to_vec()), "ms").note(of.clone()),
        Figure::new(format!("{what}, 99th percentile"), percentile(samples.to_vec(), 0.99), "ms").note(of),
    ]
}

/// Adds the figures of one client and of a crowd.
async fn timed(subject: &Subject, sizes: Sizes, figures: &mut Vec<Figure>) -> anyhow::Result<Timed> {
    let Subject { name, .. } = subject;
    let alone = run(subject, sizes.client_calls, 1).await?;
    figures.extend(figures_of(name, &alone.calls));
    let crowd = run(subject, sizes.client_calls / 5, CROWD).await?;
    let rate = crowd.calls.len() as f64 / crowd.whole * 1_000.0;
    let tail = percentile(crowd.calls.clone(), 0.99);
    let note = format!("each {:.1} ms in the middle, {tail:.1} ms at the 99th percentile", median(crowd.calls));
    figures.push(Figure::new(format!("{name}, {CROWD} clients"), rate, "/s").note(note));
    Ok(Timed { median: median(alone.calls), rate })
}

/// Milliseconds of each call, and of all.
#[derive(serde::Deserialize)]
pub(super) struct Times {
    pub(super) calls: Vec<f64>,
    whole: f64,
}

/// So many calls of each of so many clients, by a program of Node.js.
pub(super) async fn run(subject: &Subject, count: u32, clients: u32) -> anyhow::Result<Times> {
    let Subject { what, url, argument, .. } = subject;
    let mut command = tokio::process::Command::new("node");
    command.arg(own_file("tests/capnweb/outside.mjs"));
    command.args([what, url.as_str(), argument, &count.to_string(), &clients.to_string()]);
    let output = command.kill_on_drop(true).output().await.context("Node.js could not be started")?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Members of etcd; dropping it kills them.
struct Etcd {
    members: Vec<Child>,
    url: String,
    _folder: TempDir,
}

impl Etcd {
    /// Starts so many and waits for a leader. Nothing if it is not installed.
    async fn start(members: u16) -> anyhow::Result<Option<Etcd>> {
        let version = Command::new(ETCD).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("quorate-etcd-").tempdir()?;
        let mut ports = Vec::new();
        for _ in 0..members {
            ports.push((free_port()?, free_port()?));
        }
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            ports.iter().enumerate().map(|(number, (peer, _))| format!("m{number}={}", at(*peer))).collect();
        let mut etcd = Etcd { members: Vec::new(), url: at(ports[0].1), _folder: folder };
        for (number, (peer, client)) in ports.into_iter().enumerate() {
            let name = format!("m{number}");
            let mut command = Command::new(ETCD);
            command.arg("--name").arg(&name).arg("--data-dir").arg(etcd._folder.path().join(&name));
            command.args(["--listen-peer-urls", &at(peer), "--initial-advertise-peer-urls", &at(peer)]);
            command.args(["--listen-client-urls", &at(client), "--advertise-client-urls", &at(client)]);
            command.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
            etcd.members.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        let deadline = Instant::now() + PATIENCE;
        let warm_up = Subject { what: "etcd", name: "warm-up", url: etcd.url.clone(), argument: "warm-up".into() };
        while let Err(error) = run(&warm_up, 1, 1).await {
            ensure!(Instant::now() < deadline, "etcd did not start: {error:#}");
        }
        Ok(Some(etcd))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended already is as good.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
