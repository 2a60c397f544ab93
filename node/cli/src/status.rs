//! `vat status`.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost, no_such_vat},
    output,
    signals::Signals,
    standing::{Quorum, quorums},
};
use quorate_node::vat::LEAVING;
use quorate_protocol::{
    standstill::standstill,
    status::{HostStatus, VatStatus},
};
use std::{collections::BTreeSet, time::Duration};

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Less room than this on a host's disk is said: it is what a few checkpoints take, and time to do something.
const LOW_DISK_BYTES: u64 = 1 << 30;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat status                 all vats of the testnet in ./quorate-testnet\n  vat status two --watch     one vat, again and again\n  vat status --home HOME     the vats of one host\n\nExit code 1 if a vat can't speak, has no leader, or a member that is down, hangs, is faulty, is not connected with the\nothers or does not move; if no host of a vat runs here, something on a disk is damaged, or members contradict one another. Exit code 0, with a `!` line, while a\nchange of members or a setup is under way, a newcomer waits to be added, or a disk has less than 1 GiB left."
)]
pub struct Args {
    /// Only this vat
    vat: Option<String>,
    /// Show it again every second; with --json, a line each
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if args.watch {
        return watch(&args, json).await;
    }
    let view = View::take(&args).await?;
    if json {
        output::json(&view.to_json());
    } else {
        show(&view);
    }
    Ok(if view.is_healthy() { Exit::Success } else { Exit::Rejected })
}

/// Shows it again and again: as JSON a line each, else on a screen. Ends when nobody reads it; on a terminal, by Ctrl-C as well, since
/// the terminal's own screen has to come back.
async fn watch(args: &Args, json: bool) -> Outcome {
    // Before there is a screen, so that what is wrong is not on it.
    let mut view = View::take(args).await?;
    let mut screen = (!json).then(output::Screen::new);
    let mut signals = match &screen {
        Some(screen) if screen.is_terminal() => Some(Signals::listen()?),
        _ => None,
    };
    loop {
        match &mut screen {
            None => output::json_line(&view.to_json()),
            Some(screen) => {
                screen.begin();
                show(&view);
                screen.end();
            }
        }
        let stopped = async {
            match &mut signals {
                Some(signals) => signals.any().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped => return Ok(Exit::Success),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        if !output::has_reader() {
            return Ok(Exit::Success);
        }
        view = View::take(args).await?;
    }
}

/// What the hosts said.
#[derive(Default)]
struct View {
    rows: Vec<Row>,
    /// Hosts that do not run, or do not answer.
    down: Vec<String>,
    /// Those of them that run.
    hanging: Vec<String>,
    /// Hosts that can't run, and why.
    unusable: Vec<String>,
    /// Vats that a host could not start, and why.
    failed: Vec<String>,
    /// Vats that should be here and that no running host carries.
    absent: Vec<String>,
    /// What each vat can do with the members that can be reached.
    quorums: Vec<Quorum>,
    /// Hosts whose disk is nearly full.
    full_disks: Vec<String>,
    /// What is damaged on hosts' disks.
    damage: Vec<String>,
    /// Members that hosts here don't listen to.
    muted: Vec<String>,
    /// Whether any host runs.
    running: bool,
}

/// A replica.
struct Row {
    host: String,
    vat: VatStatus,
    /// It was told to join, and is no member yet.
    waits: bool,
    /// Why it does not move, or is of no use.
    stuck: Option<String>,
}

impl View {
    async fn take(args: &Args) -> Result<View, Failure> {
        let hosts = args.hosts.all().await?;
        let mut view = View::default();
        let mut names = BTreeSet::new();
        for host in &hosts {
            let Some(status) = &host.status else {
                view.down.push(host.name.clone());
                view.hanging.extend(host.hangs.then(|| host.name.clone()));
                view.unusable.extend(host.problem.as_ref().map(|problem| format!("{}: {problem}", host.name)));
                continue;
            };
            view.running = true;
            view.full_disks.extend(low_disk(status));
            view.damage.extend(status.damage.iter().map(|damage| format!("{}: {damage}", status.host)));
            view.muted.extend(
                status.muted.iter().map(|key| format!("{} does not listen to {key}: `vat member mute`", status.host)),
            );
            let failed = status.failed_vats.iter().filter(|(vat, _)| args.wants(&[vat]));
            view.failed.extend(failed.map(|(vat, error)| format!("{vat} on {}: {error}", host.name)));
            names.extend(status.vats.iter().map(|vat| vat.name.clone()).chain(status.failed_vats.keys().cloned()));
            for vat in status.vats.iter().filter(|vat| args.wants(&[&vat.name, &vat.vat])) {
                let waits = !host.is_member(vat) && vat.role != "removed" && vat.fault.is_none();
                view.rows.push(Row { host: host.name.clone(), vat: vat.clone(), waits, stuck: None });
            }
        }
        view.rows.sort_by(|a, b| (&a.vat.name, &a.host).cmp(&(&b.vat.name, &b.host)));
        let stuck: Vec<Option<String>> = view.rows.iter().map(|row| why_stuck(row, &view.rows)).collect();
        view.rows.iter_mut().zip(stuck).for_each(|(row, stuck)| row.stuck = stuck);
        view.quorums = quorums(&hosts).into_iter().filter(|quorum| args.wants(&[&quorum.name, &quorum.vat])).collect();
        view.find_absent(args, &hosts, names)?;
        Ok(view)
    }

    /// Finds vats that are known here and that nobody who runs spoke of. `names` are those spoken of.
    fn find_absent(&mut self, args: &Args, hosts: &[LocalHost], mut names: BTreeSet<String>) -> Result<(), Failure> {
        let layout = args.hosts.testnet().and_then(|dir| dir.read().ok().flatten());
        let places = layout.map(|layout| layout.vats).unwrap_or_default();
        let wanted = places.iter().filter(|place| args.wants(&[&place.name, &place.vat]));
        let absent = wanted.filter(|place| !names.contains(&place.name));
        self.absent.extend(absent.map(|place| place.name.clone()));
        let Some(vat) = &args.vat else { return Ok(()) };
        if !self.rows.is_empty() || !self.failed.is_empty() || !self.absent.is_empty() {
            return Ok(());
        }
        // Made without the testnet's config, by hosts that are down.
        if hosts.iter().any(|host| host.status.is_none() && host.has_carried(vat)) {
            self.absent.push(vat.clone());
            return Ok(());
        }
        names.extend(places.into_iter().map(|place| place.name));
        Err(no_such_vat(vat, &names))
    }

    /// Vats of which certified order was broken by hand, once each.
    fn recovered(&self) -> Vec<String> {
        let told =
            self.rows.iter().flat_map(|row| row.vat.recovered.iter().map(|words| format!("{}: {words}", row.vat.name)));
        told.collect::<BTreeSet<String>>().into_iter().collect()
    }

    fn is_healthy(&self) -> bool {
        self.running
            && self.failed.is_empty()
            && self.absent.is_empty()
            && self.hanging.is_empty()
            && self.damage.is_empty()
            && self.quorums.iter().all(Quorum::is_whole)
            && self.rows.iter().all(|row| row.stuck.is_none() && (row.waits || is_healthy(&row.vat)))
    }

    fn to_json(&self) -> serde_json::Value {
        let replica = |row: &Row| serde_json::json!({ "host": row.host, "status": row.vat, "stuck": row.stuck });
        let replicas: Vec<_> = self.rows.iter().map(replica).collect();
        let vat = |quorum: &Quorum| {
            serde_json::json!({
                "name": quorum.name, "vat": quorum.vat, "needed": quorum.needed, "reachable": quorum.reachable,
                "can_order": quorum.can_order(), "can_speak": quorum.can_speak(), "members": quorum.members,
                "problem": quorum.complaint(),
            })
        };
        let vats: Vec<_> = self.quorums.iter().map(vat).collect();
        serde_json::json!({
            "healthy": self.is_healthy(), "vats": vats, "replicas": replicas, "hosts_down": self.down,
            "hosts_hung": self.hanging, "failed": self.failed, "not_running": self.absent,
            "disks_nearly_full": self.full_disks,
            "damage": self.damage,
            "muted": self.muted,
        })
    }
}

impl Args {
    /// Returns whether a vat that has these names is asked for.
    fn wants(&self, names: &[&String]) -> bool {
        self.vat.as_ref().is_none_or(|vat| names.contains(&vat))
    }
}

/// Says that a host's disk is nearly full.
fn low_disk(status: &HostStatus) -> Option<String> {
    let disk = status.disk.filter(|disk| disk.free_bytes < LOW_DISK_BYTES)?;
    let (free, total) = (output::bytes(disk.free_bytes), output::bytes(disk.total_bytes));
    Some(format!(
        "{}: {free} of {total} are left on its disk; before that is full, its vats take no more work and stop",
        status.host
    ))
}

/// Returns why a replica does not move, as its host says itself or as the other replicas show, which are ahead of it.
fn why_stuck(row: &Row, rows: &[Row]) -> Option<String> {
    let vat = &row.vat;
    if vat.fault.is_some() || vat.role == "removed" || vat.role == LEAVING {
        return None;
    }
    if vat.standstill.is_some() {
        return vat.standstill.clone();
    }
    let others = || rows.iter().map(|other| &other.vat).filter(|other| other.vat == vat.vat && other.fault.is_none());
    // Nobody has begun to add it: it may wait for long.
    let awaited = others().any(|other| other.pending_change.is_some());
    if row.waits && !awaited {
        return None;
    }
    let ahead = others().map(|other| other.applied_block).max()?;
    standstill(vat.applied_block, ahead, Duration::from_secs(vat.idle_s))
}

fn is_healthy(vat: &VatStatus) -> bool {
    vat.role == "removed"
        || vat.fault.is_none()
            && vat.leader.is_some()
            && vat.equivocations == 0
            && vat.disagreements == 0
            && vat.install_error.is_none()
            && vat.setup_error.is_none()
}

fn show(view: &View) {
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
    for Row { host, vat, .. } in &view.rows {
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
    for quorum in &view.quorums {
        if let Some(complaint) = quorum.complaint() {
            output::line(format!("! {}: {complaint}", quorum.name));
        }
    }
    for row in &view.rows {
        complain(row);
    }
    view.failed.iter().for_each(|failed| output::line(format!("! {failed}")));
    view.absent.iter().for_each(|vat| output::line(format!("! {vat}: none of its hosts runs here")));
    let down: Vec<&str> = view.down.iter().filter(|host| !view.hanging.contains(host)).map(String::as_str).collect();
    if !down.is_empty() {
        output::line(format!("not running: {}", down.join(", ")));
    }
    view.unusable
        .iter()
        .chain(&view.full_disks)
        .chain(&view.damage)
        .chain(&view.muted)
        .chain(&view.recovered())
        .for_each(|host| output::line(format!("! {host}")));
}

/// Says what is wrong with a replica, or under way.
fn complain(Row { host, vat, waits, stuck }: &Row) {
    let warn = |text: String| output::line(format!("! {} on {host}: {text}", vat.name));
    if let Some(fault) = &vat.fault {
        warn(format!("stopped: {fault}"));
    }
    if let Some(error) = &vat.install_error {
        warn(format!("its code did not start: {error}"));
    }
    match (&vat.setup_error, vat.setup.as_deref()) {
        (Some(error), _) => warn(format!("its setup failed, so all calls of its root are rejected: {error}")),
        (None, Some("waiting")) => warn("its setup waits for something; calls of its root wait as well".to_owned()),
        (None, _) => {}
    }
    if vat.equivocations > 0 {
        warn(format!(
            "{} proofs that a member signed two different things; `vat evidence {}` names it",
            vat.equivocations, vat.name
        ));
    }
    if vat.disagreements > 0 {
        warn(format!(
            "{} signed statements of members differ from what this replica computed, which accuses nobody; see `vat evidence {}`",
            vat.disagreements, vat.name
        ));
    }
    if let Some(why) = &vat.complains {
        let leader = vat.leader.as_deref().unwrap_or("unknown");
        warn(format!(
            "wants another leader than {leader}: {why}; when {} members say so, it is left (Q-C052)",
            vat.threshold
        ));
    }
    if let Some(change) = &vat.pending_change {
        warn(format!("membership change under way: {change}"));
    }
    for change in &vat.approvals {
        let (approved, needed) = (change.approved.len(), change.needed);
        match (&change.answer, change.is_own) {
            (None, _) => warn(format!(
                "a change waits for the answer of this host's owner: {}; `vat approvals {}` describes it",
                change.change, vat.name
            )),
            (Some(_), true) => warn(format!("a change waits: {} ({approved} of {needed} approvals)", change.change)),
            (Some(_), false) => {}
        }
    }
    if let Some(stuck) = stuck {
        warn(format!("{stuck}; see the host's log (`vat logs {host}`)"));
    }
    if *waits {
        let why = if vat.role == LEAVING {
            "is out, and goes once its signature is not needed"
        } else {
            "waits until the vat's members add it"
        };
        warn(why.to_owned());
    } else if vat.leader.is_none() && vat.fault.is_none() && vat.role != "removed" {
        warn("no leader".to_owned());
    }
    for stream in vat.streams.iter().filter(|stream| stream.broken) {
        warn(format!("the stream from {} broke the protocol and is refused", stream.peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A replica at a block, which it reached so many seconds ago.
    fn row(host: &str, role: &str, block: u64, idle_s: u64) -> Row {
        let status = json!({
            "name": "v", "vat": "07", "role": role, "leader": "h1", "term": 1, "committed_block": block,
            "applied_block": block, "certified_block": block, "epoch": 0, "certified_epoch": 0, "threshold": 2,
            "members": [], "pending_change": null, "installed": true, "install_error": null, "exited": null,
            "deliveries": 3, "heap_bytes": 1, "checkpoint_block": 0, "certified_checkpoint_block": 0,
            "state_root": null, "equivocations": 0, "disagreements": 0, "streams": [], "fault": null, "idle_s": idle_s,
        });
        let vat = serde_json::from_value(status).expect("a status");
        Row { host: host.into(), vat, waits: role == "learner", stuck: None }
    }

    #[track_caller]
    fn check_stuck(rows: &[Row], wanted: &[&str]) {
        let stuck = rows.iter().filter(|row| why_stuck(row, rows).is_some()).map(|row| row.host.as_str());
        assert_eq!(stuck.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_member_that_stays_behind_is_stuck_and_a_quiet_vat_is_not() {
        check_stuck(&[row("h1", "leader", 9, 900), row("h2", "follower", 9, 900)], &[]);
        check_stuck(&[row("h1", "leader", 9, 0), row("h2", "follower", 8, 1)], &[]);
        check_stuck(&[row("h1", "leader", 9, 0), row("h2", "follower", 8, 60)], &["h2"]);
        check_stuck(&[row("h1", "leader", 9, 60), row("h2", "removed", 8, 60)], &[]);
        check_stuck(&[row("h1", "leader", 9, 60), row("h2", "leaving", 8, 60)], &[]);
    }

    #[test]
    fn a_newcomer_is_stuck_once_the_members_have_begun_to_add_it() {
        let mut rows = [row("h1", "leader", 9, 60), row("h4", "learner", 0, 60)];
        check_stuck(&rows, &[]);
        rows[0].vat.pending_change = Some("add h4".into());
        check_stuck(&rows, &["h4"]);
        rows[1].vat.idle_s = 3;
        check_stuck(&rows, &[]);
    }

    #[test]
    fn what_a_host_says_of_itself_is_said_once_and_whatever_the_others_show() {
        let mut rows = [row("h1", "leader", 9, 0), row("h2", "follower", 9, 0)];
        rows[1].vat.standstill = Some("its log was rolled back".into());
        assert_eq!(why_stuck(&rows[1], &rows).as_deref(), Some("its log was rolled back"));
        check_stuck(&rows, &["h2"]);
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_said() {
        let status = |free_bytes: u64| -> HostStatus {
            serde_json::from_value(json!({
                "host": "h1", "key": "", "version": "", "image": "", "process": 1, "uptime_s": 1, "listen": [], "http": "",
                "peers": [], "vats": [], "failed_vats": {}, "disk": { "free_bytes": free_bytes, "total_bytes": 8u64 << 30 },
            }))
            .expect("a status")
        };
        assert_eq!(low_disk(&status(2 << 30)), None);
        let said = low_disk(&status(300 << 20)).expect("too little");
        assert!(said.contains("h1: 300") && said.contains("8"), "{said}");
    }
}
