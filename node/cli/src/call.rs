//! `vat call`.

mod trace;

use super::{
    DirOption, Exit, Failure, Outcome,
    arguments::{References, read_argument},
    create::pending,
    evidence::write_new,
    join::read_card,
    output,
    reference::shelf::Shelf,
    report::Rejection,
};
use quorate_client::{ClientError, Known, LIFETIME_BLOCKS, OneCall, Request, call_once};
use quorate_config::{
    cache,
    layout::{Layout, TestnetDir},
};
use quorate_consensus::{HostId, Member};
use quorate_engine::abi::{Method, Value};
use quorate_net::PeerName as _;
use quorate_protocol::{
    card::dialable,
    evidence::LASTING_BLOCKS,
    proof::{ProofFile, file::VatProof},
    sturdyref::Sturdyref,
};
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use trace::Traced;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat call counter increment 5\n  vat call purse deposit '{\"amount\": 10}' \"a bare string\"\n  vat call 'vat://9f…/root#77…' read --at alpha.card\n  vat call notes add @letter.txt             the argument is what the file holds; @- is standard input, @@ a text that begins with @\n  vat call mint makePurse 100                prints {\"@ref\":\"purse-1\"}: a reference that is kept under that name\n  vat call counter increment --trace         and, on standard error, how long its parts took, who signed, and what it cost\n  vat call ref:purse-1 deposit 10 ref:purse-2\n\nThe result is JSON on standard output. A rejection goes to standard error, with exit code 1."
)]
pub struct Args {
    /// A vat of the testnet, a sturdyref, or a reference that an earlier call kept: ref:NAME
    target: String,
    /// The method
    method: String,
    /// Its arguments: JSON, bare strings, @FILE (@- is standard input, @@TEXT is a text that begins with @), or ref:NAME
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
    /// Do not keep the references of the answer: they print as numbers, and cannot be used later
    #[arg(long)]
    no_keep: bool,
    /// Say how long the parts of the call took, which block certified the answer, who signed, and its fuel; with --json beside the result
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    dir: DirOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let dir = TestnetDir::new(args.dir.dir.clone());
    let layout = dir.read().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let shelf = Shelf::of(&dir, layout.is_some());
    let sturdyref = find(&args.target, &dir, layout.as_ref(), &shelf)?;
    let memory = memory(&sturdyref, &dir, layout.is_some());
    let known = memory.as_deref().and_then(|file| Known::read(file, &sturdyref.vat));
    let mut hosts = hosts_to_ask(layout.as_ref(), &args.at, known.is_some())?;
    if args.arguments.iter().filter(|text| *text == "@-").count() > 1 {
        return Err(Failure::new(Exit::Usage, "@- is there twice: standard input is one argument"));
    }
    let mut given = Given { shelf: &shelf, slots: Vec::new() };
    let read = args.arguments.iter().map(|text| read_argument(text, &mut given));
    let values = read.collect::<Result<Vec<Value>, _>>()?;
    hosts.extend(remembered_homes(&given.slots, &sturdyref, &dir, layout.is_some()));
    // The longer it waits, the longer the vat has to know it.
    let lifetime = LIFETIME_BLOCKS.saturating_mul(1 + args.timeout / 30).min(LASTING_BLOCKS);
    if let Some(file) = args.proof.as_ref().filter(|file| file.exists()) {
        let message =
            format!("--proof {}: the file is there already; name another one (nothing was sent)", file.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let called = call_once(OneCall {
        sturdyref: &sturdyref,
        hosts: &hosts,
        known,
        request: Request::Call { method: Method::Call(args.method.clone()), args: values, slots: given.slots },
        keep: !args.no_keep && sturdyref.is_bearer(),
        lifetime_blocks: lifetime,
        deadline: Duration::from_secs(args.timeout),
        prove: args.proof.is_some(),
    })
    .await;
    if let (Some(file), Some(known)) = (&memory, &called.known) {
        // Without it the next call asks again who the vat's members are.
        let _ = known.write(file);
    }
    let traced = match called.trace.filter(|_| args.trace) {
        Some(trace) => Some(Traced::of(trace, &sturdyref.vat, &dir, layout.as_ref()).await),
        None => None,
    };
    traced.iter().filter(|_| !json).for_each(Traced::show);
    let traced = traced.filter(|_| json).map(|traced| traced.as_json());
    let answer = called.answer.map_err(|error| with_trace(unanswered(error), traced.clone()))?;
    if let Some(file) = &args.proof {
        write_proof(file, called.proof)?;
    }
    if answer.fulfilled {
        let names = shelf.keep(&answer, called.kept);
        let result = with_names(answer.value.to_json(), &names);
        match traced {
            Some(trace) => output::json_line(&serde_json::json!({ "result": result, "trace": trace })),
            None => output::json_line(&result),
        }
        return Ok(Exit::Success);
    }
    let reason = match &answer.value {
        Value::Error { name, message } => format!("{name}: {message}"),
        Value::Undefined => "undefined".to_owned(),
        other => super::json::compact(&other.to_json()),
    };
    let rejection = Rejection { shown: reason, reason: answer.value.to_json() };
    Err(with_trace(Failure { exit: Exit::Rejected, error: rejection.into() }, traced))
}

/// A failure, with how the call went where that was asked for as JSON.
fn with_trace(failure: Failure, trace: Option<Json>) -> Failure {
    match trace {
        Some(trace) => failure.with_result(serde_json::json!({ "trace": trace })),
        None => failure,
    }
}

/// Hosts that may know a vat. Where its members are remembered, nobody else need be asked.
pub fn hosts_to_ask(layout: Option<&Layout>, at: &[String], is_known: bool) -> Result<Vec<Member>, Failure> {
    let mut hosts = layout.map(Layout::members).transpose()?.unwrap_or_default();
    for address in at {
        hosts.push(match read_card(Path::new(address))? {
            Some(member) => member,
            None => member_at(address)?,
        });
    }
    if hosts.is_empty() && !is_known {
        return Err(Failure::new(
            Exit::Usage,
            "no host is known to ask; name a testnet's directory with --dir, or a host with --at",
        ));
    }
    Ok(hosts)
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

/// Returns where it is remembered who a vat's members are: in the testnet's directory, else in the user's cache, if there is one.
pub fn memory(sturdyref: &Sturdyref, dir: &TestnetDir, is_testnet: bool) -> Option<PathBuf> {
    let folder = if is_testnet { dir.path().join("known") } else { cache::folder()?.join("vats") };
    Some(folder.join(sturdyref.vat.to_string()))
}

/// Members of the vats that passed objects live in, where these are others than the called one and are remembered: they have to be found, too.
fn remembered_homes(slots: &[Sturdyref], called: &Sturdyref, dir: &TestnetDir, is_testnet: bool) -> Vec<Member> {
    let others = slots.iter().filter(|slot| slot.vat != called.vat);
    let known = others.filter_map(|slot| Known::read(&memory(slot, dir, is_testnet)?, &slot.vat));
    known.flat_map(|known| known.members()).collect()
}

/// The kept references that the arguments of a call name.
struct Given<'a> {
    shelf: &'a Shelf,
    slots: Vec<Sturdyref>,
}

impl References for Given<'_> {
    fn slot(&mut self, name: &str) -> Result<u32, Failure> {
        let sturdyref = self.shelf.find(name)?;
        let place = self.slots.iter().position(|other| *other == sturdyref).unwrap_or_else(|| {
            self.slots.push(sturdyref);
            self.slots.len() - 1
        });
        u32::try_from(place).map_err(|_| Failure::new(Exit::Usage, "too many references in one call"))
    }
}

/// Shows references by the names under which they are kept, in the place of their numbers.
fn with_names(json: Json, names: &BTreeMap<u64, String>) -> Json {
    match json {
        Json::Array(items) => items.into_iter().map(|item| with_names(item, names)).collect(),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@slot") => {
            let content = &fields["@slot"];
            let number = content.get(0).unwrap_or(content).as_u64();
            match number.and_then(|number| names.get(&number)) {
                Some(name) => serde_json::json!({ "@ref": name }),
                None => Json::Object(fields),
            }
        }
        Json::Object(fields) => fields.into_iter().map(|(key, value)| (key, with_names(value, names))).collect(),
        other => other,
    }
}

pub fn unanswered(error: ClientError) -> Failure {
    let exit = match error {
        ClientError::Call(_) => Exit::Usage,
        ClientError::Refused(_) | ClientError::NoCode(_) | ClientError::NotLent(..) => Exit::Rejected,
        ClientError::Unknown(_) | ClientError::NotSent(_) => Exit::NotSent,
        ClientError::Deadline(_) => Exit::Unreachable,
        ClientError::Network(_) | ClientError::Random(_) => Exit::Failed,
    };
    Failure { exit, error: error.into() }
}

/// Returns what a target of the command line names, and the testnet in the directory, if there is one.
///
/// # Errors
/// It names nothing.
pub fn target_reference(target: &str, dir: &TestnetDir) -> Result<(Sturdyref, Option<Layout>), Failure> {
    let layout = dir.read().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let shelf = Shelf::of(dir, layout.is_some());
    Ok((find(target, dir, layout.as_ref(), &shelf)?, layout))
}

fn find(target: &str, dir: &TestnetDir, layout: Option<&Layout>, shelf: &Shelf) -> Result<Sturdyref, Failure> {
    let usage = |error: anyhow::Error| Failure { exit: Exit::Usage, error };
    if let Some(name) = target.strip_prefix("ref:") {
        return shelf.find(name);
    }
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
