//! `vat call`.

use super::{
    DirOption, Exit, Failure, Outcome, arguments::read_argument, create::pending, evidence::write_new, join::read_card,
    json, output, report::Rejection,
};
use crate::{
    card::dialable,
    client::{ClientError, Known, LIFETIME_BLOCKS, OneCall, call_once},
    evidence::MAX_LIFETIME_BLOCKS,
    proof::{ProofFile, file::VatProof},
    sturdyref::Sturdyref,
    testnet::layout::{Layout, TestnetDir},
};
use quorate_consensus::{HostId, Member};
use quorate_engine::abi::{Method, Value};
use quorate_net::PeerName as _;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat call counter increment 5\n  vat call purse deposit '{\"amount\": 10}' \"a bare string\"\n  vat call 'vat://9f…/root#77…' read --at alpha.card\n  vat call notes add @letter.txt             the argument is what the file holds; @- is standard input, @@ a text that begins with @\n\nThe result is JSON on standard output. A rejection goes to standard error, with exit code 1."
)]
pub struct Args {
    /// A vat of the testnet, or a sturdyref
    target: String,
    /// The method
    method: String,
    /// Its arguments: JSON, bare strings, or @FILE (@- is standard input, @@TEXT is a text that begins with @)
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Seconds to wait, all in all
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// A host to ask for the vat's members: its card, or its address with its key, `/ip4/…/tcp/…/p2p/KEY` (may be repeated)
    #[arg(long, value_name = "CARD|MULTIADDR")]
    at: Vec<String>,
    /// Write what proves the answer to this file, which must not be there: anybody checks it with `vat verify FILE`
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    #[command(flatten)]
    dir: DirOption,
}

pub async fn run(args: Args, _json: bool) -> Outcome {
    let dir = TestnetDir::new(args.dir.dir.clone());
    let layout = dir.read().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let sturdyref = find(&args.target, &dir, layout.as_ref())?;
    let mut hosts = layout.as_ref().map(Layout::members).transpose()?.unwrap_or_default();
    for address in &args.at {
        hosts.push(match read_card(Path::new(address))? {
            Some(member) => member,
            None => member_at(address)?,
        });
    }
    if hosts.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "whom to ask? name a testnet's directory with --dir, or a host with --at",
        ));
    }
    if args.arguments.iter().filter(|text| *text == "@-").count() > 1 {
        return Err(Failure::new(Exit::Usage, "@- is there twice: standard input is one argument"));
    }
    let values = args.arguments.iter().map(|text| argument(text)).collect::<Result<Vec<Value>, _>>()?;
    // The longer it waits, the longer the vat has to know it.
    let lifetime = LIFETIME_BLOCKS.saturating_mul(1 + args.timeout / 30).min(MAX_LIFETIME_BLOCKS / 2);
    let memory = memory(&sturdyref, &dir, layout.is_some());
    let known = memory.as_deref().and_then(|file| Known::read(file, &sturdyref.vat));
    if let Some(file) = args.proof.as_ref().filter(|file| file.exists()) {
        let message =
            format!("--proof {}: the file is there already; name another one (nothing was sent)", file.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let called = call_once(OneCall {
        sturdyref: &sturdyref,
        hosts: &hosts,
        known,
        method: Method::Call(args.method.clone()),
        args: values,
        lifetime_blocks: lifetime,
        deadline: Duration::from_secs(args.timeout),
        prove: args.proof.is_some(),
    })
    .await;
    if let (Some(file), Some(known)) = (&memory, &called.known) {
        // Without it the next call asks again who the vat's members are.
        let _ = known.write(file);
    }
    let answer = called.answer.map_err(unanswered)?;
    if let Some(file) = &args.proof {
        write_proof(file, called.proof)?;
    }
    if answer.fulfilled {
        output::json_line(&answer.value.to_json());
        return Ok(Exit::Success);
    }
    let reason = match &answer.value {
        Value::Error { name, message } => format!("{name}: {message}"),
        Value::Undefined => "undefined".to_owned(),
        other => json::compact(&other.to_json()),
    };
    let rejection = Rejection { shown: reason, reason: answer.value.to_json() };
    Err(Failure { exit: Exit::Rejected, error: rejection.into() })
}

/// Writes the proof of an answer. That there is none is no reason to hide the answer.
fn write_proof(file: &Path, proof: Option<VatProof>) -> Result<(), Failure> {
    let Some(proof) = proof else {
        output::note(format!(
            "note: what came with the answer does not prove it, so {} was not written; another call may do better",
            file.display()
        ));
        return Ok(());
    };
    write_new(file, &ProofFile { vats: vec![proof] }.encode())?;
    output::note(format!("the proof of the answer is in {}; `vat verify {0}` checks it", file.display()));
    Ok(())
}

/// Where it is remembered who a vat's members are: in the testnet's directory, else in the user's cache, if there is one.
fn memory(sturdyref: &Sturdyref, dir: &TestnetDir, is_testnet: bool) -> Option<PathBuf> {
    let folder = if is_testnet {
        dir.path().join("known")
    } else {
        let base = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        base("QUORATE_CACHE")
            .or_else(|| base("XDG_CACHE_HOME").map(|cache| cache.join("quorate")))
            .or_else(|| base("HOME").map(|home| home.join(".cache").join("quorate")))?
            .join("vats")
    };
    Some(folder.join(sturdyref.vat.to_string()))
}

/// An argument's value. A reference in a result has a number only there.
fn argument(text: &str) -> Result<Value, Failure> {
    let value = read_argument(text)?;
    if value.slot_bound() > 0 {
        let shown: String = text.chars().take(80).collect();
        let message =
            format!("{shown}: a reference can't be passed from outside; let a vat pass it, or name it in its argv");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(value)
}

fn unanswered(error: ClientError) -> Failure {
    let exit = match error {
        ClientError::Call(_) => Exit::Usage,
        ClientError::Refused(_) | ClientError::NoCode(_) => Exit::Rejected,
        ClientError::Unknown(_) | ClientError::NotSent(_) => Exit::NotSent,
        ClientError::Deadline(_) => Exit::Unreachable,
        ClientError::Network(_) | ClientError::Random(_) => Exit::Failed,
    };
    Failure { exit, error: error.into() }
}

fn find(target: &str, dir: &TestnetDir, layout: Option<&Layout>) -> Result<Sturdyref, Failure> {
    let usage = |error: anyhow::Error| Failure { exit: Exit::Usage, error };
    if target.starts_with("vat://") {
        return target.parse::<Sturdyref>().map_err(|error| usage(error.into()));
    }
    // A vat whose install was not heard of again may have its code all the same.
    let file = dir.sturdyref(target);
    let error =
        match fs::read_to_string(&file).or_else(|error| fs::read_to_string(pending(dir, target)).map_err(|_| error)) {
            Ok(text) => return text.trim().parse::<Sturdyref>().map_err(|error| usage(error.into())),
            Err(error) => error,
        };
    let message = match layout {
        Some(layout) if layout.vats.iter().any(|vat| vat.name == target) => {
            format!(
                "the sturdyref of {target} can't be read from {} ({error}); without it nobody can call it by name",
                file.display()
            )
        }
        Some(layout) => {
            let names: Vec<&str> = layout.vats.iter().map(|vat| vat.name.as_str()).collect();
            format!("{} has no vat {target}; its vats are {}", dir.path().display(), names.join(", "))
        }
        None => format!("there is no testnet in {}; name its directory with --dir", dir.path().display()),
    };
    Err(Failure::new(Exit::Usage, message))
}

fn member_at(address: &str) -> Result<Member, Failure> {
    let wrong = || {
        Failure::new(
            Exit::Usage,
            format!(
                "--at {address}: expected a host's card, or a multiaddr that ends with /p2p/ and the host's key or peer id"
            ),
        )
    };
    let (dialled, peer) = address.rsplit_once("/p2p/").ok_or_else(wrong)?;
    dialable(dialled).map_err(|why| Failure::new(Exit::Usage, format!("--at {address}: {why}")))?;
    // The key as this program shows it, or as libp2p writes it.
    let host = peer.parse().ok().or_else(|| HostId::from_peer_id_text(peer)).ok_or_else(wrong)?;
    Ok(Member { key: host, name: "asked".into(), addresses: vec![dialled.to_owned()] })
}
