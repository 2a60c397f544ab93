//! Inputs to begin with: the golden files of all formats, the examples of the docs, and what fuzzing has found that reaches more code, or
//! once broke something. The last are in `corpus/NAME.txt`, one a line in hexadecimal; lines that begin with `#` say what an input showed.

use ed25519_dalek::SigningKey;
use quorate_engine::heap::HeapManifest;
use quorate_engine::sandbox::GlobalValue;
use quorate_ids::{Hash, VatId};
use quorate_proof::Introduction;
use quorate_protocol::authority::{CodeDigest, SignedInstall};
use quorate_protocol::card::Card;
use quorate_protocol::codec;
use quorate_protocol::upgrade::UpgradeMotion;
use quorate_protocol::wire::{DirectoryReply, ReadReply};
use quorate_streams::abi::{self, Bundle, CapData, Durable, Holding, Resolution, Slot, Value};
use quorate_streams::command::{ArgValue, Install, Upgrade};
use quorate_streams::wire::{self, codec::SharedBytes};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the golden files of other crates are, from the root of the repository.
const GOLDEN: [&str; 4] =
    ["consensus/golden", "node/tests/golden", "node/protocol/tests/golden", "engine/tests/golden"];
/// Texts to begin with.
const TEXTS: [&str; 8] = [
    "vat://7ea7664f727b2e9902ec448d480ac8434c5e7cacf2abf5f030e8262771886b0d/3#7ea7664f727b2e9902ec448d480ac8434c5e7cacf2abf5f030e8262771886b0d",
    "7ea7664f727b2e9902ec448d480ac8434c5e7cacf2abf5f030e8262771886b0d",
    "/ip4/10.0.0.1/tcp/4001",
    "alpha",
    "version = 1\n[[host]]\nname = \"alpha\"\nlisten = \"0.0.0.0:7001\"\nannounce = \"192.0.2.7:7001\"\n",
    r#"["push",["pipeline",0,["redeem"],["vat://r"]]]
["push",["pipeline",1,["add"],[1,[2],["bigint","3"],["export",-1]]]]
["pull",2]
~{"a":[1,"x"]}
["resolve",1,{"b":["bytes","AAE"]}]
["release",1,1]"#,
    r#"{"@record":[["a",1],["b",{"@bigint":"-12"}]]}"#,
    "2026-11-29T21:00:00Z",
];

/// Values of types that have no golden file of their own, some of them out of those that have.
fn made(golden: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let card = Card::make(&key, "alpha", vec!["/ip4/192.0.2.7/tcp/7001".into()]).expect("a good card");
    let bundle = Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), "export {};".into())]) };
    let argv =
        vec![("words".to_owned(), ArgValue::Data(Value::Array(vec![Value::Number(1.0), Value::Bytes(vec![1])])))];
    let endowments = vec!["timer".to_owned()];
    let install = Install {
        bundle: bundle.clone(),
        argv: argv.clone(),
        endowments: endowments.clone(),
        grants: vec![],
        bearers: vec![],
    };
    let upgrade = Upgrade { bundle, argv, endowments, image: Some(Hash([3; 32])) };
    let motion = UpgradeMotion::of(&upgrade, &CodeDigest::of(&install), 1);
    let durable = Durable {
        holdings: vec![Holding {
            kind: "purse".into(),
            facets: vec![("user".into(), 4)],
            entries: vec![(CapData::data(&Value::Null), CapData::new(&Value::Slot(0), vec![Slot::VatObject(4)]))],
        }],
        answers: vec![(Slot::HostPromise(1), Resolution::Fulfilled(CapData::data(&Value::Undefined)))],
    };
    let mut made = vec![
        serde_json::to_vec(&card).expect("JSON"),
        codec::encode(&SignedInstall::sign(&VatId([1; 32]), install, &key)),
        codec::encode(&motion),
        abi::encode(&durable),
    ];
    let heap =
        HeapManifest { image: Hash([7; 32]), globals: vec![GlobalValue::I32(-1)], pages: vec![Hash([1; 32]); 3] };
    made.extend((1..9).map(|version| wire::codec::encode(version, &(&heap, SharedBytes(Arc::from([1_u8, 2, 3]))))));
    for bytes in golden {
        if let Ok(known) = codec::decode::<Introduction>(bytes) {
            made.push(codec::encode(&known.genesis));
            made.extend(known.chain.iter().map(codec::encode));
        }
        if let Ok(DirectoryReply::Read(ReadReply::Reading { reading, .. })) = codec::decode(bytes) {
            made.push(codec::encode(&reading));
        }
        if let Ok(DirectoryReply::Known { introduction, .. }) = codec::decode(bytes) {
            made.push(codec::encode(&introduction.genesis));
            made.extend(introduction.chain.iter().map(codec::encode));
        }
    }
    made
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The file of inputs of a decoder.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{name}.txt"))
}

/// What was kept for a decoder.
pub fn kept(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file(name)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| hex::decode(line).unwrap_or_else(|error| panic!("corpus/{name}.txt: {error}"))).collect()
}

/// Everything of other places that may be something to a decoder.
pub fn common() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    for folder in GOLDEN {
        let entries = fs::read_dir(root().join(folder)).expect("golden files");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "hex")) {
            let text: String = fs::read_to_string(path).expect("a golden file").split_whitespace().collect();
            found.extend(hex::decode(text));
        }
    }
    let frames = fs::read_to_string(root().join("net/golden/frames.txt")).expect("golden frames");
    found.extend(
        frames
            .lines()
            .filter_map(|line| hex::decode(line.split_once(' ')?.1).ok())
            .map(|frame| [&[0, 7], &frame[..]].concat()),
    );
    let docs = fs::read_to_string(root().join("docs/reference/config.md")).expect("the reference");
    let examples = docs.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    found.extend(examples.map(|(example, _)| example.as_bytes().to_vec()));
    found.extend(made(&found));
    found
}

/// What a decoder begins with: what was kept for it, and what of the rest it accepts.
pub fn of(decoder: &crate::Decoder) -> Vec<Vec<u8>> {
    let mut inputs = kept(decoder.name);
    inputs.extend(common().into_iter().filter(|input| (decoder.run)(input)));
    inputs
}
