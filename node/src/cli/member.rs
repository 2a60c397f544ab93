//! `vat member`: changes of a vat's members, on a live vat.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    join::read_card,
    output,
};
use crate::{
    api::CarryRequest,
    provision::{Contacts, Provision},
    status::{Done, MemberChange, VatStatus},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

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
        /// The vat
        #[arg(long)]
        vat: String,
        /// The joining host: its name in the testnet, the path of its home, or of its card
        #[arg(long = "in", value_name = "HOST")]
        joining: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
        #[command(flatten)]
        hosts: HostsOption,
    },
    /// Let a member leave a vat
    #[command(after_help = "Example:\n  vat member remove --vat two --out c")]
    Remove {
        /// The vat
        #[arg(long)]
        vat: String,
        /// The leaving member: a name or a key
        #[arg(long, value_name = "MEMBER")]
        out: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
        #[command(flatten)]
        hosts: HostsOption,
    },
    /// Swap a member of a vat
    #[command(after_help = "Example:\n  vat member replace --vat two --out c --in e")]
    Replace {
        /// The vat
        #[arg(long)]
        vat: String,
        /// The leaving member: a name or a key
        #[arg(long, value_name = "MEMBER")]
        out: String,
        /// The joining host: its name in the testnet, the path of its home, or of its card
        #[arg(long = "in", value_name = "HOST")]
        joining: String,
        /// Signatures needed from then on
        #[arg(long)]
        threshold: Option<u16>,
        #[command(flatten)]
        hosts: HostsOption,
    },
}

pub async fn run(command: Command, json: bool) -> Outcome {
    let (vat, out, joining, threshold, hosts) = match command {
        Command::Add { vat, joining, threshold, hosts } => (vat, None, Some(joining), threshold, hosts),
        Command::Remove { vat, out, threshold, hosts } => (vat, Some(out), None, threshold, hosts),
        Command::Replace { vat, out, joining, threshold, hosts } => (vat, Some(out), Some(joining), threshold, hosts),
    };
    let members = hosts.carrying(&vat).await?;
    let (speaker, before) = members.first().expect("carrying() fails where there is none");
    let joining = match &joining {
        Some(name) => Some(prepare(&hosts, name, speaker, before).await?),
        None => None,
    };
    let progress = output::Progress::start(format!("recording the change in {vat}"));
    let request = MemberChange { out, joining, threshold };
    let done: Done = speaker.endpoint.post(&format!("/api/v1/vats/{}/members", before.vat), &request).await?;
    progress.say(format!("{}; the newcomer fetches the state and the old members sign", done.message));
    let after = wait_for_epoch(&hosts, &before.vat, before.epoch).await?;
    progress.done();
    if json {
        output::json(&after);
    } else {
        let names: Vec<&str> = after.members.iter().map(|member| member.name.as_str()).collect();
        output::note(format!(
            "{vat} is in epoch {}: {} of {} sign ({})",
            after.epoch,
            after.threshold,
            names.len(),
            names.join(", ")
        ));
    }
    Ok(Exit::Success)
}

/// Tells the joining host to carry the vat as a learner, and returns it as a member.
async fn prepare(
    hosts: &HostsOption,
    name: &str,
    speaker: &LocalHost,
    vat: &VatStatus,
) -> Result<quorate_consensus::Member, Failure> {
    let (member, newcomer) = match read_card(Path::new(name))? {
        // A partner's host: it has joined by `vat join`.
        Some(member) => (member, None),
        None => {
            let newcomer = hosts.host(name).await?;
            newcomer.require_running()?;
            (newcomer.member(), Some(newcomer))
        }
    };
    if vat.members.iter().any(|other| other.key == member.key.to_string()) {
        return Err(Failure::new(Exit::Usage, format!("{name} is a member of {} already", vat.name)));
    }
    let Some(newcomer) = newcomer else { return Ok(member) };
    let introduction = speaker.introduction(&vat.vat).await?;
    let provision =
        Provision { name: vat.name.clone(), genesis: introduction.genesis.clone(), install: None, joining: true };
    let contacts = Contacts { vats: vec![(vat.name.clone(), introduction)] };
    let _: Done = newcomer.endpoint.post("/api/v1/vats", &CarryRequest::new(&provision, &contacts)).await?;
    Ok(member)
}

async fn wait_for_epoch(hosts: &HostsOption, vat: &str, before: u64) -> Result<VatStatus, Failure> {
    let deadline = Instant::now() + CHANGE_DEADLINE;
    loop {
        if let Ok(members) = hosts.carrying(vat).await {
            // In force, and every member that runs here takes part under the new membership.
            let votes = |status: &VatStatus| status.role == "leader" || status.role == "follower";
            let finished = members.iter().filter(|(_, status)| votes(status)).all(|(_, status)| status.epoch > before)
                && members.iter().all(|(_, status)| votes(status) || status.role == "stopped")
                && members.iter().all(|(_, status)| status.pending_change.is_none());
            if finished && let Some((_, status)) = members.iter().find(|(_, status)| status.role == "leader") {
                return Ok(status.clone());
            }
        }
        if Instant::now() > deadline {
            let message = "the change is recorded but not in force yet; it goes on by itself once enough members are up: `vat status` shows it";
            return Err(Failure::new(Exit::Unreachable, message));
        }
        tokio::time::sleep(POLL).await;
    }
}
