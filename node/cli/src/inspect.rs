//! `vat inspect`: what is in a file that a partner sent, before anything is done with it.
//!
//! Invariant: nothing that is shown comes from the file as it is: what would move a terminal's cursor is shown as it is written.

use super::{Exit, Failure, Outcome, create::survival, output};
use quorate_admin::CarryRequest;
use quorate_config::bundle;
use quorate_consensus::{Introduction, Member, Membership, Parameters};
use quorate_engine::{
    VatId,
    abi::Bundle,
    image::image_hash,
    machine::{ArgValue, Install},
};
use quorate_protocol::{
    authority::{Authority, SignedInstall, bundle_hash},
    card::{Card, fingerprint},
    codec,
    names::check_name,
    provision::{Contacts, Provision},
    recovered::recovery_words,
};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Characters of an argument that are shown.
const SHOWN_CHARS: usize = 200;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat inspect alpha.card\n  vat inspect purse.vat\n  vat inspect purse.vat --expect-source purse.js      compare the code with your own copy\n\nCompare fingerprints with your partners by another way than the one that the file came."
)]
pub struct Args {
    /// A host's card, or a vat file
    file: PathBuf,
    /// Compare the vat's code with this: its entry file, or the folder that it is in
    #[arg(long, value_name = "DIR|FILE")]
    expect_source: Option<PathBuf>,
}

/// What a file holds.
enum Content {
    Card(Card, Member),
    Vat(Box<VatFile>),
}

/// A vat file that was read, with all that it says checked.
pub struct VatFile {
    /// As it is sent to a host.
    pub request: CarryRequest,
    pub provision: Provision,
    /// The newest membership that the file proves.
    membership: Membership,
    /// What proves it.
    introduction: Introduction,
}

pub fn run(args: &Args, json: bool) -> Outcome {
    match read(&args.file)? {
        Content::Card(card, member) => {
            if args.expect_source.is_some() {
                return Err(Failure::new(Exit::Usage, "--expect-source goes with a vat file: a card has no code"));
            }
            show_card(&card, &member, json);
            Ok(Exit::Success)
        }
        Content::Vat(vat) => {
            let differences = args.expect_source.as_deref().map(|source| vat.differences(source)).transpose()?;
            if json {
                let mut shown = vat.to_json();
                if let Some(differences) = &differences {
                    shown["source"] = json!({ "same": differences.is_empty(), "differences": differences });
                }
                output::json(&shown);
            } else {
                vat.lines().iter().for_each(output::line);
                for difference in differences.iter().flatten() {
                    output::line(format!("! {difference}"));
                }
                if differences.as_ref().is_some_and(Vec::is_empty) {
                    output::line("source      the same as yours");
                }
            }
            Ok(if differences.is_none_or(|found| found.is_empty()) { Exit::Success } else { Exit::Rejected })
        }
    }
}

fn read(path: &Path) -> Result<Content, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
    let json: Json = serde_json::from_str(&text).map_err(|error| {
        usage(format!("neither a host's card nor a vat file ({error}); `vat card` and `vat introduce` make these"))
    })?;
    if json.get("provision").is_some() {
        return VatFile::parse(&text).map(|vat| Content::Vat(Box::new(vat))).map_err(usage);
    }
    if json.get("key").is_none() {
        return Err(usage("neither a host's card nor a vat file; `vat card` and `vat introduce` make these".into()));
    }
    let card = Card::read(&text).map_err(|error| usage(error.to_string()))?;
    let member = card.verify().map_err(|error| usage(error.to_string()))?;
    Ok(Content::Card(card, member))
}

fn show_card(card: &Card, member: &Member, json: bool) {
    let print = fingerprint(&member.key);
    if json {
        let shown = json!({
            "kind": "card", "name": card.name, "key": card.key, "fingerprint": print, "addresses": card.addresses,
            "signed": true,
        });
        return output::json(&shown);
    }
    output::line("card of a host, signed by its key");
    output::line(format!("name        {}", card.name));
    output::line(format!("fingerprint {print}"));
    output::line(format!("key         {}", card.key));
    for address in &card.addresses {
        output::line(format!("address     {}", escaped(address)));
    }
}

impl VatFile {
    /// Reads the vat file at `path`.
    pub fn read(path: &Path) -> Result<VatFile, Failure> {
        let usage = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
        VatFile::parse(&text).map_err(usage)
    }

    /// Reads a vat file's text, and checks what it says of the vat.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &str) -> Result<VatFile, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("not a vat file ({error}); `vat introduce VAT` makes one");
        let request: CarryRequest = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        let bytes = hex::decode(&request.provision).map_err(|error| wrong(&error))?;
        let provision: Provision = codec::decode(&bytes).map_err(|error| wrong(&error))?;
        let bytes = hex::decode(&request.contacts).map_err(|error| wrong(&error))?;
        let contacts: Contacts = codec::decode(&bytes).map_err(|error| wrong(&error))?;
        check_name(&provision.name)
            .map_err(|(problem, _)| format!("Q-A011 the vat's name: {problem}; ask for a new file"))?;
        let invalid =
            |why: &dyn std::fmt::Display| format!("what it says of the vat is not valid: {why}; ask for a new file");
        provision.genesis.validate().map_err(|error| invalid(&error))?;
        let vat = provision.genesis.vat_id();
        let mut membership = provision.genesis.membership();
        let mut proof = Introduction { genesis: provision.genesis.clone(), chain: Vec::new() };
        for (_, introduction) in &contacts.vats {
            let newest = introduction.verify().map_err(|error| invalid(&error))?;
            if newest.vat == vat && newest.epoch > membership.epoch {
                membership = newest;
                proof = introduction.clone();
            }
        }
        Ok(VatFile { request, provision, membership, introduction: proof })
    }

    /// Returns what proves who the vat's members are.
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// The vat.
    pub fn vat(&self) -> VatId {
        self.provision.genesis.vat_id()
    }

    /// Returns what the file says, for people.
    pub fn lines(&self) -> Vec<String> {
        let genesis = &self.provision.genesis;
        let kind = if self.provision.joining { "vat that a host joins later" } else { "new vat" };
        let mut lines = vec![format!("{kind}: {}", self.provision.name), format!("id          {}", self.vat())];
        let threshold = usize::from(self.membership.threshold);
        let count = self.membership.members.len();
        lines.push(format!("epoch       {}", self.membership.epoch));
        for member in &self.membership.members {
            let addresses: Vec<String> = member.addresses.iter().map(|address| escaped(address)).collect();
            let print = fingerprint(&member.key);
            lines.push(format!("member      {}  {print}  {}", escaped(&member.name), addresses.join(" ")));
        }
        lines.extend(recovery_words(&self.introduction).into_iter().map(|words| format!("! recovered {words}")));
        lines.push(format!("signatures  {}", survival(count, threshold)));
        let same_image = genesis.image.0 == image_hash().0;
        let image = if same_image {
            "this build's"
        } else {
            "not this version's own: members need its file, or get it from one that has it"
        };
        lines.push(format!("image       {} ({image})", genesis.image));
        lines.push(format!("limits      {}", parameters(&genesis.parameters)));
        match &self.provision.install {
            Some(signed) => {
                lines.extend(code_lines(&signed.install));
                lines.push(self.code_authority());
            }
            None if self.provision.joining => {
                lines.push("code        comes with the vat's state, from its members".into())
            }
            None => lines.push("code        none yet".into()),
        }
        lines
    }

    /// Returns whether the vat's creator signed the code, for people.
    fn code_authority(&self) -> String {
        let genesis = &self.provision.genesis;
        let checked = self.provision.install.as_ref().map(|signed| Authority::of(genesis).check_install(signed));
        match checked {
            Some(Err(error)) => format!("! authority {error}; the vat's members will not run this"),
            Some(Ok(())) if genesis.bundle.is_some() => {
                "authority   the vat's id commits to this code, and its creator signed it".to_owned()
            }
            _ => "authority   the vat's creator signed this code".to_owned(),
        }
    }

    fn to_json(&self) -> Json {
        let genesis = &self.provision.genesis;
        let members = self.membership.members.iter().map(|member| {
            json!({
                "name": member.name, "key": member.key.to_string(), "fingerprint": fingerprint(&member.key),
                "addresses": member.addresses,
            })
        });
        let parameters = &genesis.parameters;
        json!({
            "kind": "vat",
            "name": self.provision.name,
            "vat": self.vat().to_string(),
            "joining": self.provision.joining,
            "epoch": self.membership.epoch,
            "threshold": self.membership.threshold,
            "members": members.collect::<Vec<_>>(),
            "recovered": recovery_words(&self.introduction),
            "survives": survival(self.membership.members.len(), usize::from(self.membership.threshold)),
            "image": genesis.image.to_string(),
            "image_of_this_build": genesis.image.0 == image_hash().0,
            "parameters": {
                "fuel_per_delivery": parameters.fuel_per_delivery,
                "fuel_per_turn": parameters.fuel_per_turn,
                "fuel_per_block": parameters.fuel_per_block,
                "fuel_prices": parameters.fuel_prices.to_string(),
                "memory_bytes": parameters.memory_bytes,
                "checkpoint_blocks": parameters.checkpoint_blocks,
                "checkpoint_commands": parameters.checkpoint_commands,
                "checkpoint_work": parameters.checkpoint_work,
            },
            "code": self.provision.install.as_ref().map(|signed| code_json(&signed.install)),
            "code_is_the_vats": self.provision.install.as_ref().map(|signed| Authority::of(genesis).check_install(signed).is_ok()),
        })
    }

    /// Returns where the vat's code is not that of a local source.
    fn differences(&self, source: &Path) -> Result<Vec<String>, Failure> {
        let Some(SignedInstall { install, .. }) = &self.provision.install else {
            let message = "--expect-source: this file holds no code; that of a vat that runs is in its members' state";
            return Err(Failure::new(Exit::Usage, message));
        };
        let theirs = &install.bundle;
        let entry = if source.is_dir() { source.join(&theirs.entry) } else { source.to_owned() };
        let ours = bundle::bundle(&entry).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(compare(&ours, theirs))
    }
}

/// Returns where two bundles differ, a line each.
fn compare(ours: &Bundle, theirs: &Bundle) -> Vec<String> {
    let mut found = Vec::new();
    if ours.entry != theirs.entry {
        found.push(format!("the entry is {}, yours is {}", escaped(&theirs.entry), escaped(&ours.entry)));
    }
    let paths: BTreeSet<&String> = ours.modules.keys().chain(theirs.modules.keys()).collect();
    for path in paths {
        let shown = escaped(path);
        match (ours.modules.get(path), theirs.modules.get(path)) {
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) => {
                let same = ours.lines().zip(theirs.lines()).take_while(|(one, other)| one == other).count();
                found.push(format!("{shown} differs from yours, first in line {}", same + 1));
            }
            (None, _) => found.push(format!("{shown} is not in your source")),
            (_, None) => found.push(format!("{shown} of your source is not in the vat")),
        }
    }
    found
}

fn code_lines(install: &Install) -> Vec<String> {
    let bundle = &install.bundle;
    let bytes: usize = bundle.modules.values().map(String::len).sum();
    let count = bundle.modules.len();
    let mut lines = vec![
        format!("code        {count} modules, {bytes} bytes, begins with {}", escaped(&bundle.entry)),
        format!("bundle      {}", bundle_hash(bundle)),
    ];
    for (path, text) in &bundle.modules {
        lines.push(format!("module      {}  {} bytes  {}", escaped(path), text.len(), hash_of(text)));
    }
    for (name, value) in &install.argv {
        lines.push(format!("argument    {} = {}", escaped(name), argument(value)));
    }
    for name in &install.endowments {
        lines.push(format!("endowment   {}", escaped(name)));
    }
    let others = install.grants.len();
    if others > 0 {
        lines.push(format!("grants      the root to {others} other vats"));
    }
    lines.push(format!("bearers     {} references that open the root", install.bearers.len()));
    lines
}

fn code_json(install: &Install) -> Json {
    let bundle = &install.bundle;
    let modules = bundle.modules.iter();
    let modules = modules.map(|(path, text)| json!({ "path": path, "bytes": text.len(), "sha256": hash_of(text) }));
    let arguments = install.argv.iter().map(|(name, value)| {
        let value = match value {
            ArgValue::Data(value) => json!({ "value": value.to_json() }),
            ArgValue::Reference { vat, object, redeem } => {
                json!({ "vat": vat.to_string(), "object": object, "redeems": redeem.is_some() })
            }
        };
        (name.clone(), value)
    });
    json!({
        "entry": bundle.entry,
        "bundle": bundle_hash(bundle).to_string(),
        "modules": modules.collect::<Vec<_>>(),
        "argv": arguments.collect::<serde_json::Map<_, _>>(),
        "endowments": install.endowments,
        "grants": install.grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bearers": install.bearers.len(),
    })
}

fn argument(value: &ArgValue) -> String {
    match value {
        ArgValue::Data(value) => {
            let text = super::json::compact(&value.to_json());
            if text.chars().count() <= SHOWN_CHARS {
                escaped(&text)
            } else {
                let begin: String = text.chars().take(SHOWN_CHARS).collect();
                format!("{}… ({} bytes; --json shows all)", escaped(&begin), text.len())
            }
        }
        ArgValue::Reference { vat, object, redeem } => {
            let by = if redeem.is_some() { ", by a bearer reference" } else { "" };
            format!("object {object} of vat {vat}{by}")
        }
    }
}

fn parameters(parameters: &Parameters) -> String {
    format!(
        "{} fuel a delivery, {} a turn and {} a block, {} of memory, a checkpoint after {} blocks, {} commands or {} fuel",
        parameters.fuel_per_delivery,
        parameters.fuel_per_turn,
        parameters.fuel_per_block,
        output::bytes(parameters.memory_bytes),
        parameters.checkpoint_blocks,
        parameters.checkpoint_commands,
        parameters.checkpoint_work,
    )
}

fn hash_of(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A text from a file, with nothing in it that a terminal would obey.
fn escaped(text: &str) -> String {
    let is_plain =
        |letter: char| !letter.is_control() && !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .flat_map(|letter| {
            let shown: Box<dyn Iterator<Item = char>> =
                if is_plain(letter) { Box::new(std::iter::once(letter)) } else { Box::new(letter.escape_unicode()) };
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use quorate_consensus::{Genesis, Hash, HostId};
    use quorate_engine::abi::Value;
    use std::collections::BTreeMap;

    fn member(seed: u8, address: &str) -> Member {
        let key = HostId(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes());
        Member { key, name: format!("m{seed}"), addresses: vec![address.to_owned()] }
    }

    fn bundle_of(modules: &[(&str, &str)]) -> Bundle {
        let modules: BTreeMap<String, String> =
            modules.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Bundle { entry: "main.js".into(), modules }
    }

    fn creator() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    fn text_of(members: Vec<Member>) -> String {
        let genesis = Genesis {
            members,
            threshold: 2,
            image: Hash([7; 32]),
            creator: creator().verifying_key().to_bytes(),
            bundle: None,
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let bundle = bundle_of(&[("main.js", "export default 1;\n"), ("lib/a.js", "export const a = 1;\n")]);
        let argv = vec![("note\u{1b}[2J".to_owned(), ArgValue::Data(Value::String("red \u{1b}[31m".into())))];
        let install = Install { bundle, argv, endowments: vec![], grants: vec![], bearers: vec![[1; 32]] };
        let install = Some(SignedInstall::sign(&genesis.vat_id(), install, &creator()));
        let provision = Provision { name: "purse".into(), genesis, install, joining: false };
        serde_json::to_string(&CarryRequest::new(&provision, &Contacts::default())).expect("plain data")
    }

    fn members() -> Vec<Member> {
        (1..=3).map(|seed| member(seed, &format!("/ip4/192.0.2.{seed}/tcp/4001"))).collect()
    }

    #[test]
    fn all_of_a_vat_file_is_shown_and_nothing_of_it_is_obeyed() {
        let vat = VatFile::parse(&text_of(members())).expect("a good file");
        let text = vat.lines().join("\n");
        for part in [
            "purse",
            "192.0.2.3",
            "2 of 3 sign",
            "creator signed",
            "main.js",
            "lib/a.js",
            "1 references",
            "not this version's own",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for member in members() {
            assert!(text.contains(&fingerprint(&member.key)), "{text}");
        }
        assert!(!text.contains('\u{1b}') && text.contains("note\\u{1b}[2J"), "{text}");
        let json = vat.to_json();
        assert_eq!(json["members"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["code"]["modules"][0]["path"], "lib/a.js");
        assert_eq!(json["code"]["bundle"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn a_vat_file_with_what_nobody_can_dial_or_in_pieces_is_refused() {
        let mut garbage = members();
        garbage[1].addresses = vec!["/ip4/0.0.0.0/tcp/4001".into()];
        let why = VatFile::parse(&text_of(garbage)).err().expect("it is refused");
        assert!(why.contains("0.0.0.0") && why.contains("m2"), "{why}");
        let good = text_of(members());
        for bad in ["{}", "hello", &good.replace("\"provision\":\"04", "\"provision\":\"03"), &good[..good.len() / 2]] {
            assert!(VatFile::parse(bad).is_err());
        }
    }

    #[test]
    fn sources_are_compared_module_by_module() {
        let ours = bundle_of(&[("main.js", "a\nb\nc\n"), ("mine.js", "x"), ("same.js", "s")]);
        assert!(compare(&ours, &ours).is_empty());
        let theirs = bundle_of(&[("main.js", "a\nB\nc\n"), ("theirs.js", "x"), ("same.js", "s")]);
        let found = compare(&ours, &theirs).join("\n");
        for part in
            ["main.js differs from yours, first in line 2", "mine.js of your source", "theirs.js is not in your"]
        {
            assert!(found.contains(part), "{found}");
        }
        let shorter = bundle_of(&[("main.js", "a\nb\n"), ("mine.js", "x"), ("same.js", "s")]);
        assert_eq!(compare(&ours, &shorter), ["main.js differs from yours, first in line 3"]);
        assert_ne!(bundle_hash(&ours), bundle_hash(&theirs));
    }
}
