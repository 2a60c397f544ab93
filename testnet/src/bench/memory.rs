//! Memory of a host with one idle vat and with many.

use super::{
    Figure, Sizes,
    net::{BenchNet, MIB},
};
use crate::process::own_file;
use anyhow::ensure;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const HOSTS: [&str; 2] = ["sparse", "crowded"];
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Vats are idle for so long before memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// Measures both hosts.
pub async fn measure(binary: &Path, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let net = BenchNet::up_config(binary, &config(sizes.idle_vats))?;
    for (host, vats) in HOSTS.into_iter().zip([1, sizes.idle_vats]) {
        installed(&net, host, vats).await?;
    }
    tokio::time::sleep(IDLE).await;
    let (one, many) = (net.memory(HOSTS[0])? / MIB, net.memory(HOSTS[1])? / MIB);
    let each = (many - one) / f64::from(sizes.idle_vats - 1);
    Ok(vec![
        Figure::new("memory of a host with 1 idle vat", one, "MiB").note("with its part of what hosts share"),
        Figure::new(format!("memory of a host with {} idle vats", sizes.idle_vats), many, "MiB")
            .note(format!("with its part of what hosts share; {each:.2} MiB for each further vat")),
    ])
}

fn config(many: u32) -> String {
    let source = own_file("bench-vats/counter.js").display().to_string();
    let mut text: String = HOSTS.iter().map(|host| format!("[[host]]\nname = \"{host}\"\n")).collect();
    for (index, host) in std::iter::once(HOSTS[0]).chain((0..many).map(|_| HOSTS[1])).enumerate() {
        text.push_str(&format!(
            "[[vat]]\nname = \"idle{index}\"\nhosts = [{host:?}]\nthreshold = 1\nsource = {source:?}\n"
        ));
    }
    text
}

/// Waits until a host's vats have their code.
async fn installed(net: &BenchNet, host: &str, vats: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = net.metrics(host).await;
        let found: f64 = samples(&page, "quorate_installed{").sum();
        if found == f64::from(vats) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{found} of {vats} vats of {host} have their code");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The values of a series, by how its lines begin.
pub(super) fn samples<'a>(page: &'a str, series: &'a str) -> impl Iterator<Item = f64> + 'a {
    let lines = page.lines().filter(move |line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok())
}
