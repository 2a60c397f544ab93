//! From the start of killed hosts to the first answer of the vat that they carry, after few and after many deliveries.

use super::{
    Figure, Promise, Sizes, median,
    net::{BenchNet, call},
};
use anyhow::ensure;
use quorate_engine::{abi::Method, comms::client::ClientRef};
use std::time::{Duration, Instant};

/// Messages that a client sends at once, and how many it leaves unacknowledged, when it fills a vat.
const BATCH: usize = 2_048;
const IN_FLIGHT: usize = 8_192;
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Restarts of equal vats differ by so many seconds: which member asks first, and which logs are the longest, is chance.
const NOISE: f64 = 0.5;

/// Measures a vat's restarts and adds the figures.
pub async fn measure(
    net: &BenchNet,
    vat: &str,
    what: &str,
    sizes: Sizes,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let mut medians = Vec::new();
    for target in sizes.restart_after {
        eprintln!("bench: restarts of a {what} after {target} deliveries");
        let (count, rate) = fill(net, vat, target, sizes.fill).await?;
        let (mut led, mut answered) = (Vec::new(), Vec::new());
        for _ in 0..sizes.restart_samples {
            let times = restart(net, vat, count).await?;
            led.push(times.led);
            answered.push(times.answered);
        }
        let (led, seconds) = (median(led), median(answered));
        let mut note =
            format!("SIGKILL all, start, first answer; leader after {led:.2} s; median of {}", sizes.restart_samples);
        if count < target as f64 {
            note.push_str(&format!("; only {count} in {} s", sizes.fill.as_secs()));
        } else if let Some(rate) = rate {
            note.push_str(&format!("; filled from outside at {rate:.0}/s"));
        }
        medians.push(seconds);
        let what = format!("restart of a {what}, {target} deliveries");
        figures.push(Figure::new(what, seconds, "s").promised(Promise::Under(2.0)).note(note));
    }
    if let [few, more @ ..] = &medians[..] {
        let longest = more.iter().copied().fold(*few, f64::max);
        let what = format!("restart of a {what}, longer by");
        let note = "the longest of them against that after the fewest deliveries; promised: none, but for noise";
        figures.push(Figure::new(what, longest - few, "s").promised(Promise::Under(NOISE)).note(note));
    }
    Ok(())
}

/// Sends messages until the vat has had `target` deliveries or the time is up. The count that the vat has then, and how many
/// were taken a second, if that was worth timing.
async fn fill(net: &BenchNet, vat: &str, target: u64, limit: Duration) -> anyhow::Result<(f64, Option<f64>)> {
    let client = net.client(vat).await?;
    let before = call(&client, "read", vec![]).await?;
    let wanted = (target as f64 - before).max(0.0) as usize;
    let started = Instant::now();
    let mut sent = 0;
    while sent < wanted && started.elapsed() < limit {
        if client.unacknowledged() > IN_FLIGHT {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let batch = BATCH.min(wanted - sent);
        client.send_only(ClientRef::Object(0), &Method::Call("note".into()), vec![vec![]; batch])?;
        sent += batch;
    }
    let after = call(&client, "read", vec![]).await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(after == before + sent as f64, "{sent} messages were sent, {} counted", after - before);
    client.close().await;
    Ok((after, (sent > 10 * BATCH).then(|| sent as f64 / seconds)))
}

/// Seconds since the start of all of the vat's hosts.
struct Times {
    /// When one of them led.
    led: f64,
    /// When a client that began then had its answer.
    answered: f64,
}

/// Restarts all of the vat's hosts and calls it. It must answer what it would have answered before.
async fn restart(net: &BenchNet, vat: &str, count: f64) -> anyhow::Result<Times> {
    let hosts = net.hosts_of(vat);
    net.kill(&hosts)?;
    let started = Instant::now();
    let children = net.start(&hosts)?;
    net.led(vat).await?;
    let led = started.elapsed().as_secs_f64();
    let client = net.client(vat).await?;
    let found = call(&client, "read", vec![]).await?;
    let answered = started.elapsed().as_secs_f64();
    ensure!(found == count, "{count} before, {found} after");
    client.close().await;
    // They run on; what is dropped is only this process's handle on them.
    drop(children);
    Ok(Times { led, answered })
}
