//! What a sender that does its worst costs others: an honest caller's times alone and beside it, and the memory of the vat's members.
//! And what a million ordinary calls leave behind.
//!
//! The attacker's own host has the lowest priority: it makes messages as fast as a whole core can, and would else be measured in place of the vat.

use super::{
    Figure, Promise, median,
    memory::samples,
    net::{BenchNet, VatLine, call, number},
    percentile,
};
use anyhow::{bail, ensure};
use quorate_client::Client;
use quorate_engine::{
    abi::{Method, Value},
    comms::client::ClientRef,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const MEMBERS: [&str; 3] = ["alpha", "beta", "gamma"];
const VATS: &[VatLine] =
    &[("sender", &["outside"], 1, "sender.js", &["victim"]), ("victim", &MEMBERS, 2, "victim.js", &[])];
/// What a sender does: endless loops; very many messages; objects and promises that stay; texts and symbols never seen before. And how many
/// messages a batch of it is.
const KINDS: [(&str, f64); 4] = [("spin", 50.0), ("outputs", 4_000.0), ("fill", 520.0), ("garbage", 20.0)];
/// The attacker makes no further batch while so many wait. They are more than the vat takes in at a time, and making ever more would measure
/// what the attacker costs its own host, whose processor and disk are those of the members here.
const BATCHES_WAITING: f64 = 8.0;
/// How often it looks whether so many wait.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Calls of these kinds leave nothing behind.
const ORDINARY: [&str; 5] = ["json", "confine", "object", "symbol", "promise"];
const MIB: f64 = 1_048_576.0;
/// The honest caller's 99th percentile beside an attacker is to be within so many times of what it is alone.
const TIMES: f64 = 3.0;
/// A heap is flat if it is at most so many times as large afterwards as before, and so many MiB more: garbage is collected once there are 8 MiB
/// of it, or as much as is in use.
const HEAP_TIMES: f64 = 1.5;
const HEAP_MORE: f64 = 8.0;
/// A vat of the default size keeps so many MiB for its peers, at most.
const KEPT_FOR_PEERS: f64 = 64.0;
/// Resident memory is flat if the second half of the attack, and what follows, makes it larger by such a share at most.
const GROWTH_SHARE: f64 = 0.1;
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

/// Each kind of attack for so long, in a testnet of its own. `ended` is given each kind's figures as soon as they are taken.
///
/// # Errors
/// A testnet does not start, or the honest caller gets no answer or a wrong one.
pub async fn attacks(
    binary: &Path,
    minutes: u64,
    kinds: &[String],
    mut ended: impl FnMut(Vec<Figure>),
) -> anyhow::Result<()> {
    let known = KINDS.map(|(kind, _)| kind);
    if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        bail!("no kind of attack is called {kind:?}; there are {}", known.join(", "));
    }
    for (kind, messages) in
        KINDS.into_iter().filter(|(kind, _)| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind))
    {
        eprintln!("bench: {kind}, {minutes} minutes");
        ended(attack(binary, kind, messages * BATCHES_WAITING, Duration::from_secs(minutes * 60)).await?);
    }
    Ok(())
}

async fn attack(binary: &Path, kind: &str, enough: f64, time: Duration) -> anyhow::Result<Vec<Figure>> {
    let net = BenchNet::up(binary, VATS)?;
    net.led("victim").await?;
    net.give_way("outside")?;
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
            while unsaid(&net).await > enough && Instant::now() < end {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        batches
    };
    let (beside, batches, watched) = tokio::join!(pings(&honest, time), attack, watch(&net, end, time / 2));
    let beside = beside?;
    tokio::time::sleep(REST).await;
    let after = memory(&net).await;
    call(&honest, "ping", vec![]).await?;
    honest.close().await;
    hostile.close().await;
    let (alone_p99, p99) = (percentile(alone.clone(), 0.99), percentile(beside.clone(), 0.99));
    let of = format!("of {} calls; {batches} batches of the attacker", beside.len());
    let figure = |what: &str, value, unit| Figure::new(format!("{kind}: {what}"), value, unit);
    let mut figures = vec![
        figure("honest call alone, median", median(alone), "ms"),
        figure("honest call alone, 99th percentile", alone_p99, "ms"),
        figure("honest call beside, median", median(beside.clone()), "ms").note(of),
        figure("honest call beside, 99th percentile", p99, "ms"),
        figure("99th percentile beside, against alone", p99 / alone_p99, "times").promised(Promise::Under(TIMES)),
        figure("longest honest call beside", percentile(beside, 1.0), "ms"),
    ];
    figures.extend(memories(kind, before, watched, after));
    Ok(figures)
}

/// Memory of the member that has most, in MiB.
#[derive(Clone, Copy, Default)]
struct Memory {
    resident: f64,
    heap: f64,
}

impl Memory {
    fn or_more(self, other: Memory) -> Memory {
        Memory { resident: self.resident.max(other.resident), heap: self.heap.max(other.heap) }
    }
}

/// Memory during an attack: the most in its first half, and the most in all of it.
struct Watched {
    first_half: Memory,
    all: Memory,
}

async fn watch(net: &BenchNet, end: Instant, half: Duration) -> Watched {
    let (mut first_half, mut second_half) = (Memory::default(), Memory::default());
    while Instant::now() < end {
        tokio::time::sleep(READ_EVERY).await;
        let part = if Instant::now() + half < end { &mut first_half } else { &mut second_half };
        *part = part.or_more(memory(net).await);
    }
    Watched { first_half, all: first_half.or_more(second_half) }
}

fn memories(kind: &str, before: Memory, watched: Watched, after: Memory) -> Vec<Figure> {
    let figure = |what: &str, value| Figure::new(format!("{kind}: {what}"), value, "MiB");
    let Watched { first_half, all } = watched;
    // What references and open promises take is kept as long as they are: the vat's memory for peers bounds it.
    let kept = if kind == "fill" { KEPT_FOR_PEERS } else { 0.0 };
    let bound = before.heap * HEAP_TIMES + HEAP_MORE + kept;
    let grown = all.or_more(after).resident - first_half.resident;
    vec![
        figure("heap before", before.heap),
        figure("heap at most", all.heap),
        figure("heap afterwards", after.heap).promised(Promise::Under(bound)),
        figure("resident memory before", before.resident).note("of the member that has most"),
        figure("resident memory at most, first half of the attack", first_half.resident),
        figure("resident memory at most", all.resident),
        figure("resident memory afterwards", after.resident),
        figure("resident memory, growth after the first half", grown)
            .promised(Promise::Under(first_half.resident * GROWTH_SHARE)),
    ]
}

/// Messages of the attacker that wait to be taken in.
async fn unsaid(net: &BenchNet) -> f64 {
    samples(&net.metrics("outside").await, "quorate_unacknowledged_messages{vat=\"sender\",peer=\"victim\"}").sum()
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

async fn memory(net: &BenchNet) -> Memory {
    let mut most = Memory::default();
    for host in MEMBERS {
        let page = net.metrics(host).await;
        let sum = |series: &str| samples(&page, series).sum::<f64>() / MIB;
        most =
            most.or_more(Memory { resident: sum("process_resident_memory_bytes"), heap: sum("quorate_heap_bytes{") });
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
