//! `vat testnet init` and `vat testnet up`.
//!
//! Invariant: however an `up` that stays in the foreground ends, no host is left running. One with `--detach` that fails says that
//! some run, and how to stop them.

use super::super::{DirOption, Exit, Failure, Outcome, logs, node::everybody_reads, output, report, signals::Signals};
use super::{fresh, wrong};
use quorate_config::{
    cluster::{Cluster, HostState, Started},
    init::Plan,
    layout::{TestnetDir, VatPlace},
    testnet::TestnetConfig,
};
use quorate_engine::image::{Image, image_hash};
use quorate_node::run::engine_cache;
use quorate_protocol::status::{HostStatus, VatStatus};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::time::Instant;

/// How long vats may take to get a leader and their code, since the last of them was ready: a thousand of them take minutes on a small machine.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// For each vat the pause between two looks is longer by this: the status of a thousand takes time that they need themselves.
const POLL_PER_VAT: Duration = Duration::from_millis(2);
/// How often is said how many are ready.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often is looked whether the hosts still run.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Only makes the hosts' homes.
pub fn init(file: &Path, dir: DirOption, json: bool) -> Outcome {
    let (cluster, new) = make(file, dir)?;
    if json {
        let layout = &cluster.layout;
        let dir = cluster.dir.path();
        output::json(&json!({ "dir": dir, "made": new, "hosts": layout.hosts, "vats": layout.vats }));
    } else {
        output::line(cluster.dir.path().display());
    }
    Ok(Exit::Success)
}

/// Reads and checks the config and all code, then makes the directory if it is not there yet. Returns whether it was not.
fn make(file: &Path, dir: DirOption) -> Result<(Cluster, bool), Failure> {
    let config = TestnetConfig::load(file).map_err(|error| wrong(error.into()))?;
    let plan = Plan::new(config).map_err(wrong)?;
    let dir = TestnetDir::new(dir.dir);
    let shown = dir.path().display().to_string();
    if let Some(layout) = dir.read()? {
        if layout.digest == plan.digest {
            return Ok((Cluster::open(dir)?, false));
        }
        let made_from = layout.config.display();
        let message = format!(
            "{shown} holds a testnet that was made from {made_from} as it was then; run that one as it is (`vat testnet restart HOST --dir {shown}` for each host), choose another directory with --dir, or let --fresh stop and remove it"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    if dir.path().read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let message = match dir.is_unfinished() {
            true => {
                format!("{shown} is what an interrupted `vat testnet up` left; nothing of it ever ran: remove {shown}")
            }
            false => format!("{shown} is not empty and not a testnet; choose another directory with --dir"),
        };
        return Err(Failure::new(Exit::Usage, message));
    }
    for host in plan.config.hosts.iter() {
        if let Some(http) = host.http.filter(|http| !http.ip().is_loopback()) {
            output::note(everybody_reads(&host.name, http));
        }
    }
    plan.write(&dir, image_hash())?;
    Ok((Cluster::open(dir)?, true))
}

/// Makes a testnet and runs all its hosts.
pub async fn up(file: &Path, dir: DirOption, detach: bool, without: &[String], json: bool) -> Outcome {
    let (cluster, new) = make(file, dir)?;
    for host in without {
        cluster.place(host).map_err(wrong)?;
    }
    // From here on Ctrl-C ends this command in order.
    let mut signals = Signals::listen()?;
    let testnet = Up { cluster, new, without, detach, json };
    let mut started = Started::default();
    let outcome = tokio::select! {
        outcome = testnet.run(&mut started) => Some(outcome),
        () = signals.any() => None,
    };
    if detach {
        let outcome = outcome.unwrap_or_else(|| Err(Failure::new(Exit::Failed, "interrupted before all was ready")));
        return outcome.map_err(|failure| testnet.with_remedy(failure, &mut started));
    }
    let stopped = testnet.cluster.down(&mut started);
    match (outcome, stopped) {
        // What went wrong first is the error.
        (Some(Err(failure)), stopped) => {
            match stopped {
                Ok(stopped) if stopped.is_empty() => {}
                Ok(stopped) => output::note(format!("stopped {} hosts", stopped.len())),
                Err(error) => output::note(format!("! {error:#}")),
            }
            Err(failure)
        }
        (_, Err(error)) => Err(error.into()),
        (outcome, Ok(stopped)) => {
            output::note(format!("stopped {} hosts", stopped.len()));
            outcome.unwrap_or(Ok(Exit::Success))
        }
    }
}

/// As [`up`] in the foreground, and with a new testnet whenever the config or its code has changed, until a signal comes or no host runs.
pub async fn watch(file: &Path, dir: DirOption, without: &[String], json: bool) -> Outcome {
    let mut signals = Signals::listen()?;
    loop {
        let files = fresh::files(file);
        let (cluster, new) = make(file, dir.clone())?;
        let digest = cluster.layout.digest.clone();
        let testnet = Up { cluster, new, without, detach: false, json };
        let mut started = Started::default();
        let ended = tokio::select! {
            outcome = testnet.run(&mut started) => Some(outcome),
            () = fresh::changed(file, &digest, &files) => None,
            () = signals.any() => Some(Ok(Exit::Success)),
        };
        let stopped = testnet.cluster.down(&mut started)?;
        output::note(format!("stopped {} hosts", stopped.len()));
        match ended {
            None => {}
            // Mistakes in the code show only now, and may be corrected.
            Some(Err(failure)) => {
                report::failure(failure, json);
                output::note("a new testnet is made when the config or its code changes");
                tokio::select! {
                    () = fresh::changed(file, &digest, &files) => {}
                    () = signals.any() => return Ok(Exit::Rejected),
                }
            }
            Some(outcome) => return outcome,
        }
        output::note("the config or its code has changed");
        fresh::clear(file, &TestnetDir::new(&dir.dir))?;
    }
}

/// A testnet that comes up.
struct Up<'a> {
    cluster: Cluster,
    /// Whether this command made it.
    new: bool,
    without: &'a [String],
    detach: bool,
    json: bool,
}

impl Up<'_> {
    /// Starts the hosts and waits for the vats; without `--detach`, then shows the consoles until no host runs.
    async fn run(&self, started: &mut Started) -> Outcome {
        let shown = self.cluster.dir.path().display();
        output::note(format!("{} testnet in {shown}", if self.new { "made a" } else { "found the" }));
        let progress = output::Progress::start(output::COMPILING);
        // Once here, instead of once in each host.
        let cache = engine_cache()?;
        tokio::task::spawn_blocking(move || Image::load(&cache).map(drop)).await??;
        let unusable = self.start(started, &progress).await?;
        progress.say("waiting for leaders and code");
        let Awaited { late, setting_up } = wait_ready(&self.cluster, &progress).await?;
        progress.done();
        for name in setting_up {
            output::note(format!("the setup of {name} waits for something; calls of its root wait as well"));
        }
        self.report(&late, &unusable).await?;
        if !self.detach {
            self.follow(started).await?;
        } else if !late.is_empty() {
            return Err(Failure::new(Exit::Unreachable, not_ready(&late)));
        }
        Ok(if unusable.is_empty() { Exit::Success } else { Exit::Rejected })
    }

    /// Starts all hosts that can be started. Returns why others can't.
    async fn start(&self, started: &mut Started, progress: &output::Progress) -> Result<Vec<String>, Failure> {
        let (mut starting, mut unusable) = (Vec::new(), Vec::new());
        for place in self.cluster.layout.hosts.iter().filter(|place| !self.without.contains(&place.name)) {
            match self.cluster.home(&place.name) {
                Ok(_) => starting.push(&place.name),
                Err(error) => {
                    unusable.push(error.to_string());
                    continue;
                }
            }
            if let Some(child) = self.cluster.spawn(&place.name)? {
                started.add(&place.name, child);
            }
        }
        for host in starting {
            progress.say(format!("starting {host}"));
            self.cluster.wait_up(host, started.child(host)).await?;
        }
        Ok(unusable)
    }

    /// Says how the testnet stands, and what can be done with it.
    async fn report(&self, late: &[String], unusable: &[String]) -> Result<(), Failure> {
        if self.json {
            let report = self.as_json(late).await?;
            // The consoles follow, a line each.
            if self.detach { output::json(&report) } else { output::json_line(&report) }
        }
        if !self.detach && !late.is_empty() {
            output::note(not_ready(late));
        }
        unusable.iter().for_each(|problem| output::note(format!("! {problem}")));
        output::note(format!("metrics: prometheus --config.file={}", self.cluster.dir.prometheus().display()));
        let hint = self.dir_option();
        output::note(format!(
            "look: vat testnet status{hint}   page: vat console{hint}   call: vat call{hint} VAT METHOD   stop: vat testnet down{hint}"
        ));
        Ok(())
    }

    async fn as_json(&self, late: &[String]) -> Result<Value, Failure> {
        let states = self.cluster.states().await?;
        let hosts: Vec<Value> = states
            .into_iter()
            .map(|(host, state)| match state {
                HostState::Up(status) => json!({ "host": host, "process": status.process, "http": status.http }),
                HostState::Starting(process) | HostState::Hung(process) => json!({ "host": host, "process": process }),
                HostState::Exported(to) => json!({ "host": host, "process": null, "exported_to": to }),
                HostState::Down => json!({ "host": host, "process": null }),
                HostState::Unusable(problem) => json!({ "host": host, "process": null, "problem": problem }),
            })
            .collect();
        let vats = self.cluster.layout.vats.iter();
        let vats: Vec<Value> = vats
            .map(|place| json!({ "name": place.name, "vat": place.vat, "ready": !late.contains(&place.name) }))
            .collect();
        Ok(json!({ "dir": self.cluster.dir.path(), "made": self.new, "hosts": hosts, "vats": vats }))
    }

    /// Shows the vats' consoles, and which hosts stop, until none runs.
    async fn follow(&self, started: &mut Started) -> Result<(), Failure> {
        let names: Vec<String> = self.cluster.layout.vats.iter().map(|vat| vat.name.clone()).collect();
        output::note("the vats' consoles follow; Ctrl-C stops the testnet");
        tokio::select! {
            result = logs::follow(&self.cluster, &names, self.json) => result,
            () = self.watch(started) => Ok(()),
        }
    }

    async fn watch(&self, started: &mut Started) {
        let hosts = &self.cluster.layout.hosts;
        let mut running: BTreeSet<&str> = BTreeSet::new();
        loop {
            for place in hosts {
                let name = place.name.as_str();
                match (self.cluster.running(name, started), running.contains(name)) {
                    (Some(_), false) => drop(running.insert(name)),
                    (None, true) => {
                        running.remove(name);
                        let hint = self.dir_option();
                        output::note(format!(
                            "{name} has stopped; `vat logs{hint} {name}` says why, `vat testnet restart{hint} {name}` starts it"
                        ));
                    }
                    _ => {}
                }
            }
            if running.is_empty() {
                return;
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// The option that names the directory, where it must be given.
    fn dir_option(&self) -> String {
        let shown = self.cluster.dir.path().display().to_string();
        if shown == "quorate-testnet" { String::new() } else { format!(" --dir {shown}") }
    }

    /// A failure that leaves hosts running, with how to stop them.
    fn with_remedy(&self, failure: Failure, started: &mut Started) -> Failure {
        let mut hosts = self.cluster.layout.hosts.iter();
        if !hosts.any(|place| self.cluster.running(&place.name, started).is_some()) {
            return failure;
        }
        let text = format!("{:#}", failure.error);
        let separator = if text.contains('\n') { "\n" } else { "; " };
        let remedy = format!("`vat testnet down{}` stops the hosts that run", self.dir_option());
        Failure::new(failure.exit, format!("{text}{separator}{remedy}"))
    }
}

fn not_ready(late: &[String]) -> String {
    let (names, seconds) = (late.join(", "), READY_DEADLINE.as_secs());
    format!("not ready, and none got ready in the last {seconds} s: {names}; `vat status` shows what is missing")
}

/// Names of vats that are not as they should be.
struct Awaited {
    /// Not ready in time.
    late: Vec<String>,
    /// Ready, but for the promise of their setup: it may well depend on what is done next.
    setting_up: Vec<String>,
}

/// Waits until every vat has a leader and its code, as far as enough of its hosts run.
async fn wait_ready(cluster: &Cluster, progress: &output::Progress) -> Result<Awaited, Failure> {
    let vats = cluster.layout.vats.len();
    let pause = POLL + POLL_PER_VAT * u32::try_from(vats).unwrap_or(u32::MAX);
    let (mut deadline, mut say) = (Instant::now() + READY_DEADLINE, Instant::now() + SAY_EVERY);
    let mut fewest = vats;
    loop {
        let states = cluster.states().await?;
        let hosts: Vec<&HostStatus> = states
            .iter()
            .filter_map(|(_, state)| match state {
                HostState::Up(status) => Some(status.as_ref()),
                _ => None,
            })
            .collect();
        let mut waiting = Vec::new();
        for place in &cluster.layout.vats {
            if !is_ready(place, &hosts)? {
                waiting.push(place.name.clone());
            }
        }
        let now = Instant::now();
        if waiting.len() < fewest {
            (fewest, deadline) = (waiting.len(), now + READY_DEADLINE);
        }
        if now > say && !waiting.is_empty() {
            say = now + SAY_EVERY;
            progress.say(format!("{} of {vats} vats have leaders and code", vats - waiting.len()));
        }
        if waiting.is_empty() || now > deadline {
            let is_waiting = |vat: &&VatStatus| vat.setup.as_deref() == Some("waiting");
            let setting_up = hosts.iter().flat_map(|host| &host.vats).filter(is_waiting).map(|vat| vat.name.clone());
            let setting_up: BTreeSet<String> = setting_up.collect();
            return Ok(Awaited { late: waiting, setting_up: setting_up.into_iter().collect() });
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns whether a vat has a leader and its code on those of its members that run, or too few of them run for either.
///
/// # Errors
/// It will never have them on one of them.
fn is_ready(place: &VatPlace, hosts: &[&HostStatus]) -> Result<bool, Failure> {
    let replica = |host: &HostStatus| host.vats.iter().find(|vat| vat.vat == place.vat).cloned();
    let newest = hosts.iter().filter_map(|host| replica(host)).max_by_key(|vat| vat.epoch);
    let is_member =
        |host: &HostStatus| newest.as_ref().is_none_or(|vat| vat.members.iter().any(|member| member.key == host.key));
    let members: Vec<&&HostStatus> = hosts.iter().filter(|host| is_member(host)).collect();
    for host in &members {
        let fault = replica(host).and_then(|vat| vat.fault);
        if let Some(why) = host.failed_vats.get(&place.name).or(fault.as_ref()) {
            let (vat, host) = (&place.name, &host.host);
            let leave = format!("`vat testnet up --without {host}` leaves the host out");
            let sound = members.iter().filter_map(|other| replica(other)).filter(|vat| vat.fault.is_none()).count();
            let needed = newest.as_ref().map_or(place.hosts.len() / 2 + 1, |vat| usize::from(vat.threshold));
            let remedy = match sound >= needed {
                true => format!(
                    "put another host in its place (`vat member replace --vat {vat} --out {host} --in HOST`); {leave}"
                ),
                false => format!("without it the vat can't go on; {leave}"),
            };
            return Err(Failure::new(Exit::Failed, format!("{vat} does not run on {host}: {why}; {remedy}")));
        }
    }
    let replicas: Vec<VatStatus> = members.iter().filter_map(|host| replica(host)).collect();
    let without_code = replicas.iter().filter(|vat| !vat.installed);
    if let Some(error) = without_code.filter_map(|vat| vat.install_error.as_ref()).next() {
        return Err(Failure::new(Exit::Usage, format!("the code of {} did not start: {error}", place.name)));
    }
    if let Some(error) = replicas.iter().find_map(|vat| vat.setup_error.as_ref()) {
        return Err(Failure::new(Exit::Usage, format!("the setup of {} failed: {error}", place.name)));
    }
    // A leader is elected by as many as sign.
    let needed = newest.map_or(place.hosts.len() / 2 + 1, |vat| usize::from(vat.threshold));
    let enough = replicas.len() >= needed;
    Ok(!enough || replicas.iter().all(|vat| vat.installed && vat.leader.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::status::MemberStatus;

    fn place() -> VatPlace {
        VatPlace { name: "v".into(), vat: "00".into(), hosts: ["a", "b", "c"].map(str::to_owned).to_vec() }
    }

    /// A host that carries the vat, whose members are these.
    fn host(name: &str, epoch: u64, members: &[&str]) -> HostStatus {
        let member = |name: &&str| MemberStatus { name: (*name).into(), key: (*name).into(), addresses: Vec::new() };
        let vat = json!({
            "name": "v", "vat": "00", "role": "follower", "leader": "a", "term": 1, "committed_block": 1, "applied_block": 1,
            "certified_block": 1, "epoch": epoch, "certified_epoch": epoch, "threshold": 2,
            "members": members.iter().map(member).collect::<Vec<_>>(), "pending_change": null, "installed": true,
            "install_error": null, "exited": null, "deliveries": 1, "heap_bytes": 1, "checkpoint_block": 0,
            "certified_checkpoint_block": 0, "state_root": null, "equivocations": 0, "disagreements": 0, "streams": [], "fault": null,
        });
        let host = json!({
            "host": name, "key": name, "version": "", "image": "", "process": 1, "uptime_s": 1, "listen": [], "http": "",
            "peers": [], "vats": [vat], "failed_vats": {},
        });
        serde_json::from_value(host).expect("a status")
    }

    fn ready(hosts: &[HostStatus]) -> Result<bool, String> {
        is_ready(&place(), &hosts.iter().collect::<Vec<_>>()).map_err(|failure| failure.error.to_string())
    }

    #[test]
    fn a_vat_is_ready_with_a_leader_and_code_or_where_too_few_could_have_them() {
        let all = ["a", "b", "c"];
        let good = || all.map(|name| host(name, 0, &all));
        assert_eq!(ready(&good()), Ok(true));
        let mut headless = good();
        headless[2].vats[0].leader = None;
        assert_eq!(ready(&headless), Ok(false), "it has code, of a checkpoint perhaps, but nobody leads yet");
        assert_eq!(ready(&headless[1..]), Ok(false));
        assert_eq!(ready(&headless[2..]), Ok(true), "one of three can't have a leader");
        assert_eq!(ready(&[]), Ok(true));
        let mut unanimous = all.map(|name| host(name, 0, &all));
        unanimous.iter_mut().for_each(|host| (host.vats[0].threshold, host.vats[0].leader) = (3, None));
        assert_eq!(ready(&unanimous), Ok(false));
        assert_eq!(ready(&unanimous[1..]), Ok(true), "two of three elect nobody where all three must");
        let mut empty = good();
        empty[0].vats[0].installed = false;
        assert_eq!(ready(&empty), Ok(false));
        empty[0].vats[0].install_error = Some("it threw".into());
        assert!(ready(&empty).is_err_and(|error| error.contains("it threw")));
        empty[0].vats[0].installed = true;
        assert_eq!(ready(&empty), Ok(true), "it has code by now");
        let mut failed = good();
        failed[1].vats[0].setup_error = Some("it threw later".into());
        assert!(ready(&failed).is_err_and(|error| error.contains("it threw later")));
    }

    #[test]
    fn a_member_that_can_not_carry_the_vat_is_an_error_but_not_one_that_has_left() {
        let all = ["a", "b", "c"];
        let mut damaged = all.map(|name| host(name, 0, &all));
        damaged[1].vats.clear();
        damaged[1].failed_vats.insert("v".into(), "Q-C002".into());
        assert!(ready(&damaged).is_err_and(|error| error.contains("v does not run on b: Q-C002")));
        assert_eq!(ready(&[damaged[0].clone(), damaged[2].clone()]), Ok(true));
        let mut faulted = all.map(|name| host(name, 0, &all));
        faulted[0].vats[0].fault = Some("Q-C041".into());
        assert!(ready(&faulted).is_err_and(|error| error.contains("v does not run on a: Q-C041")));
        // `b` was replaced by `d`; what `b` still has does not count.
        let now = ["a", "c", "d"];
        let mut left = [host("a", 1, &now), damaged[1].clone(), host("c", 1, &now), host("d", 1, &now)];
        assert_eq!(ready(&left), Ok(true));
        left[1] = host("b", 0, &all);
        left[1].vats[0].leader = None;
        assert_eq!(ready(&left), Ok(true));
    }
}
