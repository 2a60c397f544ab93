//! `vat create` and `vat install`: a new vat on running hosts, without a testnet config.

use super::{Exit, Failure, Outcome, hosts::HostsOption, join::read_card, output};
use crate::{
    api::{CarryRequest, InstallRequest},
    bundle, codec,
    home::write_secret,
    provision::{Contacts, Provision},
    status::Done,
    sturdyref::{ROOT_OBJECT, Sturdyref},
    testnet::init::{random_bytes, reference},
};
use quorate_consensus::{Genesis, Hash, Introduction, Parameters};
use quorate_engine::{
    VatId,
    abi::{Bundle, Value},
    image::image_hash,
    machine::{ArgValue, Install},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat create purse --on alpha,beta,gamma --threshold 2 --source purse.js\n  vat create empty --on alpha                 a solo vat that gets its code later\n\nPrints what the chosen numbers survive, and the vat's bearer sturdyref."
)]
pub struct CreateArgs {
    /// The vat's name on its hosts
    name: String,
    /// Its members: hosts of the testnet by name, or paths of homes, or of partners' cards
    #[arg(long = "on", value_delimiter = ',', required = true, value_name = "HOST,…")]
    members: Vec<String>,
    /// Signatures that others need to believe the vat (default: the least majority)
    #[arg(long)]
    threshold: Option<u16>,
    /// Its code; without it, `vat install` comes later
    #[arg(long)]
    source: Option<PathBuf>,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  vat install purse purse.js --arg currency=doubloons")]
pub struct InstallArgs {
    /// The vat
    vat: String,
    /// Its code
    source: PathBuf,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct CodeArgs {
    /// An argument: JSON, a bare string, or a sturdyref (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
    /// A host function for the code; `exit`, on solo vats
    #[arg(long = "endowment", value_name = "NAME")]
    endowments: Vec<String>,
}

pub async fn create(args: CreateArgs, json: bool) -> Outcome {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let (mut hosts, mut members) = (Vec::new(), Vec::new());
    for name in &args.members {
        if let Some(member) = read_card(Path::new(name))? {
            members.push(member);
            continue;
        }
        let host = args.hosts.host(name).await?;
        host.require_running()?;
        members.push(host.member());
        hosts.push(host);
    }
    let abroad = members.len() > hosts.len();
    let count = u16::try_from(members.len()).map_err(|_| usage("too many members".into()))?;
    let genesis = Genesis {
        members,
        threshold: args.threshold.unwrap_or(count / 2 + 1),
        image: Hash(image_hash().0),
        creator: random_bytes()?,
        nonce: random_bytes()?,
        parameters: Parameters::default(),
    };
    genesis.validate().map_err(|error| usage(error.to_string()))?;
    let vat = VatId(genesis.vat_id().0);
    let code = args.source.as_deref().map(bundle::bundle).transpose();
    let code = code.map_err(|error| usage(error.to_string()))?;
    let install = code.map(|bundle| args.code.install(&vat, bundle)).transpose()?;
    let survives = survival(count, genesis.threshold);
    let introduction = Introduction { genesis: genesis.clone(), chain: Vec::new() };
    let contacts = Contacts { vats: vec![(args.name.clone(), introduction)] };
    let (install, bearer) = install.unzip();
    let provision = Provision { name: args.name.clone(), genesis, install, joining: false };
    let request = CarryRequest::new(&provision, &contacts);
    if abroad {
        let file = PathBuf::from(format!("{}.vat", args.name));
        fs::write(&file, serde_json::to_vec_pretty(&request).map_err(anyhow::Error::from)?)?;
        output::note(format!("give {0} to the partners; each runs: vat join {0} --home HOME", file.display()));
    }
    for host in &hosts {
        let _: Done = host.endpoint.post("/api/v1/vats", &request).await?;
    }
    // The other hosts here learn where to find it; a host that is down learns it when it is asked for.
    for host in args.hosts.all().await.unwrap_or_default().iter().filter(|host| host.status.is_some()) {
        let _: Result<Done, _> =
            host.endpoint.post_text("/api/v1/contacts", hex::encode(codec::encode(&contacts))).await;
    }
    args.hosts.keep_sturdyref(&args.name, bearer.as_ref())?;
    report(&args.name, &vat, bearer.as_ref(), json);
    output::note(survives);
    Ok(Exit::Success)
}

pub async fn install(args: InstallArgs, json: bool) -> Outcome {
    let bundle = bundle::bundle(&args.source).map_err(|error| Failure::new(Exit::Usage, error))?;
    let members = args.hosts.carrying(&args.vat).await?;
    let (host, status) = members.first().expect("carrying() fails where there is none");
    let vat: VatId = status.vat.parse().map_err(|_| Failure::new(Exit::Failed, "the host names no vat id"))?;
    let (install, bearer) = args.code.install(&vat, bundle)?;
    let request = InstallRequest {
        install: hex::encode(codec::encode(&install)),
        contacts: hex::encode(codec::encode(&Contacts::default())),
    };
    let _: Done = host
        .endpoint
        .post(&format!("/api/v1/vats/{vat}/install"), &request)
        .await
        .map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    args.hosts.keep_sturdyref(&status.name, Some(&bearer))?;
    report(&status.name, &vat, Some(&bearer), json);
    Ok(Exit::Success)
}

fn report(name: &str, vat: &VatId, bearer: Option<&Sturdyref>, json: bool) {
    if json {
        output::json(
            &serde_json::json!({ "name": name, "vat": vat.to_string(), "sturdyref": bearer.map(ToString::to_string) }),
        );
    } else {
        output::line(bearer.map_or_else(|| vat.to_string(), ToString::to_string));
    }
}

/// What a number of members and a threshold survive, in words (design: t > (n + f) / 2 keeps f liars from forging; t <= n - f
/// keeps the vat talking).
fn survival(members: u16, threshold: u16) -> String {
    let silent = members - threshold;
    let crashes = (members - 1) / 2;
    // The largest f with 2t > n + f.
    let liars = (2 * threshold).saturating_sub(members).saturating_sub(1);
    format!(
        "{threshold} of {members} sign: goes on with up to {} members down; up to {} liars can't make others believe two things, up to {} can't silence it",
        crashes.min(silent),
        liars,
        silent.min(crashes)
    )
}

impl CodeArgs {
    /// The install command, and a new bearer of the root.
    fn install(&self, vat: &VatId, bundle: Bundle) -> Result<(Install, Sturdyref), Failure> {
        let bearer = Sturdyref::bearer(*vat, ROOT_OBJECT, random_bytes()?);
        let mut argv = Vec::new();
        for argument in &self.arguments {
            let Some((name, text)) = argument.split_once('=') else {
                return Err(Failure::new(Exit::Usage, format!("--arg {argument}: expected NAME=VALUE")));
            };
            let value = match text.parse::<Sturdyref>() {
                Ok(sturdyref) => reference(&sturdyref, vat),
                Err(error) if text.starts_with("vat://") => return Err(Failure::new(Exit::Usage, error)),
                Err(_) => ArgValue::Data(parse_value(text)?),
            };
            argv.push((name.to_owned(), value));
        }
        let bearers = bearer.bearer_key().into_iter().collect();
        Ok((Install { bundle, argv, endowments: self.endowments.clone(), grants: Vec::new(), bearers }, bearer))
    }
}

/// An argument's text: JSON, or else a bare string.
pub fn parse_value(text: &str) -> Result<Value, Failure> {
    let json = serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()));
    Value::from_json(&json).map_err(|error| Failure::new(Exit::Usage, format!("{text}: {error}")))
}

impl HostsOption {
    /// Keeps a vat's sturdyref in the testnet's directory, where there is one, so that `vat call NAME` finds it.
    fn keep_sturdyref(&self, name: &str, bearer: Option<&Sturdyref>) -> Result<(), Failure> {
        if let (Some(dir), Some(bearer)) = (self.testnet(), bearer) {
            write_secret(&dir.sturdyref(name), &format!("{bearer}\n"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survival_is_what_the_threat_model_says() {
        assert!(survival(4, 3).contains("goes on with up to 1 members down; up to 1 liars"));
        assert!(survival(3, 2).contains("goes on with up to 1 members down; up to 0 liars"));
        assert!(survival(3, 3).contains("goes on with up to 0 members down; up to 2 liars"));
        assert!(survival(1, 1).contains("goes on with up to 0 members down; up to 0 liars"));
    }
}
