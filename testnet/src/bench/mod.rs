//! Measures what the design promises in figures, on this machine, with the real parts: processes over loopback, RocksDB with its
//! syncs, signatures, the production image.
//!
//! Every figure is the median of several samples unless it says otherwise, and each says what was promised. What was measured is
//! checked as well: a message that is lost or doubled ends the run with an error. Everything is bounded, by [`LIMIT`] as a
//! whole; where time runs out before a size is reached, the figure says so.

pub mod calls;
pub mod curves;
pub mod engine;
pub mod far;
pub mod flat;
pub mod memory;
pub mod micro;
pub mod net;
pub mod outside;
pub mod plot;
pub mod reads;
pub mod restart;
pub mod routes;
pub mod streams;
pub mod worst;

use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The whole run ends here, whatever is still to be measured.
pub const LIMIT: Duration = Duration::from_secs(3_600);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Calls in a row for one sample of the round trip.
    pub round_trips: u32,
    /// Messages without answers in one sample.
    pub one_way: u32,
    /// Calls of a client from outside.
    pub client_calls: u32,
    /// Deliveries to a machine without a network.
    pub engine_deliveries: u32,
    /// Deliveries after which restarts are measured, ascending.
    pub restart_after: [u64; 3],
    /// Longest time for bringing a vat to such a size.
    pub fill: Duration,
    /// Vats on the fuller one of two hosts.
    pub idle_vats: u32,
    /// Samples of everything that is quickly repeated, and of restarts.
    pub samples: usize,
    pub restart_samples: usize,
    /// Points of the curves: members of a vat, clients that it knows, MiB that its heap holds, idle vats.
    pub members: &'static [usize],
    pub peers: &'static [usize],
    pub heaps: &'static [u32],
    pub vats: &'static [usize],
}

impl Sizes {
    /// Returns what `make bench` measures.
    pub fn full() -> Sizes {
        Sizes {
            round_trips: 100,
            one_way: 10_000,
            client_calls: 500,
            engine_deliveries: 50_000,
            restart_after: [1_000, 100_000, 1_000_000],
            fill: Duration::from_secs(40),
            idle_vats: 100,
            samples: 5,
            restart_samples: 3,
            members: &[1, 4, 7, 13, 22, 31],
            peers: &[1, 10, 100, 300],
            heaps: &[0, 16, 32, 64],
            vats: &[1, 100, 1_000],
        }
    }

    /// Enough to see that the benchmark works.
    pub fn quick() -> Sizes {
        Sizes {
            round_trips: 20,
            one_way: 2_000,
            client_calls: 50,
            engine_deliveries: 5_000,
            restart_after: [100, 2_000, 10_000],
            fill: Duration::from_secs(10),
            idle_vats: 10,
            samples: 3,
            restart_samples: 1,
            members: &[1, 4],
            peers: &[1, 10],
            heaps: &[0, 8],
            vats: &[1, 10],
        }
    }
}

/// A bound that a figure was promised to keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    Under(f64),
    Over(f64),
}

impl Promise {
    fn met(self, value: f64) -> bool {
        match self {
            Promise::Under(bound) => value < bound,
            Promise::Over(bound) => value > bound,
        }
    }

    fn shown(self, unit: &str) -> String {
        match self {
            Promise::Under(bound) => format!("under {}", quantity(bound, unit)),
            Promise::Over(bound) => format!("over {}", quantity(bound, unit)),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    pub promise: Option<Promise>,
    pub met: Option<bool>,
    pub note: String,
}

impl Figure {
    /// A figure for which nothing was promised.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure { what: what.into(), value, unit, promise: None, met: None, note: String::new() }
    }

    /// With what was promised.
    pub fn promised(self, promise: Promise) -> Figure {
        Figure { promise: Some(promise), met: Some(promise.met(self.value)), ..self }
    }

    /// With a remark.
    pub fn note(self, note: impl Into<String>) -> Figure {
        Figure { note: note.into(), ..self }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Logical processors of this machine.
    pub cores: usize,
    /// What else the machine was doing at the beginning: the load average over one minute.
    pub load_average: String,
    pub seconds: f64,
    pub figures: Vec<Figure>,
    /// Why figures are missing, if any are.
    pub unfinished: Option<String>,
}

impl Report {
    /// A report of figures that were taken otherwise.
    pub fn of(figures: Vec<Figure>) -> Report {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Report {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
            seconds: 0.0,
            figures,
            unfinished: None,
        }
    }

    /// Measures these parts, with hosts run by `binary`. Says on standard error what it is at. Pictures go to `folder`.
    pub async fn measure(binary: &Path, sizes: Sizes, parts: &[Part], folder: &Path) -> Report {
        let started = Instant::now();
        let mut report = Report::of(Vec::new());
        let work = async {
            for part in parts {
                part.measure(binary, sizes, folder, &mut report.figures).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        report.unfinished = match tokio::time::timeout(LIMIT, work).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("time was up after {} s", LIMIT.as_secs())),
        };
        report.seconds = started.elapsed().as_secs_f64();
        report
    }

    /// The table, for people.
    pub fn table(&self) -> String {
        let mut rows = vec![["", "measured", "promised", "", ""].map(str::to_owned)];
        rows.extend(self.figures.iter().map(|figure| {
            let promised = figure.promise.map(|promise| promise.shown(figure.unit)).unwrap_or_default();
            let met = figure.met.map_or("", |met| if met { "met" } else { "NOT MET" });
            [figure.what.clone(), quantity(figure.value, figure.unit), promised, met.to_owned(), figure.note.clone()]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut text = format!("{} cores, load average {} at the beginning\n\n", self.cores, self.load_average);
        for [what, value, promised, met, note] in &rows {
            let [first, second, third, fourth] = widths;
            let line = format!("{what:first$}  {value:>second$}  {promised:third$}  {met:fourth$}  {note}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if self.seconds > 0.0 {
            text.push_str(&format!("\nmeasured in {:.0} s\n", self.seconds));
        }
        if let Some(why) = &self.unfinished {
            text.push_str(&format!("NOT FINISHED: {why}\n"));
        }
        text
    }
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A vat's machine, without a network.
    Engine,
    /// The interpreter: small programs.
    Interpreter,
    /// Calls, reads and restarts of a solo vat and a 2-of-3 vat.
    Vats,
    /// Calls by programs outside, beside etcd.
    Outside,
    /// Calls to vats whose members are far from each other.
    Far,
    /// From vat to vat, by members and sizes.
    Routes,
    /// Messages without answers: long queues of them, and large ones.
    Streams,
    /// Memory of idle vats.
    Idle,
    /// What grows with members, peers, heap and vats. Draws `curves.svg`.
    Curves,
}

impl Part {
    /// All of them, in their order, with what they are called.
    pub const ALL: [(Part, &str); 9] = [
        (Part::Engine, "engine"),
        (Part::Interpreter, "interpreter"),
        (Part::Vats, "vats"),
        (Part::Outside, "outside"),
        (Part::Far, "far"),
        (Part::Routes, "routes"),
        (Part::Streams, "streams"),
        (Part::Idle, "idle"),
        (Part::Curves, "curves"),
    ];

    async fn measure(
        self,
        binary: &Path,
        sizes: Sizes,
        folder: &Path,
        figures: &mut Vec<Figure>,
    ) -> anyhow::Result<()> {
        eprintln!("bench: {}", Part::ALL.iter().find(|(part, _)| *part == self).map_or("", |(_, name)| name));
        match self {
            Part::Engine => figures.extend(tokio::task::spawn_blocking(move || engine::measure(sizes)).await??),
            Part::Interpreter => figures.extend(tokio::task::spawn_blocking(micro::measure).await??),
            Part::Vats => {
                let net = net::BenchNet::up(binary, net::VATS)?;
                figures.extend(calls::measure(&net, sizes).await?);
                figures.extend(reads::measure(&net, sizes).await?);
                for (vat, what) in [("lone", "solo vat"), ("counter", "2-of-3 vat")] {
                    restart::measure(&net, vat, what, sizes, figures).await?;
                }
            }
            Part::Outside => figures.extend(outside::measure(binary, sizes).await?),
            Part::Far => figures.extend(far::measure(binary, sizes).await?),
            Part::Routes => figures.extend(routes::measure(binary, sizes).await?),
            Part::Streams => figures.extend(streams::measure(&net::BenchNet::up(binary, net::VATS)?, sizes).await?),
            Part::Idle => figures.extend(memory::measure(binary, sizes).await?),
            Part::Curves => {
                let panels = curves::measure(binary, sizes, figures).await?;
                let file = folder.join("curves.svg");
                std::fs::create_dir_all(folder)?;
                std::fs::write(&file, plot::picture(&panels)?)?;
                eprintln!("bench: {} is drawn", file.display());
            }
        }
        Ok(())
    }
}

/// A number as people read it, with its unit.
fn quantity(value: f64, unit: &str) -> String {
    let number = match value.abs() {
        large if large >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
            let split = digits.len() % 3;
            let mut groups: Vec<&str> = if split > 0 { vec![&digits[..split]] } else { Vec::new() };
            groups.extend((split..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
            format!("{sign}{}", groups.join(","))
        }
        middling if middling >= 100.0 => format!("{value:.0}"),
        small if small.fract() == 0.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

/// The value in the middle of some samples.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that `share` of the samples do not exceed.
pub fn percentile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let rank = (samples.len() as f64 * share).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [(0.0312, "0.03"), (7.5, "7.50"), (42.06, "42.1"), (250.4, "250"), (3_000.0, "3,000"), (2.0, "2")];
        for (value, text) in shown {
            assert_eq!(quantity(value, ""), text);
        }
        assert_eq!(quantity(1_234_567.0, "/s"), "1,234,567 /s");
        assert_eq!(Promise::Under(10.0).shown("ms"), "under 10 ms");
    }

    #[test]
    fn middles_and_percentiles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(hundred.clone(), 0.99), percentile(hundred, 0.5)), (99.0, 50.0));
        assert!(Promise::Over(3_000.0).met(3_001.0) && !Promise::Under(10.0).met(10.0));
    }
}
