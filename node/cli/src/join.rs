//! `vat card`, `vat introduce` and `vat join`: files that partners send each other when each runs hosts on machines of their own.
//!
//! A *card* describes a host, signed by its key; `vat create` and `vat member` take it. A *vat file* describes a vat; a host that shall carry the vat
//! takes it by `vat join`. Neither is secret, apart from the code and arguments of a vat file made by `vat create`.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    inspect::VatFile,
    output,
};
use quorate_admin::CarryRequest;
use quorate_config::home::Home;
use quorate_consensus::{HostId, Member};
use quorate_protocol::{
    card::{Card, announced, dialable, fingerprint, is_loopback},
    provision::{Contacts, Provision},
    status::Done,
};
use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  vat card --home /srv/quorate > alpha.card")]
pub struct CardArgs {
    /// The host's home
    #[arg(long, env = "QUORATE_HOME")]
    home: PathBuf,
    /// What others dial, where that is not what the host listens on: IP:PORT, NAME:PORT or a multiaddr (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
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
    /// Don't ask on a terminal
    #[arg(long)]
    yes: bool,
}

/// Says who a host is.
pub async fn card(args: CardArgs) -> Outcome {
    let announced = args.announce.iter().map(|text| announce(text)).collect::<Result<Vec<_>, _>>()?;
    // Only the host's own key can sign its card.
    let home = Home::open(&args.home).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let host = LocalHost::open(&args.home).await?;
    let addresses = match (announced.is_empty(), home.config.reach.announce.is_empty()) {
        (false, _) => announced,
        (true, false) => home.config.reach.announce.clone(),
        (true, true) => card_addresses(&host)?,
    };
    let card = Card::make(&home.key, &host.name, addresses)
        .map_err(|error| Failure::new(Exit::Usage, format!("the card of {}: {error}", host.name)))?;
    output::json(&card);
    let key = HostId(home.key.verifying_key().to_bytes());
    output::note(format!("fingerprint of {}: {}; tell it your partners by another way", host.name, fingerprint(&key)));
    Ok(Exit::Success)
}

/// Returns what `--announce` says, as an address that others can dial.
fn announce(text: &str) -> Result<String, Failure> {
    announced(text).map_err(|why| {
        let message = format!(
            "--announce {text}: {why}; write IP:PORT, NAME:PORT, or a multiaddr such as /ip4/192.0.2.7/tcp/4001"
        );
        Failure::new(Exit::Usage, message)
    })
}

/// Returns where others dial a host, as far as it says so itself.
fn card_addresses(host: &LocalHost) -> Result<Vec<String>, Failure> {
    let mut addresses = host.member()?.addresses;
    // Those of the machine itself serve nobody else.
    if addresses.iter().any(|address| !is_loopback(address)) {
        addresses.retain(|address| !is_loopback(address));
    } else if host.status.is_some() {
        output::note(format!(
            "note: {} listens for this machine only; partners elsewhere can't dial it: see `listen` in its host.toml, or --announce",
            host.name
        ));
    }
    for address in &addresses {
        dialable(address).map_err(|why| {
            let running = if host.status.is_some() { "" } else { ", which does not run," };
            let message = format!(
                "{}{running} listens on {address}: {why}; say what others dial: `vat card --announce IP:PORT`",
                host.name
            );
            Failure::new(Exit::Usage, message)
        })?;
    }
    Ok(addresses)
}

/// Reads a card; `None` if the file is none.
pub fn read_card(path: &Path) -> Result<Option<Member>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "this user cannot enter the card's folder; copy the card to one that it can, or run the command as another user";
            return Err(wrong(&format!("{error}: {remedy}")));
        }
        _ => return Ok(None),
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let card = Card::read(&text).map_err(|error| wrong(&error))?;
    Ok(Some(card.verify().map_err(|error| wrong(&error))?))
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
    let file = VatFile::read(&args.file)?;
    file.lines().iter().for_each(output::note);
    host.require_running()?;
    if !args.yes && !is_confirmed(&host.name)? {
        return Err(Failure::new(Exit::Usage, "not confirmed; nothing was done"));
    }
    let done: Done = host.endpoint.post("/api/v1/vats", &file.request).await?;
    if json {
        let vat = file.vat().to_string();
        output::json(&serde_json::json!({ "host": host.name, "vat": vat, "name": file.provision.name }));
    } else {
        output::note(format!("{} is {}", host.name, done.message));
    }
    Ok(Exit::Success)
}

/// Asks whether the vat that was shown is the one that was meant. Scripts are not asked.
fn is_confirmed(host: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    eprint!("compare the fingerprints with your partners. Shall {host} carry this vat? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
