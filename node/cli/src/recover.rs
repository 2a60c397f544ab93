//! `vat recover`: a vat that has lost so many members for good that it can certify nothing any more goes on with those that are left.
//!
//! Each owner of such a member has to agree. Hosts that can be asked from here do so with one command, which is then their owners' word; owners
//! elsewhere pass a file around, and run it there. Whatever speaks against it is found before anything is signed, and what may be lost
//! is said before it is asked.

mod round;

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
    standing::MemberState,
};
use crate::standing;
use quorate_admin::{RecoveryReply, RecoveryStep};
use quorate_config::home::Home;
use quorate_consensus::{HostId, MemberSignature, Membership, RecoveryOffer};
use quorate_protocol::codec;
use round::{Round, explain};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat recover counter                                 all members that are left are hosts here\n  vat recover counter --home HOME --file counter.recovery       one owner of several: says how far its host's log goes\n  vat recover counter --home HOME --file counter.recovery --close   the last one, once all that are left have done so\n  vat recover counter --home HOME --file counter.recovery       the others agree, and then each carries it out\n\nOnly for a vat that can certify nothing any more, since members are lost for good. It breaks certified order by hand: everybody sees\nthat in the vat's chain of memberships, for ever. Members that are left out never come back under their keys. Where enough members\nare left to sign, `vat member replace` replaces the others instead."
)]
pub struct Args {
    /// The vat
    vat: String,
    /// Where several owners gather what their hosts say; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// All members that are left are in the file: from here on they are asked to agree
    #[arg(long, requires = "file")]
    close: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let hosts = args.hosts.all().await?;
    let alive = left_here(&hosts, &args.vat);
    let (mut round, known) = match args.file.as_deref().map(|file| Round::read(file, &args.vat)).transpose()?.flatten()
    {
        Some(round) => (round, true),
        None => (Round::new(&args.vat), false),
    };
    if !known {
        check_lost(&args, &hosts, &alive).await?;
    }
    if round.target.is_none() {
        gather(&mut round, &alive).await?;
        if args.file.is_some() && !args.close {
            return wait_for_others(&args, &round, json);
        }
        if let Err(failure) = close(&mut round, &args, &hosts) {
            end(&alive, &args.vat).await;
            return Err(failure);
        }
    }
    if let Err(failure) = agree(&mut round, &args, &alive, &hosts).await {
        end(&alive, &args.vat).await;
        return Err(failure);
    }
    let Some(certificate) = round.certificate() else { return wait_for_others(&args, &round, json) };
    let encoded = hex::encode(codec::encode(&certificate));
    for host in alive.iter().filter(|host| host.key.is_some_and(|key| certificate.membership.contains(&key))) {
        step(host, &args.vat, &RecoveryStep::CarryOut { certificate: encoded.clone() }).await?;
    }
    round.write(args.file.as_deref())?;
    done(&round, &certificate.membership, json)
}

/// Has the hosts go on as before, except those that have signed.
async fn end(hosts: &[&LocalHost], vat: &str) {
    for host in hosts {
        // One that can't be asked does so when it is started again.
        let _: Result<RecoveryReply, _> = step(host, vat, &RecoveryStep::End).await;
    }
}

/// The hosts here that run and carry the vat, or have stopped its replica.
fn left_here<'h>(hosts: &'h [LocalHost], vat: &str) -> Vec<&'h LocalHost> {
    let carries = |host: &&LocalHost| {
        let failed = host.status.as_ref().is_some_and(|status| status.failed_vats.contains_key(vat));
        failed || host.replica(vat).is_some_and(|replica| replica.role != "removed")
    };
    hosts.iter().filter(carries).collect()
}

/// Fails where the vat is not lost, as far as it shows without stopping anything.
async fn check_lost(args: &Args, hosts: &[LocalHost], alive: &[&LocalHost]) -> Result<(), Failure> {
    if alive.is_empty() {
        // It knows best why there is none.
        args.hosts.carrying(&args.vat).await?;
        return Err(Failure::new(Exit::Unreachable, format!("no host here carries {}", args.vat)));
    }
    let newest = alive.iter().filter_map(|host| host.replica(&args.vat)).max_by_key(|replica| replica.epoch);
    let Some(newest) = newest else { return Ok(()) };
    let quorum = standing::quorum(newest, hosts);
    let is_muted =
        |key: &String| alive.iter().all(|host| host.status.as_ref().is_some_and(|status| status.muted.contains(key)));
    let there =
        quorum.members.iter().filter(|member| member.state == MemberState::Up && !is_muted(&member.key)).count();
    if there >= quorum.needed {
        let message = format!(
            "Q-A020 {} is not lost: {} of its {} members can go on with it, and {} are there. What is missing is replaced: `vat member replace --vat {0}`; nothing was changed",
            args.vat,
            quorum.needed,
            quorum.members.len(),
            there
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    for member in &quorum.members {
        let host = hosts.iter().find(|host| host.key.is_some_and(|key| key.to_string() == member.key));
        let Some(host) = host.filter(|host| host.status.is_none() && !host.exported) else { continue };
        if host.home().join("MARKS").exists() || host.home().join("data").exists() {
            let message = format!(
                "Q-A021 member {0} is not lost: its home is in {1}. Start it (`vat node run --home {1}`, `vat testnet restart {0}`), or repair it first (`vat member repair --home {1}`); nothing was changed",
                host.name,
                host.home().display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(())
}

async fn step(host: &LocalHost, vat: &str, step: &RecoveryStep) -> Result<RecoveryReply, Failure> {
    Ok(host.endpoint.post(&format!("/api/v1/vats/{vat}/recovery"), step).await?)
}

/// Returns what a host answers to a step.
async fn answer<T: DeserializeOwned>(host: &LocalHost, vat: &str, asked: &RecoveryStep) -> Result<T, Failure> {
    let reply = step(host, vat, asked).await?;
    let bytes = hex::decode(reply.result.unwrap_or_default())?;
    Ok(codec::decode(&bytes)?)
}

/// Adds what the hosts here say. If one of them can't take part, the others go on as before.
async fn gather(round: &mut Round, alive: &[&LocalHost]) -> Result<(), Failure> {
    let mut stopped: Vec<&LocalHost> = Vec::new();
    for host in alive {
        match answer::<RecoveryOffer>(host, &round.vat, &RecoveryStep::Offer).await {
            Ok(offer) => round.add(offer),
            Err(failure) => {
                end(&stopped, &round.vat).await;
                return Err(Failure {
                    exit: failure.exit,
                    error: failure.error.context(format!("host {}", host.name)),
                });
            }
        }
        stopped.push(host);
    }
    Ok(())
}

/// Ends the gathering: says what will be, and asks.
fn close(round: &mut Round, args: &Args, hosts: &[LocalHost]) -> Result<(), Failure> {
    let keys = keys_here(hosts, round);
    round.close(keys.len())?;
    explain(round).iter().for_each(output::note);
    confirm(args)
}

/// Owners whose hosts have lost everything but their keys.
fn keys_here(hosts: &[LocalHost], round: &Round) -> Vec<(HostId, Home)> {
    let is_bare = |host: &&LocalHost| {
        let gone = |name: &str| !host.home().join(name).exists();
        host.status.is_none() && !host.hangs && !host.exported && gone("data") && gone("MARKS")
    };
    let homes = hosts.iter().filter(is_bare).filter_map(|host| Home::open(host.home()).ok());
    let keyed = homes.map(|home| (HostId(home.key.verifying_key().to_bytes()), home));
    let is_member = |key: &HostId| round.present().is_some_and(|present| present.contains(key));
    keyed.filter(|(key, _)| is_member(key)).collect()
}

fn confirm(args: &Args) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message = format!(
            "Q-A022 nobody can be asked here: read the above, then `vat recover {} --yes`; nothing was changed",
            args.vat
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    eprint!("Shall these members go on alone, and never again with the others? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "not confirmed; nothing was changed")),
    }
}

/// Has the hosts here sign, as far as they have not.
async fn agree(round: &mut Round, args: &Args, alive: &[&LocalHost], hosts: &[LocalHost]) -> Result<(), Failure> {
    let Some(target) = round.target.clone() else { return Ok(()) };
    let missing: Vec<&&LocalHost> = alive
        .iter()
        .filter(|host| host.key.is_some_and(|key| target.contains(&key) && !round.has_signed(&key)))
        .collect();
    if args.file.is_some() && !args.close && !missing.is_empty() {
        explain(round).iter().for_each(output::note);
        confirm(args)?;
    }
    let encoded = hex::encode(codec::encode(&target));
    for host in missing {
        let asked = RecoveryStep::Agree { target: encoded.clone() };
        let signature: MemberSignature = answer(host, &args.vat, &asked).await?;
        round.sign(signature);
        // What is signed is not to be lost: it can't be taken back.
        round.write(args.file.as_deref())?;
    }
    for (key, home) in keys_here(hosts, round) {
        if !round.has_signed(&key) && round.lacks_evidence() {
            round.sign(MemberSignature::sign(&home.key, &target.payload()));
        }
    }
    round.write(args.file.as_deref())
}

fn wait_for_others(args: &Args, round: &Round, json: bool) -> Outcome {
    round.write(args.file.as_deref())?;
    let file = args.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let names = |keys: Vec<HostId>| round.names(&keys);
    let (message, missing) = match &round.target {
        None => {
            let said = names(round.offers.iter().map(|offer| offer.member).collect());
            let message = format!(
                "in {file}: what {said} have. Give it to the owners of the other members that are left; each runs `vat recover {0} --file FILE`, and the last one adds `--close`",
                args.vat
            );
            (message, Vec::new())
        }
        Some(_) => {
            let missing = round.missing();
            let message = format!(
                "in {file}: the members that go on; {} have not agreed yet. Their owners run `vat recover {} --file FILE`, and then each of the others once more",
                names(missing.clone()),
                args.vat
            );
            (message, missing)
        }
    };
    if json {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        output::json(&json!({ "vat": args.vat, "recovered": false, "waits_for": missing, "message": message }));
    } else {
        output::note(message);
    }
    Ok(Exit::Success)
}

fn done(round: &Round, membership: &Membership, json: bool) -> Outcome {
    let names: Vec<&str> = membership.members.iter().map(|member| member.name.as_str()).collect();
    let after = membership.recovered.map_or(0, |recovered| recovered.block);
    if json {
        output::json(&json!({
            "vat": round.vat, "recovered": true, "epoch": membership.epoch, "after_block": after, "members": names,
            "threshold": membership.threshold, "left_out": round.left_out(),
        }));
        return Ok(Exit::Success);
    }
    output::note(format!(
        "{}: recovered by hand after block {after}. Epoch {}: {}; {} of them must sign",
        round.vat,
        membership.epoch,
        names.join(", "),
        membership.threshold
    ));
    output::note(format!(
        "let it grow again: `vat member add --vat {} --in HOST`, with hosts that have new homes; `vat status {0}` shows how it stands",
        round.vat
    ));
    Ok(Exit::Success)
}
