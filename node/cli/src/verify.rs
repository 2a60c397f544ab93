//! `vat verify`: checks a file of proofs offline, for people who run nothing and know a VatId.

use super::{Exit, Failure, Outcome, inspect::VatFile, output};
use quorate_engine::VatId;
use quorate_protocol::{
    card::{Card, fingerprint},
    proof::{
        Checked, FileError, Finding, ProofFile,
        check::{CheckError, CheckedVat},
        file::{FILE_BYTES, VatProof},
    },
    sturdyref::Sturdyref,
};
use serde_json::{Value as Json, json};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat verify evidence.proof                  what the file proves, and about which vat\n  vat verify answer.proof 9f…                the same, if it is about this vat and no other\n  vat verify purse.vat                       who a vat's members are, by its vat file\n\nNothing is asked of any host. Exit code 0: everything in the file holds. Exit code 1: something does not, and nothing in the\nfile is to be believed. Exit code 2: it is no file of proofs.\nCompare the VatId that is printed with the one that you were told by another way."
)]
pub struct Args {
    /// A file that `vat evidence --export`, `vat call --proof`, `vat read --save` or `vat prove` made, a vat file, or a host's card
    file: PathBuf,
    /// The vat that it must be about: a VatId or a sturdyref
    #[arg(value_name = "VATID")]
    vat: Option<String>,
}

pub fn run(args: &Args, json: bool) -> Outcome {
    let wanted = args.vat.as_deref().map(vat_id).transpose()?;
    let bytes = read(&args.file)?;
    if ProofFile::is_one(&bytes) {
        let file = ProofFile::decode(&bytes).map_err(|error| unreadable(&args.file, &error))?;
        let checked =
            quorate_protocol::proof::check(&file, wanted.as_ref()).map_err(|error| refused(&args.file, &error))?;
        show(&checked, json);
        return Ok(Exit::Success);
    }
    let text = String::from_utf8(bytes).ok().filter(|text| text.trim_start().starts_with('{'));
    let Some(text) = text else { return Err(unreadable(&args.file, &FileError::Other)) };
    verify_text(&args.file, &text, wanted.as_ref(), json)
}

fn vat_id(text: &str) -> Result<VatId, Failure> {
    let named = if text.starts_with("vat://") {
        text.parse::<Sturdyref>().ok().map(|found| found.vat)
    } else {
        text.parse().ok()
    };
    named.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} is neither a VatId (64 hex digits) nor a sturdyref"))
    })
}

/// Reads a file that is not larger than any file of proofs.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let file = fs::File::open(path).map_err(|error| usage(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| usage(error.to_string()))?;
    Ok(bytes)
}

/// A file that is no file of proofs is the wrong file; one that was damaged proves nothing.
fn unreadable(path: &Path, error: &FileError) -> Failure {
    let exit = match error {
        FileError::Other | FileError::Version(_) => Exit::Usage,
        _ => Exit::Rejected,
    };
    Failure::new(exit, format!("Q-V001 {} proves nothing: {error}", path.display()))
}

fn refused(path: &Path, error: &CheckError) -> Failure {
    Failure::new(
        Exit::Rejected,
        format!("Q-V002 {} is refused, nothing in it is to be believed: {error}", path.display()),
    )
}

/// Cards and vat files, which are JSON.
fn verify_text(path: &Path, text: &str, wanted: Option<&VatId>, json: bool) -> Outcome {
    let refused = |why: String| Failure::new(Exit::Rejected, format!("Q-V002 {} is refused: {why}", path.display()));
    let Ok(content) = serde_json::from_str::<Json>(text) else { return Err(unreadable(path, &FileError::Other)) };
    if content.get("provision").is_some() {
        let vat = VatFile::parse(text).map_err(refused)?;
        let introduction = vat.introduction().clone();
        let file = ProofFile { vats: vec![VatProof { introduction, items: Vec::new() }] };
        let mut checked = quorate_protocol::proof::check(&file, wanted).map_err(|error| self::refused(path, &error))?;
        let rest =
            "what else the file says: the vat's name and code, and what it says of other vats; `vat inspect` shows it";
        let finding = Finding { kind: "vat-file", not_proven: vec![rest.to_owned()], ..Finding::default() };
        checked.vats.iter_mut().for_each(|vat| vat.findings.push(finding.clone()));
        show(&checked, json);
        return Ok(Exit::Success);
    }
    if content.get("key").is_none() {
        return Err(unreadable(path, &FileError::Other));
    }
    let card = Card::read(text).map_err(|error| refused(error.to_string()))?;
    let member = card.verify().map_err(|error| refused(error.to_string()))?;
    if let Some(wanted) = wanted {
        let found = format!("host {}, and no vat", member.name);
        return Err(self::refused(path, &CheckError::OtherVat { found, wanted: *wanted }));
    }
    let print = fingerprint(&member.key);
    if json {
        output::json(&json!({
            "proven": true, "kind": "card", "name": member.name, "key": member.key.to_string(), "fingerprint": print,
            "accused": [], "vats": [],
        }));
    } else {
        output::line(format!("proven: the holder of key {} signed this card of host {}", member.key, member.name));
        output::line(format!("not proven: whose host that is; compare the fingerprint by another way: {print}"));
    }
    Ok(Exit::Success)
}

fn show(checked: &Checked, json: bool) {
    if json {
        let vats: Vec<Json> = checked.vats.iter().map(vat_json).collect();
        let accused: Vec<String> = checked.accused().iter().map(ToString::to_string).collect();
        return output::json(&json!({ "proven": true, "accused": accused, "vats": vats }));
    }
    for vat in &checked.vats {
        show_vat(vat);
    }
    if checked.accused().is_empty() {
        output::line("no member is accused");
    }
}

fn show_vat(vat: &CheckedVat) {
    output::line(format!("vat {}", vat.vat));
    let members = &vat.membership;
    let names: Vec<String> = members
        .members
        .iter()
        .map(|member| format!("{} {}", member.name.escape_debug(), fingerprint(&member.key)))
        .collect();
    output::line(format!(
        "proven: its members in epoch {} are {}; {} of them must sign",
        members.epoch,
        names.join(", "),
        members.threshold
    ));
    output::line("not proven: that no later epoch has begun");
    for finding in &vat.findings {
        output::line(format!("\n{}", finding.kind));
        finding.proven.iter().for_each(|text| output::line(format!("proven: {text}")));
        finding.not_proven.iter().for_each(|text| output::line(format!("not proven: {text}")));
        finding.accused.iter().for_each(|key| output::line(format!("accused: {key} {}", fingerprint(key))));
    }
}

fn vat_json(vat: &CheckedVat) -> Json {
    let members = vat.membership.members.iter();
    let members: Vec<Json> = members
        .map(|member| {
            json!({ "name": member.name, "key": member.key.to_string(), "fingerprint": fingerprint(&member.key) })
        })
        .collect();
    json!({
        "vat": vat.vat.to_string(), "epoch": vat.membership.epoch, "threshold": vat.membership.threshold,
        "members": members, "findings": vat.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding) -> Json {
    let accused: Vec<String> = finding.accused.iter().map(ToString::to_string).collect();
    json!({
        "kind": finding.kind, "proven": finding.proven, "not_proven": finding.not_proven, "accused": accused,
        "values": finding.values,
    })
}
