//! `vat member`: changes of a vat's members, on a live vat.
//!
//! The command checks everything it can before it asks any host: a host that was told to carry a vat for nothing would wait
//! for ever. A local member proposes the change for the operator; it need not lead.

mod feasible;
mod mute;
mod repair;

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
    standing::quorums,
};
use feasible::{check_reachable, stage, why_hopeless};
use quorate_admin::CarryRequest;
use quorate_consensus::Member;
use quorate_protocol::{
    provision::{Contacts, Provision},
    status::{Done, MemberChange, MemberStatus, VatStatus},
};
use std::time::{Duration, Instant};

/// How long a change may take: a learner fetches the whole state.
const CHANGE_DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);

#[derive(clap::Subcommand)]
pub enum Command {
    /// Let a host join a vat: it fetches the state, then takes part
    #[command(
        after_help = "Examples:\n  vat member add --vat two --in e\n  vat member add --vat solo --in beta --threshold 2      grow a solo vat"
    )]
    Add {
        #[command(flatten)]
        about: About,
        /// The joining host: its name in the testnet, the path of its home, or of its card
        #[arg(long = "in", value_name = "HOST")]
        joining: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
    },
    /// Let a member leave a vat
    #[command(after_help = "Example:\n  vat member remove --vat two --out c")]
    Remove {
        #[command(flatten)]
        about: About,
        /// The leaving member: a name or a key
        #[arg(long, value_name = "MEMBER")]
        out: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
    },
    /// Swap a member of a vat
    #[command(after_help = "Example:\n  vat member replace --vat two --out c --in e")]
    Replace {
        #[command(flatten)]
        about: About,
        /// The leaving member: a name or a key
        #[arg(long, value_name = "MEMBER")]
        out: String,
        /// The joining host: its name in the testnet, the path of its home, or of its card
        #[arg(long = "in", value_name = "HOST")]
        joining: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
    },
    /// Change how many members must sign
    #[command(after_help = "Example:\n  vat member threshold --vat two --threshold 3")]
    Threshold {
        #[command(flatten)]
        about: About,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: u16,
    },
    /// Bring a member back whose store is damaged, or whose replica has stopped by a fault, under its own key
    #[command(
        after_help = "Examples:\n  vat member repair two --host c            the replica of two on host c, which runs\n  vat member repair --home /srv/quorate     whatever is damaged in the store of a host that does not run\n\nIt fetches its state and log from the other members, and neither votes nor signs before it is past all that it ever\nsigned. The old database is kept. Where nobody knows what the host has signed, `vat member replace` is what remains."
    )]
    Repair(repair::RepairArgs),
    /// Have a host not listen to a member that floods or lies
    #[command(
        after_help = "Example:\n  vat member mute c --vat two --host a\n\nOnly that host is concerned: nobody else hears of it. Replace the member soon: until then the vat has one fewer."
    )]
    Mute(mute::MuteArgs),
    /// Give up a change that has not taken effect
    #[command(
        after_help = "Example:\n  vat member cancel --vat two\n\n`vat status` shows the change that is under way, and what it waits for."
    )]
    Cancel {
        #[command(flatten)]
        about: About,
    },
}

/// What all changes name.
#[derive(clap::Args)]
pub struct About {
    /// The vat
    #[arg(long)]
    vat: String,
    #[command(flatten)]
    hosts: HostsOption,
}

/// The member that leaves, the host that joins, and the next threshold.
#[derive(Default)]
struct Wanted {
    out: Option<String>,
    joining: Option<String>,
    threshold: Option<u16>,
}

pub async fn run(command: Command, json: bool) -> Outcome {
    let (about, wanted) = match command {
        Command::Add { about, joining, threshold } => {
            (about, Wanted { joining: Some(joining), threshold, ..Wanted::default() })
        }
        Command::Remove { about, out, threshold } => (about, Wanted { out: Some(out), threshold, ..Wanted::default() }),
        Command::Replace { about, out, joining, threshold } => {
            (about, Wanted { out: Some(out), joining: Some(joining), threshold })
        }
        Command::Threshold { about, threshold } => (about, Wanted { threshold: Some(threshold), ..Wanted::default() }),
        Command::Cancel { about } => return cancel(&about, json).await,
        Command::Repair(args) => return repair::run(args, json).await,
        Command::Mute(args) => return mute::run(args, json).await,
    };
    let members = about.hosts.carrying(&about.vat).await?;
    let (speaker, before) = members.first().expect("carrying() fails where there is none");
    check(&wanted, before)?;
    check_reachable(&about, before, |quorum| why_hopeless(&wanted, quorum)).await?;
    let joining = match &wanted.joining {
        Some(name) => Some(prepare(&about, name, wanted.out.as_deref(), speaker, before).await?),
        None => None,
    };
    let progress = output::Progress::start(format!("recording the change in {}", about.vat));
    let request = MemberChange { out: wanted.out, joining, threshold: wanted.threshold, cancel: false };
    let done = post(speaker, before, &request).await?;
    if done.waits {
        progress.done();
        return Err(waits_for_owners(&about.vat));
    }
    let next = if request.joining.is_some() {
        "the newcomer fetches the state, and the old members sign"
    } else {
        "the old members sign"
    };
    progress.say(format!("{}; {next}", done.message));
    let after = wait_for_epoch(&about, before, done.block, &progress).await?;
    progress.done();
    report(&about.vat, &after, json);
    Ok(Exit::Success)
}

/// The failure that a change is proposed, and not done before people have answered.
fn waits_for_owners(vat: &str) -> Failure {
    let message = format!(
        "{vat}: the change waits for its owners' approval: `vat approvals {vat}` describes it, `vat approve {vat}` at a member's host approves it, `vat reject {vat}` ends it"
    );
    Failure::new(Exit::Unreachable, message)
}

async fn post(speaker: &LocalHost, vat: &VatStatus, request: &MemberChange) -> Result<Done, Failure> {
    Ok(speaker.endpoint.post(&format!("/api/v1/vats/{}/members", vat.vat), request).await?)
}

fn report(name: &str, vat: &VatStatus, json: bool) {
    if json {
        return output::json(vat);
    }
    let names = names_of(&vat.members);
    output::note(format!(
        "{name} is in epoch {}: {} of {} sign ({})",
        vat.epoch,
        vat.threshold,
        names.len(),
        names.join(", ")
    ));
}

/// Finds what the vat would refuse.
fn check(wanted: &Wanted, vat: &VatStatus) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure::new(Exit::Usage, message));
    if let Some(change) = &vat.pending_change {
        return usage(format!(
            "a change is under way: {change}; wait for it (`vat status {0}`), or give it up: `vat member cancel --vat {0}`",
            vat.name
        ));
    }
    if let Some(out) = &wanted.out {
        let named: Vec<&str> = names_of(vat.members.iter().filter(|member| member.name == *out));
        let is_key = vat.members.iter().any(|member| member.key == *out);
        if named.is_empty() && !is_key {
            let names = names_of(&vat.members).join(", ");
            return usage(format!("{out} is not a member of {}; its members are {names}", vat.name));
        }
        if named.len() > 1 {
            return usage(format!("several members of {} are called {out}; say which by its key", vat.name));
        }
    }
    let count = vat.members.len() + usize::from(wanted.joining.is_some()) - usize::from(wanted.out.is_some());
    if count == 0 {
        return usage(format!("{} has no other member; replace this one instead", vat.name));
    }
    if let Some(threshold) = wanted.threshold.map(usize::from)
        && (threshold * 2 <= count || threshold > count)
    {
        return usage(format!("--threshold {threshold}: of {count} members, {} to {count} can sign", count / 2 + 1));
    }
    Ok(())
}

fn names_of<'a>(members: impl IntoIterator<Item = &'a MemberStatus>) -> Vec<&'a str> {
    members.into_iter().map(|member| member.name.as_str()).collect()
}

/// Tells the joining host to carry the vat as a learner, and returns it as a member.
async fn prepare(
    about: &About,
    name: &str,
    out: Option<&str>,
    speaker: &LocalHost,
    vat: &VatStatus,
) -> Result<Member, Failure> {
    let usage = |message: String| Err(Failure::new(Exit::Usage, message));
    let (member, newcomer) = about.hosts.candidate(name).await?;
    if vat.members.iter().any(|other| other.key == member.key.to_string()) {
        return usage(format!("{name} is a member of {} already", vat.name));
    }
    let stays = |other: &&MemberStatus| out != Some(&other.name) && out != Some(&other.key);
    if vat.members.iter().filter(stays).any(|other| other.name == member.name) {
        return usage(format!(
            "{} has a member called {}; rename the new one: `name` in its host.toml, while it is stopped",
            vat.name, member.name
        ));
    }
    // Without the newcomer at hand, it has joined by `vat join`, or does so while the change waits.
    let Some(newcomer) = newcomer else { return Ok(member) };
    if newcomer.replica(&vat.name).is_some_and(|other| other.vat != vat.vat) {
        return usage(format!("{} carries another vat under the name {}", newcomer.name, vat.name));
    }
    let introduction = speaker.introduction(&vat.vat).await?;
    let provision =
        Provision { name: vat.name.clone(), genesis: introduction.genesis.clone(), install: None, joining: true };
    let contacts = Contacts { vats: vec![(vat.name.clone(), introduction)] };
    let _: Done = newcomer.endpoint.post("/api/v1/vats", &CarryRequest::new(&provision, &contacts)).await?;
    Ok(member)
}

async fn cancel(about: &About, json: bool) -> Outcome {
    let members = about.hosts.carrying(&about.vat).await?;
    // The member that proposes a change is the one to withdraw it.
    let proposes = |status: &VatStatus| status.approvals.iter().any(|change| change.is_own);
    let proposer = members.iter().find(|(_, status)| proposes(status));
    let (speaker, before) = proposer.or(members.first()).expect("carrying() fails where there is none");
    check_reachable(about, before, |quorum| quorum.complaint().filter(|_| !quorum.can_order())).await?;
    let request = MemberChange { out: None, joining: None, threshold: None, cancel: true };
    let done = post(speaker, before, &request).await?;
    if done.waits {
        return Err(waits_for_owners(&about.vat));
    }
    output::note(format!("{}: the change is given up", done.message));
    let deadline = Instant::now() + CHANGE_DEADLINE;
    // It is over once those who can be asked here have heard of it.
    loop {
        let members = about.hosts.carrying(&before.vat).await?;
        let sound: Vec<_> = members.iter().filter(|(_, status)| status.fault.is_none()).collect();
        if sound.iter().all(|(_, status)| status.pending_change.is_none())
            && sound.iter().all(|(_, status)| !status.approvals.iter().any(|change| change.is_own))
            && let Some((_, status)) = sound.first()
        {
            report(&about.vat, status, json);
            return Ok(Exit::Success);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(Exit::Unreachable, "the members here have not heard of it yet; see `vat status`"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What a host here says of the vat.
struct Replica {
    key: String,
    status: VatStatus,
}

async fn wait_for_epoch(
    about: &About,
    before: &VatStatus,
    recorded: Option<u64>,
    progress: &output::Progress,
) -> Result<VatStatus, Failure> {
    let deadline = Instant::now() + CHANGE_DEADLINE;
    let mut said = None;
    loop {
        let hosts = about.hosts.all().await?;
        let quorum = quorums(&hosts).into_iter().find(|quorum| quorum.vat == before.vat);
        let replicas: Vec<Replica> = hosts
            .into_iter()
            .filter_map(|host| Some(Replica { key: host.key?.to_string(), status: host.replica(&before.vat)?.clone() }))
            .collect();
        if let Some(status) = finished(&replicas, before.epoch) {
            return Ok(status.clone());
        }
        let is_over = match recorded {
            Some(block) => given_up(&replicas, before.epoch, block),
            None => withdrawn(&replicas, before.epoch),
        };
        if is_over {
            return Err(Failure::new(Exit::Rejected, format!("this change of {} was given up", before.name)));
        }
        let stage = stage(replicas.iter().map(|replica| &replica.status), quorum.as_ref());
        if stage.is_some() && stage != said {
            progress.say(stage.clone().unwrap_or_default());
            said = stage;
        }
        if Instant::now() > deadline {
            let message = format!(
                "the change is recorded but not in force yet; it goes on by itself once enough members are up: `vat status {0}` shows what it waits for, `vat member cancel --vat {0}` gives it up",
                before.name
            );
            return Err(Failure::new(Exit::Unreachable, message));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The status after a change, once it is in force as far as can be seen here: some replica knows a certified epoch after `before`, and
/// every member of it that runs here takes part in it, or has stopped by a fault and never will.
fn finished(replicas: &[Replica], before: u64) -> Option<&VatStatus> {
    let left = |status: &VatStatus| status.role == "removed";
    if !replicas.is_empty() && replicas.iter().all(|replica| left(&replica.status)) {
        // Nobody here is a member any more. The others have told so, perhaps before the block came here.
        return replicas.iter().map(|replica| &replica.status).max_by_key(|status| status.epoch);
    }
    let certified = replicas.iter().map(|replica| &replica.status);
    let certified = certified.filter(|status| status.epoch > before && status.pending_change.is_none());
    let newest = certified.max_by_key(|status| (status.epoch, status.role == "leader"))?;
    let is_member = |replica: &&Replica| newest.members.iter().any(|member| member.key == replica.key);
    let takes_part = |status: &VatStatus| {
        let votes = matches!(status.role.as_str(), "leader" | "follower");
        votes && status.epoch >= newest.epoch && status.pending_change.is_none() || status.fault.is_some()
    };
    replicas.iter().filter(is_member).all(|replica| takes_part(&replica.status)).then_some(newest)
}

/// Returns whether the change that `block` recorded is no more, though the epoch is still the one before it.
fn given_up(replicas: &[Replica], before: u64, block: u64) -> bool {
    replicas.iter().map(|replica| &replica.status).any(|status| {
        status.fault.is_none()
            && status.epoch == before
            && status.applied_block >= block
            && status.pending_change.is_none()
            && status.role != "removed"
    })
}

/// Returns whether a change that was not recorded yet waits nowhere here any more, though the epoch is still the one before it.
fn withdrawn(replicas: &[Replica], before: u64) -> bool {
    let of_before = |status: &VatStatus| {
        status.epoch == before
            && status.pending_change.is_none()
            && !status.approvals.iter().any(|change| change.is_own)
    };
    !replicas.is_empty() && replicas.iter().all(|replica| of_before(&replica.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns what a host says of a vat of which it believes the hosts `members` to be the members.
    fn replica(key: &str, role: &str, epoch: u64, members: &[&str]) -> Replica {
        let member = |name: &&str| json!({ "name": name, "key": name, "addresses": [] });
        let members: Vec<_> = members.iter().map(member).collect();
        let status = json!({
            "name": "two", "vat": "07", "role": role, "leader": null, "term": 1, "committed_block": 9, "applied_block": 9,
            "certified_block": 9, "epoch": epoch, "certified_epoch": epoch, "threshold": 2, "members": members,
            "pending_change": null, "installed": true, "install_error": null, "exited": null, "deliveries": 3,
            "heap_bytes": 1, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": null,
            "equivocations": 0, "disagreements": 0, "streams": [], "fault": (role == "faulted").then_some("Q-C042"),
        });
        Replica { key: key.into(), status: serde_json::from_value(status).expect("a status") }
    }

    #[track_caller]
    fn check_finished(replicas: &[Replica], wanted: Option<u64>) {
        assert_eq!(finished(replicas, 0).map(|status| status.epoch), wanted);
    }

    #[test]
    fn a_change_is_over_when_nobody_here_will_hear_more_of_it() {
        let (old, new) = (&["a", "b", "c"][..], &["a", "b", "d"][..]);
        let mut waiting = replica("a", "leader", 1, new);
        waiting.status.pending_change = Some("epoch 1 waits".into());
        check_finished(&[], None);
        check_finished(&[replica("a", "leader", 0, old)], None);
        check_finished(&[waiting], None);
        check_finished(&[replica("a", "leader", 1, new)], Some(1));
        // Partners see one member only, which need not lead.
        check_finished(&[replica("a", "follower", 1, new)], Some(1));
        // All that are here must have come along,
        check_finished(&[replica("a", "leader", 1, new), replica("b", "follower", 0, old)], None);
        check_finished(&[replica("a", "leader", 1, new), replica("d", "learner", 1, new)], None);
        // but not who is out, however it heard of that, nor who can't.
        check_finished(&[replica("a", "leader", 1, new), replica("c", "removed", 0, old)], Some(1));
        check_finished(&[replica("a", "leader", 1, new), replica("c", "faulted", 0, old)], Some(1));
        check_finished(&[replica("a", "leader", 1, new), replica("b", "faulted", 0, old)], Some(1));
        check_finished(&[replica("c", "removed", 0, old)], Some(0));
    }

    #[test]
    fn a_change_that_was_given_up_is_not_waited_for() {
        let mut pending = replica("a", "leader", 0, &["a"]);
        pending.status.pending_change = Some("add d".into());
        assert!(!given_up(&[pending], 0, 9));
        // It has not heard of the change yet, or of anything any more.
        assert!(!given_up(&[replica("a", "follower", 0, &["a"])], 0, 10));
        assert!(!given_up(&[replica("a", "faulted", 0, &["a"])], 0, 9));
        assert!(!given_up(&[replica("a", "leader", 1, &["a", "d"])], 0, 9));
        assert!(given_up(&[replica("a", "leader", 0, &["a"])], 0, 9));
    }

    #[test]
    fn what_the_vat_would_refuse_is_found_first() {
        let vat = replica("a", "leader", 0, &["a", "b", "c"]).status;
        let wanted = |out: Option<&str>, joining: Option<&str>, threshold| Wanted {
            out: out.map(Into::into),
            joining: joining.map(Into::into),
            threshold,
        };
        for good in [wanted(Some("a"), None, None), wanted(None, Some("d"), Some(4)), wanted(None, None, Some(3))] {
            check(&good, &vat).expect("fine");
        }
        for (bad, why) in [
            (wanted(Some("x"), Some("d"), None), "its members are a, b, c"),
            (wanted(Some("a"), Some("d"), Some(1)), "of 3 members, 2 to 3"),
            (wanted(None, Some("d"), Some(2)), "of 4 members, 3 to 4"),
            (wanted(Some("a"), None, Some(3)), "of 2 members, 2 to 2"),
        ] {
            let failure = check(&bad, &vat).expect_err(why);
            assert!(failure.exit == Exit::Usage && failure.error.to_string().contains(why), "{failure:?}");
        }
        let mut busy = vat.clone();
        busy.pending_change = Some("add d".into());
        let failure = check(&wanted(Some("a"), None, None), &busy).expect_err("a change is under way");
        assert!(failure.error.to_string().contains("vat member cancel"), "{failure:?}");
        let alone = replica("a", "leader", 0, &["a"]).status;
        check(&wanted(Some("a"), None, None), &alone).expect_err("a vat has members");
    }
}
