//! The vats that a host carries: whether their members can be reached, which versions they run, and what their clocks show.

use super::{Finding, Patient, network::accepts};
use crate::standing::quorum;
use quorate_config::provision;
use quorate_protocol::status::{ClockDifference, HostStatus, VatStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Clocks that differ by more make log time late, or wrong where many do.
const CLOCKS_APART_MS: u64 = 2_000;

pub async fn check(patient: &Patient) -> Vec<Finding> {
    match &patient.host.status {
        Some(status) => {
            let mut findings = of_running(patient, status);
            findings.extend(peers(status).await);
            findings.extend(clocks(patient).await);
            findings
        }
        None => members_of_stopped(patient).await,
    }
}

fn of_running(patient: &Patient, status: &HostStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (vat, why) in &status.failed_vats {
        findings.push(Finding::problem(
            "vats",
            format!("{vat} was not started: {why}"),
            "as it says; then start the host again",
        ));
    }
    for vat in &status.vats {
        findings.push(of_vat(patient, vat));
    }
    if !status.muted.is_empty() {
        findings.push(Finding::warning(
            "vats",
            format!("this host does not listen to {}", status.muted.join(", ")),
            "`vat member mute --off` once they are to be heard again",
        ));
    }
    findings
}

fn of_vat(patient: &Patient, vat: &VatStatus) -> Finding {
    let name = &vat.name;
    if let Some(fault) = &vat.fault {
        return Finding::problem(
            "vats",
            format!("{name} has stopped here: {fault}"),
            format!("`vat explain` its code; `vat member repair {name}` brings a damaged replica back"),
        );
    }
    if vat.role == "removed" {
        return Finding::warning(
            "vats",
            format!("this host is no member of {name} any more, and keeps its data"),
            format!("`vat delete {name} --home {}`", patient.path.display()),
        );
    }
    if let Some(why) = &vat.standstill {
        return Finding::problem(
            "vats",
            format!("{name} does not move: {why}"),
            format!("`vat status {name}`, and the host's log"),
        );
    }
    if !patient.host.is_member(vat) {
        return Finding::warning(
            "vats",
            format!("{name} waits until the vat's members add this host"),
            format!("a member proposes it: `vat member add --vat {name} --in CARD`"),
        );
    }
    let standing = quorum(vat, std::slice::from_ref(&patient.host));
    match standing.complaint() {
        None => Finding::ok(
            "vats",
            format!(
                "{name}: {} of {} members can be reached, {} must sign",
                standing.reachable,
                standing.members.len(),
                standing.needed
            ),
        ),
        Some(complaint) if standing.can_speak() => {
            Finding::warning("vats", format!("{name}: {complaint}"), "as it says")
        }
        Some(complaint) => Finding::problem("vats", format!("{name}: {complaint}"), "as it says"),
    }
}

/// The other members' hosts: connected, and of which version.
async fn peers(status: &HostStatus) -> Vec<Finding> {
    let names: BTreeMap<&String, &String> =
        status.vats.iter().flat_map(|vat| &vat.members).map(|member| (&member.key, &member.name)).collect();
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    versions.entry(&status.version).or_default().insert(&status.host);
    let mut tried = Vec::new();
    for peer in status.peers.iter().filter(|peer| peer.key != status.key) {
        let Some(name) = names.get(&peer.key) else { continue };
        if let Some(version) = &peer.version {
            versions.entry(version).or_default().insert(name);
        }
        if !peer.connected {
            tried.push(unreachable(name, &peer.addresses, peer.last_error.as_deref()));
        }
    }
    findings.extend(futures::future::join_all(tried).await);
    if findings.is_empty() && names.len() > 1 {
        findings
            .push(Finding::ok("members", format!("connected with the hosts of all {} other members", names.len() - 1)));
    }
    if versions.len() > 1 {
        let told = versions
            .iter()
            .map(|(version, names)| format!("{version}: {}", names.iter().copied().collect::<Vec<_>>().join(", ")));
        findings.push(Finding::warning(
            "versions",
            format!("members run different versions ({})", told.collect::<Vec<_>>().join("; ")),
            "finish the upgrade, one host after the other; the changelog says which versions go together",
        ));
    }
    findings
}

/// Finds out whether the machine of a member that is not connected can be reached at all.
async fn unreachable(name: &str, addresses: &[String], last_error: Option<&str>) -> Finding {
    let error = last_error.map(|error| format!(" ({error})")).unwrap_or_default();
    let mut refused = Vec::new();
    for address in addresses {
        match accepts(address).await {
            Some(Ok(())) => {
                return Finding::warning(
                    "members",
                    format!("{name} is not connected{error}, though {address} takes connections"),
                    "does the right host run there, with the key that the vat knows? `vat inspect` of its card shows the fingerprint",
                );
            }
            Some(Err(error)) => refused.push(format!("{address}: {error}")),
            None => {}
        }
    }
    Finding::warning(
        "members",
        format!(
            "{name} can't be reached{error}: {}",
            if refused.is_empty() { "it has no address that can be tried".to_owned() } else { refused.join("; ") }
        ),
        "is the host up, its port open, and the address still its own? What is lost for good is replaced: `vat member replace`",
    )
}

async fn clocks(patient: &Patient) -> Vec<Finding> {
    let Ok(found) = patient.host.endpoint.get::<Vec<ClockDifference>>("/api/v1/clocks").await else {
        return vec![Finding::skipped(
            "clocks",
            "the host does not say how its clock differs from those of other members",
        )];
    };
    judge_clocks(&found)
}

fn judge_clocks(found: &[ClockDifference]) -> Vec<Finding> {
    let known: Vec<(&str, i64)> =
        found.iter().filter_map(|clock| Some((clock.member.as_str(), clock.ahead_ms?))).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let apart: Vec<&(&str, i64)> = known.iter().filter(|(_, ahead)| ahead.unsigned_abs() > CLOCKS_APART_MS).collect();
    if apart.is_empty() {
        let most = known.iter().map(|(_, ahead)| ahead.unsigned_abs()).max().unwrap_or(0);
        return vec![Finding::ok(
            "clocks",
            format!("this clock and those of {} other members are at most {most} ms apart", known.len()),
        )];
    }
    let told = apart.iter().map(|(name, ahead)| {
        let (seconds, word) = (ahead.unsigned_abs() as f64 / 1_000.0, if *ahead > 0 { "ahead" } else { "behind" });
        format!("{name} is {seconds:.1} s {word}")
    });
    let told = told.collect::<Vec<_>>().join(", ");
    // Most of the others can hardly be wrong together.
    if apart.len() * 2 > known.len() {
        vec![Finding::problem(
            "clocks",
            format!("this machine's clock differs from those of most other members: {told}"),
            "set it right, and have something keep it so (`timedatectl set-ntp true`)",
        )]
    } else {
        vec![Finding::warning("clocks", format!("clocks of members differ: {told}"), "tell their owners")]
    }
}

/// Of a host that does not run: whether the members that its vats had when they came here can be reached.
async fn members_of_stopped(patient: &Patient) -> Vec<Finding> {
    let Ok(home) = &patient.home else { return Vec::new() };
    let own = home.key.verifying_key().to_bytes();
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(home.carried()).into_iter().flatten().flatten() {
        let Ok(Some(provision)) = provision::read_one(&entry.path()) else { continue };
        for member in provision.genesis.members.into_iter().filter(|member| member.key.0 != own) {
            others.entry(member.name).or_insert(member.addresses);
        }
    }
    let tried = others.into_iter().map(|(name, addresses)| async move {
        for address in &addresses {
            match accepts(address).await {
                Some(Ok(())) => return Finding::ok("members", format!("{name} takes connections at {address}")),
                None => {
                    return Finding::skipped(
                        "members",
                        format!("{name} has an address of QUIC, which is not tried: {address}"),
                    );
                }
                Some(Err(_)) => {}
            }
        }
        Finding::warning(
            "members",
            format!("{name} takes no connections at {}", addresses.join(", ")),
            "is that host up, and its port open? It may have been replaced since: start this host, and ask again",
        )
    });
    futures::future::join_all(tried).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn level(ahead: &[Option<i64>]) -> Option<Level> {
        let clock = |(number, ahead_ms): (usize, &Option<i64>)| ClockDifference {
            vat: "v".into(),
            member: format!("h{number}"),
            key: String::new(),
            ahead_ms: *ahead_ms,
        };
        let found: Vec<ClockDifference> = ahead.iter().enumerate().map(clock).collect();
        judge_clocks(&found).first().map(|finding| finding.level)
    }

    #[test]
    fn who_is_alone_with_its_time_is_the_one_that_is_wrong() {
        assert_eq!(level(&[]), None);
        assert_eq!(level(&[None, None]), None);
        assert_eq!(level(&[Some(3), Some(-1_999), None]), Some(Level::Ok));
        assert_eq!(level(&[Some(3), Some(60_000)]), Some(Level::Warning));
        assert_eq!(level(&[Some(-60_000), Some(-59_000), Some(1)]), Some(Level::Problem));
    }
}
