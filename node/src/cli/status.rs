//! `vat status`.

use super::{Exit, Outcome, hosts::HostsOption, output};
use crate::status::VatStatus;
use std::time::Duration;

const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat status                 all vats of the testnet in ./quorate-testnet\n  vat status two --watch     one vat, again and again\n  vat status --home HOME     the vats of one host\n\nExit code 1 if a replica is faulty, a vat has no leader, or signatures conflict."
)]
pub struct Args {
    /// Only this vat
    vat: Option<String>,
    /// Show it again every second
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    loop {
        let mut rows = Vec::new();
        let (mut down, mut failed) = (Vec::new(), Vec::new());
        for host in args.hosts.all().await? {
            match host.status {
                Some(status) => {
                    failed.extend(
                        status.failed_vats.iter().map(|(vat, error)| format!("{vat} on {}: {error}", host.name)),
                    );
                    let vats = status.vats.into_iter();
                    let wanted =
                        vats.filter(|vat| args.vat.as_ref().is_none_or(|name| *name == vat.name || *name == vat.vat));
                    rows.extend(wanted.map(|vat| (host.name.clone(), vat)));
                }
                None => down.push(host.name),
            }
        }
        rows.sort_by(|a, b| (&a.1.name, &a.0).cmp(&(&b.1.name, &b.0)));
        let healthy = failed.is_empty() && rows.iter().all(|(_, vat)| is_healthy(vat));
        if json {
            let vats: Vec<_> =
                rows.iter().map(|(host, vat)| serde_json::json!({ "host": host, "status": vat })).collect();
            output::json(&serde_json::json!({ "replicas": vats, "hosts_down": down, "failed": failed }));
        } else {
            if args.watch {
                output::line("\x1b[2J\x1b[H");
            }
            show(&rows, &down);
            failed.iter().for_each(|failed| output::line(format!("! {failed}")));
        }
        if !args.watch {
            return Ok(if healthy { Exit::Success } else { Exit::Rejected });
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn is_healthy(vat: &VatStatus) -> bool {
    vat.role == "removed"
        || vat.fault.is_none() && vat.leader.is_some() && vat.conflicts == 0 && vat.install_error.is_none()
}

fn show(rows: &[(String, VatStatus)], down: &[String]) {
    let mut table = output::table([
        "VAT",
        "HOST",
        "ROLE",
        "TERM",
        "EPOCH",
        "SIGNS",
        "BLOCK",
        "CERTIFIED",
        "DELIVERIES",
        "HEAP",
        "UNACKED",
        "CHECKPOINT",
        "STATE ROOT",
    ]);
    for (host, vat) in rows {
        let unacknowledged: u64 = vat.streams.iter().map(|stream| stream.unacknowledged).sum();
        table.add_row([
            vat.name.clone(),
            host.clone(),
            vat.role.clone(),
            vat.term.to_string(),
            vat.epoch.to_string(),
            format!("{} of {}", vat.threshold, vat.members.len()),
            vat.applied_block.to_string(),
            vat.certified_block.to_string(),
            vat.deliveries.to_string(),
            output::bytes(vat.heap_bytes),
            unacknowledged.to_string(),
            vat.certified_checkpoint_block.to_string(),
            vat.state_root.as_deref().map(output::short).unwrap_or("-").to_owned(),
        ]);
    }
    output::line(table);
    for (host, vat) in rows {
        let warn = |text: String| output::line(format!("! {} on {host}: {text}", vat.name));
        if let Some(fault) = &vat.fault {
            warn(format!("stopped: {fault}"));
        }
        if let Some(error) = &vat.install_error {
            warn(format!("its code did not start: {error}"));
        }
        if vat.conflicts > 0 {
            warn(format!("{} signed statements contradict this replica's own; see the host's log", vat.conflicts));
        }
        if let Some(change) = &vat.pending_change {
            warn(format!("membership change under way: {change}"));
        }
        if vat.leader.is_none() && vat.fault.is_none() && vat.role != "removed" {
            warn("no leader".to_owned());
        }
        for stream in vat.streams.iter().filter(|stream| stream.broken) {
            warn(format!("the stream from {} broke the protocol and is refused", stream.peer));
        }
    }
    if !down.is_empty() {
        output::line(format!("not running: {}", down.join(", ")));
    }
}
