//! Files of proofs: what they prove is checked from the VatId alone, and nothing else is believed.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use quorate_ids::{Hash as EngineHash, VatId};
use quorate_proof::{
    Certificate, Contradiction, Disagreement, Divergence, Equivocation, EvidenceRecord, Exclusive, Genesis, Hash,
    HostId, Introduction, Member, MemberSignature, Membership, MembershipCertificate, OrderEvidence, Parameters,
    Signed, Statement, checkpoint_root,
    order_signed::{Evidence, Grant, Lead, Position, Signable, Signature, Signed as OrderSigned},
};
use quorate_protocol::{
    codec,
    evidence::{Outbox, Slice},
    proof::{
        CheckError, Checked, FileError, ProofFile, check,
        file::{
            AnswerProof, CertifiedHead, CheckpointProof, FILE_BYTES, Item, MAGIC, ProvenMessage, ProvenSlice,
            StreamContradiction, VatProof,
        },
    },
    published::{Found, Place, PublishedTree, Reading},
};
use quorate_streams::{
    abi::{CapData, Method, Value},
    stream::{StreamHead, message_digest, next_hash, start_hash},
    wire::{Op, Side, WireRef, WireResolution},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

const CLIENT: VatId = VatId([9; 32]);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn host(seed: u8) -> HostId {
    HostId(key(seed).verifying_key().to_bytes())
}

fn member(seed: u8) -> Member {
    Member { key: host(seed), name: format!("m{seed}"), addresses: vec![format!("/ip4/192.0.2.{seed}/tcp/4001")] }
}

fn genesis() -> Genesis {
    Genesis {
        members: (1..=4).map(member).collect(),
        threshold: 3,
        image: Hash([4; 32]),
        bundle: None,
        creator: [5; 32],
        nonce: [6; 32],
        expires: 0,
        parameters: Parameters::default(),
    }
}

fn vat() -> VatId {
    VatId(genesis().vat_id().0)
}

fn sign(seed: u8, payload: &[u8]) -> MemberSignature {
    MemberSignature::sign(&key(seed), payload)
}

fn next_membership(seeds: &[u8]) -> Membership {
    let before = genesis().membership();
    let members = seeds.iter().map(|seed| member(*seed)).collect();
    Membership { vat: before.vat, epoch: 1, previous: before.hash(), members, threshold: 3, recovered: None }
}

fn introduction() -> Introduction {
    let membership = next_membership(&[1, 2, 3, 5]);
    let signatures = [1, 2, 4].map(|seed| sign(seed, &membership.payload())).to_vec();
    Introduction { genesis: genesis(), chain: vec![MembershipCertificate { membership, signatures }] }
}

fn statement(block: u64) -> Statement {
    Statement {
        vat: genesis().vat_id(),
        epoch: 0,
        block,
        previous: Hash([11; 32]),
        chain: Hash([12; 32]),
        outbox_root: Hash([13; 32]),
        published_root: Hash([14; 32]),
        state_root: None,
    }
}

fn certificate(statement: Statement, seeds: &[u8]) -> Certificate {
    let payload = statement.payload();
    Certificate { statement, signatures: seeds.iter().map(|seed| sign(*seed, &payload)).collect() }
}

fn signed<T: Exclusive>(content: T, seed: u8) -> Signed<T> {
    Signed { signature: sign(seed, &content.payload()), content }
}

fn other(statement: &Statement) -> Statement {
    Statement { chain: Hash([99; 32]), ..statement.clone() }
}

fn equivocation() -> Equivocation {
    Equivocation::of(signed(statement(5), 2), signed(other(&statement(5)), 2))
}

fn order_signed<T: Signable>(content: T, seed: u8) -> OrderSigned<T> {
    let signature = Signature(sign(seed, &content.payload(&genesis().vat_id())).signature);
    OrderSigned { content, by: host(seed), signature }
}

fn of_the_order(evidence: Evidence) -> OrderEvidence {
    OrderEvidence { vat: genesis().vat_id(), evidence }
}

/// A leader's headers of two logs, which differ at their end.
fn two_logs() -> OrderEvidence {
    let lead = |chain| order_signed(Lead { epoch: 0, term: 3, last: 40, chain: Hash([chain; 32]) }, 2);
    let (first, second) = (lead(1), lead(2));
    of_the_order(Evidence::Headers { first, second, before: second.content.chain, heads: Vec::new() })
}

/// Two votes in one term.
fn two_votes() -> OrderEvidence {
    let vote = |candidate| {
        let candidate = host(candidate);
        order_signed(Grant { epoch: 0, term: 3, candidate, position: Position::default(), since: 0 }, 3)
    };
    of_the_order(Evidence::Grants(vote(1), vote(2)))
}

/// A head among others in the certified outbox of a block.
fn certified(head: StreamHead, block: u64, seeds: &[u8]) -> CertifiedHead {
    let neighbour = StreamHead { peer: VatId([200; 32]), ..head };
    let outbox = Outbox::new(vec![head, neighbour]);
    let root = Hash(outbox.root().expect("there are heads").0);
    let certificate = certificate(Statement { outbox_root: root, ..statement(block) }, seeds);
    CertifiedHead { certificate, head, path: outbox.path(0) }
}

/// Messages of a stream: the hash before the one that matters, it, digests of those after it, and the hash at the end.
fn run(from: &VatId, to: &VatId, messages: &[Vec<u8>], place: usize) -> (ProvenMessage, EngineHash) {
    let step = |hash: EngineHash, message: &Vec<u8>| next_hash(&hash, &message_digest(message));
    let before = messages[..place].iter().fold(start_hash(from, to), step);
    let after = messages[place + 1..].iter().map(|message| message_digest(message)).collect();
    let end = messages.iter().fold(start_hash(from, to), step);
    (ProvenMessage { before, message: messages[place].clone(), after }, end)
}

fn call(method: &str, argument: f64, result: u64) -> Vec<u8> {
    let args = CapData::new(&Value::Array(vec![Value::Number(argument)]), vec![]);
    let target = WireRef::object(Side::Receiver, 0);
    Op::Send { target, method: Method::Call(method.into()), args, result: Some(result) }.encode()
}

fn settle(result: u64, value: f64) -> Vec<u8> {
    let resolution = WireResolution::Fulfilled(CapData::new(&Value::Number(value), vec![]));
    Op::Settle { promise: WireRef::promise(Side::Receiver, result), resolution }.encode()
}

/// The vat was called `increment(5)` by a client that had used a bearer before, and says 12.
fn answer() -> AnswerProof {
    let redeem = Op::Redeem { object: 0, bearer: [1; 32], signature: vec![2; 64], result: None }.encode();
    let sent = [redeem, call("increment", 5.0, 1), call("later", 1.0, 2)];
    let (call, ack_hash) = run(&CLIENT, &vat(), &sent, 1);
    let (answer, hash) = run(&vat(), &CLIENT, &[settle(7, 1.0), settle(1, 12.0), settle(2, 3.0)], 1);
    let head = StreamHead { peer: CLIENT, end: 3, hash, ack: 3, ack_hash, is_mark: false };
    AnswerProof { head: certified(head, 20, &[1, 3, 4]), call, answer }
}

fn slice() -> ProvenSlice {
    let messages = [settle(7, 1.0), settle(1, 12.0), settle(2, 3.0)];
    let (middle, hash) = run(&vat(), &CLIENT, &messages, 1);
    let head = StreamHead { peer: CLIENT, end: 3, hash, ack: 0, ack_hash: start_hash(&CLIENT, &vat()), is_mark: false };
    let CertifiedHead { certificate, head, path } = certified(head, 21, &[1, 2, 3]);
    let (messages, tail) = (vec![middle.message], middle.after);
    let slice = Slice { genesis: None, chain: vec![], certificate, head, path, begin: 2, messages, tail };
    ProvenSlice { slice, before: middle.before }
}

fn checkpoint() -> CheckpointProof {
    let (state, machine_root) = (b"the state of consensus".to_vec(), Hash([21; 32]));
    let root = checkpoint_root(&state, &machine_root);
    let certificate = certificate(Statement { state_root: Some(root), ..statement(30) }, &[2, 3, 4]);
    CheckpointProof { certificate, state, machine_root }
}

fn stream_contradiction() -> StreamContradiction {
    let head = StreamHead {
        peer: CLIENT,
        end: 3,
        hash: EngineHash([1; 32]),
        ack: 0,
        ack_hash: start_hash(&CLIENT, &vat()),
        is_mark: false,
    };
    let later = StreamHead { hash: EngineHash([2; 32]), ..head };
    StreamContradiction { first: certified(head, 8, &[1, 2, 3]), second: certified(later, 9, &[2, 3, 4]) }
}

#[test]
fn a_mark_may_be_older_than_a_head_that_was_said_before_it() {
    let head = stream_contradiction().first.head;
    let before = certified(StreamHead { end: 300, ack: 9, ..head }, 8, &[1, 2, 3]);
    let mark = StreamHead { end: 256, hash: EngineHash([3; 32]), ack: 7, ack_hash: EngineHash([4; 32]), ..head };
    for (is_mark, contradicts) in [(true, false), (false, true)] {
        let later = certified(StreamHead { is_mark, ..mark }, 9, &[2, 3, 4]);
        assert_eq!(before.contradicts(&later).is_some(), contradicts, "mark: {is_mark}");
    }
    let mark = StreamHead { is_mark: true, ..mark };
    let twice = [3, 5].map(|byte| certified(StreamHead { hash: EngineHash([byte; 32]), ..mark }, 9, &[1, 2, 3]));
    assert!(twice[0].contradicts(&twice[1]).is_some(), "one place in the stream has one hash");
}

/// One of each kind.
fn items() -> Vec<Item> {
    let record = |record| Item::Evidence(Box::new(record));
    let (one, two) = (statement(5), other(&statement(5)));
    let memberships =
        Equivocation::of(signed(next_membership(&[1, 2, 3, 5]), 4), signed(next_membership(&[1, 2, 3, 6]), 4));
    let contradiction = Contradiction::of(&certificate(one.clone(), &[1, 2, 3]), &certificate(two.clone(), &[2, 3, 4]));
    let against_signed = Divergence::Signed { certificate: certificate(two.clone(), &[1, 2, 3]), signed: one.hash() };
    vec![
        record(EvidenceRecord::Divergence(against_signed)),
        record(EvidenceRecord::Equivocation(equivocation())),
        record(EvidenceRecord::MembershipEquivocation(memberships)),
        record(EvidenceRecord::Order(two_logs())),
        record(EvidenceRecord::Order(two_votes())),
        record(EvidenceRecord::Contradiction(contradiction.expect("they contradict each other"))),
        record(EvidenceRecord::Disagreement(Disagreement { own: one.clone(), theirs: signed(two.clone(), 3) })),
        record(EvidenceRecord::Divergence(Divergence::Statement {
            certificate: certificate(two, &[1, 2, 3]),
            own: one,
        })),
        Item::StreamContradiction(Box::new(stream_contradiction())),
        Item::Certificate(certificate(statement(6), &[1, 2, 3])),
        Item::Slice(Box::new(slice())),
        Item::Answer(Box::new(answer())),
        Item::Checkpoint(Box::new(checkpoint())),
        Item::Reading(Box::new(reading("price"))),
    ]
}

fn published() -> PublishedTree {
    let entry = |(name, value): (&str, f64)| (name.into(), Value::Number(value).encode().into());
    let publications = [("currency", 1.0), ("price", 12.5), ("tax", 0.19)].map(entry);
    PublishedTree::new(Arc::new(publications.into()))
}

/// What the vat publishes under a name.
fn reading(name: &str) -> Reading {
    let tree = published();
    let statement = Statement { published_root: tree.root(), ..statement(40) };
    tree.read(name, certificate(statement, &[1, 2, 4]))
}

fn file_of(items: Vec<Item>) -> ProofFile {
    ProofFile { vats: vec![VatProof { introduction: introduction(), items }] }
}

fn refusal(items: Vec<Item>) -> String {
    match check(&file_of(items), Some(&vat())) {
        Ok(checked) => panic!("it is believed: {checked:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_format_is_what_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/proof_file.hex");
    let file = file_of(items());
    let bytes = file.encode();
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "write") {
        fs::write(&path, hex::encode(&bytes) + "\n").expect("writable");
    }
    let golden = fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(hex::encode(&bytes), golden.trim(), "a file of proofs encodes otherwise than it did");
    assert_eq!(ProofFile::decode(&hex::decode(golden.trim()).expect("hex")), Ok(file));
}

#[test]
fn each_kind_says_what_it_proves_and_accuses_the_guilty_alone() {
    let checked = check(&file_of(items()), Some(&vat())).expect("all of it holds");
    let [vat] = &checked.vats[..] else { panic!("{checked:?}") };
    assert_eq!((vat.vat, vat.membership.epoch), (self::vat(), 1));
    let accused: Vec<(&str, Vec<HostId>)> =
        vat.findings.iter().map(|finding| (finding.kind, finding.accused.iter().copied().collect())).collect();
    let sorted = |seeds: &[u8]| seeds.iter().map(|seed| host(*seed)).collect::<BTreeSet<_>>().into_iter().collect();
    let wanted: Vec<(&str, Vec<HostId>)> = vec![
        ("divergence", vec![]),
        ("equivocation", sorted(&[2])),
        ("membership-equivocation", sorted(&[4])),
        ("order", sorted(&[2])),
        ("order", sorted(&[3])),
        ("contradiction", sorted(&[2, 3])),
        ("disagreement", vec![]),
        ("divergence", vec![]),
        ("stream-contradiction", vec![]),
        ("certificate", vec![]),
        ("slice", vec![]),
        ("answer", vec![]),
        ("checkpoint", vec![]),
        ("reading", vec![]),
    ];
    assert_eq!(accused, wanted);
    assert!(vat.findings.iter().all(|finding| !finding.proven.is_empty() && !finding.not_proven.is_empty()));
    let answer = &vat.findings[11];
    assert_eq!(answer.values["value"], serde_json::json!(12));
    assert_eq!(answer.values["arguments"], serde_json::json!([5]));
    let said = answer.proven.join("\n");
    assert!(said.contains("increment(5)") && said.contains("the result is 12"), "{said}");
    assert!(vat.findings[10].proven.join("\n").contains("12"), "{:?}", vat.findings[10]);
}

#[test]
fn a_flipped_bit_anywhere_is_refused_with_a_reason() {
    let file = file_of(vec![
        Item::Evidence(Box::new(EvidenceRecord::Equivocation(equivocation()))),
        Item::Answer(Box::new(answer())),
    ]);
    let bytes = file.encode();
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        let error = ProofFile::decode(&flipped).expect_err("it is refused");
        assert!(!error.to_string().is_empty(), "{place}");
        let damaged = place >= MAGIC.len();
        assert_eq!(damaged, error == FileError::Damaged, "{place}: {error}");
    }
    for cut in 0..bytes.len() {
        assert!(ProofFile::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(ProofFile::decode(&longer), Err(FileError::Damaged));
}

/// What a file proves, without what it says of what is not proven.
fn proven(checked: &Checked) -> Vec<(&'static str, Vec<String>, BTreeSet<HostId>)> {
    let findings = checked.vats.iter().flat_map(|vat| &vat.findings);
    findings.map(|finding| (finding.kind, finding.proven.clone(), finding.accused.clone())).collect()
}

/// The hash in a file only tells damage: whoever lies makes it anew. What is proven does not depend on it. Each byte of a file of each
/// kind is changed: the file is refused, or, where the byte is of what a replica said that nobody signed, it proves what it did before.
#[test]
fn a_flipped_byte_under_a_new_hash_proves_nothing_either() {
    for item in items() {
        let kind = item.kind();
        let file = file_of(vec![item]);
        let whole = check(&file, Some(&vat())).expect("it holds");
        let body = codec::encode(&file);
        let mut believed = Vec::new();
        for place in 0..body.len() {
            let mut flipped = body.clone();
            flipped[place] ^= 1 << (place % 8);
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&Sha256::digest(&flipped));
            bytes.extend(flipped);
            if let Ok(read) = ProofFile::decode(&bytes)
                && let Ok(checked) = check(&read, Some(&vat()))
            {
                assert_eq!(proven(&checked), proven(&whole), "{kind}, byte {place}");
                believed.push(place);
            }
        }
        let is_signed = !["disagreement", "divergence"].contains(&kind);
        assert!(believed.is_empty() || !is_signed, "{kind}: {believed:?} of {} bytes", body.len());
    }
}

#[test]
fn what_only_looks_like_a_proof_is_refused() {
    let record = |record| vec![Item::Evidence(Box::new(record))];
    let (one, two) = (statement(5), other(&statement(5)));
    // A made-up pair: the second signature is another member's.
    let mut framed = equivocation();
    framed.second.signature =
        MemberSignature { key: framed.first.signature.key, ..sign(3, &framed.second.content.payload()) };
    let why = refusal(record(EvidenceRecord::Equivocation(framed)));
    assert!(why.contains("item 1") && why.contains("does not verify"), "{why}");
    // Two blocks, one statement, a stranger, an epoch that is not proven.
    let pair = |first, second| record(EvidenceRecord::Equivocation(Equivocation::of(first, second)));
    assert!(refusal(pair(signed(one.clone(), 2), signed(statement(6), 2))).contains("different blocks"));
    assert!(refusal(pair(signed(one.clone(), 2), signed(one.clone(), 2))).contains("the same thing"));
    assert!(refusal(pair(signed(one.clone(), 8), signed(two.clone(), 8))).contains("not a member"));
    let later = |statement: Statement| Statement { epoch: 2, ..statement };
    assert!(refusal(pair(signed(later(one.clone()), 2), signed(later(two.clone()), 2))).contains("epoch 2"));
    // Too few signatures, and none of them twice.
    assert!(refusal(vec![Item::Certificate(certificate(one.clone(), &[1, 2]))]).contains("3 are needed"));
    assert!(refusal(vec![Item::Certificate(certificate(one.clone(), &[1, 2, 2]))]).contains("two signatures"));
    // Two headers of one log, votes of two terms or two members, headers of a stranger or of another vat.
    let order = |order| refusal(record(EvidenceRecord::Order(order)));
    let Evidence::Headers { first, second, .. } = two_logs().evidence else { panic!("two headers") };
    let headers = |first, second, before| of_the_order(Evidence::Headers { first, second, before, heads: Vec::new() });
    assert!(order(headers(first, first, first.content.chain)).contains("an honest member may sign both"));
    assert!(order(headers(first, second, first.content.chain)).contains("do not lead"));
    let later = order_signed(Lead { term: 4, ..second.content }, 2);
    assert!(order(headers(first, later, later.content.chain)).contains("an honest member may sign both"));
    let stranger = order_signed(second.content, 8);
    let both = headers(order_signed(first.content, 8), stranger, stranger.content.chain);
    assert!(order(both).contains("does not count"));
    assert!(order(headers(first, order_signed(second.content, 3), second.content.chain)).contains("two members"));
    let vat = quorate_proof::VatId([1; 32]);
    assert!(order(OrderEvidence { vat, ..two_logs() }).contains("another vat"));
    // A disagreement with oneself, and two certificates that agree.
    let same = Disagreement { own: one.clone(), theirs: signed(one.clone(), 3) };
    assert!(refusal(record(EvidenceRecord::Disagreement(same))).contains("the same"));
    let twice = Contradiction { first: certificate(one.clone(), &[1, 2, 3]), second: certificate(one, &[2, 3, 4]) };
    assert!(refusal(record(EvidenceRecord::Contradiction(twice))).contains("the same thing"));
    // Two heads that go well together.
    let mut fine = stream_contradiction();
    fine.second = fine.first.clone();
    assert!(refusal(vec![Item::StreamContradiction(Box::new(fine))]).contains("do not contradict"));
    // A slice with another message, and a checkpoint with another state.
    let mut other_message = slice();
    other_message.slice.messages[0] = settle(1, 13.0);
    assert!(refusal(vec![Item::Slice(Box::new(other_message))]).contains("not those"));
    let mut other_state = checkpoint();
    other_state.state.push(0);
    assert!(refusal(vec![Item::Checkpoint(Box::new(other_state))]).contains("not the one"));
    // Members that the vat never had.
    let mut file = file_of(items());
    file.vats[0].introduction.chain[0].membership.threshold = 4;
    let error = check(&file, None).expect_err("it is refused");
    assert!(matches!(error, CheckError::Introduction { .. }), "{error}");
}

#[test]
fn what_a_vat_publishes_is_proven_and_what_was_changed_of_it_is_refused() {
    let read = |name| match check(&file_of(vec![Item::Reading(Box::new(reading(name)))]), Some(&vat())) {
        Ok(checked) => checked.vats[0].findings[0].clone(),
        Err(error) => panic!("{error}"),
    };
    let (price, nothing) = (read("price"), read("prices"));
    assert_eq!((price.kind, &price.values["value"]), ("reading", &serde_json::json!(12.5)));
    assert_eq!(price.values["block"], 40);
    assert!(price.proven.iter().any(|text| text.contains("under the name \"price\" the value 12.5")), "{price:?}");
    assert!(nothing.proven.iter().any(|text| text.contains("nothing under the name \"prices\"")), "{nothing:?}");
    assert_eq!(nothing.values["found"], false);

    let refused = |name: &str, change: &dyn Fn(&mut Reading)| {
        let mut changed = reading(name);
        change(&mut changed);
        refusal(vec![Item::Reading(Box::new(changed))])
    };
    let place = |reading: &mut Reading, change: &dyn Fn(&mut Place)| match &mut reading.found {
        Found::Value { place, .. } => change(place),
        Found::Nothing { before: Some(before), .. } => change(&mut before.place),
        Found::Nothing { .. } => panic!("{reading:?}"),
    };
    let not_there = "is not in the certified tree";
    // The value, the name, the path.
    let other_value = |reading: &mut Reading| match &mut reading.found {
        Found::Value { value, .. } => *value = Value::Number(13.0).encode(),
        Found::Nothing { .. } => panic!("{reading:?}"),
    };
    assert!(refused("price", &other_value).contains(not_there));
    assert!(refused("price", &|reading| reading.name = "tax".into()).contains(not_there));
    assert!(refused("price", &|reading| place(reading, &|place| place.siblings[5] ^= 1)).contains(not_there));
    assert!(refused("price", &|reading| place(reading, &|place| place.index = 2)).contains(not_there));
    // That there is nothing.
    let not_absent = "does not prove that nothing";
    assert!(refused("prices", &|reading| reading.name = "price".into()).contains(not_absent));
    assert!(refused("prices", &|reading| place(reading, &|place| place.siblings[5] ^= 1)).contains(not_absent));
    let hidden = |reading: &mut Reading| reading.found = Found::Nothing { before: None, after: None };
    assert!(refused("price", &hidden).contains(not_absent));
    // The whole tree, the block, the epoch, the signatures.
    let other_root = "the root is another one";
    assert!(refused("price", &|reading| reading.names = 2).contains(other_root));
    assert!(refused("price", &|reading| reading.tree.0[0] ^= 1).contains(other_root));
    assert!(refused("price", &|reading| reading.certificate.statement.published_root.0[0] ^= 1).contains(other_root));
    let not_good = "certificate is not good";
    assert!(refused("price", &|reading| reading.certificate.statement.block += 1).contains(not_good));
    assert!(refused("price", &|reading| reading.certificate.signatures[0].signature[7] ^= 1).contains(not_good));
    assert!(refused("price", &|reading| reading.certificate.signatures.truncate(2)).contains(not_good));
    assert!(refused("price", &|reading| reading.certificate.statement.epoch = 1).contains(not_good));
    assert!(refused("price", &|reading| reading.certificate.statement.epoch = 7).contains("epoch 7"));
    // A vat of that name with other members.
    let stranger = Genesis { nonce: [77; 32], ..genesis() };
    let file = file_of(vec![Item::Reading(Box::new(reading("price")))]);
    let other =
        VatProof { introduction: Introduction { genesis: stranger.clone(), chain: vec![] }, ..file.vats[0].clone() };
    let other = ProofFile { vats: vec![other] };
    assert!(matches!(check(&other, Some(&vat())), Err(CheckError::OtherVat { .. })));
    let error = check(&other, None).expect_err("another vat signed it");
    assert!(error.to_string().contains(not_good), "{error}");
}

#[test]
fn an_answer_is_tied_to_its_call_and_to_what_the_vat_took_in() {
    let refused = |change: &dyn Fn(&mut AnswerProof)| {
        let mut proof = answer();
        change(&mut proof);
        refusal(vec![Item::Answer(Box::new(proof))])
    };
    let another_call = |proof: &mut AnswerProof| proof.call.message = call("increment", 6.0, 1);
    assert!(refused(&another_call).contains("the call is not among"));
    let another_result = |proof: &mut AnswerProof| proof.answer.message = settle(1, 13.0);
    assert!(refused(&another_result).contains("the answer is not among"));
    // The answer to another call of the same client.
    let swapped = |proof: &mut AnswerProof| {
        proof.answer = run(&vat(), &CLIENT, &[settle(7, 1.0), settle(1, 12.0), settle(2, 3.0)], 2).0;
    };
    assert!(refused(&swapped).contains("another call"));
    // What the vat did not take in yet, by the head's own number.
    let early = |proof: &mut AnswerProof| proof.head.head.ack = 1;
    assert!(refused(&early).contains("not in the certified outbox"));
    let no_call = |proof: &mut AnswerProof| {
        let redeem = Op::Redeem { object: 0, bearer: [1; 32], signature: vec![2; 64], result: None }.encode();
        let sent = [redeem, call("increment", 5.0, 1), call("later", 1.0, 2)];
        proof.call = run(&CLIENT, &vat(), &sent, 0).0;
    };
    assert!(refused(&no_call).contains("no call"));
    let too_few = |proof: &mut AnswerProof| proof.head.certificate.signatures.truncate(2);
    assert!(refused(&too_few).contains("3 are needed"));
}

#[test]
fn a_file_about_another_vat_is_refused_by_name() {
    let stranger = VatId([77; 32]);
    let error = check(&file_of(items()), Some(&stranger)).expect_err("it is about another vat");
    let text = error.to_string();
    assert!(text.contains(&vat().to_string()) && text.contains(&stranger.to_string()), "{text}");
    assert_eq!(check(&ProofFile { vats: vec![] }, None), Err(CheckError::Empty));
    assert_eq!(ProofFile::decode(b"hello"), Err(FileError::Other));
    let later = ProofFile::decode(b"quorate-proof/3\nwhatever");
    assert_eq!(later, Err(FileError::Version("quorate-proof/3".into())));
    assert_eq!(ProofFile::decode(&vec![0; FILE_BYTES + 1]), Err(FileError::TooLarge));
    // A true hash over what is no content.
    let mut nonsense = MAGIC.to_vec();
    nonsense.extend_from_slice(&Sha256::digest(b"\x01\xff\xff\xff"));
    nonsense.extend_from_slice(b"\x01\xff\xff\xff");
    assert!(matches!(ProofFile::decode(&nonsense), Err(FileError::Content(_))));
}

proptest! {
    /// Whatever bytes there are, reading and checking ends, and believes nothing that it was not given.
    #[test]
    fn decoders_end_on_any_bytes(mut body in prop::collection::vec(any::<u8>(), 0..2_000), seal in any::<bool>()) {
        let mut bytes = MAGIC.to_vec();
        if seal {
            body.insert(0, 1);
            bytes.extend_from_slice(&Sha256::digest(&body));
        }
        bytes.extend(body);
        if let Ok(file) = ProofFile::decode(&bytes) {
            let accused = check(&file, None).map(|checked| checked.accused()).unwrap_or_default();
            prop_assert!(accused.is_empty());
        }
    }

    /// A true file in which some bytes were changed, sealed anew, never accuses another member than it did.
    #[test]
    fn a_true_file_that_was_changed_accuses_nobody_else(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let file = file_of(vec![Item::Evidence(Box::new(EvidenceRecord::Equivocation(equivocation())))]);
        let mut body = codec::encode(&file);
        for (place, byte) in places {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend(&body);
        if let Ok(read) = ProofFile::decode(&bytes)
            && let Ok(checked) = check(&read, None)
        {
            prop_assert_eq!(checked.accused(), BTreeSet::from([host(2)]));
        }
    }
}
