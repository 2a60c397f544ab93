//! `vat disk`: what takes the disks of hosts, which limits are near, what is damaged, and what to do next.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_protocol::{
    disk::{DiskReport, size_text},
    status::Done,
};
use std::time::Duration;

/// A limit is near at this many times its room, and a quota at this many parts of itself in sixteen.
const NEAR_ROOM: u64 = 4;
const NEAR_QUOTA: u64 = 13;
/// How often is looked how far a reading is.
const LOOK: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat disk                   the hosts of the testnet in ./quorate-testnet\n  vat disk --home HOME       one host\n  vat disk --scrub           read everything that is on their disks now, and say what is damaged\n\nExit code 1 if something is damaged, or a host takes no new work for a vat or has stopped one for its disk. Exit code 0, with a\n`!` line, where a limit is near. The limits are `disk_soft_limit`, `disk_hard_limit` and `disk_vat_quota` in `host.toml`."
)]
pub struct Args {
    /// Read everything on disk now, and wait for the end of that
    #[arg(long)]
    scrub: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let (mut reports, mut silent) = (Vec::new(), Vec::new());
    for host in args.hosts.all().await? {
        if host.status.is_none() {
            silent.push(host.name.clone());
            continue;
        }
        if args.scrub {
            reports.push(scrub(&host).await?);
        } else {
            reports.push(host.endpoint.get::<DiskReport>("/api/v1/disk").await?);
        }
    }
    if reports.is_empty() {
        let message = format!("none of the hosts here runs ({}); start one first", silent.join(", "));
        return Err(Failure::new(Exit::Unreachable, message));
    }
    let is_well = reports.iter().all(is_well);
    if json {
        let said: Vec<String> = reports.iter().flat_map(remarks).collect();
        output::json(
            &serde_json::json!({ "healthy": is_well, "hosts": reports, "hosts_down": silent, "remarks": said }),
        );
    } else {
        show(&reports, &silent);
    }
    Ok(if is_well { Exit::Success } else { Exit::Rejected })
}

/// Has a host read everything, and waits for that.
async fn scrub(host: &LocalHost) -> Result<DiskReport, Failure> {
    let before: DiskReport = host.endpoint.get("/api/v1/disk").await?;
    let _: Done = host.endpoint.post("/api/v1/scrub", &()).await?;
    // A reading that was under way before is not the one.
    let wanted = before.scrub.passes + 1 + u64::from(before.scrub.running);
    loop {
        let report: DiskReport = host.endpoint.get("/api/v1/disk").await?;
        if report.scrub.passes >= wanted {
            return Ok(report);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_well(report: &DiskReport) -> bool {
    report.damage.is_empty() && report.vats.iter().all(|vat| vat.limited.is_none())
}

/// Returns what is near its limit, limited or damaged on a host, and what to do next.
fn remarks(report: &DiskReport) -> Vec<String> {
    let host = &report.host;
    let mut said = Vec::new();
    let free = report.disk.map(|disk| disk.free_bytes);
    if let (Some(free), Some(soft)) = (free, report.soft_limit_bytes)
        && free < soft.saturating_mul(NEAR_ROOM)
    {
        let largest = report.vats.first().map_or("-", |vat| vat.name.as_str());
        let what = if free < soft { "is below its soft limit" } else { "is near its soft limit" };
        said.push(format!(
            "{host}: {} are left, which {what} ({}): {largest} takes most; make room, or move a member to another host (`vat member replace`)",
            output::bytes(free),
            output::bytes(soft)
        ));
    }
    for vat in &report.vats {
        match (&vat.limited, report.vat_quota_bytes) {
            (Some(why), _) => said.push(format!("{} on {host}: {why}", vat.name)),
            (None, Some(quota)) if vat.total_bytes > quota / 16 * NEAR_QUOTA => said.push(format!(
                "{} on {host}: near its quota of {}: raise `disk_vat_quota` in `host.toml`, or have the vat keep less",
                vat.name,
                size_text(quota)
            )),
            (None, _) => {}
        }
    }
    said.extend(report.damage.iter().map(|damage| format!("{host}: {damage}")));
    said
}

fn show(reports: &[DiskReport], silent: &[String]) {
    let mut table = output::table(["HOST", "VAT", "LOG", "CHECKPOINTS", "CERTIFICATES", "EVIDENCE", "ALL", "QUOTA"]);
    for report in reports {
        let quota = report.vat_quota_bytes.map_or("-".to_owned(), output::bytes);
        for vat in &report.vats {
            table.add_row([
                report.host.clone(),
                vat.name.clone(),
                output::bytes(vat.log_bytes),
                output::bytes(vat.checkpoint_bytes),
                output::bytes(vat.certificate_bytes),
                output::bytes(vat.evidence_bytes),
                output::bytes(vat.total_bytes),
                quota.clone(),
            ]);
        }
    }
    output::line(table);
    for report in reports {
        let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), output::bytes);
        output::line(format!(
            "{}: {} of {} left (soft limit {}, hard limit {}), write-ahead log {}; {}",
            report.host,
            bytes(report.disk.map(|disk| disk.free_bytes)),
            bytes(report.disk.map(|disk| disk.total_bytes)),
            bytes(report.soft_limit_bytes),
            bytes(report.hard_limit_bytes),
            bytes(report.database.get("wal").copied()),
            scrubbed(report)
        ));
    }
    if !silent.is_empty() {
        output::line(format!("not running: {}", silent.join(", ")));
    }
    reports.iter().flat_map(remarks).for_each(|remark| output::line(format!("! {remark}")));
}

fn scrubbed(report: &DiskReport) -> String {
    let scrub = &report.scrub;
    let found = format!("{} damaged tables, {} chunks fetched again", scrub.tables, scrub.fetched);
    if scrub.running {
        format!("being read ({} %): {found}", scrub.progress_permille / 10)
    } else if scrub.passes > 0 {
        format!("all read {} times: {found}", scrub.passes)
    } else {
        "not read as a whole since it was started (`vat disk --scrub`)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{
        disk::{ScrubStatus, VatDisk},
        status::DiskStatus,
    };

    fn report(free: u64, total: u64, limited: Option<&str>) -> DiskReport {
        let vat = VatDisk {
            name: "counter".into(),
            total_bytes: total << 20,
            limited: limited.map(str::to_owned),
            ..VatDisk::default()
        };
        DiskReport {
            host: "alpha".into(),
            disk: Some(DiskStatus { free_bytes: free << 20, total_bytes: 1 << 40 }),
            soft_limit_bytes: Some(256 << 20),
            hard_limit_bytes: Some(64 << 20),
            vat_quota_bytes: Some(160 << 20),
            database: [("wal".to_owned(), 7)].into(),
            vats: vec![vat],
            damage: Vec::new(),
            scrub: ScrubStatus::default(),
        }
    }

    #[test]
    fn what_is_near_its_limit_is_said_with_what_to_do() {
        assert_eq!(remarks(&report(4_000, 20, None)), Vec::<String>::new());
        let near = remarks(&report(900, 20, None));
        assert!(near.len() == 1 && near[0].contains("near its soft limit") && near[0].contains("counter takes most"));
        assert!(remarks(&report(200, 20, None))[0].contains("below its soft limit"));
        let near = remarks(&report(4_000, 131, None));
        assert!(near.len() == 1 && near[0].contains("near its quota of 160 MiB"), "{near:?}");
        let limited = report(4_000, 170, Some("Q-N024 this host takes no new work"));
        assert!(remarks(&limited)[0].contains("Q-N024") && !is_well(&limited));
        let mut damaged = report(4_000, 20, None);
        damaged.damage.push("Q-C049 a table".into());
        assert!(remarks(&damaged)[0].starts_with("alpha: Q-C049") && !is_well(&damaged));
    }
}
