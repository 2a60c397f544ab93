//! Makes a testnet from its config: hosts' homes with their keys, the vats' geneses and code, sturdyrefs, and a configuration for
//! Prometheus. Everything is checked before anything is written.

use super::{
    digest::digest,
    layout::{HostPlace, Layout, TestnetDir, VatPlace},
};
use crate::testnet::{Argument, HostConfig as HostEntry, Mistake, ReachConfig, TestnetConfig, VatConfig};
use crate::{
    bundle,
    home::{Home, HostConfig, private::make_folder, write_secret},
    ports::{self, PortChooser},
    prometheus,
    provision::{self, default_parameters},
};
use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use quorate_consensus::{Genesis, Hash, HostId, Introduction, MAX_COMMAND_BYTES, Member, Parameters};
use quorate_engine::{
    VatId,
    abi::Bundle,
    machine::{ArgValue, Install},
};
use quorate_protocol::{
    authority::{SignedInstall, bundle_hash},
    codec,
    command::VatCommand,
    provision::{Contacts, Provision},
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

/// What a testnet is made from: the config with all code gathered.
pub struct Plan {
    /// What it is a plan for.
    pub config: TestnetConfig,
    bundles: BTreeMap<String, Bundle>,
    /// SHA-256 over what makes the testnet what it is, in hex.
    pub digest: String,
}

impl Plan {
    /// Gathers the code of all vats.
    ///
    /// # Errors
    /// Every mistake in every vat's code, a line each; and vats whose code and arguments are too much for one command of a log.
    pub fn new(config: TestnetConfig) -> anyhow::Result<Plan> {
        let (bundles, mut mistakes) = gather(&config.vats);
        if mistakes.is_empty() {
            mistakes = config.vats.iter().filter_map(|vat| too_large(&config, vat, &bundles[&vat.name])).collect();
        }
        if !mistakes.is_empty() {
            bail!("{}", mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n"));
        }
        let digest = digest(&config, &bundles);
        Ok(Plan { config, bundles, digest })
    }

    /// Writes the testnet into `dir`. `image` is the engine image that its vats will run in.
    pub fn write(&self, dir: &TestnetDir, image: Hash) -> anyhow::Result<Layout> {
        // Every reader of a sturdyref may call its vat, and the homes hold keys.
        for part in [dir.path(), &dir.path().join("hosts"), &dir.path().join("refs")] {
            make_folder(part)?;
        }
        let hosts = self.write_homes(dir)?;
        let geneses = self.geneses(&hosts, image)?;
        let ids: BTreeMap<&str, VatId> =
            geneses.iter().map(|(name, (genesis, _))| (name.as_str(), genesis.vat_id())).collect();
        let contacts = Contacts {
            vats: geneses
                .iter()
                .map(|(name, (genesis, _))| {
                    (name.clone(), Introduction { genesis: genesis.clone(), chain: Vec::new() })
                })
                .collect(),
        };
        for place in &hosts {
            provision::write_contacts(&dir.home(&place.place.name).join("provision"), &contacts)?;
        }
        for vat in &self.config.vats {
            let (genesis, creator) = &geneses[&vat.name];
            let install = SignedInstall::sign(&genesis.vat_id(), self.install(dir, vat, &ids)?, creator);
            let (genesis, install) = (genesis.clone(), Some(install));
            let provision = Provision { name: vat.name.clone(), genesis, install, joining: false };
            for host in &vat.hosts {
                provision::write(&dir.home(host).join("provision"), &provision)?;
            }
        }
        let layout = Layout {
            config: self.config.file.clone(),
            digest: self.digest.clone(),
            vats: self
                .config
                .vats
                .iter()
                .map(|vat| VatPlace {
                    name: vat.name.clone(),
                    vat: ids[vat.name.as_str()].to_string(),
                    hosts: vat.hosts.clone(),
                })
                .collect(),
            hosts: hosts.into_iter().map(|host| host.place).collect(),
        };
        prometheus::write(dir, &layout)?;
        dir.write(&layout)?;
        Ok(layout)
    }

    fn write_homes(&self, dir: &TestnetDir) -> anyhow::Result<Vec<MadeHost>> {
        let mut ports = PortChooser::new(dir.path(), &self.digest, ports::list_of_user().as_deref());
        let homes = self.config.hosts.iter().map(|host| make_home(dir, host, &mut ports)).collect();
        ports.keep();
        homes
    }

    /// The vats' geneses with their creators' keys, which nobody needs when the code is signed.
    fn geneses(&self, hosts: &[MadeHost], image: Hash) -> anyhow::Result<BTreeMap<String, (Genesis, SigningKey)>> {
        let mut geneses = BTreeMap::new();
        for vat in &self.config.vats {
            let members = vat
                .hosts
                .iter()
                .filter_map(|name| hosts.iter().find(|host| host.place.name == *name))
                .map(|host| host.member.clone())
                .collect();
            let creator = SigningKey::from_bytes(&random_bytes()?);
            let genesis = Genesis {
                members,
                threshold: vat.threshold,
                image,
                creator: creator.verifying_key().to_bytes(),
                bundle: Some(bundle_hash(&self.bundles[&vat.name])),
                nonce: random_bytes()?,
                expires: 0,
                parameters: parameters(vat),
            };
            genesis.validate().with_context(|| format!("vat {}", vat.name))?;
            geneses.insert(vat.name.clone(), (genesis, creator));
        }
        Ok(geneses)
    }

    fn install(&self, dir: &TestnetDir, vat: &VatConfig, ids: &BTreeMap<&str, VatId>) -> anyhow::Result<Install> {
        let bearer = Sturdyref::bearer(ids[vat.name.as_str()], ROOT_OBJECT, random_bytes()?);
        write_secret(&dir.sturdyref(&vat.name), &format!("{bearer}\n"))?;
        Ok(install(&self.config, vat, self.bundles[&vat.name].clone(), &bearer, ids))
    }
}

impl Plan {
    /// The command that gives a vat of the config its code, without a bearer of its root. `ids` are those of all vats of the config.
    pub fn install_with(&self, vat: &VatConfig, ids: &BTreeMap<&str, VatId>) -> Install {
        let root = Sturdyref::grantee(ids[vat.name.as_str()], ROOT_OBJECT);
        install(&self.config, vat, self.bundles[&vat.name].clone(), &root, ids)
    }
}

/// The code of each vat by the vat's name, and what is wrong with it, each thing once however many vats share it.
fn gather(vats: &[VatConfig]) -> (BTreeMap<String, Bundle>, Vec<Mistake>) {
    let (mut bundles, mut mistakes) = (BTreeMap::new(), Vec::new());
    let mut gathered: BTreeMap<&Path, Option<Bundle>> = BTreeMap::new();
    for vat in vats {
        let bundle = gathered.entry(&vat.source).or_insert_with(|| {
            let gathered = bundle::bundle(&vat.source);
            gathered.map_err(|error| mistakes.extend(error.mistakes)).ok()
        });
        bundles.extend(bundle.clone().map(|bundle| (vat.name.clone(), bundle)));
    }
    // Entry files that differ may share a module.
    let mut seen = BTreeSet::new();
    mistakes.retain(|mistake: &Mistake| seen.insert(mistake.clone()));
    (bundles, mistakes)
}

/// The command that gives a vat its code. `bearer` is of the vat's root.
fn install(
    config: &TestnetConfig,
    vat: &VatConfig,
    bundle: Bundle,
    bearer: &Sturdyref,
    ids: &BTreeMap<&str, VatId>,
) -> Install {
    // Vats with this vat in their argv may send to its root.
    let is_it = |value: &Argument| matches!(value, Argument::Vat(name) if *name == vat.name);
    let grants: BTreeSet<VatId> = config
        .vats
        .iter()
        .filter(|other| other.argv.iter().any(|(_, value)| is_it(value)))
        .map(|other| ids[other.name.as_str()])
        .collect();
    Install {
        bundle,
        argv: vat.argv.iter().map(|(name, value)| (name.clone(), arg_value(value, &bearer.vat, ids))).collect(),
        endowments: vat.endowments.clone(),
        grants: grants.into_iter().collect(),
        bearers: bearer.bearer_key().into_iter().collect(),
    }
}

/// The mistake that a vat's first command is larger than its log takes. Its size does not depend on what the ids are.
fn too_large(config: &TestnetConfig, vat: &VatConfig, bundle: &Bundle) -> Option<Mistake> {
    let numbered = config.vats.iter().enumerate();
    let ids: BTreeMap<&str, VatId> =
        numbered.map(|(number, vat)| (vat.name.as_str(), VatId(id_of_number(number)))).collect();
    let bearer = Sturdyref::bearer(ids[vat.name.as_str()], ROOT_OBJECT, [1; 32]);
    let install = install(config, vat, bundle.clone(), &bearer, &ids);
    let signed = SignedInstall::sign(&bearer.vat, install, &SigningKey::from_bytes(&[1; 32]));
    let command = VatCommand::Install(Box::new(signed));
    let bytes = codec::encode(&command).len();
    (bytes > MAX_COMMAND_BYTES).then(|| Mistake {
        file: config.file.clone(),
        line: vat.line,
        column: 1,
        problem: format!(
            "code and arguments of vat `{}` come to {bytes} bytes, over the limit of {MAX_COMMAND_BYTES}",
            vat.name
        ),
        fix: "make its files smaller, or send their parts to the vat when it runs".into(),
        excerpt: None,
    })
}

fn id_of_number(number: usize) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(number as u64).to_le_bytes());
    id
}

/// A vat's argument as its log has it: a bearer's seed becomes a proof for this vat alone.
fn arg_value(argument: &Argument, own: &VatId, ids: &BTreeMap<&str, VatId>) -> ArgValue {
    match argument {
        Argument::Data(value) => ArgValue::Data(value.clone()),
        Argument::Vat(name) => ArgValue::Reference { vat: ids[name.as_str()], object: ROOT_OBJECT, redeem: None },
        Argument::Sturdyref(sturdyref) => reference(sturdyref, own),
    }
}

/// A sturdyref as an argument of `own`.
pub fn reference(sturdyref: &Sturdyref, own: &VatId) -> ArgValue {
    let redeem = sturdyref.redeem_for(own).map(|redemption| (redemption.bearer, redemption.signature));
    ArgValue::Reference { vat: sturdyref.vat, object: sturdyref.object, redeem }
}

fn parameters(vat: &VatConfig) -> Parameters {
    let mut parameters = default_parameters();
    if let Some(fuel) = vat.limits.fuel_per_delivery {
        parameters.fuel_per_delivery = fuel;
    }
    parameters.fuel_per_turn = vat.limits.fuel_per_turn.unwrap_or(parameters.fuel_per_turn);
    parameters.fuel_per_block = vat.limits.fuel_per_block.unwrap_or(parameters.fuel_per_block);
    if let Some(bytes) = vat.limits.memory_bytes {
        parameters.memory_bytes = bytes;
    }
    if let Some(deliveries) = vat.limits.checkpoint_deliveries {
        parameters.checkpoint_commands = deliveries;
    }
    parameters
}

struct MadeHost {
    place: HostPlace,
    member: Member,
}

fn make_home(dir: &TestnetDir, host: &HostEntry, ports: &mut PortChooser) -> anyhow::Result<MadeHost> {
    let listen = match &host.listen {
        Some(listen) => listen.clone(),
        None => format!("/ip4/127.0.0.1/tcp/{}", ports.choose()?),
    };
    let http: SocketAddr = match host.http {
        Some(http) => http,
        None => ([127, 0, 0, 1], ports.choose()?).into(),
    };
    let (name, listens) = (host.name.clone(), vec![listen.clone()]);
    let (disk, gateway) = (host.disk, host.gateway.clone());
    let reach = ReachConfig { announce: host.announce.iter().cloned().collect(), ..ReachConfig::default() };
    let (approve, archive) = (host.approve, host.archive.clone());
    let config = HostConfig { name, listen: listens, http, approve, disk, archive, gateway, reach, traces: None };
    let home = Home::init(&dir.home(&host.name), config)?;
    let address = host.announce.clone().unwrap_or(listen);
    let key = HostId(home.key.verifying_key().to_bytes());
    Ok(MadeHost {
        member: Member { key, name: host.name.clone(), addresses: vec![address.clone()] },
        place: HostPlace { name: host.name.clone(), key: key.to_string(), address, http },
    })
}

/// 32 bytes from the system's random source.
pub fn random_bytes() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns what is wrong with the code of a testnet of one host.
    fn mistakes(folder: &Path, vats: &str) -> Vec<String> {
        let file = folder.join("testnet.toml");
        fs::write(&file, format!("[[host]]\nname = \"h\"\n{vats}")).expect("writable");
        let plan = Plan::new(TestnetConfig::load(&file).unwrap_or_else(|error| panic!("{error}")));
        plan.err().map(|error| error.to_string().lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn a_mistake_in_code_is_one_however_many_vats_have_it() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("shared.js"), "import 'left-pad';\nimport 'right-pad';\n").expect("writable");
        fs::write(folder.path().join("other.js"), "import './shared.js';\n").expect("writable");
        let vat =
            |name: &str, source: &str| format!("[[vat]]\nname = \"{name}\"\nhosts = [\"h\"]\nsource = \"{source}\"\n");
        let vats: String = (0..20).map(|number| vat(&format!("v{number}"), "shared.js")).collect();
        // Below each mistake are the line and a caret.
        let mut found = mistakes(folder.path(), &(vats + &vat("other", "other.js")));
        found.retain(|line| !line.starts_with(' '));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("left-pad") && found[1].contains("right-pad"), "{found:?}");
    }

    #[test]
    fn code_and_arguments_that_no_log_takes_are_a_mistake_with_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.js"), "export default () => {};").expect("writable");
        fs::write(folder.path().join("large.txt"), "x".repeat(1 << 20)).expect("writable");
        let vat = |files: usize| {
            let argv: String = (0..files).map(|file| format!("f{file} = {{ file = \"large.txt\" }}\n")).collect();
            format!("[[vat]]\nname = \"a\"\nhosts = [\"h\"]\nsource = \"a.js\"\n[vat.argv]\n{argv}")
        };
        assert_eq!(mistakes(folder.path(), &vat(7)), Vec::<String>::new());
        let found = mistakes(folder.path(), &vat(8));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("testnet.toml:3: ") && found[0].contains("vat `a`"), "{found:?}");
    }
}
