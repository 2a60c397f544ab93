//! `vat read`: what a vat publishes, checked against the signatures of its members.
//!
//! Invariant: nothing is printed that the members have not signed; what is written to a file is what `vat verify` accepts.

use super::{
    DirOption, Exit, Failure, Outcome,
    call::{hosts_to_ask, memory, target_reference, unanswered},
    evidence::write_new,
    json::compact,
    output,
};
use quorate_client::{Freshness, Known, ReadAnswer, ReadError, Reader};
use quorate_config::layout::TestnetDir;
use quorate_consensus::HostId;
use quorate_engine::VatId;
use quorate_protocol::{
    proof::{
        ProofFile,
        file::{Item, VatProof},
    },
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use tokio::time::Instant;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat read shop price                          the value, as JSON; on standard error the block, and who has signed\n  vat read shop price --at-least 120           nothing that is older than block 120\n  vat read shop price --linearizable           nothing that was certified before the question is missing\n  vat read shop price --save price.proof       and what proves it to others: vat verify price.proof VATID\n  vat read 9f…64 digits… price --at alpha.card\n\nNothing is ordered, and no reference is needed: what a vat publishes is for everybody. Exit code 1: nothing is published under\nthe name, or the answers are not what the members have signed. Exit code 3: no answer that is new enough."
)]
pub struct Args {
    /// A vat of the testnet, a sturdyref, or a VatId
    target: String,
    /// The name under which the vat publishes it
    name: String,
    /// The answer must be of this block or a later one
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    at_least: u64,
    /// Ask a threshold of the members, so that the answer misses nothing that was certified before
    #[arg(long)]
    linearizable: bool,
    /// Write what proves the answer to this file, which must not be there
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Seconds to wait, all in all
    #[arg(long, default_value_t = 10)]
    timeout: u64,
    /// A host to ask for the vat's members: its card, or its address with its key, `/ip4/…/tcp/…/p2p/KEY` (may be repeated)
    #[arg(long, value_name = "CARD|MULTIADDR")]
    at: Vec<String>,
    #[command(flatten)]
    dir: DirOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if let Some(file) = args.save.as_ref().filter(|file| file.exists()) {
        let message = format!("--save {}: the file is there already; name another one", file.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let dir = TestnetDir::new(args.dir.dir.clone());
    let (vat, layout) = match args.target.parse::<VatId>() {
        Ok(vat) => (vat, dir.read().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?),
        Err(_) => {
            let (sturdyref, layout) = target_reference(&args.target, &dir)?;
            (sturdyref.vat, layout)
        }
    };
    let memory = memory(&Sturdyref::grantee(vat, ROOT_OBJECT), &dir, layout.is_some());
    let known = memory.as_deref().and_then(|file| Known::read(file, &vat));
    let hosts = hosts_to_ask(layout.as_ref(), &args.at, known.is_some())?;
    let until = Instant::now() + Duration::from_secs(args.timeout);
    let mut reader = Reader::start(vat, &hosts, known, until).await.map_err(unanswered)?;
    let wanted = Freshness { at_least: args.at_least, current: args.linearizable };
    let answer = reader.read(&args.name, wanted, until).await;
    let known = reader.known();
    reader.close().await;
    let answer = answer.map_err(unread)?;
    if let Some(memory) = &memory {
        // Without it the next command asks again who the vat's members are.
        let _ = known.write(memory);
    }
    if let Some(file) = &args.save {
        let introduction = known.introduction;
        let items = vec![Item::Reading(Box::new(answer.reading.clone()))];
        write_new(file, &ProofFile { vats: vec![VatProof { introduction, items }] }.encode())?;
        output::note(format!("the proof is in {}; `vat verify {0} {vat}` checks it", file.display()));
    }
    show(&args, &vat, &answer, json)
}

fn show(args: &Args, vat: &VatId, answer: &ReadAnswer, json: bool) -> Outcome {
    let statement = &answer.reading.certificate.statement;
    let signatures = &answer.reading.certificate.signatures;
    let signers: Vec<String> = signatures.iter().map(|signature| name_of(answer, &signature.key)).collect();
    let result = json!({
        "vat": vat.to_string(), "name": args.name, "found": answer.value.is_some(),
        "value": answer.value.as_ref().map(|value| value.to_json()), "block": statement.block, "epoch": statement.epoch,
        "signers": signers, "linearizable": args.linearizable,
    });
    let Some(value) = &answer.value else {
        let message = format!(
            "nothing is published under the name {:?} after block {} of {}; its code publishes with the endowment `publisher`",
            args.name, statement.block, args.target
        );
        return Err(Failure::new(Exit::Rejected, message).with_result(result));
    };
    if json {
        output::json_line(&result);
    } else {
        output::line(compact(&value.to_json()));
        output::note(format!("after block {}, signed by {}", statement.block, signers.join(", ")));
    }
    Ok(Exit::Success)
}

/// A member's name, or its key where it is a member no longer.
fn name_of(answer: &ReadAnswer, key: &HostId) -> String {
    answer.membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone())
}

fn unread(error: ReadError) -> Failure {
    let exit = match error {
        ReadError::Client(error) => return unanswered(error),
        ReadError::NotProven { .. } => Exit::Rejected,
        ReadError::NotYet { .. } | ReadError::TooFew { .. } | ReadError::Silent(_) => Exit::Unreachable,
    };
    Failure { exit, error: error.into() }
}
