//! Golden files of every encoding that `node` puts on a wire or on disk: a change of one is a change of protocol.
//!
//! `QUORATE_GOLDEN=write` writes them anew; then look at the difference and think of those who have the old bytes.

use ed25519_dalek::SigningKey;
use quorate_consensus::{
    Certificate, Genesis, Hash, HostKey, Introduction, Member, MemberSignature, Parameters, Statement,
};
use quorate_engine::{
    VatId,
    abi::{Bundle, Value},
    comms::stream::StreamHead,
    machine::{ArgValue, Install},
};
use quorate_node::{
    codec,
    evidence::{Slice, outbox_path, outbox_root},
    provision::{Contacts, Provision},
    vat::{
        command::{VatCommand, VatResult},
        wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, fs, path::Path};

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let bytes = codec::encode(value);
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "write") {
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("writable");
        fs::write(&path, hex::encode(&bytes) + "\n").expect("writable");
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(hex::encode(&bytes), golden.trim(), "{name} encodes otherwise than it did");
    let decoded: T = codec::decode(&hex::decode(golden.trim()).expect("hex")).expect("golden bytes decode");
    assert_eq!(decoded, *value, "{name} decodes otherwise than it did");
}

fn genesis() -> Genesis {
    let member = |seed: u8, name: &str| Member {
        key: HostKey(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()),
        name: name.into(),
        addresses: vec![format!("/ip4/192.0.2.{seed}/tcp/4001")],
    };
    Genesis {
        members: vec![member(1, "alpha"), member(2, "beta"), member(3, "gamma")],
        threshold: 2,
        image: Hash([4; 32]),
        creator: [5; 32],
        nonce: [6; 32],
        parameters: Parameters {
            fuel_per_delivery: 1_000,
            memory_bytes: 2_000,
            checkpoint_blocks: 3,
            checkpoint_commands: 4,
            checkpoint_work: 5,
        },
    }
}

fn slice() -> Slice {
    let genesis = genesis();
    let heads = vec![
        StreamHead { peer: VatId([7; 32]), end: 3, hash: quorate_engine::Hash([8; 32]), ack: 1 },
        StreamHead { peer: VatId([9; 32]), end: 0, hash: quorate_engine::Hash([10; 32]), ack: 5 },
    ];
    let statement = Statement {
        vat: genesis.vat_id(),
        epoch: 0,
        block: 12,
        previous: Hash([11; 32]),
        outbox_root: Hash(outbox_root(&heads).expect("there are heads").0),
        state_root: Some(Hash([12; 32])),
    };
    let sign = |seed: u8| MemberSignature::sign(&SigningKey::from_bytes(&[seed; 32]), &statement.payload());
    Slice {
        genesis: Some(genesis),
        chain: Vec::new(),
        certificate: Certificate { signatures: vec![sign(1), sign(3)], statement: statement.clone() },
        path: outbox_path(&heads, 0),
        head: heads[0],
        begin: 2,
        messages: vec![b"a message".to_vec()],
        tail: vec![quorate_engine::Hash([13; 32])],
    }
}

fn install() -> Install {
    let modules = BTreeMap::from([("main.js".to_owned(), "export default () => harden({});".to_owned())]);
    Install {
        bundle: Bundle { entry: "main.js".into(), modules },
        argv: vec![
            ("price".into(), ArgValue::Data(Value::Number(10.5))),
            (
                "peer".into(),
                ArgValue::Reference { vat: VatId([7; 32]), object: 0, redeem: Some(([1; 32], vec![2; 64])) },
            ),
        ],
        endowments: vec!["exit".into()],
        grants: vec![VatId([9; 32])],
        bearers: vec![[14; 32]],
    }
}

#[test]
fn what_a_log_holds() {
    check("command_install", &VatCommand::Install(Box::new(install())));
    check("command_deliver", &VatCommand::Deliver(Box::new(slice())));
    check("command_grant", &VatCommand::Grant { to: VatId([7; 32]) });
    check("command_tick", &VatCommand::Tick { now_ms: 1_700_000_000_000 });
    check("result_done", &VatResult::Done);
    check("result_installed", &VatResult::Installed);
    check("result_install_failed", &VatResult::InstallFailed { message: "main.js:1: no default export".into() });
    check("result_delivered", &VatResult::Delivered { next: 8 });
    check("result_not_yet", &VatResult::NotYet { next: 1 });
    check("result_refused", &VatResult::Refused { message: "no".into() });
}

#[test]
fn what_hosts_say_to_each_other() {
    check("frame", &VatFrame { to: VatId([7; 32]), from: VatId([9; 32]), slice: Box::new(slice()) });
    check("reply_taken", &SliceReply::Taken { next: 8, leader: Some(HostKey([1; 32])) });
    check("reply_not_yet", &SliceReply::NotYet { next: 1, leader: None });
    check("reply_introduce", &SliceReply::Introduce);
    check("reply_refused", &SliceReply::Refused { message: "no".into() });
    check("directory_who_is", &DirectoryRequest::WhoIs(VatId([7; 32])));
    let introduction = Introduction { genesis: genesis(), chain: Vec::new() };
    check("directory_introduction", &DirectoryReply::Introduction(Box::new(introduction)));
    check("directory_unknown", &DirectoryReply::Unknown);
}

#[test]
fn what_a_home_holds() {
    let provision = Provision { name: "two".into(), genesis: genesis(), install: Some(install()), joining: false };
    check("provision", &provision);
    let introduction = Introduction { genesis: genesis(), chain: Vec::new() };
    check("contacts", &Contacts { vats: vec![("two".into(), introduction)] });
}

#[test]
fn a_slice_is_believed_as_it_stands_and_in_no_other_way() {
    let good = slice();
    let receiver = VatId([7; 32]);
    let known = good.verify(None, &receiver).expect("its evidence is whole");
    assert_eq!(known.membership.epoch, 0);
    assert!(good.verify(Some(&known), &receiver).is_ok());
    assert!(good.verify(None, &VatId([9; 32])).is_err(), "it is for another vat");
    type Alter = fn(&mut Slice);
    let altered: [(&str, Alter); 9] = [
        ("a signature too few", |slice| slice.certificate.signatures.truncate(1)),
        ("one signature twice", |slice| slice.certificate.signatures[1] = slice.certificate.signatures[0]),
        ("a changed signature", |slice| slice.certificate.signatures[0].signature[7] ^= 1),
        ("a changed root", |slice| slice.certificate.statement.outbox_root.0[0] ^= 1),
        ("a changed head", |slice| slice.head.ack += 1),
        ("another genesis", |slice| slice.genesis.as_mut().expect("it has one").nonce = [0; 32]),
        ("no genesis", |slice| slice.genesis = None),
        ("another epoch", |slice| slice.certificate.statement.epoch = 1),
        ("messages beyond the head", |slice| slice.begin += 1),
    ];
    for (what, alter) in altered {
        let mut bad = slice();
        alter(&mut bad);
        assert!(bad.verify(None, &receiver).is_err(), "{what} was believed");
    }
}
