//! What is asked of hosts when a page wants it: who signed which block, which epochs there were, proofs, evidence, one message's way.
//!
//! What hosts answer here is bounded by what they keep, and each is waited for only so long. What they say of signatures is shown as they
//! say it; what a file of proofs says is checked first.

use crate::look::{HostState, Look, SeenHost};
use futures::future::join_all;
use quorate_admin::{
    EvidenceReply, IntroductionReply, ProofReply,
    evidence::{Collection, accused, place, signers},
};
use quorate_consensus::{HostId, Introduction, Membership};
use quorate_protocol::{
    card::fingerprint,
    codec,
    proof::{Checked, ProofFile, check},
    status::{BlockStatus, CertificatesStatus, WorkStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a host may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Blocks in one answer.
const BLOCKS: usize = 256;

/// Why there is no answer, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No vat of this name or id is here.
    NoSuchVat(String),
    /// No host that could answer does.
    NoAnswer(String),
    /// There is nothing to show.
    Nothing(String),
    /// What was asked for is not understood.
    Wrong(String),
}

/// Blocks with those who signed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedBlocks {
    /// The newest certified block, by any replica.
    pub certified_block: u64,
    /// The oldest one first.
    pub blocks: Vec<SignedBlock>,
}

/// A certified block: what the certificates of all replicas that could be asked say together. Each replica stops counting at the threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedBlock {
    pub block: u64,
    pub epoch: u64,
    pub statement: String,
    pub state_root: Option<String>,
    /// Keys of members.
    pub signers: Vec<String>,
    /// Hosts that keep a certificate of it.
    pub hosts: Vec<String>,
}

/// A membership, and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochView {
    pub epoch: u64,
    pub threshold: u64,
    pub members: Vec<PersonView>,
    /// Hash of the membership: what its makers signed.
    pub hash: String,
    /// Keys of the members of the epoch before that signed it; none for the genesis.
    pub signers: Vec<String>,
    /// How many of them had to.
    pub needed: u64,
    pub members_before: u64,
    /// The block after which order was broken by hand, if this epoch was made by members that were left over.
    pub recovered_after: Option<u64>,
}

/// A host by its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PersonView {
    pub name: String,
    pub key: String,
    pub fingerprint: String,
}

/// What a file of proofs proves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedView {
    pub accused: Vec<String>,
    pub vats: Vec<CheckedVatView>,
}

/// See [`CheckedView`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedVatView {
    pub vat: String,
    pub epoch: u64,
    pub threshold: u64,
    pub members: Vec<PersonView>,
    pub findings: Vec<FindingView>,
}

/// See [`CheckedView`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingView {
    pub kind: String,
    pub proven: Vec<String>,
    pub not_proven: Vec<String>,
    pub accused: Vec<String>,
}

/// What the hosts keep of members that contradict one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EvidenceView {
    pub pieces: Vec<PieceView>,
    /// Hosts that could not be asked.
    pub hosts_down: Vec<String>,
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PieceView {
    pub vat: String,
    pub name: Option<String>,
    pub kind: String,
    pub epoch: u64,
    pub block: Option<u64>,
    /// Members that it convicts.
    pub accused: Vec<PersonView>,
    /// Members whose signatures are in it.
    pub signers: Vec<PersonView>,
    /// Hosts that keep it.
    pub hosts: Vec<String>,
}

/// A vat's latest blocks that said or did something, as the process of one host remembers them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlocksView {
    pub host: String,
    /// The oldest one first.
    pub blocks: Vec<BlockStatus>,
}

/// The way of one message from a vat to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HopView {
    pub from: String,
    pub to: String,
    pub message: u64,
    /// Where it was said; unset if the sender is not here, or its host does not remember.
    pub said: Option<SaidView>,
    /// Where it was taken in; unset if it was not yet, the receiver is not here, or its host does not remember.
    pub taken: Option<TakenView>,
    /// Whether the sender knows that it was taken in.
    pub acknowledged: Option<bool>,
}

/// See [`HopView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaidView {
    pub block: u64,
    pub at_ms: u64,
    /// It may have been said in an earlier block, that is not remembered.
    pub or_before: bool,
    /// Keys of the members that signed the block; none while it is not certified, or the certificate is not kept any more.
    pub signers: Vec<String>,
    pub threshold: u64,
}

/// See [`HopView`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TakenView {
    pub block: u64,
    pub at_ms: u64,
    pub or_before: bool,
    /// What the block did on the sender's account.
    pub work: Option<WorkStatus>,
    /// What the block said: because of this message, or of others that it took in.
    pub sayings: Vec<SayingView>,
}

/// Messages that one block said to one vat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SayingView {
    pub to: String,
    /// Unset if what was said before is not remembered.
    pub first: Option<u64>,
    pub last: u64,
}

/// The hosts that run and carry a vat, which is named by its name or id; and its id.
pub(crate) fn carrying<'a>(look: &'a Look, vat: &str) -> Result<(Vec<&'a SeenHost>, String), Missing> {
    let replica = |host: &SeenHost| {
        let vats = host.status.iter().flat_map(|status| &status.vats);
        vats.clone().find(|replica| replica.vat == vat || replica.name == vat).map(|replica| replica.vat.clone())
    };
    let hosts: Vec<(&SeenHost, String)> = look.hosts.iter().filter_map(|host| Some((host, replica(host)?))).collect();
    if let Some((_, id)) = hosts.first().cloned() {
        return Ok((hosts.into_iter().map(|(host, _)| host).collect(), id));
    }
    if look.expected.iter().any(|(name, id)| name == vat || id == vat) {
        return Err(Missing::NoAnswer(format!("no host of {vat} runs here; `vat status {vat}` says how they stand")));
    }
    Err(Missing::NoSuchVat(format!("no host here that runs carries a vat {vat}; `vat status` lists the vats")))
}

/// Returns what the hosts answer that answer in time.
pub(crate) async fn ask<'a, T: DeserializeOwned>(hosts: &[&'a SeenHost], path: &str) -> Vec<(&'a SeenHost, T)> {
    let asked = hosts.iter().map(|host| async move {
        let answer = tokio::time::timeout(DEADLINE, host.endpoint.get::<T>(path)).await;
        answer.ok()?.ok().map(|answer| (*host, answer))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

pub(crate) fn silent(vat: &str) -> Missing {
    Missing::NoAnswer(format!("no host of {vat} answered in time; `vat status {vat}` says how they stand"))
}

/// Who signed which block after `after`, or of the newest ones.
///
/// # Errors
/// See [`Missing`].
pub async fn signed(look: &Look, vat: &str, after: Option<u64>) -> Result<SignedBlocks, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let answers: Vec<(&SeenHost, CertificatesStatus)> =
        ask(&hosts, &format!("/api/v1/vats/{id}/certificates{after}")).await;
    if answers.is_empty() {
        return Err(silent(vat));
    }
    let answers = answers.into_iter().map(|(host, answer)| (host.name.clone(), answer));
    Ok(merge_certificates(answers))
}

/// Two statements for one block, which members must never certify, are two lines.
fn merge_certificates(answers: impl Iterator<Item = (String, CertificatesStatus)>) -> SignedBlocks {
    let (mut certified_block, mut found) = (0, BTreeMap::new());
    for (host, answer) in answers {
        certified_block = certified_block.max(answer.certified_block);
        for certificate in answer.certificates {
            let key = (certificate.block, certificate.statement.clone());
            let block = found.entry(key).or_insert_with(|| SignedBlock {
                block: certificate.block,
                epoch: certificate.epoch,
                statement: certificate.statement,
                state_root: certificate.state_root,
                signers: Vec::new(),
                hosts: Vec::new(),
            });
            block.signers.extend(certificate.signers);
            block.hosts.push(host.clone());
        }
    }
    let mut blocks: Vec<SignedBlock> = found.into_values().collect();
    for block in &mut blocks {
        block.signers.sort();
        block.signers.dedup();
    }
    blocks.drain(..blocks.len().saturating_sub(BLOCKS));
    SignedBlocks { certified_block, blocks }
}

/// The epochs of a vat, from the genesis on: the longest chain that a host here has, checked.
///
/// # Errors
/// See [`Missing`].
pub async fn epochs(look: &Look, vat: &str) -> Result<Vec<EpochView>, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let answers: Vec<(&SeenHost, IntroductionReply)> = ask(&hosts, &format!("/api/v1/vats/{id}/introduction")).await;
    let decoded = answers.iter().filter_map(|(_, reply)| {
        let bytes = hex::decode(&reply.introduction).ok()?;
        let introduction = codec::decode::<Introduction>(&bytes).ok()?;
        (introduction.vat_id().to_string() == id && introduction.verify().is_ok()).then_some(introduction)
    });
    let longest = decoded.max_by_key(|introduction| introduction.chain.len()).ok_or_else(|| silent(vat))?;
    Ok(epoch_views(&longest))
}

fn epoch_views(introduction: &Introduction) -> Vec<EpochView> {
    let mut before = introduction.genesis.membership();
    let mut views = vec![epoch_view(&before, Vec::new(), None)];
    for next in &introduction.chain {
        let signers = next.signatures.iter().map(|signature| signature.key.to_string()).collect();
        views.push(epoch_view(&next.membership, signers, Some(&before)));
        before = next.membership.clone();
    }
    views
}

fn epoch_view(membership: &Membership, signers: Vec<String>, before: Option<&Membership>) -> EpochView {
    EpochView {
        epoch: membership.epoch,
        threshold: membership.threshold.into(),
        members: membership.members.iter().map(|member| person(member.name.clone(), &member.key)).collect(),
        hash: membership.hash().to_string(),
        signers,
        needed: before.map_or(0, |before| before.threshold.into()),
        members_before: before.map_or(0, |before| before.members.len() as u64),
        recovered_after: membership.recovered.map(|recovered| recovered.block),
    }
}

fn person(name: String, key: &HostId) -> PersonView {
    PersonView { name, key: key.to_string(), fingerprint: fingerprint(key) }
}

/// The newest file that proves what a vat certified: its members, a statement, the root of its state. It was checked.
///
/// What was said to it by other vats is not to be had here: everybody on the machine may read the console, and not messages.
///
/// # Errors
/// See [`Missing`].
pub async fn proof(look: &Look, vat: &str) -> Result<Vec<u8>, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let answers: Vec<(&SeenHost, ProofReply)> = ask(&hosts, &format!("/api/v1/vats/{id}/proof")).await;
    if answers.is_empty() {
        return Err(silent(vat));
    }
    let mut best: Option<(u64, ProofFile)> = None;
    for proof in answers.into_iter().filter_map(|(_, reply)| reply.proof) {
        let Some(file) = hex::decode(&proof).ok().and_then(|bytes| codec::decode::<ProofFile>(&bytes).ok()) else {
            continue;
        };
        // A host's word is not enough to show it to others.
        let Ok(checked) = check(&file, None) else { continue };
        let block = newest_block(&checked);
        if best.as_ref().is_none_or(|(before, _)| *before < block) {
            best = Some((block, file));
        }
    }
    let nothing = || Missing::Nothing(format!("no host here has anything of {vat} that can be proven"));
    best.map(|(_, file)| file.encode()).ok_or_else(nothing)
}

/// The newest block that something was proven of.
fn newest_block(checked: &Checked) -> u64 {
    let findings = checked.vats.iter().flat_map(|vat| &vat.findings);
    findings.filter_map(|finding| finding.values.get("block")?.as_u64()).max().unwrap_or_default()
}

/// Checks the bytes of a file of proofs, as `vat verify` does.
///
/// # Errors
/// It is no such file, or does not hold; in words for a person.
pub fn check_file(bytes: &[u8]) -> Result<CheckedView, String> {
    let file = ProofFile::decode(bytes).map_err(|error| format!("Q-V001 it proves nothing: {error}"))?;
    let refused = |error| format!("Q-V002 it is refused, nothing in it is to be believed: {error}");
    let checked = check(&file, None).map_err(refused)?;
    let keys = |keys: &BTreeSet<HostId>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let accused = keys(&checked.accused());
    let vats = checked.vats.into_iter().map(|vat| CheckedVatView {
        vat: vat.vat.to_string(),
        epoch: vat.membership.epoch,
        threshold: vat.membership.threshold.into(),
        members: vat.membership.members.iter().map(|member| person(member.name.clone(), &member.key)).collect(),
        findings: vat
            .findings
            .into_iter()
            .map(|finding| FindingView {
                kind: finding.kind.to_owned(),
                accused: keys(&finding.accused),
                proven: finding.proven,
                not_proven: finding.not_proven,
            })
            .collect(),
    });
    Ok(CheckedView { accused, vats: vats.collect() })
}

async fn collect(look: &Look) -> (Collection, Vec<String>) {
    let (up, down): (Vec<&SeenHost>, Vec<&SeenHost>) = look.hosts.iter().partition(|host| host.state == HostState::Up);
    let mut silent: BTreeSet<String> = down.into_iter().map(|host| host.name.clone()).collect();
    let answers: Vec<(&SeenHost, EvidenceReply)> = ask(&up, "/api/v1/evidence").await;
    let answered: BTreeSet<&String> = answers.iter().map(|(host, _)| &host.name).collect();
    silent.extend(up.iter().map(|host| &host.name).filter(|name| !answered.contains(name)).cloned());
    let mut found = Collection::default();
    for vat in up.iter().flat_map(|host| host.status.iter().flat_map(|status| &status.vats)) {
        found.names.insert(vat.vat.clone(), vat.name.clone());
    }
    for (host, reply) in answers {
        if found.take(&host.name, reply).is_err() {
            silent.insert(host.name.clone());
        }
    }
    (found, silent.into_iter().collect())
}

/// Returns what all hosts keep as evidence.
pub async fn evidence(look: &Look) -> EvidenceView {
    let (found, hosts_down) = collect(look).await;
    let persons = |vat: &str, keys: BTreeSet<HostId>| {
        keys.iter().map(|key| person(found.member_name(vat, key), key)).collect::<Vec<_>>()
    };
    let pieces = found.pieces().map(|piece| {
        let (epoch, block) = place(&piece.item);
        PieceView {
            vat: piece.vat.clone(),
            name: found.names.get(&piece.vat).cloned(),
            kind: piece.item.kind().to_owned(),
            epoch,
            block,
            accused: persons(&piece.vat, accused(&piece.item)),
            signers: persons(&piece.vat, signers(&piece.item)),
            hosts: piece.hosts.iter().cloned().collect(),
        }
    });
    EvidenceView { pieces: pieces.collect(), hosts_down }
}

/// All of it as a file for others, or what is about one vat.
///
/// # Errors
/// See [`Missing`].
pub async fn evidence_file(look: &Look, vat: Option<&str>) -> Result<Vec<u8>, Missing> {
    let (mut found, _) = collect(look).await;
    if let Some(vat) = vat {
        found.keep_only(vat);
    }
    let (file, _) = found.to_file();
    if file.vats.is_empty() {
        return Err(Missing::Nothing("the hosts here keep no evidence that others could check".to_owned()));
    }
    Ok(file.encode())
}

/// A vat's latest blocks, by the host that remembers up to the newest one.
///
/// # Errors
/// See [`Missing`].
pub async fn blocks(look: &Look, vat: &str) -> Result<BlocksView, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let answers: Vec<(&SeenHost, Vec<BlockStatus>)> = ask(&hosts, &format!("/api/v1/vats/{id}/blocks")).await;
    if answers.is_empty() {
        return Err(silent(vat));
    }
    // One that has started anew remembers little.
    // One that came later has executed the old ones later, too.
    let began = |blocks: &[BlockStatus]| Reverse(blocks.first().map(|block| block.at_ms));
    let rank = |blocks: &[BlockStatus]| (blocks.last().map(|block| block.block), blocks.len(), began(blocks));
    let best = answers.into_iter().max_by_key(|(_, blocks)| rank(blocks));
    let (host, blocks) = best.ok_or_else(|| silent(vat))?;
    Ok(BlocksView { host: host.name.clone(), blocks })
}

/// The way of message number `message` of the stream between two vats, by their ids.
///
/// # Errors
/// Neither of the two is here.
pub async fn hop(look: &Look, from: &str, to: &str, message: u64) -> Result<HopView, Missing> {
    let (sender, receiver) = futures::join!(blocks(look, from), blocks(look, to));
    if let (Err(why), Err(_)) = (&sender, &receiver) {
        return Err(why.clone());
    }
    let mut said = sender.ok().and_then(|sender| said(&sender.blocks, to, message));
    if let Some(said) = &mut said
        && let Ok(signed) = signed(look, from, said.block.checked_sub(1)).await
        && let Some(block) = signed.blocks.into_iter().find(|block| block.block == said.block)
    {
        said.signers = block.signers;
    }
    let status = |vat: &str| {
        let all = look.hosts.iter().filter_map(|host| host.status.as_ref()).flat_map(|status| &status.vats);
        all.filter(|status| status.vat == vat).max_by_key(|status| status.applied_block)
    };
    if let (Some(said), Some(status)) = (&mut said, status(from)) {
        said.threshold = status.threshold.into();
    }
    let stream = status(from).and_then(|status| status.streams.iter().find(|stream| stream.vat == to));
    Ok(HopView {
        from: from.to_owned(),
        to: to.to_owned(),
        message,
        said,
        taken: receiver.ok().and_then(|receiver| taken(&receiver.blocks, from, message)),
        acknowledged: stream.map(|stream| stream.sent.saturating_sub(stream.unacknowledged) >= message),
    })
}

/// The first block with a head for `peer` that has reached `number`; whether an earlier one may have.
fn first_with<'a>(
    blocks: &'a [BlockStatus],
    peer: &str,
    number: u64,
    reached: fn(&quorate_protocol::status::HeadStatus) -> u64,
) -> Option<(&'a BlockStatus, bool)> {
    let mut or_before = true;
    for block in blocks {
        let Some(head) = block.heads.iter().find(|head| head.peer == peer) else { continue };
        if reached(head) >= number {
            return Some((block, or_before && number > 1));
        }
        or_before = false;
    }
    None
}

fn said(blocks: &[BlockStatus], to: &str, message: u64) -> Option<SaidView> {
    let (block, or_before) = first_with(blocks, to, message, |head| head.end)?;
    Some(SaidView { block: block.block, at_ms: block.at_ms, or_before, signers: Vec::new(), threshold: 0 })
}

fn taken(blocks: &[BlockStatus], from: &str, message: u64) -> Option<TakenView> {
    let (block, or_before) = first_with(blocks, from, message, |head| head.ack)?;
    let earlier = || blocks.iter().rev().filter(|other| other.block < block.block);
    let end_before = |peer: &str| {
        let heads = earlier().flat_map(|block| &block.heads);
        heads.filter(|head| head.peer == peer).map(|head| head.end).next()
    };
    let sayings = block.heads.iter().filter_map(|head| {
        let before = end_before(&head.peer);
        // Where the head is only there to say what was taken in.
        let is_new = before.map_or(head.end > 0, |before| head.end > before);
        is_new.then(|| SayingView {
            to: head.peer.clone(),
            first: before.map(|before| before + 1).or((head.end == 1).then_some(1)),
            last: head.end,
        })
    });
    Some(TakenView {
        block: block.block,
        at_ms: block.at_ms,
        or_before,
        work: block.work.iter().find(|work| work.account == from).cloned(),
        sayings: sayings.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::status::{CertificateStatus, HeadStatus};

    fn certificate(block: u64, statement: &str, signers: &[&str]) -> CertificateStatus {
        let signers = signers.iter().map(|signer| (*signer).to_owned()).collect();
        CertificateStatus { block, epoch: 0, statement: statement.to_owned(), state_root: None, signers }
    }

    #[test]
    fn signatures_of_all_replicas_are_counted_once_and_a_contradiction_is_not_hidden() {
        let answers = [
            ("a", vec![certificate(1, "s", &["x", "y"]), certificate(2, "t", &["x", "y"])]),
            ("b", vec![certificate(1, "s", &["y", "z"]), certificate(2, "other", &["z"])]),
        ];
        let answers = answers.map(|(host, certificates)| {
            let newest = certificates.len() as u64;
            (host.to_owned(), CertificatesStatus { certified_block: newest, certificates })
        });
        let merged = merge_certificates(answers.into_iter());
        assert_eq!(merged.certified_block, 2);
        let shown: Vec<(u64, usize, usize)> =
            merged.blocks.iter().map(|block| (block.block, block.signers.len(), block.hosts.len())).collect();
        assert_eq!(shown, [(1, 3, 2), (2, 1, 1), (2, 2, 1)]);
    }

    fn block(block: u64, heads: &[(&str, u64, u64)]) -> BlockStatus {
        let head = |(peer, end, ack): &(&str, u64, u64)| HeadStatus { peer: (*peer).to_owned(), end: *end, ack: *ack };
        BlockStatus { block, at_ms: block, heads: heads.iter().map(head).collect(), work: Vec::new() }
    }

    #[test]
    fn a_message_is_found_where_it_was_said_and_taken_in_and_what_came_of_it() {
        let sender = [block(3, &[("b", 2, 0)]), block(5, &[("c", 9, 0)]), block(7, &[("b", 4, 1)])];
        assert_eq!(said(&sender, "b", 3).map(|said| (said.block, said.or_before)), Some((7, false)));
        assert_eq!(said(&sender, "b", 2).map(|said| (said.block, said.or_before)), Some((3, true)));
        assert_eq!(said(&sender, "b", 1).map(|said| (said.block, said.or_before)), Some((3, false)));
        assert_eq!(said(&sender, "b", 5), None);
        let receiver =
            [block(1, &[("c", 1, 0)]), block(2, &[("a", 0, 2)]), block(4, &[("a", 1, 4), ("c", 3, 0), ("d", 7, 0)])];
        let found = taken(&receiver, "a", 3).expect("it was taken in");
        assert_eq!((found.block, found.or_before), (4, false));
        let said: Vec<(&str, Option<u64>, u64)> =
            found.sayings.iter().map(|saying| (saying.to.as_str(), saying.first, saying.last)).collect();
        // What was said to d before is not remembered.
        assert_eq!(said, [("a", Some(1), 1), ("c", Some(2), 3), ("d", None, 7)]);
        assert!(taken(&receiver, "a", 2).expect("taken in").sayings.is_empty());
        assert_eq!(taken(&receiver, "a", 5), None);
    }
}
