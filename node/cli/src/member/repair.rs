//! `vat member repair`: a member whose store is damaged, or whose replica has stopped by a fault, comes back under its own key.
//!
//! Of a host that runs, one replica begins anew. Of one that does not run, the whole store is looked through.

use crate::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_config::home::Home;
use quorate_node::{
    repair::{HomeRepair, RepairError, VatRepair, repair_home},
    run::RunError,
};

#[derive(clap::Args)]
pub struct RepairArgs {
    /// The vat whose replica has stopped [default: whatever is damaged, of a host that does not run]
    vat: Option<String>,
    /// The host, where it is not plain which one is meant
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: RepairArgs, json: bool) -> Outcome {
    let host = meant(&args).await?;
    if host.hangs {
        host.require_running()?;
    }
    if host.status.is_some() {
        let Some(vat) = &args.vat else {
            let message = format!(
                "host {0} runs: name the vat whose replica has stopped; to look through all of its store, stop the host first (`vat testnet kill {0}`, or SIGTERM)",
                host.name
            );
            return Err(Failure::new(Exit::Usage, message));
        };
        let repaired: VatRepair =
            host.endpoint.post(&format!("/api/v1/vats/{vat}/repair"), &serde_json::json!({})).await?;
        if json {
            output::json(&repaired);
        } else {
            output::note(in_words(&repaired));
        }
        return Ok(Exit::Success);
    }
    let home = Home::open(host.home()).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let repaired = repair_home(&home, args.vat.as_deref()).map_err(failure)?;
    report(&repaired, &host, json);
    let forgotten = repaired.vats.iter().any(|vat| vat.outcome == "forgotten");
    Ok(if forgotten { Exit::Rejected } else { Exit::Success })
}

fn failure(error: RepairError) -> Failure {
    let exit = match &error {
        RepairError::Home(_) | RepairError::NoSuchVat(_) => Exit::Usage,
        RepairError::NoProvision { .. } => Exit::NeverAgain,
        RepairError::Run(RunError::Io { .. }) | RepairError::Io { .. } | RepairError::Store(_) => Exit::Disk,
        RepairError::Run(_) => Exit::Failed,
    };
    Failure { exit, error: error.into() }
}

/// The one host that is meant: the one that is named, or the only one that does not carry the vat as it should.
async fn meant(args: &RepairArgs) -> Result<LocalHost, Failure> {
    let mut hosts = args.hosts.all().await?;
    if let Some(name) = &args.host {
        let place = hosts.iter().position(|host| host.name == *name);
        return place.map(|place| hosts.swap_remove(place)).ok_or_else(|| {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            Failure::new(Exit::Usage, format!("there is no host {name} here; the hosts here are {}", names.join(", ")))
        });
    }
    if hosts.len() > 1 {
        hosts.retain(|host| is_broken(host, args.vat.as_deref()));
    }
    match hosts.len() {
        1 => Ok(hosts.remove(0)),
        0 => Err(Failure::new(Exit::Usage, "no host here needs repair, as far as it shows; `--host NAME` names one")),
        _ => {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            let message = format!("several hosts may be meant: {}; say which with `--host NAME`", names.join(", "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

fn is_broken(host: &LocalHost, vat: Option<&str>) -> bool {
    match (&host.status, vat) {
        (Some(status), Some(vat)) => {
            host.replica(vat).is_some_and(|replica| replica.fault.is_some()) || status.failed_vats.contains_key(vat)
        }
        (Some(_), None) => false,
        (None, Some(vat)) => !host.exported && host.has_carried(vat),
        (None, None) => !host.exported,
    }
}

fn in_words(vat: &VatRepair) -> String {
    let name = vat.name.as_ref().unwrap_or(&vat.vat);
    let after = |index: Option<u64>| index.unwrap_or_default();
    let why = vat.why.as_deref().unwrap_or_default();
    match vat.outcome.as_str() {
        "whole" => format!("{name}: nothing of it is damaged"),
        "anew" if vat.alone => format!(
            "{name}: begins anew ({why}), but it was made without other members: if it got none since, its state is lost, but for what is in the old database"
        ),
        "anew" => format!(
            "{name}: begins anew ({why}); it fetches its state from the other members, votes once its log is past {}, and signs only what comes after block {}",
            after(vat.votes_after),
            after(vat.signs_after)
        ),
        _ => format!(
            "{name}: Q-C047 damaged ({why}), and this host has no mark of what it has signed: let a host with a new home take its place (`vat member replace`)"
        ),
    }
}

fn report(repaired: &HomeRepair, host: &LocalHost, json: bool) {
    if json {
        return output::json(repaired);
    }
    if repaired.sound {
        return output::note(format!("{}: nothing in its store is damaged; nothing was changed", repaired.host));
    }
    repaired.vats.iter().for_each(|vat| output::note(in_words(vat)));
    repaired.lost.iter().for_each(|lost| output::note(format!("left behind: {lost}")));
    if let Some(kept) = &repaired.kept {
        output::note(format!("the old database is in {}; remove it once all is well", kept.display()));
    }
    output::note(format!(
        "start the host again: `vat node run --home {}`, or `vat testnet restart {}`",
        host.home().display(),
        host.name
    ));
}
