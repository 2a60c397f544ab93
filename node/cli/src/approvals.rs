//! `vat approvals`, `vat approve` and `vat reject`: what owners are asked about a vat's members and about who may use it, and what they
//! answer.
//!
//! Invariant: an approval is one host's; nobody approves for all hosts here by one command, since each is one of the approvals that a
//! change needs. Rejecting is safe: it is done for all hosts here that were asked.

use super::{
    Exit, Failure, Outcome,
    create::survival,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_protocol::status::{ApprovalAnswer, Done, MemberStatus, VatStatus, WaitingStatus};
use serde_json::{Value as Json, json};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat approvals\n  vat approvals two --home /srv/quorate --json\n\nCompare the fingerprint of a newcomer with its owner by another way before you approve."
)]
pub struct ListArgs {
    /// Only this vat
    vat: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct AnswerArgs {
    /// The vat
    vat: String,
    /// The host that answers, by its name, where several are here
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The change, by the beginning of its id, where several wait
    #[arg(long, value_name = "ID")]
    change: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

/// A change that waits at a host here.
struct Waiting<'a> {
    host: &'a LocalHost,
    vat: &'a VatStatus,
    change: &'a WaitingStatus,
}

fn waiting<'a>(hosts: &'a [LocalHost], vat: Option<&str>) -> Vec<Waiting<'a>> {
    let is_it = |status: &VatStatus| vat.is_none_or(|vat| status.name == vat || status.vat == vat);
    let mut found = Vec::new();
    for host in hosts {
        for vat in host.status.iter().flat_map(|status| &status.vats).filter(|vat| is_it(vat)) {
            found.extend(vat.approvals.iter().map(|change| Waiting { host, vat, change }));
        }
    }
    found
}

/// Lists what waits.
pub async fn list(args: ListArgs, json: bool) -> Outcome {
    let hosts = match &args.vat {
        Some(vat) => args.hosts.carrying(vat).await?.into_iter().map(|(host, _)| host).collect(),
        None => args.hosts.all().await?,
    };
    let found = waiting(&hosts, args.vat.as_deref());
    if json {
        output::json(&Json::Array(found.iter().map(Waiting::to_json).collect()));
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        output::note("nothing waits for approval");
    }
    for waiting in &found {
        waiting.lines().iter().for_each(output::line);
    }
    Ok(Exit::Success)
}

impl Waiting<'_> {
    fn lines(&self) -> Vec<String> {
        let WaitingStatus { change, proposer, answer, needed, .. } = self.change;
        let (host, vat) = (&self.host.name, &self.vat.name);
        let mut lines = vec![format!("{vat} at {host}: {change}"), format!("  change      {}", &self.change.id[..12])];
        lines.push(format!("  proposed    by {proposer}"));
        lines.extend(self.change.out.iter().map(|member| format!("  goes        {}  {}", member.name, member.key)));
        if let (Some(member), Some(print)) = (&self.change.joining, &self.change.fingerprint) {
            lines.push(format!("  comes       {}", shown(member, print)));
        }
        if let Some((members, threshold)) = self.change.after {
            let before = self.change.threshold_before;
            lines.push(format!(
                "  threshold   {before} of {} now, {threshold} of {members} then",
                self.vat.members.len()
            ));
            lines.push(format!("  survives    {}", survival(members, threshold.into())));
        }
        if self.change.is_own {
            let approved = &self.change.approved;
            lines.push(format!("  approvals   {} of {needed}{}", approved.len(), listed(approved)));
            if !self.change.rejected.is_empty() {
                lines.push(format!("  rejected   {}", listed(&self.change.rejected)));
            }
            if self.change.waits_for_newcomer {
                lines.push(
                    "  newcomer    has not answered; it signs its own admission once it carries the vat (`vat join`)"
                        .to_owned(),
                );
            }
        } else {
            lines.push(format!("  approvals   {needed} are needed; {proposer} counts them"));
        }
        lines.push(match answer.as_deref() {
            Some(answer) => format!("  {host} has {answer} it"),
            None => format!("  {host} waits for you: `vat approve {vat}` or `vat reject {vat}`"),
        });
        lines
    }

    fn to_json(&self) -> Json {
        let mut shown = serde_json::to_value(self.change).unwrap_or_default();
        shown["host"] = json!(self.host.name);
        shown["vat"] = json!(self.vat.name);
        shown["vat_id"] = json!(self.vat.vat);
        let survives = self.change.after.map(|(members, threshold)| survival(members, threshold.into()));
        shown["survives"] = json!(survives);
        shown
    }
}

fn shown(member: &MemberStatus, print: &str) -> String {
    format!("{}  fingerprint {print}  {}", member.name, member.addresses.join(" "))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// Approves a change for one host.
pub async fn approve(args: AnswerArgs, json: bool) -> Outcome {
    let hosts = args.hosts_here().await?;
    let asked = args.open(&hosts, "approved")?;
    // One of them: each counts for itself.
    answer(&asked[..1], true, json).await
}

/// Rejects a change for all hosts here that were asked.
pub async fn reject(args: AnswerArgs, json: bool) -> Outcome {
    let hosts = args.hosts_here().await?;
    let asked = args.open(&hosts, "rejected")?;
    answer(&asked, false, json).await
}

impl AnswerArgs {
    async fn hosts_here(&self) -> Result<Vec<LocalHost>, Failure> {
        let hosts: Vec<LocalHost> = self.hosts.carrying(&self.vat).await?.into_iter().map(|(host, _)| host).collect();
        if let Some(name) = self.host.as_ref().filter(|name| !hosts.iter().any(|host| host.name == **name)) {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            let message =
                format!("{name} is no running host here that carries {}; there are {}", self.vat, names.join(", "));
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(hosts)
    }

    /// Returns what waits at the hosts that are meant and have not answered so: one change, at each of them; first where nothing was answered.
    fn open<'a>(&self, hosts: &'a [LocalHost], answer: &str) -> Result<Vec<Waiting<'a>>, Failure> {
        let usage = |message: String| Err(Failure::new(Exit::Usage, message));
        let meant = |waiting: &Waiting| {
            self.host.as_ref().is_none_or(|name| waiting.host.name == *name)
                && self.change.as_ref().is_none_or(|id| waiting.change.id.starts_with(id))
        };
        let found: Vec<Waiting> = waiting(hosts, Some(&self.vat)).into_iter().filter(meant).collect();
        let is_open = |waiting: &Waiting| waiting.change.answer.as_deref() != Some(answer);
        let mut open: Vec<Waiting> = found.into_iter().filter(is_open).collect();
        open.sort_by_key(|waiting| waiting.change.answer.is_some());
        let Some(first) = open.first() else {
            return usage(format!(
                "no change of {} waits for an answer here; `vat approvals {0}` shows what there is",
                self.vat
            ));
        };
        let id = first.change.id.clone();
        if let Some(other) = open.iter().find(|waiting| waiting.change.id != id) {
            return usage(format!(
                "several changes of {} wait: {} ({}) and {} ({}); say which: --change ID",
                self.vat,
                first.change.change,
                &id[..12],
                other.change.change,
                &other.change.id[..12]
            ));
        }
        Ok(open)
    }
}

async fn answer(asked: &[Waiting<'_>], approve: bool, json: bool) -> Outcome {
    let mut said = Vec::new();
    for waiting in asked {
        let body = ApprovalAnswer { id: waiting.change.id.clone(), approve };
        let path = format!("/api/v1/vats/{}/approvals", waiting.vat.vat);
        let done: Done = match waiting.host.endpoint.post(&path, &body).await {
            Ok(done) => done,
            // The rejection of another host here has ended it.
            Err(_) if !approve && !said.is_empty() => continue,
            Err(error) => return Err(error.into()),
        };
        said.push((waiting, done.message));
    }
    if json {
        let answers = said.iter().map(|(waiting, _)| {
            json!({ "host": waiting.host.name, "vat": waiting.vat.name, "id": waiting.change.id, "approved": approve })
        });
        output::json(&Json::Array(answers.collect()));
        return Ok(Exit::Success);
    }
    for (waiting, message) in said {
        output::note(format!("{message}: {}", waiting.change.change));
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> WaitingStatus {
        let member = |name: &str| MemberStatus {
            name: name.into(),
            key: "ab".repeat(32),
            addresses: vec!["/ip4/192.0.2.7/tcp/1".into()],
        };
        WaitingStatus {
            id: "0123456789abcdef".repeat(4),
            change: "replace c by d".into(),
            proposer: "a".into(),
            is_own: true,
            out: Some(member("c")),
            joining: Some(member("d")),
            fingerprint: Some("abcd-efgh".into()),
            threshold_before: 2,
            after: Some((3, 2)),
            answer: None,
            approved: vec!["b".into()],
            rejected: vec![],
            asked: vec!["a".into(), "c".into()],
            needed: 2,
            waits_for_newcomer: false,
        }
    }

    #[test]
    fn a_change_that_waits_is_described_for_people() {
        let host = LocalHost::at(std::path::Path::new("/nowhere"), "a".into());
        let vat: VatStatus = serde_json::from_value(json!({
            "name": "two", "vat": "07", "role": "leader", "leader": null, "term": 1, "committed_block": 9, "applied_block": 9,
            "certified_block": 9, "epoch": 0, "certified_epoch": 0, "threshold": 2, "members": [],
            "pending_change": null, "installed": true, "install_error": null, "exited": null, "deliveries": 3,
            "heap_bytes": 1, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": null,
            "equivocations": 0, "disagreements": 0, "streams": [], "fault": null,
        }))
        .expect("a status");
        let change = change();
        let waiting = Waiting { host: &host, vat: &vat, change: &change };
        let text = waiting.lines().join("\n");
        for part in [
            "replace c by d",
            "by a",
            "comes       d",
            "abcd-efgh",
            "2 of 3 then",
            "1 of 2 (b)",
            "vat approve two",
            "goes on with 1 member down",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = waiting.to_json();
        assert_eq!((&json["vat"], &json["in"]["name"], &json["needed"]), (&json!("two"), &json!("d"), &json!(2)));
        let others = WaitingStatus { is_own: false, answer: Some("approved".into()), ..change.clone() };
        let text = Waiting { change: &others, ..waiting }.lines().join("\n");
        assert!(text.contains("a has approved it") && text.contains("a counts them"), "{text}");
    }
}
