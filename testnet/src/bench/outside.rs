//! Calls by programs outside: of an open session of Cap'n Web, over plain HTTP, by `vat call`; and, for comparison, puts into etcd, where it is
//! installed. All are of three members on this machine's disk, one after the other, each with its syncs.

use super::{
    Figure, Sizes, median,
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

/// Measures all of them.
pub async fn measure(binary: &Path, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let gateway = format!("127.0.0.1:{}", free_port()?);
    let hosts = ["beta", "gamma"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let source = own_file("bench-vats/counter.js").display().to_string();
    let vat = "[[vat]]\nname = \"counter\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\n";
    let config = format!("[[host]]\nname = \"alpha\"\ngateway = \"{gateway}\"\n{hosts}{vat}source = {source:?}\n");
    let net = BenchNet::up_config(binary, &config)?;
    net.led("counter").await?;
    let reference = net.reference("counter")?;
    let session = format!("ws://{gateway}/capnweb");
    let mut figures = Vec::new();
    let count = sizes.client_calls;
    figures.extend(figures_of("call of an open session", &timed("session", &session, &reference, count).await?));
    let http = timed("http", &format!("http://{gateway}"), &reference, count).await?;
    figures.extend(figures_of("call over plain HTTP", &http));
    let mut calls = Vec::new();
    for _ in 0..count / 10 {
        let started = Instant::now();
        let ran = net.vat(&["call", "counter", "increment"]);
        ensure!(ran.code == 0, "vat call: {}", ran.stderr);
        calls.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    figures.extend(figures_of("vat call, a process each", &calls));
    drop(net);
    match Etcd::start().await? {
        Some(etcd) => {
            let puts = timed("etcd", &etcd.url, "counter", count).await?;
            figures.extend(figures_of("put into etcd, three members", &puts));
        }
        None => eprintln!("bench: {ETCD} is not installed (Debian: etcd-server), so there is no figure of it"),
    }
    Ok(figures)
}

fn figures_of(what: &str, samples: &[f64]) -> [Figure; 2] {
    let of = format!("of {} in a row", samples.len());
    [
        Figure::new(format!("{what}, median"), median(samples.to_vec()), "ms").note(of.clone()),
        Figure::new(format!("{what}, 99th percentile"), percentile(samples.to_vec(), 0.99), "ms").note(of),
    ]
}

/// Milliseconds of calls by a program of Node.js.
async fn timed(what: &str, url: &str, argument: &str, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut command = tokio::process::Command::new("node");
    command.arg(own_file("tests/capnweb/outside.mjs")).args([what, url, argument, &count.to_string()]);
    let output = command.kill_on_drop(true).output().await.context("Node.js could not be started")?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Three members of etcd; dropping it kills them.
struct Etcd {
    members: Vec<Child>,
    url: String,
    _folder: TempDir,
}

impl Etcd {
    /// Starts them and waits for a leader. Nothing if it is not installed.
    async fn start() -> anyhow::Result<Option<Etcd>> {
        let version = Command::new(ETCD).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("quorate-etcd-").tempdir()?;
        let mut ports = Vec::new();
        for _ in 0..3 {
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
        while let Err(error) = timed("etcd", &etcd.url, "warm-up", 1).await {
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
