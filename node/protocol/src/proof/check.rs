//! Checks a file of proofs offline, from VatIds and signatures alone, and draws conclusions.
//!
//! Invariants: everything in a file holds, or the whole file is refused with the first item that does not. A finding states what is
//! proven, what is not, and which members it accuses. Lawful signatures accuse nobody. The number of checked signatures is bounded.

use super::{
    file::{AnswerProof, CertifiedHead, CheckpointProof, Item, ProofFile, ProvenMessage, ProvenSlice, VatProof},
    words::{describe, describe_call, shown, shown_value},
};
use crate::{evidence::path_leads_to, published::Reading, recovered::recovery_words};
use quorate_ids::{Hash, VatId};
use quorate_proof::{
    Certificate, Contradiction, Divergence, Equivocation, EvidenceRecord, Exclusive, HostId, Introduction, Membership,
    OrderEvidence, Signed, Signers, checkpoint_root,
};
use quorate_streams::{
    stream::{message_digest, next_hash},
    wire::{Op, Side, WireRef, WireResolution},
};
use std::collections::{BTreeMap, BTreeSet};

/// Signatures that are checked of one file at most: a few seconds' work.
pub const FILE_SIGNATURES: usize = 65_536;

/// Why a file proves nothing. The text says which part, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("it holds no vat, so there is nothing to prove")]
    Empty,
    #[error("it is about {found}, not about {wanted}")]
    OtherVat { found: String, wanted: VatId },
    #[error("it holds over {FILE_SIGNATURES} signatures, more than are checked at once")]
    TooMany,
    #[error("the members of vat {vat} are not proven: {why}")]
    Introduction { vat: VatId, why: String },
    #[error("{what}: {why}")]
    Item { what: String, why: String },
}

/// What a file proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub vats: Vec<CheckedVat>,
}

/// What it proves of one vat.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedVat {
    pub vat: VatId,
    /// The newest membership that the file proves.
    pub membership: Membership,
    pub findings: Vec<Finding>,
}

/// What one item proves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// One word for the kind, as in JSON.
    pub kind: &'static str,
    /// What is proven, a sentence each.
    pub proven: Vec<String>,
    /// What one might believe to be proven and is not.
    pub not_proven: Vec<String>,
    /// Members that are proven to have broken the rules.
    pub accused: BTreeSet<HostId>,
    /// Values for programs.
    pub values: serde_json::Map<String, serde_json::Value>,
}

impl Checked {
    /// All members that are proven to have broken the rules.
    pub fn accused(&self) -> BTreeSet<HostId> {
        self.vats.iter().flat_map(|vat| &vat.findings).flat_map(|finding| finding.accused.iter().copied()).collect()
    }
}

/// Checks a file. With `wanted`, it must be about that vat and no other.
///
/// # Errors
/// The first thing that does not hold.
pub fn check(file: &ProofFile, wanted: Option<&VatId>) -> Result<Checked, CheckError> {
    if file.vats.is_empty() {
        return Err(CheckError::Empty);
    }
    if let Some(wanted) = wanted
        && let Some(other) = file.vats.iter().map(VatProof::vat).find(|vat| vat != wanted)
    {
        return Err(CheckError::OtherVat { found: format!("vat {other}"), wanted: *wanted });
    }
    if file.vats.iter().map(VatProof::signatures).sum::<usize>() > FILE_SIGNATURES {
        return Err(CheckError::TooMany);
    }
    Ok(Checked { vats: file.vats.iter().map(check_vat).collect::<Result<_, _>>()? })
}

fn check_vat(proof: &VatProof) -> Result<CheckedVat, CheckError> {
    let vat = proof.vat();
    let members = Members::of(&proof.introduction).map_err(|why| CheckError::Introduction { vat, why })?;
    let mut findings: Vec<Finding> = recovery_words(&proof.introduction).into_iter().map(recovered).collect();
    for (index, item) in proof.items.iter().enumerate() {
        let finding = check_item(item, &members).map_err(|why| CheckError::Item {
            what: format!("item {} of vat {vat}, {}", index + 1, item.kind()),
            why,
        })?;
        findings.push(finding);
    }
    Ok(CheckedVat { vat, membership: members.newest, findings })
}

/// Returns what is to be known of an epoch that members who were left over made.
fn recovered(words: String) -> Finding {
    Finding {
        kind: "recovery",
        proven: vec![words],
        not_proven: vec![
            "that the others were lost, and that nothing is lost which the vat had certified before: it is the word of those who signed that".into(),
        ],
        ..Finding::default()
    }
}

impl VatProof {
    /// The vat that it speaks of, by its genesis.
    pub fn vat(&self) -> VatId {
        VatId(self.introduction.genesis.vat_id().0)
    }

    /// Returns how many signatures are in it.
    fn signatures(&self) -> usize {
        let chain: usize = self.introduction.chain.iter().map(|next| next.signatures.len()).sum();
        chain + self.items.iter().map(Item::signatures).sum::<usize>()
    }
}

impl Item {
    /// One word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::Evidence(record) => record.kind(),
            Item::StreamContradiction(_) => "stream-contradiction",
            Item::Certificate(_) => "certificate",
            Item::Slice(_) => "slice",
            Item::Answer(_) => "answer",
            Item::Checkpoint(_) => "checkpoint",
            Item::Reading(_) => "reading",
        }
    }

    fn signatures(&self) -> usize {
        match self {
            Item::Evidence(record) => match &**record {
                EvidenceRecord::Equivocation(_)
                | EvidenceRecord::MembershipEquivocation(_)
                | EvidenceRecord::Order(_) => 2,
                EvidenceRecord::Disagreement(_) => 1,
                EvidenceRecord::Contradiction(pair) => pair.first.signatures.len() + pair.second.signatures.len(),
                EvidenceRecord::Divergence(
                    Divergence::Statement { certificate, .. } | Divergence::Signed { certificate, .. },
                ) => certificate.signatures.len(),
                EvidenceRecord::Divergence(Divergence::Membership { certificate, .. }) => certificate.signatures.len(),
            },
            Item::StreamContradiction(pair) => {
                pair.first.certificate.signatures.len() + pair.second.certificate.signatures.len()
            }
            Item::Certificate(certificate) => certificate.signatures.len(),
            Item::Slice(slice) => slice.slice.certificate.signatures.len(),
            Item::Answer(answer) => answer.head.certificate.signatures.len(),
            Item::Checkpoint(checkpoint) => checkpoint.certificate.signatures.len(),
            Item::Reading(reading) => reading.certificate.signatures.len(),
        }
    }
}

/// The signers of a vat in each proven epoch.
struct Members {
    vat: quorate_proof::VatId,
    by_epoch: BTreeMap<u64, Signers>,
    names: BTreeMap<HostId, String>,
    newest: Membership,
}

impl Members {
    fn of(introduction: &Introduction) -> Result<Members, String> {
        let newest = introduction.verify().map_err(|error| error.to_string())?;
        let later = introduction.chain.iter().map(|next| next.membership.clone());
        let (mut by_epoch, mut names) = (BTreeMap::new(), BTreeMap::new());
        for membership in std::iter::once(introduction.genesis.membership()).chain(later) {
            names.extend(membership.members.iter().map(|member| (member.key, member.name.clone())));
            by_epoch.insert(membership.epoch, Signers::from(&membership));
        }
        Ok(Members { vat: introduction.genesis.vat_id(), by_epoch, names, newest })
    }

    fn signers(&self, epoch: u64) -> Result<&Signers, String> {
        let missing = || format!("the file does not prove who the members were in epoch {epoch}");
        self.by_epoch.get(&epoch).ok_or_else(missing)
    }

    fn certificate(&self, certificate: &Certificate) -> Result<&Signers, String> {
        let signers = self.signers(certificate.statement.epoch)?;
        signers.verify_certificate(certificate).map_err(|error| format!("its certificate is not good: {error}"))?;
        Ok(signers)
    }

    /// A member as people know it.
    fn name(&self, key: &HostId) -> String {
        match self.names.get(key) {
            Some(name) if !name.is_empty() => format!("{} ({key})", shown(name)),
            _ => key.to_string(),
        }
    }

    fn list(&self, keys: impl IntoIterator<Item = HostId>) -> String {
        keys.into_iter().map(|key| self.name(&key)).collect::<Vec<_>>().join(", ")
    }
}

fn check_item(item: &Item, members: &Members) -> Result<Finding, String> {
    let mut finding = match item {
        Item::Evidence(record) => check_record(record, members)?,
        Item::StreamContradiction(pair) => {
            check_head(&pair.first, members)?;
            check_head(&pair.second, members)?;
            let why = pair.first.contradicts(&pair.second).ok_or("the two heads do not contradict each other")?;
            let [one, other] = [&pair.first, &pair.second].map(|head| head.certificate.statement.block);
            Finding {
                proven: vec![format!(
                    "the vat certified two heads of its stream to vat {} that contradict each other, in blocks {one} and {other}: {why}. \
                     More members lied, or lost what they had signed, than its threshold allows for",
                    pair.first.head.peer
                )],
                not_proven: vec!["which of the members did it, where nobody signed both for one block".into()],
                ..Finding::default()
            }
        }
        Item::Certificate(certificate) => check_certificate(certificate, members)?,
        Item::Slice(slice) => check_slice(slice, members)?,
        Item::Answer(answer) => check_answer(answer, members)?,
        Item::Checkpoint(checkpoint) => check_checkpoint(checkpoint, members)?,
        Item::Reading(reading) => check_reading(reading, members)?,
    };
    finding.kind = item.kind();
    Ok(finding)
}

fn check_record(record: &EvidenceRecord, members: &Members) -> Result<Finding, String> {
    match record {
        EvidenceRecord::Equivocation(pair) => {
            let what = format!(
                "two different statements for block {} of epoch {}",
                pair.first.content.block, pair.first.content.epoch
            );
            check_pair(pair, &what, members)
        }
        EvidenceRecord::MembershipEquivocation(pair) => {
            let what = format!("two different memberships for epoch {}", pair.first.content.epoch);
            check_pair(pair, &what, members)
        }
        EvidenceRecord::Contradiction(pair) => check_contradiction(pair, members),
        EvidenceRecord::Order(order) => check_order(order, members),
        EvidenceRecord::Disagreement(disagreement) => {
            let theirs = &disagreement.theirs;
            check_signed(theirs, members)?;
            let (block, name) = (theirs.content.block, members.name(&theirs.signer()));
            if disagreement.own.vat != theirs.content.vat
                || disagreement.own.block != block
                || disagreement.own == theirs.content
            {
                return Err("the two statements are of different blocks, or the same".into());
            }
            Ok(Finding {
                proven: vec![format!("{name} signed a statement for block {block}, {}", theirs.content.hash())],
                not_proven: vec![format!(
                    "that {name} did anything wrong: another result of a replica proves nothing against it. The leader may have shown it another log"
                )],
                ..Finding::default()
            })
        }
        EvidenceRecord::Divergence(Divergence::Statement { certificate, own }) => {
            let mut finding = check_certificate(certificate, members)?;
            if own.vat != certificate.statement.vat || *own == certificate.statement {
                return Err("what was certified and what was computed are the same, or of different vats".into());
            }
            finding.not_proven.push(format!(
                "what the replica computed that stopped: it says {}, and nobody signed that",
                own.hash()
            ));
            Ok(finding)
        }
        EvidenceRecord::Divergence(Divergence::Signed { certificate, signed }) => {
            let mut finding = check_certificate(certificate, members)?;
            if certificate.statement.hash() == *signed {
                return Err("what was certified and what the replica had signed are the same".into());
            }
            finding.not_proven.push(format!(
                "what the replica had signed that stopped: it says {signed}, and its signature is not here"
            ));
            Ok(finding)
        }
        EvidenceRecord::Divergence(Divergence::Membership { certificate, own }) => {
            let epoch = certificate.membership.epoch;
            let before = members.signers(epoch.checked_sub(1).ok_or("epoch 0 is the genesis'")?)?;
            before.verify_membership(certificate).map_err(|error| error.to_string())?;
            if *own == certificate.membership {
                return Err("what was certified and what was computed are the same".into());
            }
            Ok(Finding {
                proven: vec![format!(
                    "the membership {} was certified for epoch {epoch}",
                    certificate.membership.hash()
                )],
                not_proven: vec![format!(
                    "what the replica computed that stopped: it says {}, and nobody signed that",
                    own.hash()
                )],
                ..Finding::default()
            })
        }
    }
}

fn check_pair<T: Exclusive>(pair: &Equivocation<T>, what: &str, members: &Members) -> Result<Finding, String> {
    let epoch = pair.first.content.signing_epoch().ok_or("nobody signs that")?;
    let guilty = pair.verify(members.signers(epoch)?).map_err(|error| error.to_string())?;
    let name = members.name(&guilty);
    Ok(Finding {
        proven: vec![format!("{name} signed {what}. No member that keeps the rules does that, whatever it is shown")],
        not_proven: vec!["why: a liar, a stolen key, or a home that ran twice or was restored from a backup".into()],
        accused: BTreeSet::from([guilty]),
        ..Finding::default()
    })
}

fn check_order(order: &OrderEvidence, members: &Members) -> Result<Finding, String> {
    let ever: BTreeSet<HostId> = members.names.keys().copied().collect();
    if order.vat != members.vat {
        return Err("it is of another vat".into());
    }
    let guilty = order.verify(&ever).map_err(|error| error.to_string())?;
    let name = members.name(&guilty);
    Ok(Finding {
        proven: vec![format!(
            "{name} {}. No member that keeps the rules does that, whatever it is shown",
            order.deed()
        )],
        not_proven: vec![
            "why: a liar, a stolen key, or a home that ran twice or was restored from a backup".into(),
            "that it was a member at that time: these signatures do not say of which epoch they are".into(),
        ],
        accused: BTreeSet::from([guilty]),
        ..Finding::default()
    })
}

fn check_signed<T: Exclusive>(signed: &Signed<T>, members: &Members) -> Result<(), String> {
    let epoch = signed.content.signing_epoch().ok_or("nobody signs that")?;
    signed.verify(members.signers(epoch)?).map_err(|error| error.to_string())
}

fn check_contradiction(pair: &Contradiction, members: &Members) -> Result<Finding, String> {
    let [first, second] = [&pair.first, &pair.second].map(|certificate| certificate.statement.epoch);
    let guilty = pair.verify(members.signers(first)?, members.signers(second)?).map_err(|error| error.to_string())?;
    let mut proven = vec![format!(
        "the vat certified two different statements for block {}: more members lied, or lost what they had signed, than its threshold allows for",
        pair.first.statement.block
    )];
    if !guilty.is_empty() {
        proven.push(format!("these members signed both: {}", members.list(guilty.iter().copied())));
    }
    let not_proven = vec!["which of the two is what the honest members did".into()];
    Ok(Finding { proven, not_proven, accused: guilty, ..Finding::default() })
}

fn check_certificate(certificate: &Certificate, members: &Members) -> Result<Finding, String> {
    let signers = members.certificate(certificate)?;
    let statement = &certificate.statement;
    let (block, epoch) = (statement.block, statement.epoch);
    let mut proven = vec![format!(
        "{} of the {} members of epoch {epoch} ({} must) signed what the vat says of block {block}: {}",
        certificate.signatures.len(),
        signers.keys.len(),
        signers.threshold,
        members.list(certificate.signatures.iter().map(|signature| signature.key))
    )];
    proven.push(format!("what was ordered up to that block has the hash {}", statement.chain));
    if let Some(root) = &statement.state_root {
        proven.push(format!("the vat's whole state after the block has the root {root}"));
    }
    let mut values = serde_json::Map::new();
    values.insert("block".into(), block.into());
    values.insert("epoch".into(), epoch.into());
    values.insert("statement".into(), statement.hash().to_string().into());
    values.insert("chain".into(), statement.chain.to_string().into());
    values.insert("state_root".into(), statement.state_root.map(|root| root.to_string()).into());
    let not_proven = vec![
        "when it was signed, and whether the vat has gone on since".into(),
        "that it is right, beyond the word of those who signed".into(),
    ];
    Ok(Finding { proven, not_proven, values, ..Finding::default() })
}

fn check_head(head: &CertifiedHead, members: &Members) -> Result<(), String> {
    members.certificate(&head.certificate)?;
    let root = Hash(head.certificate.statement.outbox_root.0);
    path_leads_to(&head.head, &head.path, &root)
        .then_some(())
        .ok_or_else(|| "the stream's head is not in the certified outbox".into())
}

fn check_slice(proven: &ProvenSlice, members: &Members) -> Result<Finding, String> {
    let slice = &proven.slice;
    if slice.genesis.is_some() || !slice.chain.is_empty() {
        return Err("the slice brings an introduction of its own, which is not looked at".into());
    }
    let signers = members.signers(slice.certificate.statement.epoch)?;
    slice.verify(Some(signers), &slice.head.peer).map_err(|error| error.to_string())?;
    let digests = slice.messages.iter().map(|message| message_digest(message)).chain(slice.tail.iter().copied());
    let reached = digests.fold(proven.before, |hash, digest| next_hash(&hash, &digest));
    if reached != slice.head.hash {
        return Err("the messages are not those that the head speaks of".into());
    }
    let mut finding = check_certificate(&slice.certificate, members)?;
    let (to, count) = (slice.head.peer, slice.messages.len());
    finding.proven.push(match count {
        0 => format!("the vat said to vat {to} that it had taken in its messages up to {}", slice.head.ack),
        1 => format!("the vat sent message {} to vat {to}: {}", slice.begin, describe(&slice.messages[0])),
        _ => format!("the vat sent messages {} to {} to vat {to}", slice.begin, slice.begin + count as u64 - 1),
    });
    if count > 1 {
        finding.proven.extend(
            slice
                .messages
                .iter()
                .zip(slice.begin..)
                .map(|(message, number)| format!("message {number}: {}", describe(message))),
        );
    }
    finding.values.insert("to".into(), to.to_string().into());
    Ok(finding)
}

/// The number of a message in a stream that has `end` messages with this hash.
fn message_number(message: &ProvenMessage, end: u64, hash: &Hash) -> Option<u64> {
    let digest = message_digest(&message.message);
    let after = std::iter::once(digest).chain(message.after.iter().copied());
    let reached = after.fold(message.before, |hash, digest| next_hash(&hash, &digest));
    let number = end.checked_sub(message.after.len() as u64).filter(|number| *number > 0)?;
    (reached == *hash).then_some(number)
}

fn check_answer(answer: &AnswerProof, members: &Members) -> Result<Finding, String> {
    let head = &answer.head.head;
    check_head(&answer.head, members)?;
    let called = message_number(&answer.call, head.ack, &head.ack_hash)
        .ok_or("the call is not among the messages that the vat says it took in")?;
    let answered = message_number(&answer.answer, head.end, &head.hash)
        .ok_or("the answer is not among the messages that the vat says it sent")?;
    let call = Op::decode(&answer.call.message).map_err(|error| format!("the call is not a message: {error}"))?;
    let reply = Op::decode(&answer.answer.message).map_err(|error| format!("the answer is not a message: {error}"))?;
    let Op::Send { target, method, args, result: Some(result) } = &call else {
        return Err("the caller's message is no call that wants an answer".into());
    };
    let Op::Settle { promise, resolution } = &reply else {
        return Err("the vat's message is no answer".into());
    };
    if *promise != WireRef::promise(Side::Receiver, *result) {
        return Err(format!("the vat's message is the answer to another call than {result}"));
    }
    let args = args.value().map_err(|_| "the call's arguments are no value")?;
    let value = resolution.data().value().map_err(|_| "the answer is no value")?;
    let fulfilled = matches!(resolution, WireResolution::Fulfilled(_));
    let mut finding = check_certificate(&answer.head.certificate, members)?;
    let how = if fulfilled { "is" } else { "was rejected with" };
    let shown_call = describe_call(target, method, &args);
    finding.proven.push(format!(
        "vat {} called {shown_call} (message {called} of its stream), and the vat took that in",
        head.peer
    ));
    finding
        .proven
        .push(format!("the vat said to it that the result {how} {} (message {answered})", shown_value(&value)));
    finding
        .not_proven
        .push("who was behind the caller: its VatId is the hash of a genesis with a key of its own".into());
    let object = serde_json::json!({
        "caller": head.peer.to_string(), "call": shown_call, "arguments": args.to_json(),
        "fulfilled": fulfilled, "value": value.to_json(),
    });
    if let serde_json::Value::Object(object) = object {
        finding.values.extend(object);
    }
    Ok(finding)
}

fn check_reading(reading: &Reading, members: &Members) -> Result<Finding, String> {
    let value = reading.check().map_err(|error| error.to_string())?;
    let mut finding = check_certificate(&reading.certificate, members)?;
    let (name, block) = (shown(&reading.name), reading.block());
    finding.proven.push(match &value {
        Some(value) => {
            format!("after block {block} the vat published under the name {name:?} the value {}", shown_value(value))
        }
        None => format!("after block {block} the vat published nothing under the name {name:?}"),
    });
    finding.not_proven.push("that the vat publishes the same now".into());
    let object = serde_json::json!({
        "name": reading.name, "found": value.is_some(), "value": value.map(|value| value.to_json()),
    });
    if let serde_json::Value::Object(object) = object {
        finding.values.extend(object);
    }
    Ok(finding)
}

fn check_checkpoint(checkpoint: &CheckpointProof, members: &Members) -> Result<Finding, String> {
    let mut finding = check_certificate(&checkpoint.certificate, members)?;
    let root = checkpoint_root(&checkpoint.state, &checkpoint.machine_root);
    if checkpoint.certificate.statement.state_root != Some(root) {
        return Err("the state is not the one that was certified".into());
    }
    finding.proven.push(format!(
        "that state is what consensus keeps ({} bytes, in the file), and a machine whose state has the root {}",
        checkpoint.state.len(),
        checkpoint.machine_root
    ));
    finding.not_proven.push("what is in the machine's state: its pages and tables are not in the file".into());
    Ok(finding)
}
