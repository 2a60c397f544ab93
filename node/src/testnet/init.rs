//! Makes a testnet from its config: hosts' homes with their keys, the vats' geneses and code, sturdyrefs, and a configuration for
//! Prometheus. Everything is checked before anything is written.

use super::{
    config::{Argument, HostConfig as HostEntry, TestnetConfig, VatConfig},
    layout::{HostPlace, Layout, TestnetDir, VatPlace},
};
use crate::{
    bundle,
    home::{Home, HostConfig, write_secret},
    provision::{self, Contacts, Provision},
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use anyhow::{Context, bail};
use quorate_consensus::{Genesis, Hash, HostKey, Introduction, Member, Parameters};
use quorate_engine::{
    VatId,
    abi::Bundle,
    machine::{ArgValue, Install},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpListener},
};

/// Ports that are chosen for hosts lie here: below the range from which Linux takes those of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What a testnet is made from: the config with all code gathered.
pub struct Plan {
    config: TestnetConfig,
    bundles: BTreeMap<String, Bundle>,
    /// SHA-256 over config and code, in hex.
    pub digest: String,
}

impl Plan {
    /// Gathers the code of all vats.
    ///
    /// # Errors
    /// Every mistake in every vat's code, a line each.
    pub fn new(config: TestnetConfig) -> anyhow::Result<Plan> {
        let (mut bundles, mut mistakes) = (BTreeMap::new(), Vec::new());
        for vat in &config.vats {
            match bundle::bundle(&vat.source) {
                Ok(bundle) => {
                    bundles.insert(vat.name.clone(), bundle);
                }
                Err(error) => mistakes.push(error.to_string()),
            }
        }
        if !mistakes.is_empty() {
            bail!("{}", mistakes.join("\n"));
        }
        let mut hasher = Sha256::new();
        hasher.update(format!("{:?}{:?}", config.hosts, config.vats));
        for (name, bundle) in &bundles {
            hasher.update(name);
            hasher.update(quorate_engine::abi::encode(bundle));
        }
        let digest = hex::encode(hasher.finalize());
        Ok(Plan { config, bundles, digest })
    }

    /// Writes the testnet into `dir`. `image` is the engine image that its vats will run in.
    pub fn write(&self, dir: &TestnetDir, image: Hash) -> anyhow::Result<Layout> {
        fs::create_dir_all(dir.path().join("hosts")).with_context(|| dir.path().display().to_string())?;
        fs::create_dir_all(dir.path().join("refs"))?;
        let hosts = self.write_homes(dir)?;
        let geneses = self.geneses(&hosts, image)?;
        let ids: BTreeMap<&str, VatId> =
            geneses.iter().map(|(name, genesis)| (name.as_str(), VatId(genesis.vat_id().0))).collect();
        let contacts = Contacts {
            vats: geneses
                .iter()
                .map(|(name, genesis)| (name.clone(), Introduction { genesis: genesis.clone(), chain: Vec::new() }))
                .collect(),
        };
        for place in &hosts {
            provision::write_contacts(&dir.home(&place.place.name).join("provision"), &contacts)?;
        }
        for vat in &self.config.vats {
            let install = self.install(dir, vat, &ids)?;
            let genesis = geneses[&vat.name].clone();
            let provision = Provision { name: vat.name.clone(), genesis, install: Some(install), joining: false };
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
        fs::write(dir.prometheus(), prometheus_config(&layout))?;
        dir.write(&layout)?;
        Ok(layout)
    }

    fn write_homes(&self, dir: &TestnetDir) -> anyhow::Result<Vec<MadeHost>> {
        let mut ports = PortChooser::new(&self.digest);
        self.config.hosts.iter().map(|host| make_home(dir, host, &mut ports)).collect()
    }

    fn geneses(&self, hosts: &[MadeHost], image: Hash) -> anyhow::Result<BTreeMap<String, Genesis>> {
        let creator = random_bytes()?;
        let mut geneses = BTreeMap::new();
        for vat in &self.config.vats {
            let members = vat
                .hosts
                .iter()
                .filter_map(|name| hosts.iter().find(|host| host.place.name == *name))
                .map(|host| host.member.clone())
                .collect();
            let genesis = Genesis {
                members,
                threshold: vat.threshold,
                image,
                creator,
                nonce: random_bytes()?,
                parameters: parameters(vat),
            };
            genesis.validate().with_context(|| format!("vat {}", vat.name))?;
            geneses.insert(vat.name.clone(), genesis);
        }
        Ok(geneses)
    }

    fn install(&self, dir: &TestnetDir, vat: &VatConfig, ids: &BTreeMap<&str, VatId>) -> anyhow::Result<Install> {
        let own = ids[vat.name.as_str()];
        let seed = random_bytes()?;
        let bearer = Sturdyref::bearer(own, ROOT_OBJECT, seed);
        write_secret(&dir.sturdyref(&vat.name), &format!("{bearer}\n"))?;
        // Whoever has this vat in its argv may send to this vat's root.
        let grants: BTreeSet<VatId> = self
            .config
            .vats
            .iter()
            .filter(|other| other.argv.iter().any(|(_, value)| *value == Argument::Vat(vat.name.clone())))
            .map(|other| ids[other.name.as_str()])
            .collect();
        Ok(Install {
            bundle: self.bundles[&vat.name].clone(),
            argv: vat.argv.iter().map(|(name, value)| (name.clone(), arg_value(value, &own, ids))).collect(),
            endowments: vat.endowments.clone(),
            grants: grants.into_iter().collect(),
            bearers: bearer.bearer_key().into_iter().collect(),
        })
    }
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
    let mut parameters = Parameters::default();
    if let Some(fuel) = vat.limits.fuel_per_delivery {
        parameters.fuel_per_delivery = fuel;
    }
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
    let config = HostConfig { name: host.name.clone(), listen: vec![listen.clone()], http };
    let home = Home::init(&dir.home(&host.name), config)?;
    let address = host.announce.clone().unwrap_or(listen);
    let key = HostKey(home.key.verifying_key().to_bytes());
    Ok(MadeHost {
        member: Member { key, name: host.name.clone(), addresses: vec![address.clone()] },
        place: HostPlace { name: host.name.clone(), key: key.to_string(), address, http },
    })
}

/// Chooses free ports, from a place in the range that differs between testnets.
struct PortChooser {
    next: u16,
    tried: u16,
}

impl PortChooser {
    fn new(digest: &str) -> Self {
        let seed = Sha256::digest(format!("{digest}{}", std::process::id()));
        let span = PORTS.end - PORTS.start;
        PortChooser { next: u16::from_be_bytes([seed[0], seed[1]]) % span, tried: 0 }
    }

    fn choose(&mut self) -> anyhow::Result<u16> {
        let span = PORTS.end - PORTS.start;
        while self.tried < span {
            let port = PORTS.start + self.next;
            self.next = (self.next + 1) % span;
            self.tried += 1;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port between {} and {}", PORTS.start, PORTS.end)
    }
}

/// 32 bytes from the system's random source.
pub fn random_bytes() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

fn prometheus_config(layout: &Layout) -> String {
    let mut text =
        String::from("global:\n  scrape_interval: 5s\nscrape_configs:\n  - job_name: quorate\n    static_configs:\n");
    for host in &layout.hosts {
        text.push_str(&format!(
            "      - targets: [\"{}\"]\n        labels: {{ host: \"{}\" }}\n",
            host.http, host.name
        ));
    }
    text
}
