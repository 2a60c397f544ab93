//! `vat create` and `vat install`: a new vat on running hosts, without a testnet config.
//!
//! Invariants: whatever can be found wrong is found before a host is asked for anything. A bearer is on disk (in a testnet) before the
//! vat can have it, and is printed wherever it may be good, also where it is not known what came of the request: nobody else has it.

mod creator;

use super::{
    Exit, Failure, Outcome,
    arguments::parse_value,
    hosts::{HostsOption, LocalHost},
    output,
};
use creator::keep_creator;
use ed25519_dalek::SigningKey;
use quorate_admin::{CarryRequest, InstallRequest};
use quorate_config::{
    bundle,
    home::write_secret,
    init::{random_bytes, reference},
    layout::TestnetDir,
    provision::default_parameters,
    testnet::check_argument_name,
};
use quorate_consensus::{Genesis, Introduction, Member, Survival};
use quorate_engine::{
    Hash, VatId,
    abi::Bundle,
    image::image_hash,
    machine::{ArgValue, Install},
};
use quorate_protocol::{
    authority::{SignedInstall, bundle_hash},
    codec,
    names::check_name,
    provision::{Contacts, Provision},
    status::Done,
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use std::{
    fs,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long a new vat's code may take to start.
const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat create purse --on alpha,beta,gamma --threshold 2 --source purse.js\n  vat create empty --on alpha                 a solo vat that gets its code later\n  vat create purse --on alpha.card,beta.card --threshold 2 --source purse.js --home /srv/quorate\n\nPrints what the chosen numbers survive, and the vat's bearer sturdyref."
)]
pub struct CreateArgs {
    /// The vat's name on its hosts
    name: String,
    /// Its members: hosts of the testnet by name, or paths of homes, or of cards (partners', or of a host here)
    #[arg(long = "on", value_delimiter = ',', required = true, value_name = "HOST,…")]
    members: Vec<String>,
    /// Signatures that others need to believe the vat (default: the least majority)
    #[arg(long)]
    threshold: Option<u16>,
    /// Its code; without it, `vat install` comes later
    #[arg(long)]
    source: Option<PathBuf>,
    /// The engine image that it runs in, by its hash; a member must have it (default: this version's own)
    #[arg(long, value_name = "HASH")]
    image: Option<Hash>,
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
    /// What the host gives the code: `timer`, the vat's time; `exit`, on solo vats (may be repeated)
    #[arg(long = "endowment", value_name = "NAME", value_parser = ["exit", "timer", "publisher"])]
    endowments: Vec<String>,
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Mistakes in code, with their places.
pub fn wrong_code(error: bundle::BundleError) -> Failure {
    Failure { exit: Exit::Usage, error: error.into() }
}

pub async fn create(args: CreateArgs, json: bool) -> Outcome {
    check_name(&args.name).map_err(|(problem, fix)| usage(format!("{problem}; {fix}")))?;
    if args.source.is_none() && !(args.code.arguments.is_empty() && args.code.endowments.is_empty()) {
        return Err(usage("--arg and --endowment go with code: add --source, or say them to `vat install`"));
    }
    let (members, hosts) = args.candidates().await?;
    let abroad = members.len() > hosts.len();
    args.check_free(&hosts, abroad).await?;
    let code = args.source.as_deref().map(bundle::bundle).transpose().map_err(wrong_code)?;
    let creator = SigningKey::from_bytes(&random_bytes()?);
    let genesis = args.genesis(members, &creator, code.as_ref())?;
    let (count, threshold) = (genesis.members.len(), genesis.threshold);
    let vat = genesis.vat_id();
    let code = code.map(|bundle| args.code.install(&vat, bundle, new_bearer(&vat)?, count)).transpose()?;
    let (install, bearer) = code.unzip();
    if install.is_none() {
        keep_creator(&hosts, &vat, &creator)?;
    }
    // With its code signed, nobody needs the creator's key any more.
    let install = install.map(|install| SignedInstall::sign(&vat, install, &creator));
    let introduction = Introduction { genesis: genesis.clone(), chain: Vec::new() };
    let contacts = Contacts { vats: vec![(args.name.clone(), introduction)] };
    let provision = Provision { name: args.name.clone(), genesis, install, joining: false };
    let request = CarryRequest::new(&provision, &contacts);
    let keeper = args.hosts.keeper(&args.name, bearer.as_ref())?;
    let made = Made { name: args.name.clone(), vat, bearer, json };
    let carried = unless_interrupted(args.carry(&hosts, &request)).await;
    if let Err(failure) = carried {
        keeper.forget_unless(failure.exit == Exit::Unreachable);
        return Err(made.perhaps(failure));
    }
    if abroad {
        let file = args.write_vat_file(&request)?;
        output::note(format!("give {0} to the partners; each runs: vat join {0} --home HOME", file.display()));
    }
    // The other hosts here learn where to find it; a host that is down learns it when it is asked for.
    for host in args.hosts.all().await.unwrap_or_default().iter().filter(|host| host.status.is_some()) {
        let _: Result<Done, _> =
            host.endpoint.post_text("/api/v1/contacts", hex::encode(codec::encode(&contacts))).await;
    }
    if made.bearer.is_some() && hosts.len() >= usize::from(threshold) {
        let started = unless_interrupted(wait_started(hosts, &vat, &args.name)).await;
        started.map_err(|failure| made.perhaps(failure))?;
    } else if made.bearer.is_some() {
        output::note(format!("its code starts when {threshold} of its members have joined; `vat status` shows it"));
    }
    made.report();
    keeper.settle()?;
    output::note(survival(count, threshold.into()));
    Ok(Exit::Success)
}

pub async fn install(args: InstallArgs, json: bool) -> Outcome {
    let bundle = bundle::bundle(&args.source).map_err(wrong_code)?;
    let members = args.hosts.carrying(&args.vat).await?;
    let (host, status) = members.first().expect("carrying() fails where there is none");
    let vat: VatId = status.vat.parse().map_err(|_| Failure::new(Exit::Failed, "the host names no vat id"))?;
    let creator = args.hosts.creator(&status.name, &vat).await?;
    // An earlier attempt may have taken effect, or may do so yet: with the same bearer, either is good.
    let earlier = args.hosts.pending_bearer(&status.name, &vat);
    let is_first = earlier.is_none();
    let bearer = earlier.map_or_else(|| new_bearer(&vat), Ok)?;
    let (install, bearer) = args.code.install(&vat, bundle, bearer, status.members.len())?;
    let keeper = args.hosts.keeper(&status.name, Some(&bearer))?;
    let made = Made { name: status.name.clone(), vat, bearer: Some(bearer), json };
    let request = InstallRequest {
        install: hex::encode(codec::encode(&SignedInstall::sign(&vat, install, &creator))),
        contacts: hex::encode(codec::encode(&Contacts::default())),
    };
    let path = format!("/api/v1/vats/{vat}/install");
    let posted = unless_interrupted(async { Ok(host.endpoint.post::<Done>(&path, &request).await?) }).await;
    if let Err(failure) = posted {
        keeper.forget_unless(!is_first || failure.exit == Exit::Unreachable);
        return Err(made.perhaps(failure));
    }
    made.report();
    keeper.settle()?;
    args.hosts.forget_creator(&vat).await;
    Ok(Exit::Success)
}

/// Ctrl-C ends the waiting, not the command: there is something left to say.
async fn unless_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Unreachable, "interrupted")),
    }
}

fn new_bearer(vat: &VatId) -> Result<Sturdyref, Failure> {
    Ok(Sturdyref::bearer(*vat, ROOT_OBJECT, random_bytes()?))
}

/// A vat that was asked for, and what opens it.
struct Made {
    name: String,
    vat: VatId,
    bearer: Option<Sturdyref>,
    json: bool,
}

impl Made {
    fn report(&self) {
        if self.json {
            return output::json(&self.to_json());
        }
        output::line(self.bearer.as_ref().map_or_else(|| self.vat.to_string(), ToString::to_string));
    }

    fn to_json(&self) -> serde_json::Value {
        let (vat, bearer) = (self.vat.to_string(), self.bearer.as_ref().map(ToString::to_string));
        serde_json::json!({ "name": self.name, "vat": vat, "sturdyref": bearer })
    }

    /// For a failure after which the vat may still come to be.
    fn perhaps(&self, failure: Failure) -> Failure {
        if failure.exit == Exit::Unreachable && self.bearer.is_some() {
            if self.json {
                // One object: the error goes with it.
                return failure.with_result(self.to_json());
            }
            self.report();
            output::note(format!(
                "what was begun may still take effect (`vat status {}`): then this is the sturdyref",
                self.name
            ));
        }
        failure
    }
}

impl CreateArgs {
    /// The members, and those of them that are hosts of this machine.
    async fn candidates(&self) -> Result<(Vec<Member>, Vec<LocalHost>), Failure> {
        let (mut members, mut hosts): (Vec<Member>, Vec<LocalHost>) = Default::default();
        for name in &self.members {
            let (member, host) = self.hosts.candidate(name).await?;
            if members.iter().any(|other| other.key == member.key) {
                return Err(usage(format!("--on names {} twice; a vat's members are different hosts", member.name)));
            }
            if members.iter().any(|other| other.name == member.name) {
                let message = format!(
                    "two of the hosts are called {}; rename one: `name` in its host.toml, while it is stopped",
                    member.name
                );
                return Err(usage(message));
            }
            members.push(member);
            hosts.extend(host);
        }
        Ok((members, hosts))
    }

    fn genesis(&self, members: Vec<Member>, creator: &SigningKey, code: Option<&Bundle>) -> Result<Genesis, Failure> {
        let count = u16::try_from(members.len()).map_err(|_| usage("too many members"))?;
        let genesis = Genesis {
            members,
            threshold: self.threshold.unwrap_or(count / 2 + 1),
            image: self.image.unwrap_or_else(image_hash),
            creator: creator.verifying_key().to_bytes(),
            bundle: code.map(bundle_hash),
            nonce: random_bytes()?,
            expires: 0,
            parameters: default_parameters(),
        };
        genesis.validate().map_err(usage)?;
        Ok(genesis)
    }

    /// The file by which partners' hosts join.
    fn vat_file(&self) -> PathBuf {
        PathBuf::from(format!("{}.vat", self.name))
    }

    /// Fails where the name is in use: its files would be another vat's.
    async fn check_free(&self, hosts: &[LocalHost], abroad: bool) -> Result<(), Failure> {
        let name = &self.name;
        if let Some(dir) = self.hosts.testnet() {
            if let Some(layout) = dir.read()? {
                if layout.hosts.iter().any(|host| host.name == *name) {
                    return Err(usage(format!("{name} is a host of this testnet; choose another name for the vat")));
                }
                if layout.vats.iter().any(|vat| vat.name == *name) {
                    return Err(usage(format!("this testnet has a vat {name} already; choose another name")));
                }
            }
            let files = [dir.sturdyref(name), pending(&dir, name)];
            if let Some(file) = files.iter().find(|file| file.exists()) {
                let file = file.display();
                let message =
                    format!("{file} holds a sturdyref of a vat {name}; choose another name, or move the file away");
                return Err(usage(message));
            }
        }
        if abroad && self.vat_file().exists() {
            let message = format!(
                "{} is here already, for partners who join a vat {name}; choose another name, or move the file away",
                self.vat_file().display()
            );
            return Err(usage(message));
        }
        let elsewhere = self.hosts.all().await.unwrap_or_default();
        if let Some(host) = hosts.iter().chain(&elsewhere).find(|host| host.replica(name).is_some()) {
            return Err(usage(format!("host {} carries a vat {name} already; choose another name", host.name)));
        }
        Ok(())
    }

    /// Writes the file by which further hosts join, over none that is there.
    fn write_vat_file(&self, request: &CarryRequest) -> Result<PathBuf, Failure> {
        let file = self.vat_file();
        let text = serde_json::to_vec_pretty(request).map_err(anyhow::Error::from)?;
        let opened = fs::File::options().write(true).create_new(true).open(&file);
        opened
            .and_then(|mut opened| opened.write_all(&text))
            .map_err(|error| Failure::new(Exit::Failed, format!("writing {}: {error}", file.display())))?;
        Ok(file)
    }

    /// Has the hosts carry the vat. Where only some do, says how the others come to it.
    async fn carry(&self, hosts: &[LocalHost], request: &CarryRequest) -> Result<(), Failure> {
        for (place, host) in hosts.iter().enumerate() {
            let Err(error) = host.endpoint.post::<Done>("/api/v1/vats", request).await else { continue };
            let failure = Failure::from(error);
            if place == 0 {
                return Err(failure);
            }
            let names = |hosts: &[LocalHost]| -> String {
                hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            let go_on = match self.write_vat_file(request) {
                Ok(file) => format!("go on with `vat join {} --home HOME`", file.display()),
                Err(failure) => failure.error.to_string(),
            };
            let message = format!(
                "{} is carried by {} now, but {} does not take it: {}; for {}, {go_on}",
                self.name,
                names(&hosts[..place]),
                host.name,
                failure.error,
                names(&hosts[place..]),
            );
            return Err(Failure::new(Exit::Unreachable, message));
        }
        Ok(())
    }
}

/// Waits until a new vat has its code.
async fn wait_started(mut hosts: Vec<LocalHost>, vat: &VatId, name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + START_DEADLINE;
    let id = vat.to_string();
    loop {
        for host in &mut hosts {
            host.look().await;
        }
        let replicas: Vec<_> = hosts.iter().filter_map(|host| host.replica(&id)).collect();
        if replicas.iter().any(|replica| replica.installed) {
            return Ok(());
        }
        if let Some(error) = replicas.iter().find_map(|replica| replica.install_error.as_ref()) {
            let message = format!(
                "the code of {name} did not start: {error}\nits id commits to this code, so it stays without: correct the code, then `vat create` another vat"
            );
            return Err(usage(message));
        }
        if Instant::now() > deadline {
            let message = format!("{name} has no code yet; its hosts go on trying: `vat status {name}` shows it");
            return Err(Failure::new(Exit::Unreachable, message));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns what a number of members and a threshold survive, in words. The figures are those of [`quorate_consensus::survival`].
pub fn survival(members: usize, threshold: usize) -> String {
    if members == 1 {
        return "1 of 1 signs: the vat goes on while its one member is up, and says what that member wants".to_owned();
    }
    let Survival { crashes, liars } = quorate_consensus::survival(members, threshold);
    let down = match crashes {
        0 => "no member".to_owned(),
        1 => "1 member".to_owned(),
        more => format!("{more} members"),
    };
    let two_stories = match liars {
        0 => "1 lying member can make others believe two things if it leads".to_owned(),
        1 => "1 lying member can't make others believe two things".to_owned(),
        more => format!("up to {more} lying members can't make others believe two things"),
    };
    let changes = format!("{threshold} of its members must approve of a change of members");
    format!(
        "{threshold} of {members} sign: goes on with {down} down; {two_stories}. {changes}. Any single lying member can hold the vat up: watch `vat status`"
    )
}

impl CodeArgs {
    /// The install command for a vat of so many members, with a bearer of the root.
    fn install(
        &self,
        vat: &VatId,
        bundle: Bundle,
        bearer: Sturdyref,
        members: usize,
    ) -> Result<(Install, Sturdyref), Failure> {
        if members > 1 && self.endowments.iter().any(|name| name == "exit") {
            return Err(usage(format!("--endowment exit is for solo vats; {members} members can't exit as one")));
        }
        let argv = arguments(&self.arguments, &self.endowments, vat)?;
        let bearers = bearer.bearer_key().into_iter().collect();
        let install = Install { bundle, argv, endowments: self.endowments.clone(), grants: Vec::new(), bearers };
        Ok((install, bearer))
    }
}

/// The values of `--arg NAME=VALUE`, for code of `vat`.
pub fn arguments(arguments: &[String], endowments: &[String], vat: &VatId) -> Result<Vec<(String, ArgValue)>, Failure> {
    let mut argv = Vec::new();
    for (name, text) in named_arguments(arguments, endowments)? {
        let value = match text.parse::<Sturdyref>() {
            Ok(sturdyref) => reference(&sturdyref, vat),
            Err(error) if text.starts_with("vat://") => return Err(usage(error)),
            Err(_) => ArgValue::Data(parse_value(text)?),
        };
        argv.push((name, value));
    }
    Ok(argv)
}

/// Takes `--arg NAME=VALUE` apart. Each name is one that a property can have, given once, and none of an endowment.
pub fn named_arguments<'t>(arguments: &'t [String], endowments: &[String]) -> Result<Vec<(String, &'t str)>, Failure> {
    let mut found: Vec<(String, &str)> = Vec::new();
    for argument in arguments {
        let (name, text) =
            argument.split_once('=').ok_or_else(|| usage(format!("--arg {argument}: expected NAME=VALUE")))?;
        check_argument_name(name).map_err(|(problem, fix)| usage(format!("--arg {argument}: {problem}; {fix}")))?;
        if endowments.iter().any(|endowment| endowment == name) {
            return Err(usage(format!(
                "--arg {argument}: {name} is what the host gives under that name; choose another name"
            )));
        }
        if found.iter().any(|(other, _)| other == name) {
            return Err(usage(format!("--arg {argument}: {name} is given twice; give each argument once")));
        }
        found.push((name.to_owned(), text));
    }
    Ok(found)
}

/// Returns where a bearer lies that may not be good yet.
pub fn pending(dir: &TestnetDir, name: &str) -> PathBuf {
    dir.sturdyref(name).with_extension("ref.pending")
}

/// Keeps a vat's bearer in the testnet's directory, where there is one, so that `vat call NAME` finds it.
struct Keeper(Option<(PathBuf, PathBuf)>);

impl Keeper {
    /// The bearer is good.
    fn settle(self) -> Result<(), Failure> {
        if let Some((pending, file)) = self.0 {
            fs::rename(pending, file)?;
        }
        Ok(())
    }

    /// Nothing came of it, unless something may have.
    fn forget_unless(self, perhaps: bool) {
        if let Some((pending, _)) = self.0.filter(|_| !perhaps) {
            // What stays is in the way of a further attempt, which then says so.
            let _ = fs::remove_file(pending);
        }
    }
}

impl HostsOption {
    /// Writes a bearer down before a vat may have it.
    fn keeper(&self, name: &str, bearer: Option<&Sturdyref>) -> Result<Keeper, Failure> {
        let (Some(dir), Some(bearer)) = (self.testnet(), bearer) else { return Ok(Keeper(None)) };
        let pending = pending(&dir, name);
        write_secret(&pending, &format!("{bearer}\n"))?;
        Ok(Keeper(Some((pending, dir.sturdyref(name)))))
    }

    /// The bearer of an attempt to give a vat its code of which it is not known what came of it.
    fn pending_bearer(&self, name: &str, vat: &VatId) -> Option<Sturdyref> {
        let text = fs::read_to_string(pending(&self.testnet()?, name)).ok()?;
        text.trim().parse().ok().filter(|bearer: &Sturdyref| bearer.vat == *vat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survival_promises_no_more_than_holds() {
        for (members, threshold, says) in [
            (4, 3, "goes on with 1 member down; 1 lying member can't make others believe two things"),
            (3, 2, "goes on with 1 member down; 1 lying member can make others believe two things if it leads"),
            (3, 3, "goes on with no member down; up to 2 lying members can't"),
            (7, 5, "goes on with 2 members down; up to 2 lying members can't"),
        ] {
            let text = survival(members, threshold);
            assert!(text.contains(says), "{text}");
            assert!(text.contains("Any single lying member can hold the vat up"), "{text}");
            assert!(!text.contains("silence"), "{text}");
        }
        assert!(survival(1, 1).contains("its one member"));
    }
}
