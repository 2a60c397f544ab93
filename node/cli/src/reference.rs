//! `vat ref`: bearer references to objects of a vat, which its members make and revoke, and those that calls from here have kept.
//!
//! Invariant: the secret of a new reference is made here and goes to nobody but standard output: the vat gets its public half.

pub mod shelf;

use super::{
    DirOption, Exit, Failure, Outcome,
    access::{Place, expiry, report},
    call::{hosts_to_ask, memory, unanswered},
    hosts::HostsOption,
    output,
};
use quorate_client::{Known, LIFETIME_BLOCKS, OneCall, Request, call_once};
use quorate_config::{
    init::random_bytes,
    layout::{Layout, TestnetDir},
};
use quorate_engine::abi::Value;
use quorate_protocol::{
    authority::AccessChange,
    moment,
    status::{BearerStatus, ReferencesStatus},
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use serde_json::json;
use shelf::Shelf;
use std::time::Duration;

/// Letters of a key that people need to name it by.
const SHORT_KEY: usize = 12;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a bearer reference to a vat's root, or to another object of it
    #[command(
        after_help = "Examples:\n  vat ref new bank --note \"for Alice\" --expires 30d\n  vat ref new bank 17                the object that `vat objects bank` calls 17\n  vat ref new bank ref:purse-1       the object of a reference that a call from here has kept\n\nPrints the reference. Every holder of the text can use the object, so handle it as a key. The vat keeps no copy of its secret."
    )]
    New(NewArgs),
    /// Show the bearer references of a vat, without their secrets
    #[command(after_help = "Example:\n  vat ref list bank")]
    List(ListArgs),
    /// Have a bearer reference open nothing any more
    #[command(
        after_help = "Examples:\n  vat ref revoke bank 3f9c02d14a7b        by the key that `vat ref list bank` shows\n  vat ref revoke bank \"$(cat alice.ref)\"\n\nIt takes the object from all vats and clients that used the reference, unless they also got it in another way, and with it all that clients kept through it."
    )]
    Revoke(RevokeArgs),
    /// Print what names a vat's root for a vat that it is granted to: no secret
    #[command(
        after_help = "Example:\n  vat ref root bank        give this to the owner of the vat that `vat grant bank` names"
    )]
    Root(RootArgs),
    /// Show the references that calls from here have kept
    #[command(after_help = "Example:\n  vat ref kept\n  vat call ref:purse-1 balance")]
    Kept(KeptArgs),
    /// Print a kept reference as text, to pass on
    #[command(after_help = "Example:\n  vat ref show purse-1 > purse.ref\n\nWhoever has the text can use the object.")]
    Show(ShowArgs),
    /// Let kept references go: the vat keeps their objects no longer
    #[command(after_help = "Examples:\n  vat ref forget purse-1 purse-2\n  vat ref forget --all")]
    Forget(ForgetArgs),
}

#[derive(clap::Args)]
pub struct NewArgs {
    /// The vat
    vat: String,
    /// The object: `root`, its number in `vat objects`, or ref:NAME
    #[arg(default_value = "root")]
    object: String,
    /// Until when: 90s, 15m, 12h, 7d or 4w from now, or a time in UTC such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// What it is for: `vat ref list` shows it. Up to 64 bytes; the members can read it
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct ListArgs {
    /// The vat
    vat: String,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct RevokeArgs {
    /// The vat
    vat: String,
    /// The reference: its key or the beginning of it, its text, or ref:NAME
    reference: String,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct RootArgs {
    /// The vat
    vat: String,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
pub struct KeptArgs {
    #[command(flatten)]
    dir: DirOption,
}

#[derive(clap::Args)]
pub struct ShowArgs {
    /// The reference's name, with or without `ref:`
    name: String,
    #[command(flatten)]
    dir: DirOption,
}

#[derive(clap::Args)]
pub struct ForgetArgs {
    /// Names of references, with or without `ref:`
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All that are kept here
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Seconds to wait for each vat
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// A host to ask for a vat's members, as for `vat call` (may be repeated)
    #[arg(long, value_name = "CARD|MULTIADDR")]
    at: Vec<String>,
    #[command(flatten)]
    dir: DirOption,
}

pub async fn run(command: Command, json: bool) -> Outcome {
    match command {
        Command::New(args) => new(args, json).await,
        Command::List(args) => list(args, json).await,
        Command::Revoke(args) => revoke(args, json).await,
        Command::Root(args) => root(args, json).await,
        Command::Kept(args) => kept(&args, json),
        Command::Show(args) => show(&args, json),
        Command::Forget(args) => forget(args, json).await,
    }
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// The kept references of this machine's testnet, or of its user.
fn shelf_of(dir: &DirOption) -> Result<(Shelf, TestnetDir, Option<Layout>), Failure> {
    let dir = TestnetDir::new(dir.dir.clone());
    let layout = dir.read().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    Ok((Shelf::of(&dir, layout.is_some()), dir, layout))
}

fn shelf_of_hosts(hosts: &HostsOption) -> Shelf {
    match hosts.testnet() {
        Some(dir) => Shelf::of(&dir, true),
        None => Shelf::of(&TestnetDir::new("."), false),
    }
}

async fn new(args: NewArgs, json: bool) -> Outcome {
    let expires_ms = expiry(args.expires.as_deref())?;
    let place = Place::find(&args.hosts, &args.vat).await?;
    let vat = place.vat()?;
    let object = match args.object.as_str() {
        "root" => ROOT_OBJECT,
        text if text.starts_with("ref:") => {
            let kept = shelf_of_hosts(&args.hosts).find(text)?;
            if kept.vat != vat {
                return Err(usage(format!("{text} is an object of vat {}, not of {}", kept.vat, place.status.name)));
            }
            kept.object
        }
        text => text.parse().map_err(|_| {
            usage(format!(
                "{text} is no object: write `root`, a number that `vat objects {}` shows, or ref:NAME",
                args.vat
            ))
        })?,
    };
    let reference = Sturdyref::bearer(vat, object, random_bytes()?);
    let key = reference.bearer_key().unwrap_or_default();
    let change = AccessChange::NewReference { key, object, expires_ms, note: args.note };
    let shown = json!({
        "vat": place.status.name, "key": hex::encode(key), "object": object, "expires_ms": expires_ms, "sturdyref": reference.to_string(),
    });
    match place.change(change).await {
        Ok(done) => {
            if json {
                report(&done, true, shown);
            } else {
                output::line(&reference);
                output::note(&done.message);
            }
            Ok(Exit::Success)
        }
        // It may yet come to be, and nobody else has its secret.
        Err(failure) if failure.exit == Exit::Unreachable && json => Err(failure.with_result(shown)),
        Err(failure) if failure.exit == Exit::Unreachable => {
            output::line(&reference);
            output::note(
                "the reference on standard output opens the object once that is carried out; nobody else has it",
            );
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

async fn references(place: &Place) -> Result<Vec<BearerStatus>, Failure> {
    let path = format!("/api/v1/vats/{}/references", place.status.vat);
    Ok(place.host.endpoint.get::<ReferencesStatus>(&path).await?.references)
}

fn short(key: &str) -> &str {
    key.get(..SHORT_KEY).unwrap_or(key)
}

/// Returns what an object is called for people.
pub fn object_name(object: u64, interface: Option<&str>) -> String {
    match (object, interface) {
        (ROOT_OBJECT, _) => "root".to_owned(),
        (number, Some(name)) => format!("{number} ({name})"),
        (number, None) => number.to_string(),
    }
}

async fn list(args: ListArgs, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let found = references(&place).await?;
    if json {
        output::json(&found);
        return Ok(Exit::Success);
    }
    let mut table = output::table(["KEY", "OBJECT", "EXPIRES", "KEPT THROUGH", "NOTE"]);
    for bearer in &found {
        table.add_row([
            short(&bearer.key).to_owned(),
            object_name(bearer.object, bearer.interface.as_deref()),
            bearer.expires_ms.map_or_else(|| "never".to_owned(), moment::shown),
            bearer.kept_through.as_deref().map_or("-", short).to_owned(),
            bearer.note.clone(),
        ]);
    }
    output::line(table);
    Ok(Exit::Success)
}

async fn revoke(args: RevokeArgs, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let text = args.reference.trim();
    let of_text = |sturdyref: Sturdyref| {
        if Some(sturdyref.vat) != place.vat().ok() {
            return Err(usage(format!(
                "that is a reference to an object of vat {}, not of {}",
                sturdyref.vat, args.vat
            )));
        }
        sturdyref.bearer_key().map(hex::encode).ok_or_else(|| {
            usage(format!(
                "that reference has no secret: it names what a grant allows; `vat revoke {} VAT` takes a grant back",
                args.vat
            ))
        })
    };
    let wanted = if text.starts_with("ref:") {
        of_text(shelf_of_hosts(&args.hosts).find(text)?)?
    } else if text.starts_with("vat://") {
        of_text(text.parse().map_err(|error: quorate_protocol::sturdyref::SturdyrefError| usage(error))?)?
    } else {
        text.to_ascii_lowercase()
    };
    let mut found = references(&place).await?;
    found.retain(|bearer| !wanted.is_empty() && bearer.key.starts_with(&wanted));
    let key = match &found[..] {
        [bearer] => bearer.key.clone(),
        [] => {
            let message = format!(
                "{} has no such reference: it was revoked, has expired, or never was one; `vat ref list {0}` shows those that count",
                args.vat
            );
            return Err(usage(message));
        }
        more => {
            let keys: Vec<&str> = more.iter().take(5).map(|bearer| bearer.key.as_str()).collect();
            return Err(usage(format!(
                "several references of {} begin so: {}; write more of it",
                args.vat,
                keys.join(", ")
            )));
        }
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(&key, &mut bytes)?;
    let done = place.change(AccessChange::RevokeReference { key: bytes }).await?;
    report(&done, json, json!({ "vat": place.status.name, "revoked": key }));
    Ok(Exit::Success)
}

async fn root(args: RootArgs, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let reference = Sturdyref::grantee(place.vat()?, ROOT_OBJECT).to_string();
    if json {
        output::json(&json!({ "vat": place.status.name, "sturdyref": reference }));
    } else {
        output::line(reference);
    }
    Ok(Exit::Success)
}

/// The name of a vat of the testnet, or its id.
fn vat_name(layout: Option<&Layout>, sturdyref: &Sturdyref) -> String {
    let id = sturdyref.vat.to_string();
    let found = layout.and_then(|layout| layout.vats.iter().find(|vat| vat.vat == id));
    found.map_or_else(|| id.clone(), |vat| vat.name.clone())
}

fn kept(args: &KeptArgs, json: bool) -> Outcome {
    let (shelf, _, layout) = shelf_of(&args.dir)?;
    let all = shelf.all();
    if json {
        let shown = all.iter().map(|(name, sturdyref)| {
            json!({ "name": name, "vat": sturdyref.vat.to_string(), "vat_name": vat_name(layout.as_ref(), sturdyref), "object": sturdyref.object })
        });
        output::json(&shown.collect::<Vec<_>>());
        return Ok(Exit::Success);
    }
    if all.is_empty() {
        output::note("no references are kept here; `vat call` keeps those of an answer");
        return Ok(Exit::Success);
    }
    let mut table = output::table(["NAME", "VAT", "OBJECT"]);
    for (name, sturdyref) in &all {
        let object = object_name(sturdyref.object, None);
        table.add_row([format!("ref:{name}"), vat_name(layout.as_ref(), sturdyref), object]);
    }
    output::line(table);
    Ok(Exit::Success)
}

fn show(args: &ShowArgs, json: bool) -> Outcome {
    let (shelf, ..) = shelf_of(&args.dir)?;
    let sturdyref = shelf.find(&args.name)?.to_string();
    if json {
        output::json(&json!({ "sturdyref": sturdyref }));
    } else {
        output::line(sturdyref);
    }
    Ok(Exit::Success)
}

async fn forget(args: ForgetArgs, json: bool) -> Outcome {
    let (shelf, dir, layout) = shelf_of(&args.dir)?;
    let names: Vec<String> = if args.all { shelf.all().into_keys().collect() } else { args.names.clone() };
    // All of them, before any is let go.
    let found = names.iter().map(|name| Ok((name, shelf.find(name)?))).collect::<Result<Vec<_>, Failure>>()?;
    let mut forgotten = Vec::new();
    for (name, sturdyref) in found {
        let name = name.strip_prefix("ref:").unwrap_or(name);
        discard(&args, &sturdyref, &dir, layout.as_ref()).await.map_err(|failure| {
            let message = format!("{name} is kept on: {}", failure.error);
            let failure = Failure::new(failure.exit, message);
            if json { failure.with_result(json!({ "forgotten": forgotten })) } else { failure }
        })?;
        shelf.remove(name)?;
        forgotten.push(name.to_owned());
    }
    if json {
        output::json(&json!({ "forgotten": forgotten }));
    } else {
        output::note(format!(
            "forgotten: {}",
            if forgotten.is_empty() { "nothing".to_owned() } else { forgotten.join(", ") }
        ));
    }
    Ok(Exit::Success)
}

/// Has the vat let go of what it keeps for a reference. One that counts no more is as good as let go.
async fn discard(
    args: &ForgetArgs,
    sturdyref: &Sturdyref,
    dir: &TestnetDir,
    layout: Option<&Layout>,
) -> Result<(), Failure> {
    let memory = memory(sturdyref, dir, layout.is_some());
    let known = memory.as_deref().and_then(|file| Known::read(file, &sturdyref.vat));
    let hosts = hosts_to_ask(layout, &args.at, known.is_some())?;
    let called = call_once(OneCall {
        sturdyref,
        hosts: &hosts,
        known,
        request: Request::Discard,
        keep: false,
        lifetime_blocks: LIFETIME_BLOCKS,
        deadline: Duration::from_secs(args.timeout),
        prove: false,
    })
    .await;
    match called.answer {
        Ok(answer) if answer.fulfilled => Ok(()),
        Ok(answer) => match answer.value {
            Value::Error { message, .. } => Err(Failure::new(Exit::Rejected, message)),
            _ => Err(Failure::new(Exit::Rejected, "the vat's answer is not understood")),
        },
        Err(quorate_client::ClientError::Refused(why)) if why == quorate_node::vat::machine::STRANGER => Ok(()),
        Err(error) => Err(unanswered(error)),
    }
}
