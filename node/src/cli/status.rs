//! `vat status`.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use crate::{status::VatStatus, vat::LEAVING};
use std::{collections::BTreeSet, time::Duration};

const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat status                 all vats of the testnet in ./quorate-testnet\n  vat status two --watch     one vat, again and again\n  vat status --home HOME     the vats of one host\n\nExit code 1 if a replica is faulty, a vat has no leader or no host that runs, or signatures conflict."
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
        let view = View::take(&args).await?;
        if json {
            output::json(&view.to_json());
        } else {
            if args.watch {
                output::line("\x1b[2J\x1b[H");
            }
            show(&view);
        }
        if !args.watch {
            return Ok(if view.is_healthy() { Exit::Success } else { Exit::Rejected });
        }
        if !output::has_reader() {
            return Ok(Exit::Success);
        }
        tokio::time::sleep(WATCH_EVERY).await;
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
    /// Whether any host runs.
    running: bool,
}

/// A replica.
struct Row {
    host: String,
    vat: VatStatus,
    /// It was told to join, and is no member yet.
    waits: bool,
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
            let failed = status.failed_vats.iter().filter(|(vat, _)| args.wants(&[vat]));
            view.failed.extend(failed.map(|(vat, error)| format!("{vat} on {}: {error}", host.name)));
            names.extend(status.vats.iter().map(|vat| vat.name.clone()).chain(status.failed_vats.keys().cloned()));
            for vat in status.vats.iter().filter(|vat| args.wants(&[&vat.name, &vat.vat])) {
                let waits = !host.is_member(vat) && vat.role != "removed" && vat.fault.is_none();
                view.rows.push(Row { host: host.name.clone(), vat: vat.clone(), waits });
            }
        }
        view.rows.sort_by(|a, b| (&a.vat.name, &a.host).cmp(&(&b.vat.name, &b.host)));
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
        let names: Vec<String> = names.into_iter().collect();
        Err(Failure::new(Exit::Usage, format!("there is no vat {vat} here; there are: {}", names.join(", "))))
    }

    fn is_healthy(&self) -> bool {
        self.running
            && self.failed.is_empty()
            && self.absent.is_empty()
            && self.rows.iter().all(|row| row.waits || is_healthy(&row.vat))
    }

    fn to_json(&self) -> serde_json::Value {
        let replica = |row: &Row| serde_json::json!({ "host": row.host, "status": row.vat });
        let replicas: Vec<_> = self.rows.iter().map(replica).collect();
        serde_json::json!({
            "replicas": replicas, "hosts_down": self.down, "failed": self.failed, "not_running": self.absent,
        })
    }
}

impl Args {
    /// Whether a vat that has these names is asked for.
    fn wants(&self, names: &[&String]) -> bool {
        self.vat.as_ref().is_none_or(|vat| names.contains(&vat))
    }
}

fn is_healthy(vat: &VatStatus) -> bool {
    vat.role == "removed"
        || vat.fault.is_none()
            && vat.leader.is_some()
            && vat.conflicts == 0
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
    for row in &view.rows {
        complain(row);
    }
    view.failed.iter().for_each(|failed| output::line(format!("! {failed}")));
    view.absent.iter().for_each(|vat| output::line(format!("! {vat}: none of its hosts runs here")));
    let down: Vec<&str> = view.down.iter().filter(|host| !view.hanging.contains(host)).map(String::as_str).collect();
    if !down.is_empty() {
        output::line(format!("not running: {}", down.join(", ")));
    }
    view.unusable.iter().for_each(|host| output::line(format!("! {host}")));
}

/// Says what is wrong with a replica, or under way.
fn complain(Row { host, vat, waits }: &Row) {
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
    if vat.conflicts > 0 {
        warn(format!("{} signed statements contradict this replica's own; see the host's log", vat.conflicts));
    }
    if let Some(change) = &vat.pending_change {
        warn(format!("membership change under way: {change}"));
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
