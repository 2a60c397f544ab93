//! The figures of vats that mirror a state.

use super::page::Page;
use crate::vat::{LEAVING, REMOVED};
use quorate_consensus::{
    BUCKETS_US, HostId, PROPOSAL_OUTCOMES, ReplicaFigures, ReplicaStatus, Role, Timings, VatBytes,
};
use quorate_engine::comms::MAX_UNACKED_MESSAGES;
use quorate_gateway::stats::{Direction, Outcome, Refusal, Session, Stats as GatewayStats};
use quorate_protocol::status::VatStatus;
use std::{collections::BTreeMap, time::Duration};

const ROLES: [Role; 7] =
    [Role::Starting, Role::Learner, Role::Follower, Role::Candidate, Role::Leader, Role::Stopped, Role::Faulted];
/// The peers that have no name on this host, together.
const UNNAMED: &str = "unnamed";

/// A vat's agreement. `role` is what the replica is to its vat, and `leaderless` whether it is a member without a leader.
pub fn replica(page: &mut Page, vat: &str, status: &ReplicaStatus, role: &str, leaderless: bool) {
    let label = [("vat", vat)];
    let mut gauge = |name, help, value| page.gauge(name, help, &label, value);
    gauge("quorate_raft_term", "Raft term of the replica.", status.term);
    let leads = status.role == Role::Leader && status.leader == Some(status.key);
    gauge("quorate_raft_leader", "1 if this host's replica leads the vat, with a quorum behind it.", u64::from(leads));
    gauge(
        "quorate_raft_leaderless",
        "1 if this host is a member and knows of no leader with a quorum.",
        u64::from(leaderless),
    );
    gauge(
        "quorate_vat_asleep",
        "1 if nothing is to be done in the vat, and its replica sends nothing and has no timers until something is wanted.",
        u64::from(status.asleep),
    );
    gauge("quorate_committed_block", "Newest block known to be committed.", status.committed);
    gauge("quorate_applied_block", "Newest block executed here.", status.applied);
    gauge(
        "quorate_leader_committed_block",
        "Newest block that a leader has said to be committed.",
        status.leader_committed,
    );
    gauge(
        "quorate_replica_stalled_seconds",
        "Since when the replica knows of committed blocks and executes none; 0 if it moves or has nothing to do.",
        status.stalled_ms / 1_000,
    );
    gauge(
        "quorate_replica_recovering",
        "1 if the log was rolled back and lacks what this host has signed: the replica has no vote until it is there again.",
        u64::from(status.recovering.is_some()),
    );
    gauge("quorate_certified_block", "Newest block with a certificate.", status.certified_block);
    // One that is out asks nobody any more: what it lacks then, it lacks for ever, and nothing is wrong.
    let uncertified = if role == REMOVED { 0 } else { status.uncertified };
    gauge("quorate_uncertified_statements", "Statements that wait for signatures.", uncertified);
    gauge(
        "quorate_log_time_seconds",
        "Time of the vat's log, in seconds since 1970; 0 where no time was ever wanted.",
        status.log_time.now_ms / 1_000,
    );
    gauge(
        "quorate_log_time_overdue_seconds",
        "Since when a timer of the vat is due, by this host's clock; 0 if none is.",
        status.time_overdue_ms / 1_000,
    );
    gauge("quorate_log_blocks", "Log entries on disk.", status.last_log.saturating_sub(status.purged));
    gauge("quorate_epoch", "Number of the vat's membership.", status.epoch);
    gauge("quorate_members", "Members in the vat's membership.", status.membership.members.len() as u64);
    gauge(
        "quorate_threshold",
        "Signatures that a certificate of the vat needs.",
        u64::from(status.membership.threshold),
    );
    gauge("quorate_checkpoint_block", "Block of the newest checkpoint on disk.", status.local_checkpoint_block);
    gauge(
        "quorate_certified_checkpoint_block",
        "Block of the newest certified checkpoint; the log before it is purged.",
        status.checkpoint_block,
    );
    fault(page, vat, status.fault.is_some());
    for each in ROLES.map(Role::as_str).into_iter().chain([LEAVING, REMOVED]) {
        page.gauge(
            "quorate_raft_role",
            "1 for the role that the replica has.",
            &[("vat", vat), ("role", each)],
            u64::from(each == role),
        );
    }
    counters(page, vat, status);
    archive(page, vat, status);
    times(page, vat, status);
    evidence(page, vat, status);
    for (part, bytes) in [("whole", status.stats.newest_checkpoint.whole), ("new", status.stats.newest_checkpoint.new)]
    {
        page.gauge(
            "quorate_checkpoint_bytes",
            "Size of the newest checkpoint: the whole of it, and what had to be written for it.",
            &[("vat", vat), ("part", part)],
            bytes,
        );
    }
}

/// Returns whether a replica does not run: also for one that could not be started, of which there is nothing else to show.
pub fn fault(page: &mut Page, vat: &str, is_faulty: bool) {
    page.gauge(
        "quorate_replica_fault",
        "1 if the replica has stopped because of a fault, or could not be started.",
        &[("vat", vat)],
        u64::from(is_faulty),
    );
}

/// All zeros where nothing is archived.
fn archive(page: &mut Page, vat: &str, status: &ReplicaStatus) {
    let archive = &status.stats.archive;
    let labels = [("vat", vat)];
    let help = "What the archive of the vat takes of the disk.";
    page.gauge("quorate_archive_bytes", help, &labels, archive.bytes);
    let help = "The first block that the archive can execute again.";
    page.gauge("quorate_archive_oldest_block", help, &labels, archive.oldest);
    let help = "The block that the archive gets next; 0 if it has nothing yet.";
    page.gauge("quorate_archive_next_block", help, &labels, archive.next);
    let help = "Times that the archive could not be written.";
    page.counter("quorate_archive_failures_total", help, &labels, archive.failures);
}

fn counters(page: &mut Page, vat: &str, status: &ReplicaStatus) {
    let (stats, label) = (&status.stats, [("vat", vat)]);
    let mut counter = |name, help, value| page.counter(name, help, &label, value);
    counter("quorate_blocks_total", "Blocks executed since the process started.", stats.blocks);
    counter("quorate_commands_total", "Commands executed since the process started.", stats.commands);
    counter("quorate_signature_shares_signed_total", "Statements signed by this host.", stats.shares_signed);
    counter("quorate_signature_shares_sent_total", "Signature shares sent to other members.", stats.shares_sent);
    counter(
        "quorate_signature_shares_received_total",
        "Signature shares that came from other members.",
        stats.shares_received,
    );
    counter("quorate_signature_shares_refused_total", "Signature shares that did not verify.", stats.shares_refused);
    counter("quorate_certificates_total", "Certificates assembled.", stats.certificates);
    counter(
        "quorate_complaints_total",
        "Times that this host told the members that it wants another leader.",
        stats.complaints,
    );
    counter(
        "quorate_leaders_left_total",
        "Leaders that this host has left, since a threshold complained of them.",
        stats.leaders_left,
    );
    counter("quorate_checkpoints_total", "Checkpoints written.", stats.checkpoints);
    counter(
        "quorate_checkpoint_bytes_total",
        "Bytes of changed pages and tables written by checkpoints.",
        stats.checkpoint_bytes,
    );
    counter(
        "quorate_snapshot_sent_bytes_total",
        "Bytes of checkpoints sent to other members.",
        stats.snapshot_bytes_sent,
    );
    counter("quorate_snapshot_received_bytes_total", "Bytes of checkpoints received.", stats.snapshot_bytes_received);
    for (outcome, count) in PROPOSAL_OUTCOMES.into_iter().zip(stats.proposals) {
        page.counter(
            "quorate_proposals_total",
            "Commands proposed by this host, by what became of them.",
            &[("vat", vat), ("outcome", outcome)],
            count,
        );
    }
}

fn times(page: &mut Page, vat: &str, status: &ReplicaStatus) {
    let (stats, label) = (&status.stats, [("vat", vat)]);
    let mut times = |name, help, timings: &Timings| {
        page.histogram(name, help, &label, &BUCKETS_US, &timings.buckets, timings.sum_us);
    };
    times("quorate_log_flush_seconds", "From appending to the log until it is synced to disk.", &stats.log_flush);
    times("quorate_checkpoint_seconds", "Time to make and write a checkpoint.", &stats.checkpoint);
    let pause = "The part of it in which the vat executes nothing: copying and hashing what has changed.";
    times("quorate_checkpoint_pause_seconds", pause, &stats.checkpoint_pause);
    times("quorate_certify_seconds", "From executing a block to its certificate.", &stats.certify);
    times("quorate_propose_seconds", "From proposing a command to its result.", &stats.propose);
}

/// Equivocations by member: all other members have a series, so that a first one is a rise, and so have members that lied before they left.
/// Disagreements have no member: they accuse nobody.
fn evidence(page: &mut Page, vat: &str, status: &ReplicaStatus) {
    let others = status.membership.members.iter().map(|member| member.key).filter(|key| *key != status.key);
    let mut counts: BTreeMap<HostId, u64> = others.map(|key| (key, 0)).collect();
    counts.extend(&status.stats.equivocations);
    for (member, count) in counts {
        page.counter(
            "quorate_equivocations_total",
            "Proofs that a member signed two things of which it may sign one, by member.",
            &[("vat", vat), ("member", &member.to_string())],
            count,
        );
    }
    page.counter(
        "quorate_disagreements_total",
        "Signed statements of members that differ from this replica's own; they accuse nobody.",
        &[("vat", vat)],
        status.stats.disagreements,
    );
}

/// What the replica tells only when a reader looks: ages, and the checkpoint that it receives.
pub fn figures(page: &mut Page, vat: &str, figures: &ReplicaFigures) {
    page.gauge_of(
        "quorate_oldest_uncertified_seconds",
        "For how long the oldest statement without a certificate has waited for it; 0 if none does.",
        &[("vat", vat)],
        figures.oldest_uncertified.unwrap_or_default().as_secs_f64(),
    );
    let (chunks, missing) = figures.receiving.map_or((0, 0), |receiving| (receiving.chunks, receiving.missing));
    for (state, count) in [("here", chunks.saturating_sub(missing)), ("missing", missing)] {
        page.gauge(
            "quorate_snapshot_chunks",
            "Chunks of the checkpoint that is being received: those that are here, and those that are missing.",
            &[("vat", vat), ("state", state)],
            count,
        );
    }
}

/// What the vat is, for queries that join: two hosts may call one vat by two names, and two vats by one.
pub fn vat_info(page: &mut Page, status: &VatStatus, bundle: &str) {
    page.gauge(
        "quorate_vat_info",
        "Always 1; says which vat this is, in which engine image, with which code, and in which epoch.",
        &[
            ("vat", &status.name),
            ("vat_id", &status.vat),
            ("image", &status.image),
            ("bundle", bundle),
            ("epoch", &status.epoch.to_string()),
        ],
        1,
    );
}

/// What the vat may have at most, beside its heap.
pub fn limits(page: &mut Page, vat: &str, fuel_per_delivery: u64) {
    let label = [("vat", vat)];
    page.gauge("quorate_fuel_limit", "The most fuel that a delivery may burn.", &label, fuel_per_delivery);
    page.gauge(
        "quorate_unacknowledged_limit_messages",
        "How many messages a peer may leave unacknowledged before more are refused.",
        &label,
        MAX_UNACKED_MESSAGES,
    );
}

/// For how long each peer has left the oldest of its messages unacknowledged.
pub fn unacknowledged_ages(page: &mut Page, status: &VatStatus, ages: &BTreeMap<String, Duration>) {
    let mut oldest = BTreeMap::from([(UNNAMED, Duration::ZERO)]);
    for stream in &status.streams {
        let peer = if stream.named { &stream.peer } else { UNNAMED };
        let age = ages.get(&stream.vat).copied().unwrap_or_default();
        let known = oldest.entry(peer).or_default();
        *known = age.max(*known);
    }
    for (peer, age) in oldest {
        page.gauge_of(
            "quorate_oldest_unacknowledged_seconds",
            "For how long the oldest message to a peer has waited for its acknowledgement; peers without a name here are taken together as `unnamed`.",
            &[("vat", &status.name), ("peer", peer)],
            age.as_secs_f64(),
        );
    }
}

/// What this host keeps of other vats.
pub fn peer_evidence(page: &mut Page, count: u64) {
    page.gauge(
        "quorate_peer_evidence",
        "Proofs kept here that members of other vats contradict themselves.",
        &[],
        count,
    );
}

/// A vat's state and streams.
pub fn vat(page: &mut Page, status: &VatStatus) {
    let name = status.name.as_str();
    let label = [("vat", name)];
    page.gauge("quorate_heap_bytes", "Linear memory of the vat's heap.", &label, status.heap_bytes);
    page.gauge(
        "quorate_heap_limit_bytes",
        "The most linear memory that the vat's heap may have.",
        &label,
        status.heap_limit_bytes,
    );
    page.gauge(
        "quorate_recorded_equivocations",
        "Proofs that members signed two things of which they may sign one, since the vat is here.",
        &label,
        status.equivocations,
    );
    page.gauge(
        "quorate_recorded_disagreements",
        "Signed statements of members that differ from this replica's own, since the vat is here; they accuse nobody.",
        &label,
        status.disagreements,
    );
    let unanswered = status.approvals.iter().filter(|change| change.answer.is_none()).count();
    page.gauge(
        "quorate_approvals_waiting",
        "Changes of members that wait for the answer of this host's owner.",
        &label,
        unanswered as u64,
    );
    page.gauge("quorate_installed", "1 if the vat has its code.", &label, u64::from(status.installed));
    let (mut total, mut broken) = (0, 0);
    // By name, since several may have one: two series with equal labels would make the page invalid.
    let mut waiting = BTreeMap::from([(UNNAMED, 0)]);
    let mut kept = BTreeMap::from([(UNNAMED, 0)]);
    let mut ahead = 0;
    for stream in &status.streams {
        total += stream.unacknowledged;
        broken += u64::from(stream.broken);
        // Clients come and go: only peers with a name here get a label of their own.
        let peer = if stream.named { &stream.peer } else { UNNAMED };
        *waiting.entry(peer).or_default() += stream.unacknowledged;
        *kept.entry(peer).or_default() += stream.kept_bytes;
        ahead = ahead.max(stream.fuel_ahead);
    }
    page.gauge(
        "quorate_fuel_ahead",
        "How much more fuel the messages of the peer that has burnt most have burnt than those of another active one.",
        &label,
        ahead,
    );
    for (peer, bytes) in kept {
        page.gauge(
            "quorate_kept_bytes",
            "What a peer makes the vat keep, at fixed prices; peers without a name here are summed as `unnamed`.",
            &[("vat", name), ("peer", peer)],
            bytes,
        );
    }
    for (peer, messages) in waiting {
        page.gauge(
            "quorate_unacknowledged_messages",
            "Messages that a peer has not acknowledged; peers without a name here are summed as `unnamed`.",
            &[("vat", name), ("peer", peer)],
            messages,
        );
    }
    page.gauge("quorate_outbox_messages", "Messages that peers have not acknowledged, in all.", &label, total);
    page.gauge("quorate_peer_vats", "Vats that this one has streams with.", &label, status.streams.len() as u64);
    page.gauge("quorate_broken_streams", "Peers whose stream broke the protocol and is refused.", &label, broken);
}

/// Writes what the gateway counts.
pub fn gateway(page: &mut Page, stats: &GatewayStats) {
    for session in Session::ALL {
        let label = [("kind", session.name())];
        let help = "Sessions of Cap'n Web, batches of it, and clients that check for themselves, which are open.";
        page.gauge("quorate_gateway_sessions", help, &label, stats.sessions(session));
        let help = "The same, since the host started.";
        page.counter("quorate_gateway_sessions_total", help, &label, stats.sessions_total(session));
    }
    page.gauge("quorate_gateway_calls", "Calls over HTTP and of tools that are under way.", &[], stats.calls());
    for outcome in Outcome::ALL {
        let label = [("outcome", outcome.name())];
        let help = "Calls over HTTP and of tools, by what came of them.";
        page.counter("quorate_gateway_calls_total", help, &label, stats.calls_total(outcome));
    }
    for direction in Direction::ALL {
        let label = [("direction", direction.name())];
        let help = "Messages of sessions of Cap'n Web.";
        page.counter("quorate_gateway_messages_total", help, &label, stats.messages_total(direction));
        let help = "Messages with frames of clients that check for themselves.";
        page.counter("quorate_gateway_frames_total", help, &label, stats.frames_total(direction));
        let help = "Bytes of those.";
        page.counter("quorate_gateway_frame_bytes_total", help, &label, stats.frame_bytes_total(direction));
    }
    let help = "Messages after which an address had to wait, since it sends faster than one may.";
    page.counter("quorate_gateway_slowed_messages_total", help, &[], stats.slowed_total());
    for refusal in Refusal::ALL {
        let label = [("reason", refusal.name())];
        let help = "Requests that the gateway refused by itself, by reason.";
        page.counter("quorate_gateway_refused_total", help, &label, stats.refused_total(refusal));
    }
}

/// Returns whether a vat takes messages at this host.
pub fn limited(page: &mut Page, vat: &str, is_limited: bool) {
    let help =
        "1 while this host takes no new work for the vat, since its disk is nearly full, or the vat is at its quota.";
    page.gauge("quorate_intake_limited", help, &[("vat", vat)], u64::from(is_limited));
}

/// What a vat takes of the disk.
pub fn vat_bytes(page: &mut Page, vat: &str, bytes: &VatBytes) {
    let parts = [
        ("log", bytes.log),
        ("checkpoints", bytes.checkpoints),
        ("certificates", bytes.certificates),
        ("evidence", bytes.evidence),
    ];
    for (part, bytes) in parts {
        let help = "What a vat takes of the host's disk, about.";
        page.gauge("quorate_vat_disk_bytes", help, &[("vat", vat), ("part", part)], bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{host, status};
    use super::*;
    use quorate_consensus::{ArchiveStats, CheckpointSize};
    use quorate_protocol::status::StreamStatus;

    fn text(status: &ReplicaStatus, role: &str) -> String {
        let mut page = Page::default();
        replica(&mut page, "counter", status, role, false);
        page.render()
    }

    fn series(text: &str, family: &str) -> Vec<String> {
        let samples = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
        samples.map(|line| line.split_once("vat=\"counter\",").expect("the vat comes first").1.to_owned()).collect()
    }

    #[test]
    fn every_other_member_has_a_count_of_equivocations_and_so_has_a_liar_that_left() {
        let mut status = status();
        status.stats.equivocations = BTreeMap::from([(host(3), 1_000), (host(9), 2)]);
        let expected = [(2, 0), (3, 1_000), (9, 2)].map(|(seed, count)| format!("member=\"{}\"}} {count}", host(seed)));
        assert_eq!(series(&text(&status, "leader"), "quorate_equivocations_total"), expected);
    }

    #[test]
    fn exactly_one_role_is_1_and_leaving_and_removed_are_some() {
        let own = ROLES.map(Role::as_str);
        for role in own.into_iter().chain(["leaving", "removed"]) {
            let roles = series(&text(&status(), role), "quorate_raft_role");
            assert_eq!(roles.len(), 9);
            let held: Vec<_> = roles.iter().filter(|line| !line.ends_with(" 0")).collect();
            assert_eq!(held, [&format!("role=\"{role}\"}} 1")]);
        }
    }

    #[test]
    fn a_replica_that_is_out_waits_for_no_signatures() {
        let mut status = status();
        status.uncertified = 1;
        for (role, waiting) in [("leader", "1"), ("leaving", "1"), ("removed", "0")] {
            let text = text(&status, role);
            let line = format!("quorate_uncertified_statements{{vat=\"counter\"}} {waiting}\n");
            assert!(text.contains(&line), "{role}: {text}");
        }
    }

    #[test]
    fn peers_of_one_name_share_a_series() {
        let mut status: VatStatus = serde_json::from_value(serde_json::json!({
            "name": "counter", "vat": "", "role": "leader", "leader": null, "term": 1, "committed_block": 1,
            "applied_block": 1, "certified_block": 1, "epoch": 0, "certified_epoch": 0, "threshold": 2, "members": [],
            "pending_change": null, "installed": true, "install_error": null, "exited": null, "deliveries": 0,
            "heap_bytes": 0, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": null,
            "equivocations": 0, "disagreements": 0, "streams": [], "fault": null,
        }))
        .expect("a status");
        let peers =
            [("bank", true, 1), ("bank", true, 2), ("unnamed", true, 4), ("ab12", false, 8), ("cd34", false, 16)];
        let stream = |(peer, named, unacknowledged): (&str, bool, u64)| StreamStatus {
            peer: peer.to_owned(),
            named,
            vat: String::new(),
            sent: 0,
            unacknowledged,
            kept_bytes: 10 * unacknowledged,
            fuel_ahead: 100 + unacknowledged,
            received: 0,
            broken: false,
        };
        status.streams = peers.map(stream).into();
        let mut page = Page::default();
        vat(&mut page, &status);
        let text = page.render();
        let waiting = series(&text, "quorate_unacknowledged_messages");
        assert_eq!(waiting, ["peer=\"bank\"} 3", "peer=\"unnamed\"} 28"]);
        assert_eq!(series(&text, "quorate_kept_bytes"), ["peer=\"bank\"} 30", "peer=\"unnamed\"} 280"]);
        assert!(text.contains("quorate_outbox_messages{vat=\"counter\"} 31\n"), "{text}");
        assert!(text.contains("quorate_fuel_ahead{vat=\"counter\"} 116\n"), "{text}");
    }

    #[test]
    fn an_archive_is_shown() {
        let mut status = status();
        status.stats.archive = ArchiveStats { bytes: 70_000, oldest: 30, next: 90, failures: 2 };
        let text = text(&status, "leader");
        for (name, value) in [("bytes", 70_000), ("oldest_block", 30), ("next_block", 90), ("failures_total", 2)] {
            assert!(text.contains(&format!("quorate_archive_{name}{{vat=\"counter\"}} {value}\n")), "{name}: {text}");
        }
    }

    #[test]
    fn a_checkpoint_is_shown_whole_and_by_what_is_new() {
        let mut status = status();
        status.stats.newest_checkpoint = CheckpointSize { whole: 5_000, new: 70 };
        let expected = ["part=\"whole\"} 5000", "part=\"new\"} 70"];
        assert_eq!(series(&text(&status, "leader"), "quorate_checkpoint_bytes"), expected);
    }
}
