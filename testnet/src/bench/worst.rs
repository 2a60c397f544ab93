//! What a sender that does its worst costs others: an honest caller's times alone and beside it, and the memory of the vat's members.
//! And what a million ordinary calls leave behind.

use super::{
    Figure, Promise, median,
    memory::samples,
    net::{BenchNet, VatLine, call, number},
    percentile,
};
use anyhow::ensure;
use quorate_engine::{
    abi::{Method, Value},
    comms::client::ClientRef,
};
use quorate_node::client::Client;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const MEMBERS: [&str; 3] = ["alpha", "beta", "gamma"];
const VATS: &[VatLine] =
    &[("sender", &["outside"], 1, "sender.js", &["victim"]), ("victim", &MEMBERS, 2, "victim.js", &[])];
/// What a sender does: endless loops; very many messages; objects and promises that stay; texts and symbols never seen before.
const KINDS: [&str; 4] = ["spin", "outputs", "fill", "garbage"];
/// Calls of these kinds leave nothing behind.
const ORDINARY: [&str; 5] = ["json", "confine", "object", "symbol", "promise"];
const MIB: f64 = 1_048_576.0;
/// The honest caller's 99th percentile beside an attacker is to be within so many times of what it is alone.
const TIMES: f64 = 3.0;
/// The honest caller pauses for so long between two calls: it is a caller, not a load.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the honest caller is measured alone, at most.
const ALONE: Duration = Duration::from_secs(60);
/// How long what the attacker began may take to end, before memory is read.
const REST: Duration = Duration::from_secs(30);
/// How often memory is read.
const READ_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for one answer of a vat that is under attack.
const LONGEST: Duration = Duration::from_secs(120);
/// Ordinary calls in one delivery of the sender.
const BATCH: u32 = 200;

/// Each kind of attack for so long, in a testnet of its own.
pub async fn attacks(binary: &Path, minutes: u64, kinds: &[String]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in KINDS.iter().filter(|kind| kinds.is_empty() || kinds.iter().any(|wanted| wanted == *kind)) {
        eprintln!("bench: {kind}, {minutes} minutes");
        figures.extend(attack(binary, kind, Duration::from_secs(minutes * 60)).await?);
    }
    Ok(figures)
}

async fn attack(binary: &Path, kind: &str, time: Duration) -> anyhow::Result<Vec<Figure>> {
    let net = BenchNet::up(binary, VATS)?;
    net.led("victim").await?;
    let (honest, hostile) = (net.client("victim").await?, net.client("sender").await?);
    // Connections, caches, the first growth of heaps.
    for _ in 0..20 {
        call(&honest, "ping", vec![]).await?;
    }
    let alone = pings(&honest, time.min(ALONE)).await?;
    let before = memory(&net).await;
    let end = Instant::now() + time;
    let attack = async {
        let mut batches = 0_u32;
        while Instant::now() < end {
            // What it is refused is what it has to expect.
            let sent = hostile.call(
                ClientRef::Object(0),
                Method::Call("attack".into()),
                vec![Value::String(kind.into())],
                LONGEST,
            );
            batches += u32::from(sent.await.is_ok());
        }
        batches
    };
    let watch = async {
        let mut most = before;
        while Instant::now() < end {
            tokio::time::sleep(READ_EVERY).await;
            let now = memory(&net).await;
            most = (most.0.max(now.0), most.1.max(now.1));
        }
        most
    };
    let (beside, batches, most) = tokio::join!(pings(&honest, time), attack, watch);
    let beside = beside?;
    tokio::time::sleep(REST).await;
    let after = memory(&net).await;
    call(&honest, "ping", vec![]).await?;
    honest.close().await;
    hostile.close().await;
    let (p99, of) =
        (percentile(beside.clone(), 0.99), format!("of {} calls; {batches} batches of the attacker", beside.len()));
    let alone_p99 = percentile(alone.clone(), 0.99);
    let figure = |what: &str, value, unit| Figure::new(format!("{kind}: {what}"), value, unit);
    let memory = |what: &str, (resident, heap): (f64, f64)| {
        figure(&format!("memory of the members {what}"), resident, "MiB")
            .note(format!("resident, the largest; heap {heap:.1} MiB"))
    };
    Ok(vec![
        figure("honest call alone, median", median(alone), "ms"),
        figure("honest call alone, 99th percentile", alone_p99, "ms"),
        figure("honest call beside, median", median(beside.clone()), "ms").note(of),
        figure("honest call beside, 99th percentile", p99, "ms"),
        figure("99th percentile beside, against alone", p99 / alone_p99, "times").promised(Promise::Under(TIMES)),
        figure("longest honest call beside", percentile(beside, 1.0), "ms"),
        memory("before", before),
        memory("at most", most),
        memory("afterwards", after),
    ])
}

/// Times of calls in a row, in ms.
async fn pings(honest: &Client, time: Duration) -> anyhow::Result<Vec<f64>> {
    let (end, mut times) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let started = Instant::now();
        let answer = honest.call(ClientRef::Object(0), Method::Call("ping".into()), vec![], LONGEST).await?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        ensure!(answer.fulfilled && answer.value == Value::String("pong".into()), "{answer:?}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(times)
}

/// Resident memory and heap of the member that has most, in MiB.
async fn memory(net: &BenchNet) -> (f64, f64) {
    let mut most = (0.0_f64, 0.0_f64);
    for host in MEMBERS {
        let page = net.metrics(host).await;
        let sum = |series: &str| samples(&page, series).sum::<f64>() / MIB;
        most = (most.0.max(sum("quorate_resident_memory_bytes")), most.1.max(sum("quorate_heap_bytes{")));
    }
    most
}

/// So many ordinary calls, a fifth of each kind in turn; heap and tables at each tenth of them.
pub async fn calls(binary: &Path, count: u32) -> anyhow::Result<Vec<Figure>> {
    let net = BenchNet::up(binary, VATS)?;
    net.led("victim").await?;
    let sender = net.client("sender").await?;
    let (step, mut done, mut figures) = ((count / 10).max(BATCH), 0, vec![state(&net, 0).await]);
    while done < count {
        let target = (done + step).min(count);
        while done < target {
            for kind in ORDINARY {
                let args = vec![Value::String(kind.into()), number(BATCH / 5)];
                let answered = sender.call(ClientRef::Object(0), Method::Call("calls".into()), args, LONGEST).await?;
                ensure!(answered.fulfilled, "{kind}: {:?}", answered.value);
            }
            done += BATCH;
        }
        eprintln!("bench: {done} of {count} calls");
        figures.push(state(&net, done).await);
    }
    sender.close().await;
    Ok(figures)
}

async fn state(net: &BenchNet, calls: u32) -> Figure {
    let page = net.metrics(MEMBERS[0]).await;
    let sum = |series: &str| samples(&page, series).sum::<f64>();
    let tables = format!(
        "kept for peers: {:.0} bytes; unacknowledged: {:.0} messages; checkpoint: {:.1} MiB",
        sum("quorate_kept_bytes{"),
        sum("quorate_outbox_messages{"),
        samples(&page, "quorate_checkpoint_bytes{vat=\"victim\",part=\"whole\"}").sum::<f64>() / MIB,
    );
    Figure::new(format!("heap after {calls} calls"), sum("quorate_heap_bytes{") / MIB, "MiB").note(tables)
}
