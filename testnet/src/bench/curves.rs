//! What grows with what: by how many vats a host carries, how many members a vat has, how many peers it knows, and how large its heap is.

use super::{
    Figure, Promise, Sizes, median,
    net::{BenchNet, MIB, call, number},
    percentile,
    plot::{Line, Panel},
};
use crate::{exposition::Exposition, process::own_file};
use anyhow::{Context, ensure};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Calls for one point.
const CALLS: u32 = 100;
/// How long idle vats are looked at.
const LOOK: Duration = Duration::from_secs(20);
/// They come to rest within so long, or the figure says that they did not.
const REST: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Measures all curves: adds their figures, and gives a panel each. What was measured stays when a later one fails.
pub async fn measure(binary: &Path, sizes: Sizes, figures: &mut Vec<Figure>) -> anyhow::Result<Vec<Panel>> {
    let mut panels = Vec::new();
    let mut add = |curve: Curve| {
        figures.extend(curve.0);
        panels.extend(curve.1);
    };
    add(members(binary, sizes).await?);
    add(peers(binary, sizes).await?);
    add(heap(binary, sizes).await?);
    add(vats(binary, sizes).await?);
    Ok(panels)
}

type Curve = (Vec<Figure>, Vec<Panel>);

fn panel(title: &str, across: &str, logarithmic: bool, lines: Vec<(&str, Vec<(f64, f64)>)>) -> Panel {
    let lines = lines.into_iter().map(|(name, points)| Line { name: name.to_owned(), points }).collect();
    Panel { title: title.to_owned(), across: across.to_owned(), logarithmic, lines }
}

fn hosts(names: &[String]) -> String {
    names.iter().map(|name| format!("[[host]]\nname = \"{name}\"\n")).collect()
}

fn vat(name: &str, hosts: &[String], threshold: usize) -> String {
    let source = own_file("bench-vats/counter.js").display().to_string();
    format!("[[vat]]\nname = \"{name}\"\nhosts = {hosts:?}\nthreshold = {threshold}\nsource = {source:?}\n")
}

/// Milliseconds of calls of a client, one after the other.
async fn calls(client: &quorate_client::Client, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        call(client, "increment", vec![]).await?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}

/// Processor seconds of some hosts, and the bytes that they sent to others.
async fn spent(net: &BenchNet, hosts: &[String]) -> anyhow::Result<(f64, f64)> {
    let (mut seconds, mut bytes) = (0.0, 0.0);
    for host in hosts {
        let page = Exposition::parse(&net.metrics(host).await).map_err(anyhow::Error::msg)?;
        let sum = |family, labels| page.sum(family, labels).with_context(|| format!("{host} has no {family}"));
        seconds += net.processor_seconds(host)?;
        bytes += sum("quorate_net_bytes_total", &[("direction", "out")])?;
    }
    Ok((seconds, bytes))
}

/// A call, by the members of the vat: as many must sign as tolerate a third that lies.
async fn members(binary: &Path, sizes: Sizes) -> anyhow::Result<Curve> {
    let (mut figures, mut times, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for count in sizes.members {
        let count = *count;
        eprintln!("bench: a vat of {count} members");
        let names: Vec<String> = (1..=count).map(|host| format!("h{host}")).collect();
        let threshold = count - (count - 1) / 3;
        let net = BenchNet::up_config(binary, &(hosts(&names) + &vat("counter", &names, threshold)))?;
        net.led("counter").await?;
        let client = net.client("counter").await?;
        calls(&client, 10).await?;
        let before = spent(&net, &names).await?;
        let taken = calls(&client, CALLS).await?;
        let after = spent(&net, &names).await?;
        client.close().await;
        let each = |before: f64, after: f64| (after - before) / f64::from(CALLS);
        let (seconds, bytes) = (each(before.0, after.0), each(before.1, after.1));
        let middle = median(taken.clone());
        let note = format!(
            "{:.1} ms at the 99th percentile; all members together: {:.1} ms of the processors, {bytes:.0} B sent",
            percentile(taken, 0.99),
            seconds * 1_000.0
        );
        figures.push(Figure::new(format!("call to a {threshold}-of-{count} vat, median"), middle, "ms").note(note));
        times.push((count as f64, middle));
        cpu.push((count as f64, seconds * 1_000.0));
    }
    let lines = vec![("median", times), ("processors, all members", cpu)];
    Ok((figures, vec![panel("a call from outside by members, all on one machine, ms", "members", false, lines)]))
}

/// A call, by how many other clients the vat knows.
async fn peers(binary: &Path, sizes: Sizes) -> anyhow::Result<Curve> {
    let (mut figures, mut times, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let names: Vec<String> = ["alpha", "beta", "gamma"].map(str::to_owned).to_vec();
    let net = BenchNet::up_config(binary, &(hosts(&names) + &vat("counter", &names, 2)))?;
    net.led("counter").await?;
    let mut clients = Vec::new();
    for count in sizes.peers {
        eprintln!("bench: {count} peers");
        while clients.len() < *count {
            let client = net.client("counter").await?;
            calls(&client, 1).await?;
            clients.push(client);
        }
        let last = clients.last().context("one at least")?;
        calls(last, 10).await?;
        let middle = median(calls(last, CALLS).await?);
        let each = memory_of(&net, &names)? / names.len() as f64;
        let note = format!("a member takes {each:.0} MiB");
        figures.push(Figure::new(format!("call to a 2-of-3 vat with {count} peers, median"), middle, "ms").note(note));
        times.push((*count as f64, middle));
        memory.push((*count as f64, each));
    }
    let panels = vec![
        panel("a call from outside by peers of the vat, ms", "peers that stay", true, vec![("median", times)]),
        panel("memory of a member, MiB", "peers that stay", true, vec![("with its part of what hosts share", memory)]),
    ];
    Ok((figures, panels))
}

/// MiB that all these hosts take.
fn memory_of(net: &BenchNet, hosts: &[String]) -> anyhow::Result<f64> {
    let bytes = hosts.iter().map(|host| net.memory(host)).sum::<anyhow::Result<f64>>()?;
    Ok(bytes / MIB)
}

/// Calls, a restart and a new member's catching up, by how much the heap holds.
async fn heap(binary: &Path, sizes: Sizes) -> anyhow::Result<Curve> {
    let (mut figures, mut calls_of, mut worst, mut back, mut synced) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for mebibytes in sizes.heaps {
        eprintln!("bench: a heap that holds {mebibytes} MiB");
        let names: Vec<String> = ["alpha", "beta", "gamma", "delta"].map(str::to_owned).to_vec();
        let limits = "[vat.limits]\nmemory_mb = 240\ncheckpoint_deliveries = 100\n";
        let text = hosts(&names) + &vat("counter", &names[..3], 2) + limits;
        let net = BenchNet::up_config(binary, &text)?;
        net.led("counter").await?;
        let client = net.client("counter").await?;
        for _ in 0..*mebibytes {
            call(&client, "hold", vec![number(1)]).await?;
        }
        calls(&client, 100).await?;
        // Some checkpoints fall due among them.
        let taken = calls(&client, 3 * CALLS).await?;
        let count = call(&client, "read", vec![]).await?;
        client.close().await;
        let x = f64::from(*mebibytes);
        let (middle, longest) = (median(taken.clone()), percentile(taken, 1.0));
        net.kill(&names[..3])?;
        let started = Instant::now();
        let children = net.start(&names[..3])?;
        net.led("counter").await?;
        let client = net.client("counter").await?;
        ensure!(call(&client, "read", vec![]).await? == count, "the count is another one after a restart");
        let restarted = started.elapsed().as_secs_f64();
        client.close().await;
        let started = Instant::now();
        let replace = ["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"];
        net.testnet().vat(&replace).succeeded().context("vat member replace")?;
        let swapped = started.elapsed().as_secs_f64();
        drop(children);
        let note = format!(
            "the longest of {}, checkpoints among them: {longest:.1} ms; restart of all members {restarted:.2} s; a new member has it in {swapped:.2} s",
            3 * CALLS
        );
        figures.push(Figure::new(format!("call, {mebibytes} MiB held, median"), middle, "ms").note(note));
        calls_of.push((x, middle));
        worst.push((x, longest));
        back.push((x, restarted));
        synced.push((x, swapped));
    }
    if let ([(few, soon), ..], [.., (many, late)]) = (&synced[..], &synced[..])
        && many > few
    {
        let note = "what more of the heap takes more time, of random bytes; the change of members and its certificate taken off";
        figures.push(
            Figure::new("state to a new member", (many - few) * MIB / 1e6 / (late - soon).max(0.001), "MB/s")
                .note(note),
        );
    }
    let across = "MiB that the heap holds";
    let panels = vec![
        panel("a call, ms", across, false, vec![("median", calls_of), ("the longest", worst)]),
        panel("restart and swap, s", across, false, vec![("all members restart", back), ("a new member", synced)]),
    ];
    Ok((figures, panels))
}

/// What vats in which nothing happens cost, three members each, on four hosts.
async fn vats(binary: &Path, sizes: Sizes) -> anyhow::Result<Curve> {
    let (mut figures, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let names: Vec<String> = (1..=4).map(|host| format!("h{host}")).collect();
    let mut alone: Option<(usize, f64)> = None;
    for count in sizes.vats {
        eprintln!("bench: {count} idle vats of three members on four hosts");
        let mut text = hosts(&names);
        for number in 0..*count {
            let three: Vec<String> = (0..3).map(|place| names[(number + place) % 4].clone()).collect();
            text.push_str(&vat(&format!("v{number}"), &three, 2));
        }
        let started = Instant::now();
        let net = BenchNet::up_config(binary, &text)?;
        let up = started.elapsed().as_secs_f64();
        let (share, rested) = at_rest(&net, &names).await?;
        let taken = memory_of(&net, &names)?;
        let mut firsts = Vec::new();
        for number in 0..(*count).min(20) {
            let client = net.client(&format!("v{number}")).await?;
            let started = Instant::now();
            call(&client, "increment", vec![]).await?;
            firsts.push(started.elapsed().as_secs_f64() * 1_000.0);
            client.close().await;
        }
        let replicas = 3 * count;
        let each = alone.map(|(few, of_few)| (taken - of_few) / (replicas - few) as f64);
        let of_each = each.map(|each| format!("; {each:.2} MiB for each further replica")).unwrap_or_default();
        let note = format!(
            "up in {up:.0} s, at rest after {rested:.0} s more; {taken:.0} MiB{of_each}; first answer of a sleeping vat {:.0} ms (median of {})",
            median(firsts.clone()),
            firsts.len()
        );
        figures.push(
            Figure::new(format!("{count} idle vats of three members, of a core"), share * 100.0, "%")
                .promised(Promise::Under(3.0))
                .note(note),
        );
        cpu.push((*count as f64, share * 100.0));
        memory.push((*count as f64, taken));
        alone = alone.or(Some((replicas, taken)));
    }
    let panels = vec![
        panel("idle vats of three members on four hosts, % of a core", "vats", true, vec![("all hosts together", cpu)]),
        panel("their memory, MiB", "vats", true, vec![("all hosts together", memory)]),
    ];
    Ok((figures, panels))
}

/// Waits until hosts use hardly any of the processor; the share of a core that they use, and how long that took.
async fn at_rest(net: &BenchNet, names: &[String]) -> anyhow::Result<(f64, f64)> {
    let started = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Not their pages of metrics: with a thousand vats these take more than the vats.
        let used = || names.iter().map(|host| net.processor_seconds(host)).sum::<anyhow::Result<f64>>();
        let (began, before) = (Instant::now(), used()?);
        tokio::time::sleep(LOOK).await;
        let share = (used()? - before) / began.elapsed().as_secs_f64();
        let passed = (began - started).as_secs_f64();
        if share < 0.03 || started.elapsed() > REST {
            return Ok((share, passed));
        }
    }
}
