//! `vat delete`: has a host delete what it has of a vat.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost, no_such_vat},
    output,
};
use quorate_admin::{DeleteReply, DeleteRequest};
use quorate_protocol::disk::DiskReport;
use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat delete counter --host gamma          a replica that was removed from the vat's members\n  vat delete counter --home HOME --yes\n\nThe replica's log, checkpoints, certificates and console go, and the room on the disk is free. What the host has promised for the vat\n(MARKS) and evidence stay. A host that ever voted or signed for the vat never carries it again: a new home joins instead.\nA host that may be needed refuses: `vat member replace` or `vat member remove` comes first. --force deletes all the same, and can\nsilence the vat for ever."
)]
pub struct Args {
    /// The vat, by its name or VatId
    vat: String,
    /// The host that shall delete it, where several here have it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Delete it although the vat may need this host; its name once more
    #[arg(long, value_name = "VAT")]
    force: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if let Some(named) = args.force.as_ref().filter(|named| **named != args.vat) {
        let message = format!("--force {named} names another vat than {}; nothing was deleted", args.vat);
        return Err(Failure::new(Exit::Usage, message));
    }
    let host = chosen(&args).await?;
    host.require_running()?;
    let disk: DiskReport = host.endpoint.get("/api/v1/disk").await?;
    let bytes = disk.vats.iter().find(|vat| vat.name == args.vat || vat.vat == args.vat).map(|vat| vat.total_bytes);
    confirm(&args, &host.name, bytes)?;
    let request = DeleteRequest { force: args.force.is_some() };
    let deleted: DeleteReply = host.endpoint.post(&format!("/api/v1/vats/{}/delete", args.vat), &request).await?;
    if json {
        output::json(
            &serde_json::json!({ "host": host.name, "name": deleted.name, "vat": deleted.vat, "bytes": deleted.bytes }),
        );
    } else {
        output::line(format!(
            "{} is deleted from {}: {} of its disk are free",
            deleted.name,
            host.name,
            output::bytes(deleted.bytes)
        ));
    }
    Ok(Exit::Success)
}

/// The host that is meant: the one that is named, else the only one that has the vat.
async fn chosen(args: &Args) -> Result<LocalHost, Failure> {
    let mut hosts = args.hosts.all().await?;
    if let Some(name) = &args.host {
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        let place = hosts.iter().position(|host| host.name == *name);
        let unknown =
            || Failure::new(Exit::Usage, format!("there is no host {name} here; the hosts are {}", names.join(", ")));
        return place.map(|place| hosts.swap_remove(place)).ok_or_else(unknown);
    }
    let has_it = |host: &LocalHost| {
        let failed = host.status.as_ref().is_some_and(|status| status.failed_vats.contains_key(&args.vat));
        host.replica(&args.vat).is_some() || failed || host.has_carried(&args.vat)
    };
    let known: BTreeSet<String> = hosts
        .iter()
        .flat_map(|host| host.status.iter())
        .flat_map(|status| status.vats.iter().map(|vat| vat.name.clone()).chain(status.failed_vats.keys().cloned()))
        .collect();
    hosts.retain(has_it);
    if hosts.len() > 1 {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let message = format!("several hosts here have {}; say which by --host: {}", args.vat, names.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    }
    hosts.pop().ok_or_else(|| no_such_vat(&args.vat, &known))
}

fn confirm(args: &Args, host: &str, bytes: Option<u64>) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let what =
        format!("what {host} has of {} ({})", args.vat, bytes.map_or("of unknown size".to_owned(), output::bytes));
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("deleting {what} can't be undone; say --yes. Nothing was deleted"),
        ));
    }
    eprint!("Delete {what}, for good? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "not confirmed; nothing was deleted")),
    }
}
