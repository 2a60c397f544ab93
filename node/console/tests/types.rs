//! The page's types are those of the server's answers: each answer, as JSON, is given to the TypeScript compiler as a value of its type. A
//! field that is missing in either is an error there, and so is one of another type.

use quorate_admin::client::Endpoint;
use quorate_console::{
    admin::{
        AdminView, AnsweredView, HolderView, LineView, LogsView, ObjectView, ObjectsView, ReferenceView, ThroughView,
    },
    detail::{
        CheckedVatView, CheckedView, EpochView, EvidenceView, FindingView, HopView, PersonView, PieceView, SaidView,
        SayingView, SignedBlock, SignedBlocks, TakenView,
    },
    look::{HostState, Look, MemberStanding, MemberState, SeenHost, Standing},
    model::{Model, model},
};
use quorate_protocol::status::{BlockStatus, HeadStatus, HostStatus, WorkStatus};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web")
}

/// Runs the TypeScript compiler; what it says if it is not content.
fn compile(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("node");
    command.arg(web().join("node_modules/typescript/bin/tsc")).args(args);
    let output = command.output().expect("Node.js runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// A host with a vat of which everything is set that can be, or nothing.
fn look(is_full: bool) -> Look {
    let key = "07".repeat(32);
    let member = json!({ "name": "alpha", "key": key, "addresses": ["/ip4/127.0.0.1/tcp/1"] });
    let change = json!({
        "id": "c4", "change": "replace alpha by beta", "proposer": "alpha", "is_own": true, "out": member, "in": member,
        "fingerprint": "words", "threshold_before": 1, "after": [1, 1], "answer": null, "approved": ["alpha"],
        "rejected": ["beta"], "asked": ["alpha"], "needed": 1, "waits_for_newcomer": true,
    });
    let stream = json!({
        "peer": "other", "named": true, "vat": "09".repeat(32), "sent": 4, "unacknowledged": 1, "kept_bytes": 3,
        "fuel_ahead": 4, "received": 5, "broken": true,
    });
    let full = |value: Value| if is_full { value } else { Value::Null };
    let many = |value: &Value| if is_full { json!([value]) } else { json!([]) };
    let vat = json!({
        "name": "v", "vat": "08".repeat(32), "role": "leader", "leader": full(json!("alpha")), "term": 1,
        "committed_block": 9, "applied_block": 9, "certified_block": 8, "certified_by": [key], "epoch": 0,
        "certified_epoch": 0, "threshold": 1, "members": [member], "pending_change": full(json!("replace")),
        "approvals": many(&change), "installed": true, "install_error": full(json!("why")), "setup": full(json!("ready")),
        "setup_error": full(json!("why")), "exited": full(json!({ "value": 1 })), "deliveries": 3, "heap_bytes": 1,
        "heap_limit_bytes": 2, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": full(json!("ab")),
        "equivocations": 1, "disagreements": 1, "streams": many(&stream), "recovered": many(&json!("by hand")),
        "fault": full(json!("why")), "idle_s": 1, "complains": full(json!("why")), "standstill": full(json!("why")),
    });
    let peer = json!({ "key": key, "connected": true, "addresses": ["here"], "last_error": full(json!("why")) });
    let status: HostStatus = serde_json::from_value(json!({
        "host": "alpha", "key": key, "version": "0.1.0", "image": "ab", "process": 1, "uptime_s": 1, "listen": ["here"],
        "http": "127.0.0.1:1", "peers": [peer], "vats": [vat], "failed_vats": {}, "damage": many(&json!("a file")),
        "disk": full(json!({ "free_bytes": 1, "total_bytes": 2 })), "peer_evidence": 1, "muted": many(&json!(key)),
    }))
    .expect("a status");
    let standing = Standing {
        vat: "08".repeat(32),
        needed: 1,
        reachable: 1,
        can_order: true,
        can_speak: true,
        complaint: None,
        members: vec![MemberStanding {
            name: "alpha".to_owned(),
            key: key.clone(),
            state: if is_full { MemberState::Faulty } else { MemberState::Up },
            why: is_full.then(|| "why".to_owned()),
        }],
    };
    let host = |status: Option<HostStatus>, state| SeenHost {
        name: if status.is_some() { "alpha" } else { "beta" }.to_owned(),
        key: status.as_ref().map(|_| key.clone()),
        home: "/srv".to_owned(),
        endpoint: Endpoint::socket(Path::new("nowhere")),
        state,
        problem: None,
        status,
    };
    Look {
        hosts: vec![host(Some(status), HostState::Up), host(None, HostState::Down)],
        standings: vec![standing],
        expected: vec![("gone".to_owned(), "0a".repeat(32))],
    }
}

/// Answers with the names of their types.
struct Answers(String);

impl Answers {
    fn add(&mut self, name: &str, value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("JSON");
        let number = self.0.lines().count();
        writeln!(self.0, "export const answer{number}: model.{name} = {json};").expect("text");
    }
}

fn person() -> PersonView {
    PersonView { name: "alpha".to_owned(), key: "07".to_owned(), fingerprint: "words".to_owned() }
}

fn answers() -> Answers {
    let model_file = web().join("src/model");
    let mut answers = Answers(format!("import type * as model from {:?};\n", model_file.display().to_string()));
    for is_full in [true, false] {
        let Model { hosts, vats } = model(&look(is_full), &Model::default(), 1_790_000_000_000);
        assert_eq!((hosts.len(), vats.len()), (2, 2));
        hosts.values().for_each(|host| answers.add("HostView", host));
        vats.values().for_each(|vat| answers.add("VatView", vat));
        let text = || "ab".to_owned();
        let set = |text: String| is_full.then_some(text);
        let block = SignedBlock {
            block: 8,
            epoch: 0,
            statement: text(),
            state_root: set(text()),
            signers: vec![text()],
            hosts: vec![text()],
        };
        answers.add("SignedBlocks", &SignedBlocks { certified_block: 8, blocks: vec![block] });
        let epoch = EpochView {
            epoch: 1,
            threshold: 1,
            members: vec![person()],
            hash: text(),
            signers: vec![text()],
            needed: 1,
            members_before: 1,
            recovered_after: is_full.then_some(4),
        };
        answers.add("EpochView[]", &vec![epoch]);
        let finding =
            FindingView { kind: text(), proven: vec![text()], not_proven: vec![text()], accused: vec![text()] };
        let vat =
            CheckedVatView { vat: text(), epoch: 0, threshold: 1, members: vec![person()], findings: vec![finding] };
        answers.add("CheckedView", &CheckedView { accused: vec![text()], vats: vec![vat] });
        let piece = PieceView {
            vat: text(),
            name: set(text()),
            kind: text(),
            epoch: 0,
            block: is_full.then_some(4),
            accused: vec![person()],
            signers: vec![person()],
            hosts: vec![text()],
        };
        answers.add("EvidenceView", &EvidenceView { pieces: vec![piece], hosts_down: vec![text()] });
        let work = WorkStatus { account: text(), deliveries: 1, fuel: 2, execution_ms: 0.5, rolled_back: vec![text()] };
        let heads = vec![HeadStatus { peer: text(), end: 1, ack: 2 }];
        let blocks = vec![BlockStatus { block: 1, at_ms: 2, heads, work: vec![work.clone()] }];
        answers.add("BlocksView", &quorate_console::detail::BlocksView { host: text(), blocks });
        let said = SaidView { block: 1, at_ms: 2, or_before: true, signers: vec![text()], threshold: 1 };
        let taken = TakenView {
            block: 1,
            at_ms: 2,
            or_before: false,
            work: is_full.then_some(work),
            sayings: vec![SayingView { to: text(), first: is_full.then_some(1), last: 2 }],
        };
        answers.add(
            "HopView",
            &HopView {
                from: text(),
                to: text(),
                message: 1,
                said: is_full.then_some(said),
                taken: Some(taken),
                acknowledged: is_full.then_some(true),
            },
        );
        answers.add("AdminView", &AdminView { offered: true, accepted: is_full });
        let line = LineView { block: is_full.then_some(4), level: set(text()), text: text() };
        answers.add("LogsView", &LogsView { lines: vec![line], searched: 2, found: 1 });
        let holder = || HolderView { vat: text(), name: set(text()) };
        let reference = ReferenceView { key: text(), note: text(), expires_ms: is_full.then_some(4) };
        let object =
            ObjectView { object: 3, interface: set(text()), holders: vec![holder()], references: vec![reference] };
        let through = ThroughView { vat: text(), name: set(text()), path: vec![holder()] };
        answers
            .add("ObjectsView", &ObjectsView { block: 1, objects: vec![object], through: vec![through], is_cut: true });
        answers.add("AnsweredView", &AnsweredView { message: text() });
    }
    answers
}

fn compile_answers(answers: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("answers.ts");
    fs::write(&file, answers).expect("writable");
    let strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "--lib", "es2022,dom"];
    let modules = ["--module", "esnext", "--moduleResolution", "bundler"];
    compile(&[&strict[..], &modules, &[file.to_str().expect("text")]].concat())
}

#[test]
fn the_pages_types_are_those_of_the_answers() {
    let answers = answers().0;
    compile_answers(&answers).unwrap_or_else(|said| panic!("{said}"));
    // A field more or less, and another type, are seen.
    for (field, other) in [
        (r#""certified_epoch":0,"#, ""),
        (r#""certified_epoch":0,"#, r#""certified_epoch":0,"more":1,"#),
        (r#""certified_epoch":0,"#, r#""certified_epoch":"0","#),
        (r#""or_before":true"#, r#""or_before":null"#),
    ] {
        let wrong = answers.replacen(field, other, 1);
        assert_ne!(wrong, answers, "{field} is there");
        compile_answers(&wrong).expect_err("it is not that type");
    }
}

#[test]
fn the_page_compiles() {
    compile(&["-p", web().to_str().expect("text")]).unwrap_or_else(|said| panic!("{said}"));
}
