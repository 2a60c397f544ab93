//! `vat peer`: ends with peers of a vat that are gone.

use super::{
    Exit, Failure, Outcome,
    access::{Place, report},
    hosts::HostsOption,
};
use quorate_protocol::authority::AccessChange;
use serde_json::json;
use std::io::{IsTerminal, Write};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Drop a peer that is gone, for good
    Drop(DropArgs),
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vat peer drop bank 9f3a… --yes\n\nThe vat forgets all that it kept for the peer: messages that the peer has not acknowledged, objects that only the peer held, open answers. What the peer should have answered is rejected, and calls of its objects are. It never becomes a peer again, since its old messages could not be told from new ones: a partner that comes back makes a new vat. A threshold of the members' owners approve it: see `vat approvals`."
)]
pub struct DropArgs {
    /// The vat that is to end with the peer
    vat: String,
    /// The peer: its name here, its VatId, or a sturdyref of it
    peer: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

/// Carries out a command about peers.
pub async fn run(command: Command, json: bool) -> Outcome {
    match command {
        Command::Drop(args) => drop_peer(args, json).await,
    }
}

async fn drop_peer(args: DropArgs, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let peer = place.other_vat(&args.peer)?;
    let name = &place.status.name;
    confirm(&args)?;
    let done = place.change(AccessChange::DropPeer { peer }).await?;
    report(&done, json, json!({ "vat": name, "dropped": peer.to_string() }));
    Ok(Exit::Success)
}

/// Asks on the terminal. Without one, `--yes` has to say it.
fn confirm(args: &DropArgs) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let DropArgs { vat, peer, .. } = args;
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("dropping {peer} can't be undone; say --yes. Nothing was changed"),
        ));
    }
    eprint!("Does {vat} end with {peer} for good? What they still owe each other is lost. [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "not confirmed; nothing was changed")),
    }
}
