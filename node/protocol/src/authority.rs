//! Checks what authorises a vat's first code, and changes of who may use its root. Pure.
//!
//! Invariants: the vat's creator, whose key is in the genesis, authorises code by a signature over the vat, the hash of the
//! bundle and the hash of everything that goes with it. If the genesis names a bundle, only that one counts. The
//! creator or a threshold of the present members authorises a change of access. It counts once: it carries the number of earlier changes.

use crate::codec;
use ed25519_dalek::SigningKey;
use quorate_proof::{Canonical, CertificateError, Genesis, Hash, MemberSignature, Membership, VatId, verify_motion};
use quorate_streams::{
    abi::Bundle,
    command::{ArgValue, Install, Upgrade},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a command lacks the authority that it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("the code is not signed by the vat's creator: {0}")]
    Creator(CertificateError),
    #[error("the signature is of {found}, and the vat's creator is {creator}")]
    OtherCreator { found: String, creator: String },
    #[error("the code is another one than that which the vat's id commits to (its hash is {found}, not {wanted})")]
    OtherCode { found: Hash, wanted: Hash },
    #[error("the change of access to the vat is not authorised: {0}")]
    Access(CertificateError),
    #[error(
        "this is change {found} of who may use the vat, and change {next} is the next one: another was carried out meanwhile"
    )]
    Order { found: u64, next: u64 },
    #[error("the upgrade is not authorised: {0}")]
    Upgrade(CertificateError),
    #[error("this is upgrade {found}, and upgrade {next} is the next one: another was carried out or tried meanwhile")]
    UpgradeOrder { found: u64, next: u64 },
    #[error(
        "the upgrade is not what the owners of the members approved of, or changes something else than they were told"
    )]
    OtherUpgrade,
    #[error(
        "a peer is dropped for good, which a threshold of the vat's members must want; its creator's signature is not enough"
    )]
    MembersAlone,
    #[error("the change of access to the vat does not decode: {0}")]
    Motion(String),
}

/// A vat's first code with its creator's signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedInstall {
    pub install: Install,
    /// Over [`install_payload`].
    pub creator: MemberSignature,
}

impl SignedInstall {
    /// Signs code for a vat.
    pub fn sign(vat: &VatId, install: Install, creator: &SigningKey) -> SignedInstall {
        let creator = MemberSignature::sign(creator, &install_payload(vat, &install));
        SignedInstall { install, creator }
    }
}

/// The creator that may give a vat its code, and that code's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    vat: VatId,
    creator: [u8; 32],
    bundle: Option<Hash>,
}

/// A change of who may use what of a vat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessChange {
    /// Another vat may use the root, until log time reaches `expires_ms` (milliseconds since 1970) if that is given.
    Grant { to: VatId, expires_ms: Option<u64> },
    /// It may no longer.
    Revoke { from: VatId },
    /// Holders of the secret half of `key` may use the vat's object `object`, until `expires_ms`. `note` is for people.
    NewReference { key: [u8; 32], object: u64, expires_ms: Option<u64>, note: String },
    /// Such a key opens nothing any more, nor does what was kept through it.
    RevokeReference { key: [u8; 32] },
    /// Another vat is gone: this one ends with it for good. Only a threshold of the members can want that, not the creator alone.
    DropPeer { peer: VatId },
}

/// What is signed of an [`AccessChange`], and what the owners of members are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessMotion {
    pub change: AccessChange,
    /// How many such changes the vat has carried out before: each counts once.
    pub number: u64,
}

/// A change of who may use what of a vat, as it is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessOrder {
    /// An encoded [`AccessMotion`].
    pub motion: Vec<u8>,
    pub evidence: AccessEvidence,
}

/// What authorises an [`AccessOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessEvidence {
    /// The creator's signature over [`AccessOrder::creator_payload`].
    Creator(MemberSignature),
    /// Approvals of the motion by at least a threshold of the present members: see [`verify_motion`].
    Members(Vec<MemberSignature>),
}

impl AccessMotion {
    /// The bytes that are approved of.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

impl AccessOrder {
    /// Returns what the creator signs.
    pub fn creator_payload(vat: &VatId, motion: &[u8]) -> Vec<u8> {
        let mut writer = Canonical::new("quorate/access/1");
        writer.fixed(&vat.0).bytes(motion);
        writer.finish()
    }
}

impl Authority {
    /// Returns what a genesis says of it.
    pub fn of(genesis: &Genesis) -> Authority {
        Authority { vat: genesis.vat_id(), creator: genesis.creator, bundle: genesis.bundle }
    }

    fn check_creator(&self, signature: &MemberSignature) -> Result<(), AuthorityError> {
        if signature.key.0 == self.creator {
            return Ok(());
        }
        Err(AuthorityError::OtherCreator { found: signature.key.to_string(), creator: hex::encode(self.creator) })
    }

    /// Checks that the vat's creator wants this code for it.
    pub fn check_install(&self, signed: &SignedInstall) -> Result<(), AuthorityError> {
        self.check_creator(&signed.creator)?;
        let found = bundle_hash(&signed.install.bundle);
        if let Some(wanted) = self.bundle.filter(|wanted| *wanted != found) {
            return Err(AuthorityError::OtherCode { found, wanted });
        }
        signed.creator.verify(&install_payload(&self.vat, &signed.install)).map_err(AuthorityError::Creator)
    }

    /// Checks that a change of who may use what is wanted by those who may want it, and returns it. `next` is the number of the next one.
    ///
    /// # Errors
    /// The motion does not decode, its turn is not now, or the evidence does not authorise it.
    pub fn check_access(
        &self,
        members: &Membership,
        order: &AccessOrder,
        next: u64,
    ) -> Result<AccessChange, AuthorityError> {
        let AccessOrder { motion, evidence } = order;
        let decoded: AccessMotion = codec::decode(motion).map_err(|error| AuthorityError::Motion(error.to_string()))?;
        if decoded.number != next {
            return Err(AuthorityError::Order { found: decoded.number, next });
        }
        match evidence {
            AccessEvidence::Creator(_) if matches!(decoded.change, AccessChange::DropPeer { .. }) => {
                return Err(AuthorityError::MembersAlone);
            }
            AccessEvidence::Creator(signature) => {
                self.check_creator(signature)?;
                signature.verify(&AccessOrder::creator_payload(&self.vat, motion))
            }
            AccessEvidence::Members(approvals) => verify_motion(members, motion, approvals),
        }
        .map_err(AuthorityError::Access)?;
        Ok(decoded.change)
    }
}

/// The hash of a bundle: what a genesis commits to.
pub fn bundle_hash(bundle: &Bundle) -> Hash {
    let mut writer = Canonical::new("quorate/bundle/1");
    writer.bytes(bundle.entry.as_bytes());
    for (name, text) in &bundle.modules {
        writer.bytes(name.as_bytes()).bytes(text.as_bytes());
    }
    writer.hash()
}

/// Returns what a vat's creator signs of its code.
pub fn install_payload(vat: &VatId, install: &Install) -> Vec<u8> {
    let Install { bundle, argv, endowments, grants, bearers } = install;
    let mut rest = Canonical::new("quorate/arguments/1");
    write_arguments(&mut rest, argv, endowments);
    rest.number(grants.len() as u64);
    grants.iter().for_each(|vat| {
        rest.fixed(&vat.0);
    });
    rest.number(bearers.len() as u64);
    bearers.iter().for_each(|key| {
        rest.fixed(key);
    });
    let mut writer = Canonical::new("quorate/install/1");
    writer.fixed(&vat.0).fixed(&bundle_hash(bundle).0).fixed(&rest.hash().0);
    writer.finish()
}

/// Writes what code is called with: the same in what a creator signs and in what owners approve of.
pub(crate) fn write_arguments(writer: &mut Canonical, argv: &[(String, ArgValue)], endowments: &[String]) {
    writer.number(argv.len() as u64);
    for (name, value) in argv {
        writer.bytes(name.as_bytes()).fixed(&argument_hash(value).0);
    }
    writer.number(endowments.len() as u64);
    endowments.iter().for_each(|name| {
        writer.bytes(name.as_bytes());
    });
}

fn argument_hash(value: &ArgValue) -> Hash {
    let mut writer = Canonical::new("quorate/argument/1");
    match value {
        ArgValue::Data(value) => writer.number(0).bytes(&value.encode()),
        ArgValue::Reference { vat, object, redeem } => {
            writer.number(1).fixed(&vat.0).number(*object);
            match redeem {
                None => writer.number(0),
                Some((bearer, signature)) => writer.number(1).fixed(bearer).bytes(signature),
            }
        }
    };
    writer.hash()
}

/// The name of the endowment that gives code the log's time.
const TIMER: &str = "timer";

/// What a vat's code and arguments are, by their hashes: small enough to be kept for ever, and to say what differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeDigest {
    entry: String,
    modules: BTreeMap<String, Hash>,
    arguments: BTreeMap<String, Hash>,
    endowments: Vec<String>,
    grants: Vec<VatId>,
    bearers: Vec<[u8; 32]>,
}

impl CodeDigest {
    /// That of code and what goes with it.
    pub fn of(install: &Install) -> CodeDigest {
        let module = |(name, text): (&String, &String)| (name.clone(), Hash::of(text.as_bytes()));
        let argument = |(name, value): &(String, ArgValue)| (name.clone(), argument_hash(value));
        CodeDigest {
            entry: install.bundle.entry.clone(),
            modules: install.bundle.modules.iter().map(module).collect(),
            arguments: install.argv.iter().map(argument).collect(),
            endowments: install.endowments.clone(),
            grants: install.grants.clone(),
            bearers: install.bearers.clone(),
        }
    }

    /// That of other code in the place of this one: who may use the vat stays as it is.
    pub fn upgraded(&self, upgrade: &Upgrade) -> CodeDigest {
        let Upgrade { bundle, argv, endowments, .. } = upgrade.clone();
        let install = Install { bundle, argv, endowments, grants: self.grants.clone(), bearers: self.bearers.clone() };
        CodeDigest::of(&install)
    }

    /// Returns what differs in `next`, code that would take the place of this one, each with its name: at most `most_bytes` of it.
    pub fn changes(&self, next: &CodeDigest, most_bytes: usize) -> Vec<String> {
        let words = ["is new", "goes"];
        let mut found = compared("file", [&next.modules, &self.modules], words);
        if self.entry != next.entry {
            found.push(format!("the entry is {}, and was {}", next.entry, self.entry));
        }
        found.extend(compared("argument", [&next.arguments, &self.arguments], words));
        if self.endowments != next.endowments {
            let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            found.push(format!("endowments: {}, and were {}", list(&next.endowments), list(&self.endowments)));
        }
        let (mut bytes, mut shown) = (0, 0);
        while let Some(line) = found.get(shown)
            && bytes + line.len() <= most_bytes
        {
            bytes += line.len();
            shown += 1;
        }
        let left = found.len() - shown;
        found.truncate(shown);
        if left > 0 {
            found.push(format!("and {left} more"));
        }
        found
    }

    /// Returns whether the code is given the timer.
    pub fn has_timer(&self) -> bool {
        self.endowments.iter().any(|name| name == TIMER)
    }

    /// Returns what differs in `given`, the code that this host's owner was given, each with its name. Nothing: they are the same.
    pub fn differences(&self, given: &CodeDigest) -> Vec<String> {
        let words = ["was not given to this host", "was given to this host and is not installed"];
        let mut found = compared("file", [&self.modules, &given.modules], words);
        if self.entry != given.entry {
            found.push(format!("the entry file is {}, not {}", self.entry, given.entry));
        }
        found.extend(compared("argument", [&self.arguments, &given.arguments], words));
        if self.endowments != given.endowments {
            found.push("the endowments differ".to_owned());
        }
        if self.grants != given.grants || self.bearers != given.bearers {
            found.push("who may use the root differs".to_owned());
        }
        found
    }
}

/// Returns what differs between `ours` and `theirs`, each with its name; `ours_alone` and `theirs_alone` say what it means that only one of them has it.
fn compared(
    what: &str,
    [ours, theirs]: [&BTreeMap<String, Hash>; 2],
    [ours_alone, theirs_alone]: [&str; 2],
) -> Vec<String> {
    let of_ours = ours.iter().filter_map(|(name, hash)| match theirs.get(name) {
        Some(other) if other == hash => None,
        Some(_) => Some(format!("{what} {name} differs")),
        None => Some(format!("{what} {name} {ours_alone}")),
    });
    let more = theirs.keys().filter(|name| !ours.contains_key(*name));
    of_ours.chain(more.map(|name| format!("{what} {name} {theirs_alone}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proof::{HostId, Member, Parameters, approve_motion};
    use quorate_streams::abi::Value;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn genesis(bundle: Option<Hash>) -> Genesis {
        let member = |seed| Member {
            key: HostId(key(seed).verifying_key().to_bytes()),
            name: format!("h{seed}"),
            addresses: vec![],
        };
        Genesis {
            members: (1..=3).map(member).collect(),
            threshold: 2,
            image: Hash([4; 32]),
            creator: key(9).verifying_key().to_bytes(),
            bundle,
            nonce: [6; 32],
            expires: 0,
            parameters: Parameters::default(),
        }
    }

    fn install() -> Install {
        let modules = ["main.js", "part.js"].map(|name| (name.to_owned(), format!("export const {};", &name[..4])));
        Install {
            bundle: Bundle { entry: "main.js".into(), modules: modules.into() },
            argv: vec![
                ("price".into(), ArgValue::Data(Value::Number(10.5))),
                (
                    "peer".into(),
                    ArgValue::Reference { vat: VatId([7; 32]), object: 0, redeem: Some(([1; 32], vec![2; 64])) },
                ),
            ],
            endowments: vec!["exit".into()],
            grants: vec![VatId([8; 32])],
            bearers: vec![[5; 32]],
        }
    }

    #[test]
    fn code_counts_only_as_its_creator_signed_it_for_this_vat() {
        let (committed, any) = (genesis(Some(bundle_hash(&install().bundle))), genesis(None));
        type Alter = fn(&mut Install);
        let altered: [(&str, Alter); 12] = [
            ("a module's text", |it| it.bundle.modules.get_mut("part.js").expect("there").push(' ')),
            ("another module", |it| drop(it.bundle.modules.insert("more.js".into(), String::new()))),
            ("a module less", |it| drop(it.bundle.modules.remove("part.js"))),
            ("another entry", |it| it.bundle.entry = "part.js".into()),
            ("an argument", |it| it.argv[0].1 = ArgValue::Data(Value::Number(10.0))),
            ("an argument's name", |it| it.argv[0].0.push('s')),
            ("the order of arguments", |it| it.argv.swap(0, 1)),
            ("an argument less", |it| drop(it.argv.pop())),
            ("an endowment", |it| it.endowments.clear()),
            ("a grant", |it| it.grants.push(VatId([9; 32]))),
            ("a bearer", |it| it.bearers.push([9; 32])),
            ("a redemption", |it| {
                it.argv[1].1 = ArgValue::Reference { vat: VatId([7; 32]), object: 0, redeem: None };
            }),
        ];
        for genesis in [committed, any] {
            let (authority, vat) = (Authority::of(&genesis), genesis.vat_id());
            let good = SignedInstall::sign(&vat, install(), &key(9));
            assert_eq!(authority.check_install(&good), Ok(()));
            for (what, alter) in &altered {
                let mut bad = good.clone();
                alter(&mut bad.install);
                assert!(authority.check_install(&bad).is_err(), "{what}");
            }
            let other_key = SignedInstall::sign(&vat, install(), &key(1));
            assert!(matches!(authority.check_install(&other_key), Err(AuthorityError::OtherCreator { .. })));
            let claimed = SignedInstall {
                creator: MemberSignature { key: good.creator.key, ..other_key.creator },
                install: install(),
            };
            assert!(matches!(authority.check_install(&claimed), Err(AuthorityError::Creator(_))));
            let other_vat = SignedInstall::sign(&VatId([3; 32]), install(), &key(9));
            assert!(authority.check_install(&other_vat).is_err());
        }
        // The creator can't give a vat another bundle than its id commits to, and may choose where it does not.
        let mut other = install();
        other.bundle.modules.remove("part.js");
        for (genesis, allowed) in [(genesis(Some(bundle_hash(&install().bundle))), false), (genesis(None), true)] {
            let signed = SignedInstall::sign(&genesis.vat_id(), other.clone(), &key(9));
            assert_eq!(Authority::of(&genesis).check_install(&signed).is_ok(), allowed);
        }
    }

    #[test]
    fn a_change_of_access_counts_once_by_the_creator_or_a_threshold_of_the_present_members() {
        let genesis = genesis(None);
        let (authority, vat, members) = (Authority::of(&genesis), genesis.vat_id(), genesis.membership());
        let change = AccessChange::Grant { to: VatId([7; 32]), expires_ms: Some(9) };
        let motion = AccessMotion { change: change.clone(), number: 3 }.encode();
        let check = |order: &AccessOrder, next| authority.check_access(&members, order, next);
        let by_creator = |seed: u8, payload: Vec<u8>| AccessOrder {
            motion: motion.clone(),
            evidence: AccessEvidence::Creator(MemberSignature::sign(&key(seed), &payload)),
        };
        let by_members = |seeds: &[u8], members: &Membership, approved: &[u8]| {
            let approvals = seeds.iter().map(|seed| approve_motion(members, approved, &key(*seed))).collect();
            AccessOrder { motion: motion.clone(), evidence: AccessEvidence::Members(approvals) }
        };
        let creators = AccessOrder::creator_payload(&vat, &motion);
        let good = [by_creator(9, creators.clone()), by_members(&[1, 3], &members, &motion)];
        for order in &good {
            assert_eq!(check(order, 3), Ok(change.clone()));
            assert_eq!(check(order, 4), Err(AuthorityError::Order { found: 3, next: 4 }), "it counts once");
            for other in [
                AccessMotion { change: AccessChange::Revoke { from: VatId([7; 32]) }, number: 3 },
                AccessMotion { change: AccessChange::Grant { to: VatId([6; 32]), expires_ms: Some(9) }, number: 3 },
                AccessMotion { change: AccessChange::Grant { to: VatId([7; 32]), expires_ms: None }, number: 3 },
                AccessMotion { change: change.clone(), number: 4 },
            ] {
                let altered = AccessOrder { motion: other.encode(), ..order.clone() };
                assert!(check(&altered, other.number).is_err(), "{other:?}");
            }
            assert!(matches!(
                check(&AccessOrder { motion: vec![9], ..order.clone() }, 3),
                Err(AuthorityError::Motion(_))
            ));
        }
        let later = Membership { epoch: 1, ..members.clone() };
        let elsewhere = Membership { vat: VatId([2; 32]), ..members.clone() };
        let raw = |seeds: &[u8], payload: &[u8]| AccessOrder {
            motion: motion.clone(),
            evidence: AccessEvidence::Members(
                seeds.iter().map(|seed| MemberSignature::sign(&key(*seed), payload)).collect(),
            ),
        };
        for (what, bad) in [
            ("a member's as the creator's", by_creator(1, creators.clone())),
            ("the creator's for members", by_members(&[9, 1], &members, &motion)),
            ("another vat's", by_creator(9, AccessOrder::creator_payload(&VatId([2; 32]), &motion))),
            ("one member less than is needed", by_members(&[1], &members, &motion)),
            ("one member twice", by_members(&[1, 1], &members, &motion)),
            ("another epoch's members", by_members(&[1, 2], &later, &motion)),
            ("another vat's members", by_members(&[1, 2], &elsewhere, &motion)),
            ("what the creator would sign", raw(&[1, 2], &creators)),
            ("the motion itself", raw(&[1, 2], &motion)),
            ("nobody", by_members(&[], &members, &motion)),
        ] {
            assert!(check(&bad, 3).is_err(), "{what}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let installed = CodeDigest::of(&install());
        assert_eq!(installed.differences(&CodeDigest::of(&install())), [""; 0]);
        let mut other = install();
        other.bundle.modules.insert("part.js".into(), "else".into());
        other.bundle.modules.insert("more.js".into(), String::new());
        other.argv[0].1 = ArgValue::Data(Value::Number(11.0));
        other.argv.pop();
        let found = installed.differences(&CodeDigest::of(&other)).join("; ");
        for part in
            ["file part.js differs", "file more.js was given", "argument price differs", "argument peer was not"]
        {
            assert!(found.contains(part), "{part}: {found}");
        }
        let mut other = install();
        other.bearers.clear();
        assert_eq!(installed.differences(&CodeDigest::of(&other)), ["who may use the root differs"]);
    }
}
