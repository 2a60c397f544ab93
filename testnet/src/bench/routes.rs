//! Calls and messages from vat to vat, by how many members each has, and by their size.

use super::{
    Figure, Sizes, median,
    net::{BenchNet, call, number},
    percentile,
};
use crate::{exposition::Exposition, process::own_file};
use anyhow::{Context, ensure};
use quorate_client::Client;
use quorate_engine::{abi::Method, comms::client::ClientRef};
use std::{collections::BTreeSet, path::Path, time::Instant};

/// Members and threshold of the vat that calls and of the one that is called, and the hosts of each.
struct Route {
    name: &'static str,
    /// Names of the two vats.
    vats: [&'static str; 2],
    hosts: [&'static [&'static str]; 2],
    threshold: [u16; 2],
}

const ROUTES: [Route; 4] = [
    Route { name: "solo -> solo", vats: ["s", "t"], hosts: [&["outside"], &["single"]], threshold: [1, 1] },
    Route {
        name: "solo -> 2-of-3",
        vats: ["u", "v"],
        hosts: [&["outside"], &["alpha", "beta", "gamma"]],
        threshold: [1, 2],
    },
    Route {
        name: "2-of-3 -> 2-of-3",
        vats: ["w", "x"],
        hosts: [&["alpha", "beta", "gamma"], &["beta", "gamma", "delta"]],
        threshold: [2, 2],
    },
    Route {
        name: "3-of-4 -> 3-of-4",
        vats: ["y", "z"],
        hosts: [&["alpha", "beta", "gamma", "delta"], &["delta", "gamma", "beta", "alpha"]],
        threshold: [3, 3],
    },
];

/// A size of messages, in bytes, and how many of them are sent: calls that are timed one by one, messages without answers, and how many
/// of these in one turn.
struct Size {
    name: &'static str,
    bytes: u32,
    share_of_calls: u32,
    share_of_messages: u32,
    turn: u32,
}

const SIZES: [Size; 4] = [
    Size { name: "100 B", bytes: 100, share_of_calls: 1, share_of_messages: 1, turn: 500 },
    Size { name: "1 KB", bytes: 1_000, share_of_calls: 1, share_of_messages: 2, turn: 250 },
    Size { name: "10 KB", bytes: 10_000, share_of_calls: 2, share_of_messages: 10, turn: 50 },
    Size { name: "500 KB", bytes: 500_000, share_of_calls: 5, share_of_messages: 200, turn: 2 },
];

/// Measures all routes with all sizes.
pub async fn measure(binary: &Path, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let net = BenchNet::up_config(binary, &config())?;
    let mut figures = Vec::new();
    for route in &ROUTES {
        net.led(route.vats[0]).await?;
        net.led(route.vats[1]).await?;
        let driver = net.client(route.vats[0]).await?;
        take_in_turn(&driver, 10, 100).await?;
        for size in &SIZES {
            eprintln!("bench: {}, {}", route.name, size.name);
            figures.extend(calls(&driver, route, size, sizes).await?);
            figures.extend(messages(&net, &driver, route, size, sizes).await?);
        }
        driver.close().await;
    }
    Ok(figures)
}

fn config() -> String {
    let hosts: BTreeSet<&str> = ROUTES.iter().flat_map(|route| route.hosts.concat()).collect();
    let mut text: String = hosts.into_iter().map(|host| format!("[[host]]\nname = \"{host}\"\n")).collect();
    let vat = |name: &str, hosts: &[&str], threshold: u16, file: &str| {
        let source = own_file("bench-vats").join(file).display().to_string();
        format!("[[vat]]\nname = \"{name}\"\nhosts = {hosts:?}\nthreshold = {threshold}\nsource = {source:?}\n")
    };
    for Route { vats: [calls, called], hosts, threshold, .. } in ROUTES {
        text.push_str(&vat(calls, hosts[0], threshold[0], "driver.js"));
        text.push_str(&format!("[vat.argv]\ncounter = {{ vat = \"{called}\" }}\n"));
        text.push_str(&vat(called, hosts[1], threshold[1], "counter.js"));
    }
    text
}

async fn take_in_turn(driver: &Client, calls: u32, size: u32) -> anyhow::Result<f64> {
    let started = Instant::now();
    call(driver, "takeInTurn", vec![number(calls), number(size)]).await?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

/// One call inside a call from outside, less what the outer one takes alone.
async fn calls(driver: &Client, route: &Route, size: &Size, sizes: Sizes) -> anyhow::Result<[Figure; 2]> {
    let count = sizes.round_trips / size.share_of_calls;
    let (mut outer, mut both) = (Vec::new(), Vec::new());
    for _ in 0..count {
        outer.push(take_in_turn(driver, 0, size.bytes).await?);
        both.push(take_in_turn(driver, 1, size.bytes).await?);
    }
    let outer = median(outer);
    let of = format!("of {count} in a row, each inside a call from outside, whose {outer:.2} ms are taken off");
    let what = |what: &str| format!("call {}, {}, {what}", route.name, size.name);
    Ok([
        Figure::new(what("median"), median(both.clone()) - outer, "ms").note(of.clone()),
        Figure::new(what("99th percentile"), percentile(both, 0.99) - outer, "ms").note(of),
    ])
}

/// What the hosts of both vats count, all of them together.
#[derive(Clone, Copy, Default)]
struct Work {
    cpu_seconds: f64,
    syncs: f64,
    signatures: f64,
    bytes: f64,
}

async fn work(net: &BenchNet, route: &Route) -> anyhow::Result<Work> {
    let hosts: BTreeSet<&str> = route.hosts.concat().into_iter().collect();
    let mut work = Work::default();
    for host in hosts {
        let page = Exposition::parse(&net.metrics(host).await).map_err(anyhow::Error::msg)?;
        let sum = |family, labels| page.sum(family, labels).with_context(|| format!("{host} has no {family}"));
        work.cpu_seconds += net.processor_seconds(host)?;
        work.syncs += sum("quorate_store_sync_seconds_count", &[])?;
        work.signatures += sum("quorate_signature_shares_signed_total", &[])?;
        work.bytes += sum("quorate_net_bytes_total", &[("direction", "out")])?;
    }
    Ok(work)
}

/// From the first message until a call that was made after them all is answered.
async fn messages(
    net: &BenchNet,
    driver: &Client,
    route: &Route,
    size: &Size,
    sizes: Sizes,
) -> anyhow::Result<Vec<Figure>> {
    let turns = sizes.one_way / size.share_of_messages / size.turn;
    let sent = f64::from(turns * size.turn);
    let (mut rates, mut works) = (Vec::new(), Vec::new());
    for _ in 0..sizes.samples {
        let (counted, before) = (call(driver, "settle", vec![]).await?, work(net, route).await?);
        let started = Instant::now();
        let flood = Method::Call("floodTexts".into());
        let turn = vec![number(size.turn), number(size.bytes)];
        driver.send_only(ClientRef::Object(0), &flood, vec![turn; turns as usize])?;
        let after = call(driver, "settle", vec![]).await?;
        rates.push(sent / started.elapsed().as_secs_f64());
        ensure!(after - counted == sent, "{} of {sent} messages were counted", after - counted);
        let now = work(net, route).await?;
        works.push(Work {
            cpu_seconds: (now.cpu_seconds - before.cpu_seconds) / sent,
            syncs: (now.syncs - before.syncs) / sent,
            signatures: (now.signatures - before.signatures) / sent,
            bytes: (now.bytes - before.bytes) / sent,
        });
    }
    let middle = |of: fn(&Work) -> f64| median(works.iter().map(of).collect());
    let note = format!(
        "each takes {:.0} µs of the processors, {:.3} syncs, {:.3} signatures, {:.0} B sent, all hosts together; {sent} in turns of {}, median of {}",
        middle(|work| work.cpu_seconds) * 1e6,
        middle(|work| work.syncs),
        middle(|work| work.signatures),
        middle(|work| work.bytes),
        size.turn,
        sizes.samples
    );
    let rate = median(rates);
    let mut figures = vec![Figure::new(format!("messages {}, {}", route.name, size.name), rate, "/s").note(note)];
    if size.bytes >= 100_000 {
        let rate = rate * f64::from(size.bytes) / 1e6;
        figures.push(Figure::new(format!("messages {}, {}, bytes", route.name, size.name), rate, "MB/s"));
    }
    Ok(figures)
}
