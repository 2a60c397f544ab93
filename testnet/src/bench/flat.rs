//! Whether memory and disk of hosts stay flat over very many deliveries: a sender's messages to a vat of three members, with what each host takes
//! after every step of them.

use super::{
    Figure, Promise,
    memory::samples,
    net::{BenchNet, MIB, VATS, VatLine, call, number},
    plot::{Line, Panel, picture},
};
use anyhow::ensure;
use std::{
    fmt::Write as _,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// The hosts that are looked at: the members, and the sender's.
const HOSTS: [&str; 4] = ["alpha", "beta", "gamma", "outside"];
const VAT: &str = "counter";
/// Messages between two looks: fewer than may be unacknowledged.
const BATCH: u32 = 10_000;
/// Messages in one delivery of the sender: as many as it may send.
const SENT_AT_ONCE: u32 = 2_500;
/// What a host takes at the end is to be at most so many times what it took halfway.
const TIMES: f64 = 1.1;

/// What a host takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Its part of the memory that it shares with others, and what is its own alone.
    memory: f64,
    /// The files of its home.
    disk: f64,
    /// The vat's log, checkpoints and certificates there.
    log: f64,
    checkpoints: f64,
    certificates: f64,
}

/// What all hosts take after so many deliveries.
struct Sample {
    deliveries: u32,
    seconds: f64,
    hosts: [Taken; HOSTS.len()],
    /// Entries of the log, and the newest checkpoint, at the first member.
    entries: f64,
    checkpoint: f64,
}

/// Sends so many messages, and writes what hosts took meanwhile to `flat.csv` and `flat.svg` in `folder`.
///
/// # Errors
/// The testnet does not start, a message is lost, or a file can't be written.
pub async fn deliveries(binary: &Path, count: u32, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let vats: Vec<VatLine> = VATS.iter().filter(|vat| ["driver", VAT].contains(&vat.0)).copied().collect();
    let net = BenchNet::up(binary, &vats)?;
    net.led(VAT).await?;
    let driver = net.client("driver").await?;
    let (began, before) = (Instant::now(), call(&driver, "settle", vec![]).await?);
    let mut taken = vec![sample(&net, 0, Duration::ZERO).await?];
    let mut done = 0;
    while done < count {
        let batch = BATCH.min(count - done);
        for sent in (0..batch).step_by(SENT_AT_ONCE as usize) {
            call(&driver, "flood", vec![number(SENT_AT_ONCE.min(batch - sent))]).await?;
        }
        done += batch;
        let found = call(&driver, "settle", vec![]).await? - before;
        ensure!(found == f64::from(done), "{found} of {done} messages arrived");
        taken.push(sample(&net, done, began.elapsed()).await?);
        if done.is_multiple_of(10 * BATCH) {
            eprintln!("bench: {done} of {count} deliveries");
            write(folder, &taken)?;
        }
    }
    driver.close().await;
    write(folder, &taken)?;
    Ok(figures(&taken, folder))
}

async fn sample(net: &BenchNet, deliveries: u32, passed: Duration) -> anyhow::Result<Sample> {
    let mut hosts = [Taken::default(); HOSTS.len()];
    let (mut entries, mut checkpoint) = (0.0, 0.0);
    for (host, taken) in HOSTS.iter().zip(&mut hosts) {
        let page = net.metrics(host).await;
        let sum = |series: &str| samples(&page, series).sum::<f64>();
        let part = |part: &str| sum(&format!("quorate_vat_disk_bytes{{vat=\"{VAT}\",part=\"{part}\"}}"));
        *taken = Taken {
            memory: net.memory(host)?,
            disk: folder_bytes(&net.home(host))?,
            log: part("log"),
            checkpoints: part("checkpoints"),
            certificates: part("certificates"),
        };
        if *host == HOSTS[0] {
            entries = sum(&format!("quorate_log_blocks{{vat=\"{VAT}\""));
            checkpoint = sum(&format!("quorate_checkpoint_bytes{{vat=\"{VAT}\",part=\"whole\"}}"));
        }
    }
    Ok(Sample { deliveries, seconds: passed.as_secs_f64(), hosts, entries, checkpoint })
}

/// The bytes that files of a folder take. Some go while it is read.
fn folder_bytes(folder: &Path) -> io::Result<f64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        bytes +=
            if about.is_dir() { folder_bytes(&entry.path()).unwrap_or(0.0) } else { about.blocks() as f64 * 512.0 };
    }
    Ok(bytes)
}

/// One of the figures of a host.
type Of = fn(&Taken) -> f64;

/// What is compared of each host.
const PARTS: [(&str, Of); 2] = [("memory", |taken| taken.memory), ("disk", |taken| taken.disk)];

fn figures(taken: &[Sample], folder: &Path) -> Vec<Figure> {
    let Some(last) = taken.last() else { return Vec::new() };
    let rate = f64::from(last.deliveries) / last.seconds.max(0.001);
    let note = format!("every {BATCH} in {}", folder.join("flat.csv").display());
    let mut figures = vec![Figure::new(format!("{} deliveries", last.deliveries), rate, "/s").note(note)];
    // Levels swing between two checkpoints, and between two compactions: what they reach is compared, not moments.
    let quarter = (taken.len() / 4).max(1);
    for (at, host) in HOSTS.iter().enumerate() {
        for (what, of) in PARTS {
            let most = |samples: &[Sample]| samples.iter().map(|sample| of(&sample.hosts[at])).fold(0.0, f64::max);
            let (halfway, end) = (most(&taken[..taken.len() / 2]), most(&taken[taken.len() - quarter..]));
            let note =
                format!("most in the last quarter: {:.0} MiB; in the first half: {:.0} MiB", end / MIB, halfway / MIB);
            figures.push(
                Figure::new(format!("growth of the {what} of {host}"), end / halfway.max(1.0), "times")
                    .promised(Promise::Under(TIMES))
                    .note(note),
            );
        }
    }
    figures
}

fn write(folder: &Path, taken: &[Sample]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("flat.csv"), csv(taken)?)?;
    fs::write(folder.join("flat.svg"), picture(&panels(taken))?)?;
    Ok(())
}

fn csv(taken: &[Sample]) -> Result<String, std::fmt::Error> {
    let mut text = "deliveries,seconds,log_entries,checkpoint_bytes".to_owned();
    for host in HOSTS {
        for what in ["pss", "home", "log", "checkpoints", "certificates"] {
            write!(text, ",{host}_{what}_bytes")?;
        }
    }
    for Sample { deliveries, seconds, hosts, entries, checkpoint } in taken {
        write!(text, "\n{deliveries},{seconds:.1},{entries:.0},{checkpoint:.0}")?;
        for Taken { memory, disk, log, checkpoints, certificates } in hosts {
            write!(text, ",{memory:.0},{disk:.0},{log:.0},{checkpoints:.0},{certificates:.0}")?;
        }
    }
    text.push('\n');
    Ok(text)
}

fn panels(taken: &[Sample]) -> [Panel; 3] {
    let panels: [(&str, Of); 3] = [
        ("memory of each host (PSS), MiB", |taken| taken.memory),
        ("disk of each home, MiB", |taken| taken.disk),
        ("log of the vat on disk, about, MiB", |taken| taken.log),
    ];
    panels.map(|(title, of)| {
        let lines = HOSTS.iter().enumerate().map(|(at, host)| {
            let points =
                taken.iter().map(|sample| (f64::from(sample.deliveries) / 1_000.0, of(&sample.hosts[at]) / MIB));
            Line { name: (*host).to_owned(), points: points.collect() }
        });
        Panel {
            title: title.to_owned(),
            across: "thousand deliveries".to_owned(),
            logarithmic: false,
            lines: lines.collect(),
        }
    })
}
