//! Calls to vats whose members are far from each other: every connection between hosts goes through a line that takes its time. The caller is
//! near one of the members.

use super::{
    Figure, Sizes, median,
    net::BenchNet,
    outside::{Subject, free_port, run},
    percentile,
};
use crate::line::{self, Line};
use crate::process::own_file;
use std::{path::Path, sync::Arc};

/// One way, in ms.
const ONE_WAY_MS: u64 = 25;
/// Calls before it is measured: members take notice of how far the others are.
const FIRST_CALLS: u32 = 40;
/// The vats: their names, their hosts (the first one has the gateway), their thresholds.
const VATS: [(&str, &[&str], u16); 2] =
    [("three", &["alpha", "beta", "gamma"], 2), ("four", &["alpha", "beta", "gamma", "delta"], 3)];

/// Measures both.
pub async fn measure(binary: &Path, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let gateway = format!("127.0.0.1:{}", free_port()?);
    let net = BenchNet::up_config(binary, &config(&gateway))?;
    let line = Arc::new(Line::default());
    line.delay(ONE_WAY_MS, 0);
    line::cards(net.testnet(), &line)?;
    let mut figures = Vec::new();
    for (name, hosts, threshold) in VATS {
        let source = own_file("bench-vats/counter.js").display().to_string();
        let argument = line::vat(net.testnet(), name, hosts, threshold, &source)?;
        net.wait_installed(name, hosts[0]).await?;
        let subject = Subject { what: "session", name, url: format!("ws://{gateway}/capnweb"), argument };
        run(&subject, FIRST_CALLS, 1).await?;
        let calls = run(&subject, sizes.client_calls / 5, 1).await?.calls;
        let what = format!("call to a {threshold}-of-{} vat, members {ONE_WAY_MS} ms apart", hosts.len());
        let note =
            format!("{:.0} ms at the 99th percentile; {ONE_WAY_MS} ms is one way", percentile(calls.clone(), 0.99));
        figures.push(Figure::new(format!("{what}, median"), median(calls), "ms").note(note));
    }
    Ok(figures)
}

/// Hosts without any of the vats: those are made when the hosts' cards name the line.
fn config(gateway: &str) -> String {
    let hosts = ["beta", "gamma", "delta", "other"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let source = own_file("bench-vats/counter.js").display().to_string();
    let vat = "[[vat]]\nname = \"unused\"\nhosts = [\"other\"]\nthreshold = 1\n";
    format!("[[host]]\nname = \"alpha\"\ngateway = \"{gateway}\"\n{hosts}{vat}source = {source:?}\n")
}
