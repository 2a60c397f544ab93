//! Metrics of a host and of the vats that it carries, in Prometheus' text format.
//!
//! Two kinds: counters and histograms that are fed as things happen ([`Telemetry`], a `prometheus` registry), and figures that
//! mirror a state and are read when the page is asked for ([`mirror`], [`members`], [`host`], [`libp2p`]). One encoder writes all of
//! them ([`page::Page`]). Names, labels and help are also what `docs/reference/metrics.md` lists; a test holds the two together.

#[cfg(test)]
mod fixtures;
pub mod host;
pub mod libp2p;
pub mod members;
pub mod mirror;
pub mod page;

use crate::vat::console::level_name;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector, exponential_buckets,
    process_collector::ProcessCollector, proto::MetricFamily,
};
use quorate_consensus::BUCKETS_US;
use quorate_engine::heap::{LimitKind, LogLevel};
use quorate_net::Purpose;

const LIMITS: [LimitKind; 6] =
    [LimitKind::Fuel, LimitKind::Memory, LimitKind::Stack, LimitKind::Recursion, LimitKind::Outputs, LimitKind::Abort];
const LEVELS: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
/// What comes of a slice at its receiver.
const OUTCOMES: [&str; 4] = ["taken", "not_yet", "introduce", "refused"];

/// What comes of a question for what a vat publishes.
const READ_OUTCOMES: [&str; 2] = ["answered", "not_yet"];

/// The metrics that are fed as things happen.
pub struct Telemetry {
    registry: Registry,
    pub deliveries: IntCounterVec,
    pub crank_seconds: HistogramVec,
    pub crank_fuel: HistogramVec,
    pub block_seconds: HistogramVec,
    pub block_deliveries: HistogramVec,
    pub rolled_back: IntCounterVec,
    pub trial_fuel: IntCounterVec,
    pub console_lines: IntCounterVec,
    pub refused_commands: IntCounterVec,
    pub waited_commands: IntCounterVec,
    pub slices_shipped: IntCounterVec,
    pub slices_received: IntCounterVec,
    pub client_slices: IntCounterVec,
    pub malformed_frames: IntCounterVec,
    pub reads: IntCounterVec,
    pub leader_changes: IntCounterVec,
    pub forgotten_peers: IntCounterVec,
    pub last_applied: IntGaugeVec,
    pub checkpointed: IntGaugeVec,
    pub certified_checkpoint: IntGaugeVec,
    pub change_began: IntGaugeVec,
}

/// Defines families and registers them as they are made.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, family: Result<C, prometheus::Error>) -> C {
        let family = family.expect("names and labels are constants of this file and well formed");
        self.0.register(Box::new(family.clone())).expect("each name is defined once");
        family
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(format!("quorate_{name}"), help), labels))
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(format!("quorate_{name}"), help), labels))
    }

    fn histogram(&self, name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> HistogramVec {
        self.keep(HistogramVec::new(HistogramOpts::new(format!("quorate_{name}"), help).buckets(buckets), labels))
    }
}

fn buckets(first: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(first, factor, count).expect("positive first bucket, factor above one")
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry::new()
    }
}

impl Telemetry {
    /// All families; those of the host itself begin at 0.
    pub fn new() -> Telemetry {
        let telemetry = Telemetry::define();
        let process = telemetry.registry.register(Box::new(ProcessCollector::for_self()));
        process.expect("nobody else registers a process");
        for purpose in Purpose::ALL {
            telemetry.malformed_frames.with_label_values(&[purpose.name()]);
        }
        telemetry
    }

    /// A vat's series, each at 0: a counter that is first seen at 1 has not risen, as Prometheus counts.
    pub fn begin(&self, vat: &str) {
        for counter in [
            &self.deliveries,
            &self.refused_commands,
            &self.waited_commands,
            &self.trial_fuel,
            &self.leader_changes,
            &self.forgotten_peers,
        ] {
            counter.with_label_values(&[vat]);
        }
        for gauge in [&self.last_applied, &self.checkpointed, &self.certified_checkpoint, &self.change_began] {
            gauge.with_label_values(&[vat]);
        }
        for histogram in [&self.crank_seconds, &self.crank_fuel, &self.block_seconds, &self.block_deliveries] {
            histogram.with_label_values(&[vat]);
        }
        for limit in LIMITS {
            self.rolled_back.with_label_values(&[vat, limit.as_str()]);
        }
        for level in LEVELS {
            self.console_lines.with_label_values(&[vat, level_name(level)]);
        }
        for outcome in OUTCOMES {
            self.slices_shipped.with_label_values(&[vat, outcome]);
            self.slices_received.with_label_values(&[vat, outcome]);
            self.client_slices.with_label_values(&[vat, outcome]);
        }
        self.slices_shipped.with_label_values(&[vat, "unreachable"]);
        for outcome in READ_OUTCOMES {
            self.reads.with_label_values(&[vat, outcome]);
        }
    }

    fn define() -> Telemetry {
        let registry = Registry::new();
        let f = Families(&registry);
        let seconds = || BUCKETS_US.iter().map(|us| *us as f64 / 1e6).collect();
        Telemetry {
            deliveries: f.counter(
                "deliveries_total",
                "Deliveries executed since the process started, those repeated after a restart included.",
                &["vat"],
            ),
            crank_seconds: f.histogram(
                "crank_seconds",
                "Time that a delivery spent in the vat's heap.",
                &["vat"],
                seconds(),
            ),
            crank_fuel: f.histogram(
                "crank_fuel",
                "WebAssembly fuel of a delivery.",
                &["vat"],
                buckets(1000.0, 10.0, 8),
            ),
            waited_commands: f.counter(
                "waited_commands_total",
                "Commands in the log whose messages had to wait for those of others.",
                &["vat"],
            ),
            block_seconds: f.histogram(
                "block_seconds",
                "Time to execute a block, evidence checks included.",
                &["vat"],
                seconds(),
            ),
            block_deliveries: f.histogram(
                "block_deliveries",
                "Deliveries in a block.",
                &["vat"],
                buckets(1.0, 4.0, 8),
            ),
            rolled_back: f.counter(
                "rolled_back_deliveries_total",
                "Deliveries undone because they reached a limit.",
                &["vat", "limit"],
            ),
            trial_fuel: f.counter(
                "upgrade_trial_fuel_total",
                "Fuel that this host burnt in trying upgrades of the vat, which no account pays.",
                &["vat"],
            ),
            console_lines: f.counter("console_lines_total", "Lines that the vat's console printed.", &["vat", "level"]),
            refused_commands: f.counter(
                "refused_commands_total",
                "Commands in the log that were refused when they were applied, slices without good evidence among them.",
                &["vat"],
            ),
            slices_shipped: f.counter(
                "slices_shipped_total",
                "Slices sent to members of other vats, by outcome.",
                &["vat", "outcome"],
            ),
            slices_received: f.counter(
                "slices_received_total",
                "Slices that came in for the vat, by outcome.",
                &["vat", "outcome"],
            ),
            client_slices: f.counter(
                "client_slices_total",
                "Slices that came in from clients and strangers, by outcome.",
                &["vat", "outcome"],
            ),
            malformed_frames: f.counter(
                "malformed_frames_total",
                "Frames whose content did not decode, by purpose.",
                &["purpose"],
            ),
            reads: f.counter(
                "reads_total",
                "Questions for what the vat publishes, by outcome.",
                &["vat", "outcome"],
            ),
            leader_changes: f.counter(
                "leader_changes_total",
                "Times that the vat got another leader, as this host has seen it.",
                &["vat"],
            ),
            forgotten_peers: f.counter(
                "forgotten_peers_total",
                "Clients that the vat has forgotten, since they ended or their time was over, and peers that were dropped.",
                &["vat"],
            ),
            last_applied: f.gauge(
                "last_applied_timestamp_seconds",
                "When a block was last executed here, in seconds since 1970; 0 if none was since the host started.",
                &["vat"],
            ),
            checkpointed: f.gauge(
                "checkpoint_timestamp_seconds",
                "When the newest checkpoint on disk was written, or found there at the start, in seconds since 1970; 0 if there is none.",
                &["vat"],
            ),
            certified_checkpoint: f.gauge(
                "certified_checkpoint_timestamp_seconds",
                "When the newest checkpoint was certified, or found certified at the start, in seconds since 1970; 0 if there is none.",
                &["vat"],
            ),
            change_began: f.gauge(
                "pending_change_timestamp_seconds",
                "Since when a change of members is under way, as this host has seen it, in seconds since 1970; 0 if none is.",
                &["vat"],
            ),
            registry,
        }
    }

    /// The families that are fed, and those of the process.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vat_begins_with_every_series_at_zero() {
        let telemetry = Telemetry::new();
        telemetry.begin("counter");
        let mut page = page::Page::default();
        page.extend(telemetry.gather());
        let text = page.render();
        for family in telemetry.registry.gather().iter().filter(|family| family.name().starts_with("quorate_")) {
            let name = family.name();
            assert!(!family.get_metric().is_empty(), "{name} has no series");
            let samples = text.lines().filter(|line| line.starts_with(name));
            let risen: Vec<_> = samples.filter(|line| !line.ends_with(" 0")).collect();
            assert!(risen.is_empty(), "{risen:?}");
        }
        assert!(
            text.contains("quorate_rolled_back_deliveries_total{limit=\"recursion\",vat=\"counter\"} 0\n"),
            "{text}"
        );
    }

    #[test]
    fn the_process_tells_what_every_process_does() {
        let mut page = page::Page::default();
        page.extend(Telemetry::new().gather());
        let text = page.render();
        for name in ["resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name}: {text}");
        }
    }
}
