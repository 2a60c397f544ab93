//! `vat evidence`: what the hosts here keep of members that contradict one another, as a list or as a file for others.
//!
//! What hosts keep is collected by [`quorate_admin::evidence`], for the console as well.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, no_such_vat},
    output,
};
use quorate_admin::{
    EvidenceReply,
    evidence::{Collection, accused, place, signers},
};
use quorate_consensus::HostId;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat evidence                             what the hosts of the testnet in ./quorate-testnet keep\n  vat evidence counter --export FILE       write it to a file for others, who check it with `vat verify FILE`\n  vat evidence --home HOME                 what one host keeps\n\nAn equivocation convicts a member: it signed two things of which it may sign one. A disagreement and a divergence accuse\nnobody: a member signed something else than a replica computed, and either may have been shown another log.\nExit code 0, also where nothing is kept."
)]
pub struct Args {
    /// Only what is about this vat, by its name or VatId
    vat: Option<String>,
    /// Write it to this file, which must not be there
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let mut found = take(&args).await?;
    if let Some(vat) = &args.vat {
        found.keep_only(vat);
    }
    if let Some(path) = &args.export {
        return export(&found, path, json);
    }
    if json {
        output::json(&found.to_json());
    } else {
        show(&found);
    }
    Ok(Exit::Success)
}

async fn take(args: &Args) -> Result<Collection, Failure> {
    let hosts = args.hosts.all().await?;
    let mut found = Collection::default();
    let mut vats = BTreeSet::new();
    for host in &hosts {
        let Some(status) = &host.status else {
            found.silent.push(host.name.clone());
            continue;
        };
        for vat in &status.vats {
            found.names.insert(vat.vat.clone(), vat.name.clone());
            vats.insert(vat.name.clone());
        }
        let reply: EvidenceReply = host.endpoint.get("/api/v1/evidence").await?;
        found.take(&host.name, reply)?;
    }
    if found.silent.len() == hosts.len() {
        let names = found.silent.join(", ");
        return Err(Failure::new(Exit::Unreachable, format!("none of the hosts here runs ({names}); start one first")));
    }
    let is_known = |vat: &String| found.names.iter().any(|(id, name)| vat == id || vat == name);
    match args.vat.as_ref().filter(|vat| !is_known(vat)) {
        Some(vat) if vat.parse::<quorate_engine::VatId>().is_err() => Err(no_such_vat(vat, &vats)),
        _ => Ok(found),
    }
}

fn show(found: &Collection) {
    if found.pieces().next().is_none() {
        output::line("no evidence is kept");
    } else {
        let mut table = output::table(["VAT", "KIND", "EPOCH", "BLOCK", "CONVICTS", "WHO SIGNED", "KEPT BY"]);
        for piece in found.pieces() {
            let (epoch, block) = place(&piece.item);
            let names = |keys: BTreeSet<HostId>| {
                let names: Vec<String> = keys.iter().map(|key| found.member_name(&piece.vat, key)).collect();
                if names.is_empty() { "-".to_owned() } else { names.join(", ") }
            };
            let accused = accused(&piece.item);
            table.add_row([
                found.vat_name(&piece.vat).to_owned(),
                piece.item.kind().to_owned(),
                epoch.to_string(),
                block.map_or("-".to_owned(), |block| block.to_string()),
                if accused.is_empty() { "nobody".to_owned() } else { names(accused) },
                names(signers(&piece.item)),
                piece.hosts.iter().cloned().collect::<Vec<_>>().join(", "),
            ]);
        }
        output::line(table);
        output::note("`vat evidence --export FILE` writes it to a file that others can check: `vat verify FILE`");
    }
    if !found.silent.is_empty() {
        output::note(format!("not asked, since they do not run: {}", found.silent.join(", ")));
    }
}

fn export(found: &Collection, path: &Path, json: bool) -> Outcome {
    if found.pieces().next().is_none() {
        let message = "there is no evidence to export: the hosts here keep none of what was asked for";
        return Err(Failure::new(Exit::Rejected, message));
    }
    let (file, left_out) = found.to_file();
    let items: usize = file.vats.iter().map(|vat| vat.items.len()).sum();
    write_new(path, &file.encode())?;
    if json {
        output::json(&json!({ "file": path, "items": items, "left_out": left_out }));
    } else {
        output::line(path.display());
        output::note(format!("{items} pieces of evidence; others check the file with `vat verify FILE`"));
    }
    if left_out > 0 {
        output::note(format!(
            "{left_out} pieces were left out: the members of their epochs are not known here, or there are too many"
        ));
    }
    Ok(Exit::Success)
}

/// Writes a file that is not there yet.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let opened = fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::AlreadyExists { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, format!("{} could not be written: {error}; name another file", path.display()))
    })
}
