//! One-way traffic from a solo vat to a 2-of-3 vat: long queues that wait for hosts that were down, and large messages.

use super::{
    Figure, Sizes, median,
    net::{BenchNet, PATIENCE, call, number},
};
use crate::exposition::Exposition;
use anyhow::{Context, ensure};
use quorate_client::Client;
use quorate_engine::{abi::Method, comms::client::ClientRef};
use std::time::{Duration, Instant};

/// Messages that the driver sends in one turn.
const BATCH: u32 = 512;
/// Messages that wait. The last is as many as a vat keeps for one peer.
const QUEUES: [u32; 3] = [4_096, 8_192, 16_384];
/// Bytes of a large message, and how many of them one sample has.
const LARGE: u32 = 500_000;
const LARGE_COUNT: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Measures all of them.
pub async fn measure(net: &BenchNet, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    net.led("counter").await?;
    let driver = net.client("driver").await?;
    call(&driver, "inTurn", vec![number(10)]).await?;
    let mut figures = vec![large(&driver, sizes).await?];
    for messages in QUEUES {
        figures.extend(queue(net, &driver, messages).await?);
    }
    driver.close().await;
    Ok(figures)
}

/// From the first message until a call that was made after them all is answered.
async fn large(driver: &Client, sizes: Sizes) -> anyhow::Result<Figure> {
    let mut samples = Vec::new();
    for _ in 0..sizes.samples {
        let before = call(driver, "settle", vec![]).await?;
        let started = Instant::now();
        let flood = Method::Call("floodTexts".into());
        driver.send_only(ClientRef::Object(0), &flood, vec![vec![number(1), number(LARGE)]; LARGE_COUNT as usize])?;
        let after = call(driver, "settle", vec![]).await?;
        samples.push(f64::from(LARGE_COUNT * LARGE) / 1e6 / started.elapsed().as_secs_f64());
        ensure!(after - before == f64::from(LARGE_COUNT), "{} of {LARGE_COUNT} were counted", after - before);
    }
    let note = format!("{LARGE_COUNT} of {LARGE} bytes, all counted; median of {}", sizes.samples);
    Ok(Figure::new("large messages, solo -> 2-of-3", median(samples), "MB/s").note(note))
}

/// The receiving hosts are down while messages are said to them. How fast those behind the first that are acknowledged come in, and the bytes that the
/// sender's host sent. Nobody else calls the receiver meanwhile: it shares its time fairly.
async fn queue(net: &BenchNet, driver: &Client, messages: u32) -> anyhow::Result<[Figure; 2]> {
    let before = call(driver, "settle", vec![]).await?;
    let hosts = net.hosts_of("counter");
    net.kill(&hosts)?;
    let flood = Method::Call("flood".into());
    driver.send_only(ClientRef::Object(0), &flood, vec![vec![number(BATCH)]; (messages / BATCH) as usize])?;
    // It has said them all.
    call(driver, "nothing", vec![]).await?;
    let sent_before = sent(net).await?;
    let children = net.start(&hosts)?;
    let (mut first, deadline) = (None, Instant::now() + 2 * PATIENCE);
    let (since, behind) = loop {
        let waiting = waiting(net).await?;
        if waiting < f64::from(messages) {
            first.get_or_insert((Instant::now(), waiting));
        }
        match first {
            Some(first) if waiting == 0.0 => break first,
            _ => ensure!(Instant::now() < deadline, "{waiting} of {messages} wait still"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    // The first that are seen came with one block, and how long that took can't be seen.
    let seconds = since.elapsed().as_secs_f64();
    let bytes = (sent(net).await? - sent_before) / f64::from(messages);
    let came = call(driver, "settle", vec![]).await? - before;
    ensure!(came == f64::from(messages), "{came} of {messages} were counted");
    drop(children);
    Ok([
        Figure::new(format!("queue of {messages} messages, each"), seconds * 1e6 / behind.max(1.0), "µs")
            .note(format!("the last {behind} took {seconds:.3} s")),
        Figure::new(format!("queue of {messages} messages, sent for each"), bytes, "B"),
    ])
}

/// Messages that the receiver has not acknowledged.
async fn waiting(net: &BenchNet) -> anyhow::Result<f64> {
    let page = Exposition::parse(&net.metrics("outside").await).map_err(anyhow::Error::msg)?;
    page.sum("quorate_unacknowledged_messages", &[("vat", "driver"), ("peer", "counter")])
        .context("no quorate_unacknowledged_messages")
}

/// Bytes that the sender's host has sent until now.
async fn sent(net: &BenchNet) -> anyhow::Result<f64> {
    let page = Exposition::parse(&net.metrics("outside").await).map_err(anyhow::Error::msg)?;
    page.sum("quorate_net_bytes_total", &[("direction", "out")]).context("no quorate_net_bytes_total")
}
