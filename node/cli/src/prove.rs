//! `vat prove`: writes a vat's certificate, or another vat's latest slice to it, to a file for people who run nothing.

use super::{Exit, Failure, Outcome, evidence::write_new, hosts::HostsOption, output};
use quorate_admin::ProofReply;
use quorate_engine::VatId;
use quorate_protocol::{
    codec,
    names::check_name,
    proof::{Checked, ProofFile, check},
};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat prove counter counter.proof                who its members are, what they certified last, the root of its state\n  vat prove counter said.proof --from purse      what vat purse said to counter last\n\nWhoever knows the VatId checks the file: `vat verify FILE VATID`. Exit code 1: nothing can be proven now."
)]
pub struct Args {
    /// The vat, whose members run here
    vat: String,
    /// The file, which must not be there
    file: PathBuf,
    /// Instead: what this vat said to it last, by its name or VatId
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let query = match &args.from {
        None => String::new(),
        Some(peer) => {
            let is_id = peer.parse::<VatId>().is_ok();
            if !is_id && let Err((problem, fix)) = check_name(peer) {
                let message = format!("--from takes a VatId or the name of a vat: {problem}; {fix}");
                return Err(Failure::new(Exit::Usage, message));
            }
            format!("?from={peer}")
        }
    };
    let mut best: Option<(u64, ProofFile)> = None;
    for (host, status) in args.hosts.carrying(&args.vat).await? {
        let reply: ProofReply = host.endpoint.get(&format!("/api/v1/vats/{}/proof{query}", status.vat)).await?;
        let Some(proof) = reply.proof else { continue };
        let file: ProofFile = codec::decode(&hex::decode(&proof)?)?;
        // A host's word is not enough to show it to others.
        let Ok(checked) = check(&file, None) else { continue };
        let block = newest_block(&checked);
        if best.as_ref().is_none_or(|(before, _)| *before < block) {
            best = Some((block, file));
        }
    }
    let Some((block, file)) = best else { return Err(nothing(&args)) };
    let vat = file.vats.first().map(|proof| proof.vat().to_string()).unwrap_or_default();
    write_new(&args.file, &file.encode())?;
    if json {
        output::json(&json!({ "file": args.file, "vat": vat, "block": block }));
    } else {
        output::line(args.file.display());
        output::note(format!(
            "it is about vat {vat}, block {block}; `vat verify {} {vat}` checks it",
            args.file.display()
        ));
    }
    Ok(Exit::Success)
}

/// The newest block that something was proven of.
fn newest_block(checked: &Checked) -> u64 {
    let findings = checked.vats.iter().flat_map(|vat| &vat.findings);
    findings.filter_map(|finding| finding.values.get("block")?.as_u64()).max().unwrap_or_default()
}

fn nothing(args: &Args) -> Failure {
    let message = match &args.from {
        None => format!("no host here has anything of {} that can be proven; see `vat status {0}`", args.vat),
        Some(peer) => format!(
            "no host here can prove what {peer} said to {}: it said nothing since the hosts started, or more at once than they keep, or its members are not known here",
            args.vat
        ),
    };
    Failure::new(Exit::Rejected, message)
}
