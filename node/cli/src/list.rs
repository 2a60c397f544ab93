//! `vat list`: the vats that hosts here carry, with who they are and what they take; of stopped hosts by what lies in their homes.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_config::provision;
use quorate_protocol::disk::DiskReport;
use serde_json::json;
use std::{collections::BTreeMap, fs};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat list                  the hosts of the testnet in ./quorate-testnet, running or not\n  vat list --home HOME      one host\n  vat list --json | jq -r '.vats[].vat'\n\nOf a host that does not run, what its home has is shown: members as they were when the vat came here, and no size. Exit code 0, also\nwhere nothing is carried."
)]
pub struct Args {
    #[command(flatten)]
    hosts: HostsOption,
}

/// A vat.
struct Carried {
    name: String,
    image: String,
    epoch: Option<u64>,
    threshold: u16,
    members: Vec<String>,
    /// By host.
    replicas: Vec<Replica>,
}

struct Replica {
    host: String,
    role: String,
    bytes: Option<u64>,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let mut vats: BTreeMap<String, Carried> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for host in args.hosts.all().await? {
        match &host.status {
            Some(_) => of_running(&host, &mut vats).await?,
            None => of_stopped(&host, &mut vats, &mut unreadable),
        }
    }
    if json {
        output::json(&json!({ "vats": vats.iter().map(to_json).collect::<Vec<_>>(), "unreadable": unreadable }));
        return Ok(Exit::Success);
    }
    let mut table = output::table(["VAT", "HOST", "ROLE", "SIGNS", "MEMBERS", "SIZE", "IMAGE", "VATID"]);
    let mut vats: Vec<(String, Carried)> = vats.into_iter().collect();
    vats.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    for (id, vat) in &vats {
        for replica in &vat.replicas {
            table.add_row([
                vat.name.clone(),
                replica.host.clone(),
                replica.role.clone(),
                format!("{} of {}", vat.threshold, vat.members.len()),
                vat.members.join(","),
                replica.bytes.map_or("-".to_owned(), output::bytes),
                output::short(&vat.image).to_owned(),
                id.clone(),
            ]);
        }
    }
    output::line(table);
    unreadable.iter().for_each(|what| output::line(format!("! {what}")));
    Ok(Exit::Success)
}

fn to_json((id, vat): (&String, &Carried)) -> serde_json::Value {
    let replica = |replica: &Replica| json!({ "host": replica.host, "role": replica.role, "bytes": replica.bytes });
    json!({
        "vat": id, "name": vat.name, "image": vat.image, "epoch": vat.epoch, "threshold": vat.threshold,
        "members": vat.members, "hosts": vat.replicas.iter().map(replica).collect::<Vec<_>>(),
    })
}

async fn of_running(host: &LocalHost, vats: &mut BTreeMap<String, Carried>) -> Result<(), Failure> {
    let Some(status) = &host.status else { return Ok(()) };
    let disk: DiskReport = host.endpoint.get("/api/v1/disk").await?;
    let bytes = |id: &str| disk.vats.iter().find(|vat| vat.vat == id).map(|vat| vat.total_bytes);
    for vat in &status.vats {
        let replica = Replica { host: host.name.clone(), role: vat.role.clone(), bytes: bytes(&vat.vat) };
        let members = vat.members.iter().map(|member| member.name.clone()).collect();
        let new = || Carried {
            name: vat.name.clone(),
            image: vat.image.clone(),
            epoch: Some(vat.epoch),
            threshold: vat.threshold,
            members,
            replicas: Vec::new(),
        };
        let (epoch, entry) = (Some(vat.epoch), vats.entry(vat.vat.clone()).or_insert_with(new));
        if epoch > entry.epoch {
            let replicas = std::mem::take(&mut entry.replicas);
            let members = vat.members.iter().map(|member| member.name.clone()).collect();
            *entry = Carried {
                epoch,
                members,
                threshold: vat.threshold,
                image: vat.image.clone(),
                name: vat.name.clone(),
                replicas,
            };
        }
        entry.replicas.push(replica);
    }
    // What could not be started is here all the same.
    let started: Vec<&str> = status.vats.iter().map(|vat| vat.vat.as_str()).collect();
    of_home(host, vats, &mut Vec::new(), "not started", &|id| !started.contains(&id));
    Ok(())
}

fn of_stopped(host: &LocalHost, vats: &mut BTreeMap<String, Carried>, unreadable: &mut Vec<String>) {
    let role = if host.hangs { "hangs" } else { "not running" };
    of_home(host, vats, unreadable, role, &|_| true);
}

/// The vats that a home says it carries, of those that are wanted.
fn of_home(
    host: &LocalHost,
    vats: &mut BTreeMap<String, Carried>,
    unreadable: &mut Vec<String>,
    role: &str,
    wanted: &dyn Fn(&str) -> bool,
) {
    let entries = fs::read_dir(host.home().join("carried")).into_iter().flatten().flatten();
    for entry in entries {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.contains('.') || !wanted(&id) {
            continue;
        }
        let provision = match provision::read_one(&entry.path()) {
            Ok(Some(provision)) => provision,
            Ok(None) => {
                unreadable.push(format!(
                    "{}: {id} was made by an earlier version, which noted no more; start the host",
                    host.name
                ));
                continue;
            }
            Err(error) => {
                unreadable.push(format!("{}: {error}", host.name));
                continue;
            }
        };
        let genesis = &provision.genesis;
        let vat = vats.entry(id).or_insert_with(|| Carried {
            name: provision.name.clone(),
            image: genesis.image.to_string(),
            epoch: None,
            threshold: genesis.threshold,
            members: genesis.members.iter().map(|member| member.name.clone()).collect(),
            replicas: Vec::new(),
        });
        vat.replicas.push(Replica { host: host.name.clone(), role: role.to_owned(), bytes: None });
    }
}
