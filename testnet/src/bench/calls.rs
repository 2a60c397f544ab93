//! Round trips and throughput over real processes: solo vat to 2-of-3 vat and back, messages without answers, calls from outside.

use super::{
    Figure, Promise, Sizes, median,
    net::{BenchNet, call, number},
    percentile,
};
use crate::exposition::Exposition;
use anyhow::{Context, ensure};
use quorate_client::Client;
use quorate_engine::{abi::Method, comms::client::ClientRef};
use std::time::Instant;

/// Messages that the driver sends in one turn.
const BATCH: u32 = 500;
/// Calls before anything is timed: connections, caches, the first growth of heaps.
const WARM_UP: u32 = 10;

/// Measures all of them.
pub async fn measure(net: &BenchNet, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    net.led("counter").await?;
    let (driver, counter) = (net.client("driver").await?, net.client("counter").await?);
    call(&driver, "inTurn", vec![number(WARM_UP)]).await?;
    for _ in 0..WARM_UP {
        call(&counter, "increment", vec![]).await?;
    }
    let mut figures = vec![round_trip(&driver, sizes).await?, one_way(&driver, sizes).await?];
    let before = work(net).await?;
    figures.extend(from_outside(&counter, sizes).await?);
    figures.extend(shares(&before, &work(net).await?, sizes));
    driver.close().await;
    counter.close().await;
    Ok(figures)
}

/// What the members of the quorum vat count, all of them together: name of the figure, family of the metric, labels.
type Counter = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const WORK: [Counter; 5] = [
    ("blocks a call from outside, all members", "quorate_blocks_total", &[]),
    ("syncs a call from outside, all members", "quorate_store_sync_seconds_count", &[]),
    ("time in syncs a call from outside, all members", "quorate_store_sync_seconds_sum", &[]),
    ("statements signed a call from outside, all members", "quorate_signature_shares_signed_total", &[]),
    ("bytes sent a call from outside, all members", "quorate_net_bytes_total", &[("direction", "out")]),
];

/// Returns what the members have counted until now, in the order of [`WORK`].
async fn work(net: &BenchNet) -> anyhow::Result<Vec<f64>> {
    let mut counted = vec![0.0; WORK.len()];
    for host in net.hosts_of("counter") {
        let page = Exposition::parse(&net.metrics(&host).await).map_err(anyhow::Error::msg)?;
        for (count, (_, family, labels)) in counted.iter_mut().zip(WORK) {
            *count += page.sum(family, labels).with_context(|| format!("{host} has no {family}"))?;
        }
    }
    Ok(counted)
}

/// Returns what one call from outside made the members do.
fn shares(before: &[f64], after: &[f64], sizes: Sizes) -> Vec<Figure> {
    let each = WORK.iter().zip(before.iter().zip(after));
    let figures = each.map(|((what, family, _), (before, after))| {
        let share = (after - before) / f64::from(sizes.client_calls);
        match *family {
            "quorate_store_sync_seconds_sum" => Figure::new(*what, share * 1_000.0, "ms"),
            "quorate_net_bytes_total" => Figure::new(*what, share, "B"),
            _ => Figure::new(*what, share, ""),
        }
    });
    figures.collect()
}

/// The outer call with `n` calls inside less the outer call with none, by `n`.
async fn round_trip(driver: &Client, sizes: Sizes) -> anyhow::Result<Figure> {
    let mut samples = Vec::new();
    for _ in 0..sizes.samples {
        let empty = timed(driver, "inTurn", 0).await?;
        let full = timed(driver, "inTurn", sizes.round_trips).await?;
        samples.push((full - empty) / f64::from(sizes.round_trips) * 1_000.0);
    }
    Ok(Figure::new("call, solo -> 2-of-3 -> solo", median(samples), "ms")
        .promised(Promise::Under(10.0))
        .note(format!("round trip; {} in a row, median of {}", sizes.round_trips, sizes.samples)))
}

async fn timed(driver: &Client, method: &str, argument: u32) -> anyhow::Result<f64> {
    let started = Instant::now();
    call(driver, method, vec![number(argument)]).await?;
    Ok(started.elapsed().as_secs_f64())
}

/// From the first message until a call that was made after them all is answered.
async fn one_way(driver: &Client, sizes: Sizes) -> anyhow::Result<Figure> {
    let (batches, mut samples) = (sizes.one_way / BATCH, Vec::new());
    for _ in 0..sizes.samples {
        let before = call(driver, "settle", vec![]).await?;
        let started = Instant::now();
        let flood = Method::Call("flood".into());
        driver.send_only(ClientRef::Object(0), &flood, vec![vec![number(BATCH)]; batches as usize])?;
        let after = call(driver, "settle", vec![]).await?;
        let sent = f64::from(batches * BATCH);
        samples.push(sent / started.elapsed().as_secs_f64());
        ensure!(after - before == sent, "{} of {sent} messages were counted", after - before);
    }
    Ok(Figure::new("one-way messages, solo -> 2-of-3", median(samples), "/s")
        .promised(Promise::Over(3_000.0))
        .note(format!("{} in turns of {BATCH}, all counted; median of {}", batches * BATCH, sizes.samples)))
}

async fn from_outside(counter: &Client, sizes: Sizes) -> anyhow::Result<[Figure; 2]> {
    let mut samples = Vec::new();
    for _ in 0..sizes.client_calls {
        let started = Instant::now();
        call(counter, "increment", vec![]).await?;
        samples.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    let of = format!("of {} in a row", sizes.client_calls);
    Ok([
        Figure::new("call from outside to 2-of-3, median", median(samples.clone()), "ms").note(of.clone()),
        Figure::new("call from outside to 2-of-3, 99th percentile", percentile(samples, 0.99), "ms").note(of),
    ])
}
