//! `make chaos`: real hosts, to which real faults happen by chance, under clients that never stop. Afterwards nothing is lost, nothing was done
//! twice, and what the clients saw is linearizable.
//!
//! | module | what it does |
//! |---|---|
//! | [`history`] | judges what clients saw |
//! | [`network`] | namespaces with TUN devices, and the router between them |
//! | [`hosts`] | the hosts' processes, disks and clocks |
//! | [`faults`] | the kinds of faults, and their ends |
//! | [`workload`] | the clients, and the last audit |
//!
//! The schedule comes from a seed. Processes and packets take their own time, so the same seed gives the same faults, not the same run.

pub mod faults;
pub mod history;
pub mod hosts;
pub mod network;
pub mod workload;

use anyhow::{Context, bail};
use faults::{KINDS, Kind, Weather};
use hosts::Hosts;
use network::Network;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use workload::{Audit, Workload};

/// How long a fault lasts, in ms.
const LASTS_MS: std::ops::Range<u64> = 2_000..9_000;
/// How long it is calm after a recovery, in ms.
const CALM_MS: std::ops::Range<u64> = 500..2_500;
/// How long a recovery may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is to be done.
pub struct Options {
    pub seed: u64,
    pub time: Duration,
    /// These kinds alone; none: all that are possible.
    pub kinds: Vec<Kind>,
}

/// One fault, and how it was recovered from.
#[derive(Clone, Debug)]
pub struct Round {
    pub kind: Kind,
    pub weather: Weather,
    /// From the end of the fault until both clusters answered a new client.
    pub answers: Duration,
    /// Until all members had caught up as well.
    pub caught_up: Duration,
}

/// What came of a run.
pub struct Report {
    pub rounds: Vec<Round>,
    pub operations: u64,
    pub given_up: u64,
    pub cells: usize,
    pub audit: Audit,
    pub packets: Option<(u64, u64)>,
    /// What should not be; none: all is well.
    pub failures: Vec<String>,
}

/// Runs chaos for a while. `network` is that of this process' namespaces, or there is none, and the hosts are on loopback.
///
/// # Errors
/// Hosts do not start, do not recover, or have no answer when nothing is wrong any more.
pub async fn run(binary: &Path, options: &Options, network: Option<Network>) -> anyhow::Result<Report> {
    let hosts = Hosts::up(binary, network).await?;
    let mut chance = ChaCha8Rng::seed_from_u64(options.seed);
    let workload = Workload::start(&hosts, options.seed)?;
    workload.probe(PATIENCE).await?;
    let possible = |kind: &Kind| kind.is_possible(&hosts) && (options.kinds.is_empty() || options.kinds.contains(kind));
    let (begun, mut rounds, mut next) = (Instant::now(), Vec::new(), Vec::new());
    while begun.elapsed() < options.time {
        if next.is_empty() {
            next = KINDS.into_iter().filter(possible).collect::<Vec<_>>();
            next.shuffle(&mut chance);
        }
        let kind = next.pop().context("a kind of fault that is possible here")?;
        let round = one_round(&hosts, &workload, kind, &mut chance).await;
        let round =
            round.with_context(|| format!("round {}, {}, seed {}", rounds.len() + 1, kind.as_str(), options.seed))?;
        rounds.push(round);
        tokio::time::sleep(Duration::from_millis(chance.random_range(CALM_MS))).await;
    }
    Weather::Fair.set(&hosts);
    let (seen, auditor) = workload.end().await;
    let audit = auditor.audit(&seen).await.context("the audit")?;
    let mut failures = seen.wrong.clone();
    if let Err(why) = history::check(&seen.cells) {
        failures.push(why);
    }
    failures.extend(audit.lost.iter().map(|id| format!("{id} was acknowledged and is lost")));
    failures.extend(audit.doubled.iter().map(|id| format!("{id} was done twice")));
    let counts = [
        (audit.messages_lost, "messages were lost or doubled"),
        (audit.messages_misplaced, "messages came out of their order"),
        (audit.answers_wrong, "answers to messages are missing or wrong"),
    ];
    failures.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    Ok(Report {
        rounds,
        operations: seen.answered,
        given_up: seen.given_up,
        cells: seen.cells.len(),
        audit,
        packets: hosts.network.as_ref().map(Network::packets),
        failures,
    })
}

async fn one_round(hosts: &Hosts, workload: &Workload, kind: Kind, chance: &mut ChaCha8Rng) -> anyhow::Result<Round> {
    workload.next_round();
    let weather = if hosts.network.is_some() && chance.random() { Weather::Foul } else { Weather::Fair };
    weather.set(hosts);
    let mut fault = faults::begin(kind, hosts, chance).await?;
    tokio::time::sleep(Duration::from_millis(chance.random_range(LASTS_MS))).await;
    let healed = Instant::now();
    faults::heal(&mut fault, weather, hosts)?;
    workload.probe(PATIENCE).await?;
    let answers = healed.elapsed();
    hosts.caught_up(PATIENCE).await?;
    let caught_up = healed.elapsed();
    let (answered, given_up) = workload.counts();
    let names: Vec<&str> = fault.places.iter().map(|place| hosts::HOSTS[*place]).collect();
    println!(
        "{:32} {:30} {:4} answers after {:6} ms, caught up after {:6} ms; {answered} operations, {given_up} given up",
        kind.as_str(),
        [&names[..], &[&fault.note[..]]].concat().join(" "),
        if weather == Weather::Foul { "foul" } else { "fair" },
        answers.as_millis(),
        caught_up.as_millis(),
    );
    for (place, host) in hosts::HOSTS.iter().enumerate() {
        for vat in hosts.status(place).await.map(|status| status.vats).unwrap_or_default() {
            if vat.equivocations > 0 || vat.disagreements > 0 {
                bail!(
                    "{host}: {} has {} equivocations and {} disagreements",
                    vat.name,
                    vat.equivocations,
                    vat.disagreements
                );
            }
        }
    }
    Ok(Round { kind, weather, answers, caught_up })
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut groups: BTreeMap<(Kind, bool), Vec<&Round>> = BTreeMap::new();
        for round in &self.rounds {
            groups.entry((round.kind, round.weather == Weather::Foul)).or_default().push(round);
        }
        let mut text = String::from(
            "| fault | network | times | answers after, ms: median, most | caught up after, ms: median, most |\n|---|---|---|---|---|\n",
        );
        for ((kind, is_foul), rounds) in groups {
            let figures = |of: fn(&Round) -> Duration| {
                let mut all: Vec<u128> = rounds.iter().map(|round| of(round).as_millis()).collect();
                all.sort_unstable();
                format!("{}, {}", all[all.len() / 2], all[all.len() - 1])
            };
            let network = if is_foul { "50 ms, 2 % loss" } else { "fair" };
            let (answers, caught_up) = (figures(|round| round.answers), figures(|round| round.caught_up));
            text.push_str(&format!("| {} | {network} | {} | {answers} | {caught_up} |\n", kind.as_str(), rounds.len()));
        }
        let audit = &self.audit;
        text.push_str(&format!(
            "\n{} operations answered, {} given up, {} cells; {} ids, {} lost, {} doubled\n",
            self.operations,
            self.given_up,
            self.cells,
            audit.ids,
            audit.lost.len(),
            audit.doubled.len()
        ));
        text.push_str(&format!(
            "{} messages from a solo vat to 3 of 4 and 2 of 3: {} lost or doubled, {} misplaced, {} answers wrong\n",
            audit.messages, audit.messages_lost, audit.messages_misplaced, audit.answers_wrong
        ));
        if let Some((carried, lost)) = self.packets {
            text.push_str(&format!("{carried} packets carried, {lost} lost or cut\n"));
        }
        match &self.failures[..] {
            [] => text.push_str("linearizable; nothing lost, nothing doubled\n"),
            failures => failures.iter().for_each(|failure| text.push_str(&format!("FAILED: {failure}\n"))),
        }
        text
    }
}
