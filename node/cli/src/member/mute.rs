//! `vat member mute`: a host no longer listens to a member that floods or lies, by its owner's decision.

use crate::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_protocol::status::{Done, MuteRequest, VatStatus};

#[derive(clap::Args)]
pub struct MuteArgs {
    /// The member: a name or a key
    member: String,
    /// A vat that it is a member of
    #[arg(long)]
    vat: String,
    /// Listen to it again
    #[arg(long)]
    off: bool,
    /// The host that shall not listen, where several are here
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: MuteArgs, json: bool) -> Outcome {
    let (host, vat) = meant(&args).await?;
    let named: Vec<_> =
        vat.members.iter().filter(|member| member.name == args.member || member.key == args.member).collect();
    let [member] = named[..] else {
        let names: Vec<&str> = vat.members.iter().map(|member| member.name.as_str()).collect();
        let how =
            if named.is_empty() { "is not a member of" } else { "is the name of several members (give a key) of" };
        let message = format!("{} {how} {}; its members are {}", args.member, vat.name, names.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    };
    if host.key.is_some_and(|key| key.to_string() == member.key) {
        let message = format!("{} is this host itself; name the host that shall not listen with `--host`", args.member);
        return Err(Failure::new(Exit::Usage, message));
    }
    let request = MuteRequest { key: member.key.clone(), muted: !args.off };
    let done: Done = host.endpoint.post("/api/v1/muted", &request).await?;
    if json {
        output::json(&done);
    } else {
        output::note(format!("{} ({})", done.message, member.name));
        if !args.off {
            output::note(format!(
                "`vat member replace --vat {0} --out {1}` takes it out for good; `vat member mute {1} --vat {0} --off` takes this back",
                vat.name, member.name
            ));
        }
    }
    Ok(Exit::Success)
}

/// The one host that is meant, and what it says of the vat.
async fn meant(args: &MuteArgs) -> Result<(LocalHost, VatStatus), Failure> {
    let mut hosts = args.hosts.carrying(&args.vat).await?;
    if let Some(name) = &args.host {
        hosts.retain(|(host, _)| host.name == *name);
    }
    match hosts.len() {
        1 => Ok(hosts.remove(0)),
        0 => Err(Failure::new(
            Exit::Usage,
            format!("{} is no running member of {} here", args.host.as_deref().unwrap_or("nobody"), args.vat),
        )),
        _ => {
            let names: Vec<&str> = hosts.iter().map(|(host, _)| host.name.as_str()).collect();
            Err(Failure::new(
                Exit::Usage,
                format!("say which host shall not listen: `--host` with one of {}", names.join(", ")),
            ))
        }
    }
}
