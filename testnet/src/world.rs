//! A world in one process: hosts of production code over an in-memory network and disks whose power can be cut.
//!
//! Each host has a runtime and a disk of its own, so that a crash is one: its tasks end wherever they are, what its disk had not
//! synced is gone, and nothing of it writes or sends any more. Links lose, delay, reorder and part as the [`MemoryNetwork`] is told.
//! Tests use a world by client *scripts*: solo vats whose code calls other vats and exits with the result.
//!
//! Keys, ids and the dice of the network follow from one seed. Time is real: the parts of a host are threads, and two runs of a
//! seed meet the same losses, but not at the same instants.

use crate::{
    disk::Disk,
    liar::{Liar, unanswered},
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quorate_config::{init::reference, provision::default_parameters};
use quorate_consensus::{
    Approve, Change, Genesis, HostId, Introduction, Member, MemoryStore, Parameters, Timing,
    testing::{Alter, FalseSigner},
};
use quorate_engine::{
    Hash,
    abi::{Bundle, Value},
    image::Image,
    machine::{ArgValue, Install},
};
use quorate_net::{BoxFuture, MemoryNetwork, NetError, Network, NetworkLayer, Purpose};
use quorate_node::{
    host::{Host, HostOptions},
    run::{Between, engine_cache},
    vat::VatService,
};
use quorate_protocol::{
    authority::SignedInstall,
    provision::{Contacts, Provision},
    status::VatStatus,
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Handle, Runtime};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A vat to be made.
#[derive(Clone, Copy, Debug)]
pub struct VatPlan<'a> {
    pub name: &'a str,
    pub hosts: &'a [&'a str],
    pub threshold: u16,
    /// The one module of its code.
    pub source: &'a str,
    /// Vats whose roots it gets, as arguments of their names.
    pub references: &'a [&'a str],
    /// Texts that it gets, with the names of the arguments.
    pub texts: &'a [(&'a str, &'a str)],
    /// Functions of the host that it gets.
    pub endowments: &'a [&'a str],
    /// A checkpoint is made after so many commands.
    pub checkpoint_every: u64,
}

impl<'a> VatPlan<'a> {
    /// A vat without arguments that makes checkpoints often.
    pub fn new(name: &'a str, hosts: &'a [&'a str], threshold: u16, source: &'a str) -> VatPlan<'a> {
        VatPlan { name, hosts, threshold, source, references: &[], texts: &[], endowments: &[], checkpoint_every: 10 }
    }
}

/// The world.
pub struct World {
    pub network: MemoryNetwork,
    seed: u64,
    image: Arc<Image>,
    /// Where the network's own tasks run: they outlive every host.
    main: Handle,
    hosts: BTreeMap<String, HostSlot>,
    /// Hosts whose shares get nowhere.
    unheard: Arc<Mutex<BTreeSet<HostId>>>,
    vats: BTreeMap<String, Genesis>,
    scripts: usize,
    /// Of hosts that are started from here on.
    pub timing: Timing,
}

/// The slot of a host: what outlives the processes in it.
struct HostSlot {
    key: SigningKey,
    store: Arc<MemoryStore>,
    liar: Option<Liar>,
    /// It ships no slice.
    silenced: Arc<AtomicBool>,
    running: Option<Running>,
}

struct Running {
    host: Host,
    disk: Arc<Disk>,
    network: Arc<dyn Network>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    /// A world without hosts. It lives on the calling runtime.
    pub async fn new(seed: u64) -> World {
        let image =
            tokio::task::spawn_blocking(|| Image::load(&engine_cache().expect("a place for compiled code"))).await;
        World {
            network: MemoryNetwork::new(seed),
            seed,
            image: image.expect("loading does not panic").expect("the image loads"),
            main: Handle::current(),
            hosts: BTreeMap::new(),
            unheard: Arc::default(),
            vats: BTreeMap::new(),
            scripts: 0,
            timing: Timing::quick(),
        }
    }

    fn bytes(&self, what: &str, name: &str) -> [u8; 32] {
        Hash::of_parts(&[what.as_bytes(), &[0], &self.seed.to_le_bytes(), name.as_bytes()]).0
    }

    /// Adds hosts and starts them.
    pub async fn hosts(&mut self, names: &[&str]) {
        for name in names {
            self.host(name, None).await;
        }
    }

    /// Adds a host and starts it; with `alter` it is a liar that signs what that makes of its replicas' statements.
    pub async fn host(&mut self, name: &str, alter: Option<Alter>) {
        let key = SigningKey::from_bytes(&self.bytes("host", name));
        let liar = alter.map(|alter| Liar::consistent(FalseSigner::new(key.clone(), alter)));
        let slot = HostSlot { key, store: Arc::new(MemoryStore::new()), liar, silenced: Arc::default(), running: None };
        self.hosts.insert(name.to_owned(), slot);
        self.restart(name).await;
    }

    /// Starts a host from what its disk holds.
    pub async fn restart(&mut self, name: &str) {
        let slot = self.hosts.get_mut(name).expect("a known host");
        assert!(slot.running.is_none(), "{name} runs already");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let disk = Disk::new(slot.store.clone());
        let options = HostOptions {
            reach: Default::default(),
            name: name.to_owned(),
            key: slot.key.clone(),
            images: Arc::new(self.image.clone().into()),
            store: disk.clone(),
            timing: self.timing,
            approve: Approve::Auto,
            disk: Default::default(),
            archive: None,
            commit: None,
            traces: None,
            console: None,
        };
        let (network, main, handle) = (self.network.clone(), self.main.clone(), runtime.handle().clone());
        let (silenced, liar) = (slot.silenced.clone(), slot.liar.clone());
        let unheard = Arc::clone(&self.unheard);
        let id = HostId(slot.key.verifying_key().to_bytes());
        let started = tokio::task::spawn_blocking(move || {
            handle.block_on(async move {
                let joined = OnceLock::new();
                let host = Host::start(options, async |handler| {
                    let _in_main = main.enter();
                    let handler = match &liar {
                        Some(liar) => liar.inbound(handler),
                        None => handler,
                    };
                    let network = joined.get_or_init(|| network.join(id, handler)).clone();
                    let network = match &liar {
                        Some(liar) => liar.outbound(network),
                        None => network,
                    };
                    Ok(Arc::new(Silence { network, silenced, unheard }) as Arc<dyn Network>)
                });
                let host = host.await.expect("the host starts");
                (host, joined.into_inner().expect("a host that started has joined"))
            })
        });
        let (host, network) = started.await.expect("starting does not panic");
        slot.running = Some(Running { host, disk, network, runtime: Some(runtime) });
        self.introduce();
    }

    /// Cuts the power of a host.
    pub async fn crash(&mut self, name: &str) {
        let slot = self.hosts.get_mut(name).expect("a known host");
        let running = slot.running.take().expect("only a host that runs can crash");
        running.disk.cut();
        running.network.shutdown().await;
        slot.store.crash();
    }

    /// Silences a host: it orders, executes, signs and certifies as ever, but only other hosts ship the messages of its vats.
    pub fn silence(&self, name: &str) {
        self.hosts[name].silenced.store(true, Ordering::Relaxed);
    }

    /// Lets it ship again.
    pub fn unsilence(&self, name: &str) {
        self.hosts[name].silenced.store(false, Ordering::Relaxed);
    }

    /// From now on nobody gets what a host signs of the blocks that it executes, nor it what others do. It acknowledges entries as ever.
    pub fn withhold_shares(&self, name: &str) {
        self.unheard.lock().expect("no panic").insert(self.id(name));
    }

    /// All shares get through again.
    pub fn release_shares(&self) {
        self.unheard.lock().expect("no panic").clear();
    }

    /// A host's key.
    pub fn key(&self, host: &str) -> &SigningKey {
        &self.hosts[host].key
    }

    /// Returns what the network knows a host by.
    pub fn id(&self, host: &str) -> HostId {
        HostId(self.key(host).verifying_key().to_bytes())
    }

    /// A running host.
    pub fn running(&self, host: &str) -> Option<&Host> {
        self.hosts[host].running.as_ref().map(|running| &running.host)
    }

    /// A host's replica of a vat.
    #[track_caller]
    pub fn service(&self, host: &str, vat: &str) -> Arc<VatService> {
        self.running(host).expect("it runs").find(vat).expect("it carries the vat")
    }

    /// A genesis with these members; the vat need not exist.
    pub fn genesis(&self, name: &str, hosts: &[&str], threshold: u16, checkpoint_every: u64) -> Genesis {
        Genesis {
            members: hosts.iter().map(|host| self.member(host)).collect(),
            threshold,
            image: self.image.hash(),
            creator: self.creator(name).verifying_key().to_bytes(),
            bundle: None,
            nonce: self.bytes("nonce", name),
            expires: 0,
            parameters: Parameters { checkpoint_commands: checkpoint_every, ..default_parameters() },
        }
    }

    /// The key of a vat's creator.
    pub fn creator(&self, name: &str) -> SigningKey {
        SigningKey::from_bytes(&self.bytes("creator", name))
    }

    fn member(&self, host: &str) -> Member {
        let id = self.id(host);
        let number = id.0.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Member { key: id, name: host.to_owned(), addresses: vec![format!("/memory/{number}")] }
    }

    /// A bearer of a vat's root.
    pub fn sturdyref(&self, vat: &str) -> Sturdyref {
        Sturdyref::bearer(self.vats[vat].vat_id(), ROOT_OBJECT, self.bytes("bearer", vat))
    }

    /// Makes a vat on running hosts. Everybody learns of it.
    pub async fn vat(&mut self, plan: VatPlan<'_>) {
        let genesis = self.genesis(plan.name, plan.hosts, plan.threshold, plan.checkpoint_every);
        let own = genesis.vat_id();
        self.vats.insert(plan.name.to_owned(), genesis.clone());
        let argument = |name: &&str| ((*name).to_owned(), reference(&self.sturdyref(name), &own));
        let text =
            |(name, text): &(&str, &str)| ((*name).to_owned(), ArgValue::Data(Value::String((*text).to_owned())));
        let install = Install {
            bundle: Bundle {
                entry: "main.js".to_owned(),
                modules: BTreeMap::from([("main.js".to_owned(), plan.source.to_owned())]),
            },
            argv: plan.references.iter().map(argument).chain(plan.texts.iter().map(text)).collect(),
            endowments: plan.endowments.iter().map(|&name| name.to_owned()).collect(),
            grants: Vec::new(),
            bearers: self.sturdyref(plan.name).bearer_key().into_iter().collect(),
        };
        self.introduce();
        let install = Some(SignedInstall::sign(&own, install, &self.creator(plan.name)));
        let provision = Provision { name: plan.name.to_owned(), genesis, install, joining: false };
        for host in plan.hosts {
            self.carry(host, provision.clone()).await;
        }
    }

    async fn carry(&self, host: &str, provision: Provision) {
        let running = self.hosts[host].running.as_ref().expect("vats are carried by running hosts");
        let handle = running.runtime.as_ref().expect("taken only at the end").handle().clone();
        let host = running.host.clone();
        let carried = tokio::task::spawn_blocking(move || handle.block_on(host.carry(provision)));
        carried.await.expect("carrying does not panic").expect("the vat starts");
    }

    /// Has a host wait to be admitted to a vat.
    pub async fn join(&self, vat: &str, newcomer: &str) {
        let genesis = self.vats[vat].clone();
        self.carry(newcomer, Provision { name: vat.to_owned(), genesis, install: None, joining: true }).await;
    }

    /// Has it recorded that one member of a vat is to give its place to another host. Returns the block that records it.
    pub async fn begin_replacing(&self, vat: &str, out: &str, newcomer: &str) -> u64 {
        let change = Change::Replace { out: self.id(out), in_: self.member(newcomer) };
        let recorded = self.service(out, vat).replica.reconfigure(change, None, PATIENCE).await;
        recorded.expect("the change is recorded")
    }

    /// Gives the place of one member of a vat to another host, and waits until the member that left has stopped.
    pub async fn replace(&self, vat: &str, out: &str, newcomer: &str) {
        self.join(vat, newcomer).await;
        self.begin_replacing(vat, out, newcomer).await;
        self.wait(&format!("{newcomer} in place of {out}"), async || self.service(out, vat).is_removed().then_some(()))
            .await;
    }

    /// Tells every running host of every vat, as the contacts of a testnet do.
    fn introduce(&self) {
        let introduce = |(name, genesis): (&String, &Genesis)| {
            (name.clone(), Introduction { genesis: genesis.clone(), chain: Vec::new() })
        };
        let contacts = Contacts { vats: self.vats.iter().map(introduce).collect() };
        let running = self.hosts.values().filter_map(|slot| slot.running.as_ref());
        running.for_each(|running| running.host.learn(&contacts));
    }

    /// Begins a client script on a host: `work` is an asynchronous JavaScript function of a record of the roots of `vats`. Returns the
    /// script's name.
    pub async fn begin_script(&mut self, host: &str, vats: &[&str], work: &str) -> String {
        self.scripts += 1;
        let name = format!("script{}", self.scripts);
        let source = format!(
            "import {{ E, Far }} from '@endo/far';\n\
             const work = {work};\n\
             export default function script({{ exit, ...roots }}) {{\n\
               work(roots).then(exit, reason => exit(`failed: ${{reason}}`));\n\
               return Far('script', {{}});\n\
             }}\n"
        );
        let hosts = [host];
        let plan = VatPlan::new(&name, &hosts, 1, &source);
        self.vat(VatPlan { references: vats, endowments: &["exit"], ..plan }).await;
        name
    }

    /// Returns the value that a script exited with, if it has.
    pub async fn script_result(&self, host: &str, script: &str) -> Option<serde_json::Value> {
        self.running(host)?.find(script).ok()?.status().await.exited
    }

    /// Waits for a script to exit.
    pub async fn script_done(&self, host: &str, script: &str) -> serde_json::Value {
        self.wait(&format!("result of {script}"), async || self.script_result(host, script).await).await
    }

    /// Runs a script to its end.
    pub async fn script(&mut self, host: &str, vats: &[&str], work: &str) -> serde_json::Value {
        let script = self.begin_script(host, vats, work).await;
        self.script_done(host, &script).await
    }

    /// Returns how a host's replica of a vat stands.
    pub async fn status(&self, host: &str, vat: &str) -> VatStatus {
        self.service(host, vat).status().await
    }

    /// The host that leads a vat, waiting for one.
    pub async fn leader(&self, vat: &str, hosts: &[&str]) -> String {
        self.wait(&format!("leader of {vat}"), async || {
            for host in hosts {
                if self.running(host).is_some() && self.status(host, vat).await.role == "leader" {
                    return Some((*host).to_owned());
                }
            }
            None
        })
        .await
    }

    /// Waits until the replicas on `hosts` have applied the same and have the same certified checkpoint with equal state roots, after
    /// `block`; returns that checkpoint's block.
    pub async fn agreement(&self, vat: &str, hosts: &[&str], block: u64) -> u64 {
        self.wait(&format!("agreement on {vat}"), async || {
            let mut found = Vec::new();
            for host in hosts {
                let status = self.status(host, vat).await;
                assert_eq!(status.fault, None, "{host}");
                found.push((status.certified_checkpoint_block, status.state_root, status.applied_block));
            }
            let equal = found.iter().all(|each| each.1.is_some() && *each == found[0]);
            (equal && found[0].0 > block).then_some(found[0].0)
        })
        .await
    }

    /// Waits for something to be there.
    ///
    /// # Panics
    /// When it is not there in time, with the state of all replicas.
    pub async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in time (seed {}):\n{}", self.seed, self.last_words().await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn last_words(&self) -> String {
        let mut text = String::new();
        for (name, slot) in &self.hosts {
            text.push_str(&format!("{name}: {}\n", if slot.running.is_some() { "runs" } else { "is down" }));
            for vat in slot.running.iter().flat_map(|running| running.host.vats()) {
                let status = vat.status().await;
                text.push_str(&format!("  {}\n", serde_json::to_string(&status).expect("a status is JSON")));
            }
        }
        text
    }
}

/// A host's network, on which slices and shares can be held back.
struct Silence {
    network: Arc<dyn Network>,
    silenced: Arc<AtomicBool>,
    unheard: Arc<Mutex<BTreeSet<HostId>>>,
}

impl NetworkLayer for Silence {
    fn beneath(&self) -> &dyn Network {
        self.network.as_ref()
    }

    fn send(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let is_held_back = match purpose {
            Purpose::Slice => self.silenced.load(Ordering::Relaxed),
            Purpose::Share => {
                let unheard = self.unheard.lock().expect("no panic");
                [to, self.network.local()].iter().any(|host| unheard.contains(host))
            }
            _ => false,
        };
        if is_held_back {
            return unanswered(to, purpose, deadline);
        }
        self.network.request(to, purpose, frame, deadline)
    }
}
