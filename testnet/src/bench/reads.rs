//! Reads of what a vat publishes, beside ordered calls of the same vat for the same number, in one run.

use super::{
    Figure, Sizes, median,
    net::{BenchNet, call, number},
    percentile,
};
use anyhow::{Context, ensure};
use quorate_client::{Client, Freshness, Reader};
use quorate_engine::abi::Value;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Readers, or clients, at once. Each has a key of its own: hosts bound what each stranger may ask in a second.
const AT_ONCE: usize = 12;
/// The longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Reads before anything is timed.
const WARM_UP: u32 = 10;
const PRICE: u32 = 41;

/// How a number is asked for.
enum Asking {
    Call(Client),
    Read(Box<Reader>, Freshness),
}

impl Asking {
    /// Asks once.
    async fn ask(&mut self) -> anyhow::Result<f64> {
        match self {
            Asking::Call(client) => call(client, "price", vec![]).await,
            Asking::Read(reader, wanted) => {
                let answer = reader.read("price", *wanted, tokio::time::Instant::now() + PATIENCE).await?;
                match answer.value {
                    Some(Value::Number(number)) => Ok(number),
                    other => anyhow::bail!("another value is published: {other:?}"),
                }
            }
        }
    }

    /// Asks so often, one after the other. Returns the times in milliseconds.
    async fn ask_in_turn(&mut self, count: u32) -> anyhow::Result<Vec<f64>> {
        let mut samples = Vec::new();
        for _ in 0..count {
            let started = Instant::now();
            let found = self.ask().await?;
            ensure!(found == f64::from(PRICE), "{found} was found and not {PRICE}");
            samples.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(samples)
    }

    async fn close(self) {
        match self {
            Asking::Call(client) => client.close().await,
            Asking::Read(reader, _) => reader.close().await,
        }
    }
}

/// Measures calls, reads, and linearizable reads.
pub async fn measure(net: &BenchNet, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    net.led("board").await?;
    let client = net.client("board").await?;
    call(&client, "set", vec![number(PRICE)]).await?;
    client.close().await;
    let mut figures = Vec::new();
    for kind in ["ordered call", "read", "linearizable read"] {
        let mut askers = Vec::new();
        for _ in 0..AT_ONCE {
            askers.push(asking(net, kind).await?);
        }
        figures.extend(figures_of(kind, askers, sizes).await.context(kind)?);
    }
    Ok(figures)
}

async fn asking(net: &BenchNet, kind: &str) -> anyhow::Result<Asking> {
    if kind == "ordered call" {
        return Ok(Asking::Call(net.client("board").await?));
    }
    let current = kind == "linearizable read";
    Ok(Asking::Read(Box::new(net.reader("board").await?), Freshness { at_least: 0, current }))
}

/// All of them ask so often, side by side.
async fn all_ask(askers: Vec<Asking>, count: u32) -> anyhow::Result<Vec<Asking>> {
    let mut asking = JoinSet::new();
    for mut asker in askers {
        asking.spawn(async move { asker.ask_in_turn(count).await.map(|_| asker) });
    }
    asking.join_all().await.into_iter().collect()
}

async fn figures_of(kind: &str, askers: Vec<Asking>, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut askers = all_ask(askers, WARM_UP).await?;
    let samples = askers.first_mut().context("there are askers")?.ask_in_turn(sizes.client_calls).await?;
    let started = Instant::now();
    let askers = all_ask(askers, sizes.client_calls).await?;
    let count = f64::from(sizes.client_calls) * askers.len() as f64;
    let rate = count / started.elapsed().as_secs_f64();
    for asker in askers {
        asker.close().await;
    }
    let of = format!("of {} in a row, 2-of-3", sizes.client_calls);
    Ok(vec![
        Figure::new(format!("{kind} from outside, median"), median(samples.clone()), "ms").note(of.clone()),
        Figure::new(format!("{kind} from outside, 99th percentile"), percentile(samples, 0.99), "ms").note(of),
        Figure::new(format!("{kind}s from outside, {AT_ONCE} at once"), rate, "/s"),
    ])
}
