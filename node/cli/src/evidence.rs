//! `vat evidence`: what the hosts here keep of members that contradict one another, as a list or as a file for others.
//!
//! Invariant: what is written to a file was checked as `vat verify` does, so that nobody is shown what does not hold.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, no_such_vat},
    output,
};
use quorate_admin::EvidenceReply;
use quorate_consensus::{EvidenceRecord, HostId, Introduction};
use quorate_protocol::{
    codec,
    proof::{
        CheckError, ProofFile, check,
        file::{FILE_ITEMS, FILE_VATS, Item, VatProof},
    },
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// A piece of evidence, and the hosts that keep it.
struct Piece {
    vat: String,
    item: Item,
    hosts: BTreeSet<String>,
}

/// What the hosts keep.
#[derive(Default)]
struct Collection {
    introductions: BTreeMap<String, Introduction>,
    names: BTreeMap<String, String>,
    /// By vat and encoded item, so that what several hosts keep is there once.
    pieces: BTreeMap<(String, Vec<u8>), Piece>,
    /// Hosts that do not answer.
    silent: Vec<String>,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let mut found = Collection::take(&args).await?;
    if let Some(vat) = &args.vat {
        found.keep_only(vat);
    }
    if let Some(path) = &args.export {
        return export(&found, path, json);
    }
    if json {
        output::json(&found.to_json());
    } else {
        found.show();
    }
    Ok(Exit::Success)
}

impl Collection {
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
            let file: ProofFile = codec::decode(&hex::decode(&reply.evidence)?)?;
            found.names.extend(reply.names);
            file.vats.into_iter().for_each(|vat| found.add(&host.name, vat));
        }
        if found.silent.len() == hosts.len() {
            let names = found.silent.join(", ");
            return Err(Failure::new(
                Exit::Unreachable,
                format!("none of the hosts here runs ({names}); start one first"),
            ));
        }
        let is_known = |vat: &String| found.names.iter().any(|(id, name)| vat == id || vat == name);
        match args.vat.as_ref().filter(|vat| !is_known(vat)) {
            Some(vat) if vat.parse::<quorate_engine::VatId>().is_err() => Err(no_such_vat(vat, &vats)),
            _ => Ok(found),
        }
    }

    fn add(&mut self, host: &str, proof: VatProof) {
        let vat = proof.vat().to_string();
        for item in proof.items {
            let key = (vat.clone(), codec::encode(&item));
            let piece =
                self.pieces.entry(key).or_insert_with(|| Piece { vat: vat.clone(), item, hosts: BTreeSet::new() });
            piece.hosts.insert(host.to_owned());
        }
        // The longest proves the members of most epochs.
        let is_longer =
            self.introductions.get(&vat).is_none_or(|known| known.chain.len() < proof.introduction.chain.len());
        if is_longer {
            self.introductions.insert(vat, proof.introduction);
        }
    }

    fn keep_only(&mut self, wanted: &str) {
        let names = &self.names;
        self.pieces.retain(|_, piece| piece.vat == wanted || names.get(&piece.vat).is_some_and(|name| name == wanted));
        let left: BTreeSet<&String> = self.pieces.values().map(|piece| &piece.vat).collect();
        self.introductions.retain(|vat, _| left.contains(vat));
    }

    fn vat_name<'a>(&'a self, vat: &'a str) -> &'a str {
        self.names.get(vat).map_or(vat, String::as_str)
    }

    fn member_name(&self, vat: &str, key: &HostId) -> String {
        let Some(introduction) = self.introductions.get(vat) else { return key.to_string() };
        let later = introduction.chain.iter().flat_map(|next| &next.membership.members);
        let mut members = introduction.genesis.members.iter().chain(later);
        members
            .find(|member| member.key == *key)
            .map_or_else(|| key.to_string(), |member| member.name.escape_debug().to_string())
    }

    fn show(&self) {
        if self.pieces.is_empty() {
            output::line("no evidence is kept");
        } else {
            let mut table = output::table(["VAT", "KIND", "EPOCH", "BLOCK", "CONVICTS", "WHO SIGNED", "KEPT BY"]);
            for piece in self.pieces.values() {
                let (epoch, block) = place(&piece.item);
                let names = |keys: BTreeSet<HostId>| {
                    let names: Vec<String> = keys.iter().map(|key| self.member_name(&piece.vat, key)).collect();
                    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
                };
                let accused = accused(&piece.item);
                table.add_row([
                    self.vat_name(&piece.vat).to_owned(),
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
        if !self.silent.is_empty() {
            output::note(format!("not asked, since they do not run: {}", self.silent.join(", ")));
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let pieces = self.pieces.values().map(|piece| {
            let (epoch, block) = place(&piece.item);
            let keys = |keys: BTreeSet<HostId>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
            json!({
                "vat": piece.vat, "name": self.names.get(&piece.vat), "kind": piece.item.kind(), "epoch": epoch,
                "block": block, "accused": keys(accused(&piece.item)), "signers": keys(signers(&piece.item)),
                "hosts": piece.hosts,
            })
        });
        json!({ "evidence": pieces.collect::<Vec<_>>(), "hosts_down": self.silent })
    }

    /// The file of all that is kept, as far as it is checkable, and how much of it is not.
    fn to_file(&self) -> (ProofFile, usize) {
        let mut vats: BTreeMap<&String, VatProof> = BTreeMap::new();
        let mut left_out = 0;
        for piece in self.pieces.values() {
            let Some(introduction) = self.introductions.get(&piece.vat) else { continue };
            let alone = VatProof { introduction: introduction.clone(), items: vec![piece.item.clone()] };
            let whole: Result<_, CheckError> = check(&ProofFile { vats: vec![alone] }, None);
            let is_full = vats.len() >= FILE_VATS && !vats.contains_key(&piece.vat);
            if whole.is_err() || is_full {
                left_out += 1;
                continue;
            }
            let vat = vats
                .entry(&piece.vat)
                .or_insert_with(|| VatProof { introduction: introduction.clone(), items: Vec::new() });
            if vat.items.len() >= FILE_ITEMS {
                left_out += 1;
                continue;
            }
            vat.items.push(piece.item.clone());
        }
        (ProofFile { vats: vats.into_values().collect() }, left_out)
    }
}

fn export(found: &Collection, path: &Path, json: bool) -> Outcome {
    if found.pieces.is_empty() {
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

fn place(item: &Item) -> (u64, Option<u64>) {
    let of = |statement: &quorate_consensus::Statement| (statement.epoch, Some(statement.block));
    match item {
        Item::Evidence(record) => record.place(),
        Item::StreamContradiction(pair) => of(&pair.second.certificate.statement),
        Item::Certificate(certificate) => of(&certificate.statement),
        Item::Slice(slice) => of(&slice.slice.certificate.statement),
        Item::Answer(answer) => of(&answer.head.certificate.statement),
        Item::Checkpoint(checkpoint) => of(&checkpoint.certificate.statement),
        Item::Reading(reading) => of(&reading.certificate.statement),
    }
}

fn accused(item: &Item) -> BTreeSet<HostId> {
    match item {
        Item::Evidence(record) => record.accused(),
        _ => BTreeSet::new(),
    }
}

/// Whose signatures are in it.
fn signers(item: &Item) -> BTreeSet<HostId> {
    match item {
        Item::Evidence(record) => match &**record {
            EvidenceRecord::Disagreement(disagreement) => BTreeSet::from([disagreement.theirs.signer()]),
            record => record.accused(),
        },
        _ => BTreeSet::new(),
    }
}
