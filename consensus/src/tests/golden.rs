//! Golden files: an encoding that changes is a new version, never a surprise. `QUORATE_GOLDEN=write` writes them anew.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::PathBuf;

use super::leading::two_logs;
use super::*;
use crate::codec::{self, Blob};
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::proof::approval::{Subject, canceled};
use crate::proof::clock::ClockStatement;
use crate::proof::equivocation::{Contradiction, Disagreement, Divergence, Equivocation, EvidenceRecord, Signed};
use crate::proof::membership::{Introduction, Recovered};
use crate::proof::shares::{Latest, Share};
use crate::raft::gate::Keys;
use crate::replica::tasks::own_key::Presence;
use crate::replica::wire::complaint::ComplaintFrame;
use crate::replica::wire::propose::{ForwardedResult, Payload, ProposeFrame, ProposeReply};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotReply, SnapshotStep};
use crate::state::block::{Block, Control, Tick};
use crate::state::drafts::{Answer, Drafts};
use crate::state::{LogPosition, RaftMembership, ReplicatedState};
use crate::storage::SignedWatermark;
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::evidence::{EvidenceCount, EvidenceCounts, EvidenceKind};
use quorate_order::signed::{Ack, Reason};

fn check_bytes(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.hex"));
    let lines: Vec<String> = bytes.chunks(32).map(hex::encode).collect();
    let text = lines.join("\n") + "\n";
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{name}: the encoding is not that of {}", path.display());
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = codec::encode(value);
    check_bytes(name, &bytes);
    assert_eq!(&codec::decode::<T>(&bytes).unwrap(), value);
}

fn example_recovery() -> MembershipCertificate {
    let recovered = Recovered { block: 300, block_term: 4, chain: Hash([8; 32]), term: 6 };
    let membership = genesis(3, 2).membership().recovery(&[host(1), host(3)], recovered).unwrap();
    certify(membership, &[1, 3])
}

#[test]
fn what_is_signed_and_hashed() {
    let genesis = genesis(3, 2);
    let membership = genesis.membership();
    check_bytes("vat-id", &genesis.vat_id().0);
    check_bytes("membership-payload", &next_membership(&membership, &[1, 2, 4], 2).payload());
    check_bytes("recovered-membership-payload", &example_recovery().membership.payload());
    check_bytes("statement-payload", &statement(&membership, 9).payload());
    check_bytes("statement-payload-checkpoint", &statement(&membership, 10).payload());
    let subject = Subject::new(&membership, Hash([9; 32]));
    check_bytes("approval-payload", &subject.approval_payload());
    check_bytes("admission-payload", &subject.admission_payload());
    check_bytes("canceled-change", &canceled(300, &Hash([9; 32])).0);
    check_bytes("presence-payload", &Presence::payload(&genesis.vat_id(), &[6; 16], Some(&[7; 16])));
    check_bytes("clock-payload", &ClockStatement::payload(&genesis.vat_id(), 3, 1_764_000_000_000));
    check_bytes("state-root", &crate::state::state_root(b"state", &Hash([1; 32])).0);
}

#[test]
fn what_is_passed_on_and_stored() {
    let genesis = genesis(3, 2);
    let membership = genesis.membership();
    let chain = vec![certify(next_membership(&membership, &[1, 2, 4], 2), &[1, 2])];
    check("certificate", &certificate(statement(&membership, 10), &[1, 3]));
    check("introduction", &Introduction { genesis: genesis.clone(), chain });
    check("guard", &SignedWatermark { block: 300, statement: Hash([8; 32]) });
    let signed = statement(&membership, 9);
    check("latest-of-others", &Latest::from([(host(2), (signed.clone(), sign(2, &signed.payload())))]));
    let mut drafts = Drafts::default();
    drafts.note(host(1), Draft::new(&ReplicatedState::of_genesis(&genesis), Change::Add(member(4)), None));
    drafts.answer(Hash([9; 32]), true);
    drafts.collected.approvals.insert(host(1), sign(1, b"approves"));
    drafts.collected.rejected.insert(host(2));
    drafts.collected.waiting.insert(host(3));
    check("drafts", &drafts);
    check_evidence(&membership);
    let mut state = ReplicatedState::of_genesis(&genesis);
    let admitted = admission(&state, Change::Replace { out: host(1), in_: member(7) }, Some(3), &[2, 3]);
    state.admit(&admitted, 44).unwrap();
    state.note_statement(44, Hash([10; 32]));
    state.now_ms = 1_764_000_000_000;
    state.given_up.insert(3, member(9));
    state.last_log = Some(LogPosition { term: 2, index: 44 });
    check("replicated-state", &state);
    let record = CheckpointRecord {
        state: state.encode().into(),
        machine_root: Hash([1; 32]),
        manifest: vec![1, 2, 3].into(),
        chunks: vec![Hash([2; 32])],
        statement: statement(&membership, 10),
        certificate: Some(certificate(statement(&membership, 10), &[1, 3])),
    };
    check("checkpoint-record", &record);
}

fn example_activation() -> Activation {
    let membership = genesis(3, 2).membership();
    let certificate = certificate(statement(&membership, 299), &[1, 3]);
    Activation { epoch: 300, admitted: 299, certificate, present: vec![sign(2, b"present")] }
}

fn check_evidence(membership: &Membership) {
    let (one, other) = (statement(membership, 9), Statement { outbox_root: Hash([9; 32]), ..statement(membership, 9) });
    let signed = |content: &Statement| Signed { content: content.clone(), signature: sign(2, &content.payload()) };
    check("evidence-equivocation", &EvidenceRecord::Equivocation(Equivocation::of(signed(&one), signed(&other))));
    let next = |seeds: &[u8]| {
        let content = next_membership(membership, seeds, 2);
        Signed { signature: sign(2, &content.payload()), content }
    };
    let pair = Equivocation::of(next(&[1, 2, 4]), next(&[1, 2, 5]));
    check("evidence-membership-equivocation", &EvidenceRecord::MembershipEquivocation(pair));
    let pair = Contradiction::of(&certificate(one.clone(), &[1, 2]), &certificate(other.clone(), &[2, 3])).unwrap();
    check("evidence-contradiction", &EvidenceRecord::Contradiction(pair));
    let disagreement = Disagreement { own: one.clone(), theirs: signed(&other) };
    check("evidence-disagreement", &EvidenceRecord::Disagreement(disagreement));
    let one_again = one.clone();
    let divergence = Divergence::Statement { certificate: certificate(other, &[2, 3]), own: one };
    check("divergence", &divergence);
    check("evidence-divergence", &EvidenceRecord::Divergence(divergence));
    let signed = Divergence::Signed { certificate: certificate(one_again, &[2, 3]), signed: Hash([8; 32]) };
    check("divergence-signed", &signed);
    let (certified, own) = (certify(next(&[1, 2, 4]).content, &[1, 2]), next(&[1, 2, 5]).content);
    check("divergence-membership", &Divergence::Membership { certificate: certified, own });
    check("evidence-order", &EvidenceRecord::Order(two_logs(&genesis(3, 2))));
    let count = EvidenceCount { seen: 300, kept: 64, latest: Some((1, 299)) };
    let counts = [((EvidenceKind::Equivocation, host(2)), count), ((EvidenceKind::Disagreement, host(3)), count)];
    check("evidence-counts", &EvidenceCounts(counts.into_iter().collect()));
}

#[test]
fn what_is_in_the_log() {
    check("block-commands", &Block { commands: vec![vec![1, 2].into(), Blob::default()], control: None });
    let state = ReplicatedState::of_genesis(&genesis(3, 2));
    let admitted = admission(&state, Change::Add(member(4)), Some(3), &[1, 2]);
    check("block-admit", &Block::of_control(Control::Admit(admitted)));
    check("block-recover", &Block::of_control(Control::Recover(example_recovery())));
    check("block-activate", &Block::of_control(Control::Activate(example_activation())));
    let clocks = [1, 2].map(|seed| ClockStatement::sign(&key(seed), &state.membership, 1_764_000_000_000));
    check(
        "block-tick",
        &Block { commands: vec![vec![1].into()], control: Some(Control::Tick(Tick { clocks: clocks.into() })) },
    );
    let log = LogPosition { term: 2, index: 300 };
    check("purged", &crate::raft::log::Link { log, chain: Hash([8; 32]) });
    check("vote", &WireVote { term: 5, node: 2, committed: true });
    let nodes = [(1, member(1)), (2, member(2))].into_iter().collect();
    let raft = RaftMembership { configs: vec![[1].into_iter().collect(), [1, 2].into_iter().collect()], nodes };
    for (name, entry) in ["entry-blank", "entry-block", "entry-membership"].iter().zip(WireEntry::examples(raft)) {
        check(name, &entry);
        let chain = crate::order::chain::next(&crate::order::chain::root(&genesis(3, 2).vat_id()), &entry);
        check(&format!("stored-{name}"), &(chain, entry));
    }
}

#[test]
fn what_replicas_say_to_each_other() {
    let membership = genesis(3, 2).membership();
    let vote = WireVote { term: 5, node: 2, committed: false };
    let log = LogPosition { term: 4, index: 1_000 };
    let raft = |message| RaftFrame { target: 3, message };
    let entries = WireEntry::examples(RaftMembership::default()).into_iter().take(2).collect();
    let (header, stand, grant, proof) = super::leading::examples(&genesis(3, 2));
    let (led, order) = (header.lead.unwrap(), proof.base.clone());
    let append = RaftMessage::Append { vote, prev: Some(log), entries, commit: None, header: Some(Box::new(header)) };
    check("raft-append", &raft(append));
    check(
        "raft-vote",
        &raft(RaftMessage::Vote { vote, last: Some(log), transfer: false, pre: true, stand: Some(Box::new(stand)) }),
    );
    check("raft-transfer", &raft(RaftMessage::Transfer { from: vote, to: 9, last: None }));
    let replies = vec![
        RaftReply::AppendSuccess(Vec::new()),
        RaftReply::AppendPartial(Some(log)),
        RaftReply::AppendConflict,
        RaftReply::HigherVote(vote, Some(Box::new(proof))),
        RaftReply::Vote { vote, granted: true, last: Some(log), grant: Some(Box::new(grant)), better: None },
        RaftReply::Transfer { accepted: false },
        RaftReply::WhoAreYou,
        RaftReply::WhoElectedYou,
    ];
    check("raft-replies", &replies);
    let one = statement(&membership, 9);
    let next = next_membership(&membership, &[1, 2], 2);
    let shares = vec![
        Share::Statement(one.clone(), sign(1, &one.payload())),
        Share::Membership(next.clone(), sign(1, &next.payload())),
    ];
    let draft = Draft::new(&ReplicatedState::of_genesis(&genesis(3, 2)), Change::Remove(host(3)), None);
    let presence = Presence { life: [6; 16], knows: Some([7; 16]), signature: sign(1, b"presence") };
    let complaint = super::complaints::complaint_of(&genesis(3, 2), 1, (5, host(2)), Reason::Starved(Hash([9; 32])));
    let ack = Ack { epoch: 0, term: 5, index: 300, chain: Hash([3; 32]) };
    let acknowledged = quorate_order::signing::Signed::new(ack, host(2), &genesis(3, 2).vat_id(), &Keys(key(2)));
    let frames = vec![
        ShareFrame::Push(shares.clone()),
        ShareFrame::Ask { blocks: vec![1, 300], epoch: 2 },
        ShareFrame::Introduce(vec![certify(next.clone(), &[1, 2])]),
        ShareFrame::Retired { raft_id: 4 },
        ShareFrame::Inquire { above: 300, presence },
        ShareFrame::Draft(draft),
        ShareFrame::Draft(Draft::motion(&ReplicatedState::of_genesis(&genesis(3, 2)), vec![5, 6])),
        ShareFrame::Withdraw { motion: true },
        ShareFrame::Compare(Signed { signature: sign(2, &one.payload()), content: one.clone() }),
        ShareFrame::Clock,
        ShareFrame::Led(led),
        ShareFrame::Convicted(Box::new(two_logs(&genesis(3, 2)))),
        ShareFrame::Wanted { payload: Payload::Command(vec![1, 2, 3].into()), from: 7 },
        ShareFrame::Complaint(Box::new(ComplaintFrame { complaint, proof: None, order: None, ended_by: vec![] })),
        ShareFrame::Certified(vec![certificate(one.clone(), &[1, 2])]),
        ShareFrame::Ordered(Box::new(order)),
        ShareFrame::Acknowledged(acknowledged),
        ShareFrame::Rest { term: 5, end: 300 },
        ShareFrame::Wake,
    ];
    check("share-frames", &frames);
    let certificates = vec![certificate(one, &[1, 2])];
    let memberships = vec![certify(next, &[1, 2])];
    let signed = Some(shares[0].clone());
    let presence = Some(presence);
    let answer = Some(Answer::Enters(sign(4, b"enters")));
    let content = statement(&membership, 300);
    let other = Some(Signed { signature: sign(2, &content.payload()), content });
    let clock = Some(ClockStatement::sign(&key(2), &membership, 1_764_000_000_000));
    let led = Some(led);
    let convicted = Some(Box::new(two_logs(&genesis(3, 2))));
    let reply = ShareReply {
        shares,
        certificates,
        memberships,
        retired: true,
        signed,
        presence,
        answer,
        other,
        clock,
        led,
        convicted,
        order: Some(Box::new(crate::testing::fabricated::root_of(&genesis(3, 2)))),
    };
    check("share-reply", &reply);
    let answers = vec![
        Answer::Approves(sign(1, b"approves")),
        Answer::Enters(sign(4, b"enters")),
        Answer::Waits,
        Answer::Rejects,
        Answer::Refuses("no".into()),
    ];
    check("draft-answers", &answers);
    check(
        "propose-frame",
        &ProposeFrame(vec![
            Payload::Command(vec![1, 2, 3].into()),
            Payload::Control(Control::Activate(example_activation())),
        ]),
    );
    let results = vec![
        ForwardedResult::Done { block: 7, result: vec![1] },
        ForwardedResult::NotProposed,
        ForwardedResult::Unknown,
    ];
    check("propose-reply", &ProposeReply(results));
    let steps = vec![
        SnapshotFrame { target: 1, step: SnapshotStep::Missing { block: 7 } },
        SnapshotFrame { target: 1, step: SnapshotStep::Chunks { block: 7, chunks: vec![vec![9; 3].into()] } },
        SnapshotFrame { target: 1, step: SnapshotStep::Install { block: 7, vote, proof: None } },
    ];
    check("snapshot-frames", &steps);
    let replies = vec![
        SnapshotReply::Missing(vec![Hash([1; 32])]),
        SnapshotReply::Stored,
        SnapshotReply::Installed(vote),
        SnapshotReply::Refused("no".into()),
    ];
    check("snapshot-replies", &replies);
}
