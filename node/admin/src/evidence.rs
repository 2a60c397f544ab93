//! Merges the evidence that several hosts keep of members that contradict one another.
//!
//! Invariant: an exported file was checked as `vat verify` does, so it holds.

use crate::{EvidenceReply, client::ApiClientError};
use quorate_proof::{EvidenceRecord, HostId, Introduction};
use quorate_protocol::{
    codec,
    proof::{
        CheckError, ProofFile, check,
        file::{FILE_ITEMS, FILE_VATS, Item, VatProof},
    },
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A piece of evidence, and the hosts that keep it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The vat's id.
    pub vat: String,
    pub item: Item,
    pub hosts: BTreeSet<String>,
}

/// What the hosts keep.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// The members of each vat, by the longest chain that a host has.
    introductions: BTreeMap<String, Introduction>,
    /// Names of vats, by their ids.
    pub names: BTreeMap<String, String>,
    /// By vat and encoded item, so that what several hosts keep is there once.
    pieces: BTreeMap<(String, Vec<u8>), Piece>,
    /// Hosts that do not answer.
    pub silent: Vec<String>,
}

impl Collection {
    /// All pieces, in the order of their vats.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.values()
    }

    /// Adds what a host answered.
    ///
    /// # Errors
    /// The answer does not decode.
    pub fn take(&mut self, host: &str, reply: EvidenceReply) -> Result<(), ApiClientError> {
        let wrong = |error: &dyn std::fmt::Display| ApiClientError::Answer(error.to_string());
        let bytes = hex::decode(&reply.evidence).map_err(|error| wrong(&error))?;
        let file: ProofFile = codec::decode(&bytes).map_err(|error| wrong(&error))?;
        self.names.extend(reply.names);
        file.vats.into_iter().for_each(|vat| self.add(host, vat));
        Ok(())
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

    /// Leaves out what is about other vats than this one, by its name or id.
    pub fn keep_only(&mut self, wanted: &str) {
        let names = &self.names;
        self.pieces.retain(|_, piece| piece.vat == wanted || names.get(&piece.vat).is_some_and(|name| name == wanted));
        let left: BTreeSet<&String> = self.pieces.values().map(|piece| &piece.vat).collect();
        self.introductions.retain(|vat, _| left.contains(vat));
    }

    /// A vat as people know it.
    pub fn vat_name<'a>(&'a self, vat: &'a str) -> &'a str {
        self.names.get(vat).map_or(vat, String::as_str)
    }

    /// A member as people know it; its key, if it is not known.
    pub fn member_name(&self, vat: &str, key: &HostId) -> String {
        let Some(introduction) = self.introductions.get(vat) else { return key.to_string() };
        let later = introduction.chain.iter().flat_map(|next| &next.membership.members);
        let mut members = introduction.genesis.members.iter().chain(later);
        members
            .find(|member| member.key == *key)
            .map_or_else(|| key.to_string(), |member| member.name.escape_debug().to_string())
    }

    /// Returns what is kept, for programs.
    pub fn to_json(&self) -> serde_json::Value {
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
    pub fn to_file(&self) -> (ProofFile, usize) {
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

/// The epoch and block that an item is about.
pub fn place(item: &Item) -> (u64, Option<u64>) {
    let of = |statement: &quorate_proof::Statement| (statement.epoch, Some(statement.block));
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

/// Members that it convicts.
pub fn accused(item: &Item) -> BTreeSet<HostId> {
    match item {
        Item::Evidence(record) => record.accused(),
        _ => BTreeSet::new(),
    }
}

/// Whose signatures are in it.
pub fn signers(item: &Item) -> BTreeSet<HostId> {
    match item {
        Item::Evidence(record) => match &**record {
            EvidenceRecord::Disagreement(disagreement) => BTreeSet::from([disagreement.theirs.signer()]),
            record => record.accused(),
        },
        _ => BTreeSet::new(),
    }
}
