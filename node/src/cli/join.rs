//! `vat card`, `vat introduce` and `vat join`: what partners send each other when each runs hosts on machines of their own.
//!
//! A *card* says who a host is; whoever makes or changes a vat names it. A *vat file* says what a vat is; whoever carries the vat
//! takes it in. Neither is secret, apart from the code and arguments of a vat file made by `vat create`.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use crate::{
    api::CarryRequest,
    codec,
    provision::{Contacts, Provision},
    status::{Done, MemberStatus},
};
use quorate_consensus::Member;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  vat card --home /srv/quorate > alpha.card")]
pub struct CardArgs {
    /// The host's home
    #[arg(long, env = "QUORATE_HOME")]
    home: PathBuf,
    /// What others dial, where that is not what the host listens on (may be repeated)
    #[arg(long, value_name = "MULTIADDR")]
    announce: Vec<String>,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  vat introduce two --home /srv/quorate > two.vat")]
pub struct IntroduceArgs {
    /// The vat
    vat: String,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vat join two.vat --home /srv/quorate      then, by a member: vat member add --vat two --in alpha.card"
)]
pub struct JoinArgs {
    /// A vat file: of `vat introduce`, or of `vat create`
    file: PathBuf,
    /// The home of the running host that shall carry the vat
    #[arg(long, env = "QUORATE_HOME")]
    home: PathBuf,
}

/// Says who a host is.
pub async fn card(args: CardArgs) -> Outcome {
    let host = LocalHost::open(&args.home).await?;
    let member = host.member()?;
    let addresses = if args.announce.is_empty() { member.addresses } else { args.announce };
    output::json(&MemberStatus { name: member.name, key: member.key.to_string(), addresses });
    Ok(Exit::Success)
}

/// Reads a card; `None` if the file is none.
pub fn read_card(path: &Path) -> Result<Option<Member>, Failure> {
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Usage,
            format!("{}: not a host's card ({error}); `vat card --home HOME` makes one", path.display()),
        )
    };
    let card: MemberStatus = serde_json::from_str(&fs::read_to_string(path)?).map_err(|error| wrong(&error))?;
    let key = card.key.parse().map_err(|error: quorate_consensus::IdError| wrong(&error))?;
    Ok(Some(Member { key, name: card.name, addresses: card.addresses }))
}

/// Says what a vat is, for a host that shall join it.
pub async fn introduce(args: IntroduceArgs) -> Outcome {
    let members = args.hosts.carrying(&args.vat).await?;
    let (host, status) = members.first().expect("carrying() fails where there is none");
    let introduction = host.introduction(&status.vat).await?;
    let genesis = introduction.genesis.clone();
    let provision = Provision { name: status.name.clone(), genesis, install: None, joining: true };
    let contacts = Contacts { vats: vec![(status.name.clone(), introduction)] };
    output::json(&CarryRequest::new(&provision, &contacts));
    Ok(Exit::Success)
}

/// Lets a running host carry the vat of a file.
pub async fn join(args: JoinArgs, json: bool) -> Outcome {
    let host = LocalHost::open(&args.home).await?;
    host.require_running()?;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Usage,
            format!("{}: not a vat file ({error}); `vat introduce VAT` makes one", args.file.display()),
        )
    };
    let text = fs::read_to_string(&args.file).map_err(|error| wrong(&error))?;
    let request: CarryRequest = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let provision = hex::decode(&request.provision).map_err(|error| wrong(&error))?;
    let provision: Provision = codec::decode(&provision).map_err(|error| wrong(&error))?;
    let done: Done = host.endpoint.post("/api/v1/vats", &request).await?;
    if json {
        let vat = provision.genesis.vat_id().to_string();
        output::json(&serde_json::json!({ "host": host.name, "vat": vat, "name": provision.name }));
    } else {
        output::note(format!("{} is {}", host.name, done.message));
    }
    Ok(Exit::Success)
}
