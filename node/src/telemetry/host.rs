//! The figures of a host that mirror a state: of the network, the store, the disk, the process and the build.

use super::page::Page;
use crate::addresses::Received;
use crate::traces::OUTCOMES;
use quorate_consensus::{BUCKETS_US, Store};
use quorate_engine::image::WASMTIME_VERSION;
use quorate_net::{NetStats, Purpose};
use quorate_protocol::disk::{DiskLimits, ScrubStatus};
use quorate_protocol::status::DiskStatus;

/// How this program was built.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    pub version: &'a str,
    /// The engine image that new vats get.
    pub image: &'a str,
    /// The commit, where the build knew it.
    pub commit: &'a str,
}

/// The build, and the runtime that everything runs on.
pub fn process(page: &mut Page, build: &Build<'_>, vats: usize) {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    page.gauge(
        "quorate_build_info",
        "Always 1; says which build this is.",
        &[
            ("version", build.version),
            ("image", build.image),
            ("commit", build.commit),
            ("profile", profile),
            ("wasmtime", WASMTIME_VERSION),
        ],
        1,
    );
    page.gauge("quorate_vats", "Vats that this host carries.", &[], vats as u64);
    let runtime = tokio::runtime::Handle::current().metrics();
    let busy: f64 =
        (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum();
    page.counter_of(
        "quorate_runtime_busy_seconds_total",
        "Time that the threads of the runtime were busy; the threads that execute vats are not among them.",
        &[],
        busy,
    );
    page.gauge("quorate_runtime_threads", "Threads of the runtime.", &[], runtime.num_workers() as u64);
    page.gauge("quorate_runtime_tasks", "Tasks of the runtime.", &[], runtime.num_alive_tasks() as u64);
    page.gauge(
        "quorate_runtime_waiting_tasks",
        "Tasks that wait for any thread of the runtime.",
        &[],
        runtime.global_queue_depth() as u64,
    );
}

/// Address records.
pub fn addresses(page: &mut Page, records: usize, received: Received) {
    page.gauge("quorate_address_records", "Address records of other hosts that are kept.", &[], records as u64);
    let Received { new, known, bad, refused } = received;
    for (outcome, count) in [("new", new), ("known", known), ("bad", bad), ("refused", refused)] {
        page.counter(
            "quorate_address_records_received_total",
            "Address records that hosts sent of themselves, by what became of them.",
            &[("outcome", outcome)],
            count,
        );
    }
}

/// What the network between hosts did.
pub fn network(page: &mut Page, stats: &NetStats) {
    let connections = &stats.connections;
    page.gauge("quorate_connected_peers", "Hosts connected to this one.", &[], connections.connected_peers);
    page.counter("quorate_dials_total", "Attempts to connect to other hosts.", &[], connections.dials);
    page.counter("quorate_dial_failures_total", "Attempts to connect that failed.", &[], connections.dial_failures);
    page.counter(
        "quorate_inbound_failures_total",
        "Inbound connections that failed or were denied: limits, garbage, failed handshakes.",
        &[],
        connections.inbound_failures,
    );
    page.counter(
        "quorate_duplicate_connections_total",
        "Second connections to one peer, closed in favour of the other.",
        &[],
        connections.connections_duplicate,
    );
    page.gauge(
        "quorate_relay_circuits",
        "Connections of other hosts that this one relays now.",
        &[],
        connections.circuits,
    );
    let mut counter = |name, help, count| page.counter(name, help, &[], count);
    counter(
        "quorate_relay_circuits_opened_total",
        "Connections of other hosts that this one relayed.",
        connections.circuits_opened,
    );
    counter(
        "quorate_relay_denied_total",
        "Reservations and connections that this host refused as a relay.",
        connections.circuits_denied,
    );
    counter(
        "quorate_holes_punched_total",
        "Direct connections made while hosts were connected through a relay.",
        connections.holes_punched,
    );
    counter("quorate_hole_failures_total", "Attempts to do so that failed.", connections.holes_failed);
    page.gauge(
        "quorate_net_strangers_bytes",
        "Memory taken by large frames of hosts that share no vat with this one.",
        &[],
        connections.untrusted_bytes,
    );
    page.gauge(
        "quorate_net_unread_bytes",
        "Memory taken by what hosts sent over TCP ahead of its being read.",
        &[],
        connections.unread_bytes,
    );
    for purpose in Purpose::ALL {
        let stats = stats.purpose(purpose);
        for (direction, bytes, frames) in
            [("in", stats.bytes_in, stats.frames_in), ("out", stats.bytes_out, stats.frames_out)]
        {
            let labels = [("purpose", purpose.name()), ("direction", direction)];
            page.counter("quorate_net_bytes_total", "Bytes of frames between hosts.", &labels, bytes);
            page.counter("quorate_net_frames_total", "Frames between hosts.", &labels, frames);
        }
        for (reason, count) in [
            ("malformed", stats.malformed),
            ("oversized", stats.oversized),
            ("truncated", stats.truncated),
            ("stalled", stats.stalled),
            ("forbidden", stats.refused_forbidden),
            ("refused", stats.refused_by_handler),
            ("unavailable", stats.refused_unavailable),
            ("rate_limited", stats.rate_limited),
            ("too_many_streams", stats.streams_rejected),
        ] {
            page.counter(
                "quorate_net_rejected_total",
                "Frames and streams of other hosts that were not served, by reason.",
                &[("purpose", purpose.name()), ("reason", reason)],
                count,
            );
        }
        page.counter(
            "quorate_net_requests_lost_total",
            "Requests of this host that got no answer: connection lost or deadline passed.",
            &[("purpose", purpose.name())],
            stats.requests_lost + stats.requests_timed_out,
        );
        page.counter(
            "quorate_net_requests_overloaded_total",
            "Requests of this host that were not sent, since too many before them had no answer.",
            &[("purpose", purpose.name())],
            stats.requests_overloaded,
        );
    }
}

/// What became of the spans of traces; all zeros where none are exported.
pub fn traces(page: &mut Page, counts: [u64; 3]) {
    for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
        page.counter(
            "quorate_trace_spans_total",
            "Spans of traces, by what became of them.",
            &[("outcome", outcome)],
            count,
        );
    }
}

/// The store.
pub fn store(page: &mut Page, store: &dyn Store) {
    for (part, bytes) in store.sizes() {
        if part == "wal" {
            // It holds again what the memory tables hold: a sum over the families must not count that twice.
            page.gauge("quorate_store_wal_bytes", "Size of the database's write-ahead log.", &[], bytes);
        } else {
            page.gauge(
                "quorate_store_bytes",
                "Size of the database, by family of records.",
                &[("family", part)],
                bytes,
            );
        }
    }
    let health = store.health();
    let mut gauge = |name, help, value| page.gauge(name, help, &[], value);
    gauge(
        "quorate_store_writes_stopped",
        "1 while the database takes no writes until its compactions have caught up.",
        u64::from(health.writes_stopped),
    );
    gauge(
        "quorate_store_delayed_write_bytes_per_second",
        "The rate to which the database holds writes back; 0 if it does not.",
        health.delayed_write_bytes_per_second,
    );
    gauge("quorate_store_running_compactions", "Compactions that run.", health.running_compactions);
    gauge("quorate_store_running_flushes", "Memory tables that are being written out.", health.running_flushes);
    gauge(
        "quorate_store_background_errors",
        "Errors of compactions and flushes since the database was opened.",
        health.background_errors,
    );
    gauge(
        "quorate_store_pending_compaction_bytes",
        "What has to be rewritten until compactions have caught up, about.",
        health.pending_compaction_bytes,
    );
    gauge(
        "quorate_store_memory_tables_bytes",
        "Memory for what is not in files of the database yet.",
        health.memory_tables_bytes,
    );
    gauge("quorate_store_block_cache_bytes", "Memory for what was read of the database.", health.block_cache_bytes);
    let times = store.sync_times();
    page.histogram(
        "quorate_store_sync_seconds",
        "Time that the disk took to sync the write-ahead log, all vats at once.",
        &[],
        &BUCKETS_US,
        &times.buckets,
        times.sum_us,
    );
}

/// The file system that the store lies on.
pub fn disk(page: &mut Page, space: &DiskStatus, limits: &DiskLimits) {
    let help = "Bytes that the host may still write to the file system of its data.";
    page.gauge("quorate_disk_free_bytes", help, &[], space.free_bytes);
    page.gauge("quorate_disk_size_bytes", "Size of the file system of the host's data.", &[], space.total_bytes);
    let help =
        "Room below which the host takes no new work for its largest vat (soft), and stops replicas in order (hard).";
    for (limit, bytes) in [("soft", limits.soft_on(space)), ("hard", limits.hard_on(space))] {
        page.gauge("quorate_disk_limit_bytes", help, &[("limit", limit)], bytes);
    }
    let help = "What a vat may take of this host's disk; 0 if no quota is set.";
    page.gauge("quorate_disk_vat_quota_bytes", help, &[], limits.vat_quota.unwrap_or(0));
}

/// The reading of all that is on disk.
pub fn scrub(page: &mut Page, scrub: &ScrubStatus, damage: usize) {
    page.counter("quorate_scrub_read_bytes_total", "Bytes read to find damage on the disk.", &[], scrub.read_bytes);
    page.counter("quorate_scrub_passes_total", "How often everything on the disk was read.", &[], scrub.passes);
    page.gauge(
        "quorate_scrub_progress_permille",
        "Of a thousand parts, how many are read.",
        &[],
        scrub.progress_permille,
    );
    let finished = scrub.finished_ms.unwrap_or(0) / 1_000;
    let help =
        "When everything on the disk was last read, in seconds since 1970; 0 if it was not since the host started.";
    page.gauge("quorate_scrub_finished_timestamp_seconds", help, &[], finished);
    page.counter(
        "quorate_scrub_damaged_tables_total",
        "Damaged tables of the database that were found.",
        &[],
        scrub.tables,
    );
    let help = "Chunks of checkpoints that were damaged and came again from other members.";
    page.counter("quorate_scrub_chunks_fetched_total", help, &[], scrub.fetched);
    let help = "What is damaged on the disk and waits for somebody to act.";
    page.gauge("quorate_disk_damage", help, &[], damage as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_words_of_queries() {
        let mut page = Page::default();
        network(&mut page, &NetStats::default());
        page.extend(crate::telemetry::Telemetry::new().gather());
        for line in page.render().lines().filter(|line| !line.starts_with('#')) {
            for value in line.split('"').skip(1).step_by(2) {
                assert!(!value.contains([' ', '-']) || value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
