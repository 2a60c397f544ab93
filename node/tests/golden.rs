//! Golden files of every encoding that `node` puts on a wire or on disk: a change of one is a change of protocol.
//!
//! `QUORATE_GOLDEN=write` writes them anew; then look at the difference and think of those who have the old bytes.

use ed25519_dalek::SigningKey;
use quorate_admin::remote::{RemoteReply, RemoteRequest};
use quorate_client::Known;
use quorate_consensus::{
    Certificate, Genesis, Hash, HostId, Introduction, MAX_CHAIN, MAX_MEMBERS, Member, MemberSignature, Membership,
    MembershipCertificate, Parameters, Signers, Statement,
};
use quorate_engine::{
    VatId,
    abi::{Bundle, Value},
    comms::stream::StreamHead,
    machine::{ArgValue, Install, published::Publications},
};
use quorate_node::vat::{
    clients::Clients,
    tables::{Manifest, Tables},
};
use quorate_protocol::{
    address_record::AddressRecord,
    authority::{
        AccessChange, AccessEvidence, AccessMotion, AccessOrder, CodeDigest, SignedInstall, bundle_hash,
        install_payload,
    },
    codec,
    command::{VatCommand, VatResult},
    evidence::{EvidenceError, SLICE_CHAIN_SIGNATURES, Slice, outbox_path, outbox_root},
    provision::{Contacts, Provision},
    published::PublishedTree,
    wire::{DirectoryReply, DirectoryRequest, ReadReply, ReadRequest, SliceReply, VatFrame},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, fs, path::Path, sync::Arc};

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
        key: HostId(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()),
        name: name.into(),
        addresses: vec![format!("/ip4/192.0.2.{seed}/tcp/4001")],
    };
    Genesis {
        members: vec![member(1, "alpha"), member(2, "beta"), member(3, "gamma")],
        threshold: 2,
        image: Hash([4; 32]),
        creator: SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes(),
        bundle: Some(Hash([15; 32])),
        nonce: [6; 32],
        expires: 9,
        parameters: Parameters {
            fuel_per_delivery: 1_000,
            fuel_per_turn: 100,
            fuel_per_block: 10_000,
            fuel_prices: Hash([14; 32]),
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
        StreamHead {
            peer: VatId([7; 32]),
            end: 3,
            hash: quorate_engine::Hash([8; 32]),
            ack: 1,
            ack_hash: quorate_engine::Hash([18; 32]),
            is_mark: false,
        },
        StreamHead {
            peer: VatId([9; 32]),
            end: 0,
            hash: quorate_engine::Hash([10; 32]),
            ack: 5,
            ack_hash: quorate_engine::Hash([19; 32]),
            is_mark: false,
        },
    ];
    let statement = Statement {
        vat: genesis.vat_id(),
        epoch: 0,
        block: 12,
        previous: Hash([11; 32]),
        chain: Hash([14; 32]),
        outbox_root: Hash(outbox_root(&heads).expect("there are heads").0),
        published_root: Hash([13; 32]),
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

fn signed_install() -> SignedInstall {
    SignedInstall::sign(&genesis().vat_id(), install(), &SigningKey::from_bytes(&[5; 32]))
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
    check("command_install", &VatCommand::Install(Box::new(signed_install())));
    check("command_deliver", &VatCommand::Deliver(Box::new(slice())));
    let sign = |seed: u8| MemberSignature::sign(&SigningKey::from_bytes(&[seed; 32]), b"grant");
    let order = |change, evidence| {
        VatCommand::Access(AccessOrder { motion: AccessMotion { change, number: 300 }.encode(), evidence })
    };
    let to = VatId([7; 32]);
    let grant = AccessChange::Grant { to, expires_ms: Some(1_800_000_000_000) };
    check("command_grant", &order(grant, AccessEvidence::Creator(sign(5))));
    let revoke = AccessChange::Revoke { from: to };
    check("command_revoke", &order(revoke, AccessEvidence::Members(vec![sign(1), sign(3)])));
    let reference =
        AccessChange::NewReference { key: [6; 32], object: 300, expires_ms: None, note: "for Alice".into() };
    check("command_reference", &order(reference, AccessEvidence::Creator(sign(5))));
    let revoke = AccessChange::RevokeReference { key: [6; 32] };
    check("command_revoke_reference", &order(revoke, AccessEvidence::Creator(sign(5))));
    let drop = AccessChange::DropPeer { peer: to };
    check("command_drop_peer", &order(drop, AccessEvidence::Members(vec![sign(1), sign(3)])));
    check("result_dropped", &VatResult::Dropped);
    check("result_granted", &VatResult::Granted);
    check("result_revoked", &VatResult::Revoked);
    check("result_installed", &VatResult::Installed);
    check("result_install_failed", &VatResult::InstallFailed { message: "main.js:1: no default export".into() });
    check("result_delivered", &VatResult::Delivered { next: 8 });
    check("result_not_yet", &VatResult::NotYet { next: 1 });
    check("result_refused", &VatResult::Refused { message: "no".into() });
}

/// Any member can have a command ordered, so there is none that hands out the root or sets the time: these were, once.
#[test]
fn what_nobody_may_want_does_not_decode() {
    for (what, text) in [
        ("a grant of the root", "04020707070707070707070707070707070707070707070707070707070707070707"),
        ("a tick of the clock", "0404fd0068e5cf8b010000"),
    ] {
        let bytes = hex::decode(text).expect("hex");
        assert_eq!(bytes[0], codec::NODE_CODEC_VERSION, "refused for its version alone");
        assert!(codec::decode::<VatCommand>(&bytes).is_err(), "{what}");
    }
}

/// What a creator signs, and what a genesis commits to, are canonical bytes.
#[test]
fn what_is_hashed_and_signed() {
    check("bundle_hash", &bundle_hash(&install().bundle));
    check("install_payload", &Hash::of(&install_payload(&genesis().vat_id(), &install())));
    let change = AccessChange::Revoke { from: VatId([7; 32]) };
    let motion = AccessMotion { change, number: 300 }.encode();
    check("access_payload", &AccessOrder::creator_payload(&genesis().vat_id(), &motion));
}

#[test]
fn what_a_checkpoint_holds() {
    let clients = || {
        let mut clients = Clients::default();
        clients.hear(VatId([16; 32]), 21, 3);
        clients.hear(VatId([22; 32]), 2_000, 4);
        clients.end(&VatId([22; 32]));
        clients.rebuild(|_| 0);
        clients
    };
    let head = StreamHead {
        peer: VatId([7; 32]),
        end: 3,
        hash: quorate_engine::Hash([8; 32]),
        ack: 1,
        ack_hash: quorate_engine::Hash([18; 32]),
        is_mark: false,
    };
    let signers = Signers {
        vat: quorate_consensus::VatId([16; 32]),
        epoch: 3,
        hash: Hash([17; 32]),
        threshold: 2,
        keys: vec![HostId([18; 32]), HostId([19; 32]), HostId([20; 32])],
        expires: 21,
    };
    let known = BTreeMap::from([(signers.vat, signers)]);
    let code = Some(CodeDigest::of(&install()));
    let tables = Tables {
        engine: b"an engine's manifest".to_vec(),
        known,
        heads: vec![head],
        clients: clients(),
        code,
        access_orders: 2,
        upgrade_orders: 4,
        last_upgrade: Some((Hash([16; 32]), Some("it forgets Counter".into()))),
    };
    check("tables", &tables);
    let pieces = tables.pieces();
    assert_eq!(pieces.len(), 1);
    let pages = vec![quorate_engine::Hash([15; 32])];
    let manifest = Manifest { tables: pieces.iter().map(|(hash, _)| *hash).collect(), pages };
    check("manifest", &manifest);
    assert_eq!(manifest.root().to_string(), "a570e56ccd51ef1256d260f9743c2f956ec319e4c7493cee23212e7895a072f2");

    // Where they are cut is part of the root that members certify together.
    let mut state = 1_u64;
    let engine = (0..600_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let large = Tables { engine, ..tables };
    let pieces = large.pieces();
    let lengths: Vec<usize> = pieces.iter().map(|(_, piece)| piece.len()).collect();
    assert_eq!(lengths, [125_817, 78_145, 101_666, 83_949, 47_712, 79_075, 41_827, 42_413]);
    let whole: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    assert_eq!(codec::decode(&whole), Ok(large));
}

#[test]
fn what_hosts_say_to_each_other() {
    check("frame", &VatFrame { to: VatId([7; 32]), from: VatId([9; 32]), slice: Box::new(slice()) });
    let farewell = Some(Box::new(slice()));
    check("reply_taken", &SliceReply::Taken { next: 8, leader: Some(HostId([1; 32])), farewell: None });
    check("reply_farewell", &SliceReply::Taken { next: 8, leader: None, farewell });
    check("reply_no_code", &SliceReply::NoCode { failure: Some("SyntaxError".into()) });
    check("reply_not_yet", &SliceReply::NotYet { next: 1, leader: None });
    check("reply_introduce", &SliceReply::Introduce);
    check("reply_refused", &SliceReply::Refused { message: "no".into() });
    check("directory_who_is", &DirectoryRequest::WhoIs(VatId([7; 32])));
    let introduction = Introduction { genesis: genesis(), chain: Vec::new() };
    check("directory_introduction", &DirectoryReply::Known { introduction: Box::new(introduction), block: Some(500) });
    check("directory_unknown", &DirectoryReply::Unknown);
    check("directory_alive", &DirectoryRequest::Alive);
    check("directory_is_alive", &DirectoryReply::Alive);
    check("directory_image", &DirectoryRequest::Image { hash: Hash([9; 32]), offset: 524_288 });
    check("directory_image_part", &DirectoryReply::ImagePart { whole: 524_290, bytes: vec![1, 2] });
    check("directory_busy", &DirectoryReply::Busy);
    let request = ReadRequest { vat: VatId([7; 32]), name: "price".into(), at_least: 300, current: true };
    check("directory_read", &DirectoryRequest::Read(request));
    let value: Arc<[u8]> = Value::Number(1.5).encode().into();
    let published = ["a", "price", "z"].map(|name| (Arc::<str>::from(name), value.clone()));
    let published: Publications = Arc::new(published.into());
    let tree = PublishedTree::new(published);
    let mut certificate = slice().certificate;
    certificate.statement.published_root = tree.root();
    let reading = |name| ReadReply::Reading { reading: Box::new(tree.read(name, certificate.clone())), epoch: 3 };
    check("directory_reading", &DirectoryReply::Read(reading("price")));
    check("directory_reading_nothing", &DirectoryReply::Read(reading("b")));
    let not_yet = ReadReply::NotYet { block: Some(299), why: "no".into() };
    check("directory_not_yet", &DirectoryReply::Read(not_yet));
    let relayed = "/ip4/192.0.2.9/tcp/4001/p2p/12D3KooWRelay/p2p-circuit".to_owned();
    let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned(), relayed];
    let record = AddressRecord::sign(&SigningKey::from_bytes(&[1; 32]), 7, addresses);
    assert_eq!(record.verify(), Ok(()));
    check("directory_addresses", &DirectoryRequest::Addresses(vec![record.host, HostId([2; 32])]));
    check("directory_moved", &DirectoryRequest::Moved(Box::new(record.clone())));
    check("directory_address_records", &DirectoryReply::Addresses(vec![record]));
    let (path, body) = ("/api/v1/muted".to_owned(), Some(b"{}".to_vec()));
    check("admin_request", &RemoteRequest { path, body, json: true });
    check("admin_reply", &RemoteReply { status: 200, body: b"{}".to_vec() });
}

#[test]
fn what_a_client_remembers() {
    let introduction = Introduction { genesis: genesis(), chain: Vec::new() };
    let first = Some(HostId([1; 32]));
    check("known", &Known { introduction, block: 500, first, silent: None, took_ms: Some(7) });
}

#[test]
fn what_a_home_holds() {
    let provision =
        Provision { name: "two".into(), genesis: genesis(), install: Some(signed_install()), joining: false };
    check("provision", &provision);
    let introduction = Introduction { genesis: genesis(), chain: Vec::new() };
    check("contacts", &Contacts { vats: vec![("two".into(), introduction)] });
}

#[test]
fn a_slice_is_believed_as_it_stands_and_in_no_other_way() {
    let good = slice();
    let receiver = VatId([7; 32]);
    let proven = good.verify(None, &receiver).expect("its evidence is whole");
    let membership = genesis().membership();
    assert_eq!(proven.signers, Signers { expires: genesis().expires, ..Signers::from(&membership) });
    assert_eq!(proven.news, Some(membership));
    let again = good.verify(Some(&proven.signers), &receiver).expect("it is known now");
    assert_eq!((again.signers, again.news), (proven.signers, None));
    assert!(good.verify(None, &VatId([9; 32])).is_err(), "it is for another vat");
    type Alter = fn(&mut Slice);
    let altered: [(&str, Alter); 12] = [
        ("a chain beyond all bounds", |slice| slice.chain = vec![next(&genesis().membership(), &[1]); MAX_CHAIN + 1]),
        ("signatures of a chain beyond all bounds", |slice| {
            let mut certificate = next(&genesis().membership(), &[1]);
            certificate.signatures = vec![certificate.signatures[0]; SLICE_CHAIN_SIGNATURES + 1];
            slice.chain = vec![certificate];
        }),
        ("more signatures than a vat has members", |slice| {
            let first = slice.certificate.signatures[0];
            slice.certificate.signatures.resize(MAX_MEMBERS + 1, first);
        }),
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
        let refused = bad.verify(None, &receiver).expect_err(what);
        assert_eq!(
            what.contains("more signatures") || what.contains("beyond"),
            refused == EvidenceError::Shape,
            "{what}"
        );
    }
}

/// The membership of the next epoch, the same members, with the signatures of some.
fn next(before: &Membership, signers: &[u8]) -> MembershipCertificate {
    let membership = Membership { epoch: before.epoch + 1, previous: before.hash(), ..before.clone() };
    let sign = |seed: &u8| MemberSignature::sign(&SigningKey::from_bytes(&[*seed; 32]), &membership.payload());
    let signatures = signers.iter().map(sign).collect();
    MembershipCertificate { membership, signatures }
}

#[test]
fn a_slice_is_introduced_as_far_as_the_epoch_in_which_it_was_certified() {
    let genesis = genesis();
    let first = next(&genesis.membership(), &[1, 2]);
    let second = next(&first.membership, &[2, 3]);
    let introduction = Introduction { genesis, chain: vec![first.clone(), second] };
    let mut slice = slice();
    let mut resign = |epoch| {
        slice.certificate.statement.epoch = epoch;
        let payload = slice.certificate.statement.payload();
        let sign = |seed: u8| MemberSignature::sign(&SigningKey::from_bytes(&[seed; 32]), &payload);
        slice.certificate.signatures = vec![sign(1), sign(3)];
        slice.introduce(&introduction);
        slice.clone()
    };
    for epoch in 0..3 {
        let slice = resign(epoch);
        assert_eq!(slice.chain.len() as u64, epoch);
        let proven = slice.verify(None, &VatId([7; 32])).expect("the evidence goes together");
        assert_eq!(proven.signers.epoch, epoch);
    }
    // Whoever knows the first epoch needs only what came after, and never believes what was before.
    let known = Signers::from(&first.membership);
    let mut newer = resign(2);
    newer.trim(Some(&known));
    assert_eq!((newer.genesis.is_none(), newer.chain.len()), (true, 1));
    assert!(newer.verify(Some(&known), &VatId([7; 32])).is_ok());
    let older = resign(0).verify(Some(&known), &VatId([7; 32]));
    assert_eq!(older, Err(EvidenceError::Epoch { statement: 0, known: 1 }));
}
