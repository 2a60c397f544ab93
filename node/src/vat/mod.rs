//! One vat on this host: its replica, what turns the replica's events into shipments, console lines and metrics, and the inbox.

pub mod command;
pub mod console;
pub mod courier;
pub mod inbox;
pub mod machine;
pub mod view;
pub mod wire;

use crate::{
    codec,
    directory::Directory,
    evidence::KnownPeer,
    status::{MemberStatus, StreamStatus, VatStatus},
    telemetry::{Telemetry, mirror, page::Page},
};
use command::{VatCommand, VatResult};
use console::Console;
use courier::{Courier, CourierMetrics, Notice, Whereabouts};
use inbox::Inbox;
use machine::{BlockEffects, VatMachine};
use quorate_consensus::{
    Change, Event, Genesis, Member, MembershipCertificate, Replica, ReplicaHandle, ReplicaOptions, ReplicaStatus, Role,
    Store, Timing, Transport,
};
use quorate_engine::{
    VatId, abi,
    heap::Limits,
    image::Image,
    machine::{Exit, Install},
};
use quorate_net::Network;
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use view::SharedView;

/// Events of a replica that wait for this crate; the replica pauses when it is full.
const EVENT_QUEUE: usize = 1_024;
/// How long a proposal of this host itself may take.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(30);
/// How often the installer looks whether it is its turn.
const INSTALL_POLL: Duration = Duration::from_millis(100);

/// What one vat on a host needs.
pub struct VatOptions {
    pub name: String,
    pub genesis: Genesis,
    /// Memberships since the genesis, as far as they are known here.
    pub chain: Vec<MembershipCertificate>,
    /// Waits to be added by the vat's members, instead of starting the vat with them.
    pub joining: bool,
    pub install: Option<Install>,
    pub key: ed25519_dalek::SigningKey,
    pub image: Arc<Image>,
    pub store: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    pub network: Arc<dyn Network>,
    pub directory: Directory,
    pub telemetry: Arc<Telemetry>,
    pub console: Option<PathBuf>,
    pub timing: Timing,
    pub tamper: Option<Tamper>,
}

/// Alters what a member signs: for tests of a lying member, never set by the `vat` command.
pub type Tamper = Arc<dyn Fn(&mut quorate_consensus::Statement) + Send + Sync>;

/// A vat that runs on this host.
pub struct VatService {
    pub vat: VatId,
    pub name: String,
    pub replica: ReplicaHandle,
    pub inbox: Inbox,
    view: SharedView,
    directory: Directory,
    install_error: Arc<Mutex<Option<String>>>,
    /// The host was a member and is no longer.
    removed: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl VatService {
    /// Starts a vat's replica and everything around it.
    ///
    /// # Errors
    /// In words for the operator: the store can't be read, the engine can't start, or the genesis isn't for this host.
    pub async fn start(options: VatOptions) -> Result<VatService, String> {
        let vat = VatId(options.genesis.vat_id().0);
        let view = SharedView::default();
        let limits = Limits {
            fuel_per_delivery: options.genesis.parameters.fuel_per_delivery,
            memory_bytes: options.genesis.parameters.memory_bytes,
        };
        let machine = VatMachine::new(vat, options.image.clone(), limits, view.clone())
            .map_err(|error| format!("vat {}: {error}", options.name))?;
        let (events_tx, events) = mpsc::channel(EVENT_QUEUE);
        let replica = Replica::start(ReplicaOptions {
            genesis: options.genesis.clone(),
            chain: options.chain,
            key: options.key,
            machine,
            store: options.store,
            transport: options.transport,
            events: events_tx,
            timing: options.timing,
            learner: options.joining,
            tamper: options
                .tamper
                .map(|tamper| -> quorate_consensus::Tamper { Box::new(move |statement| tamper(statement)) }),
        })
        .await
        .map_err(|error| format!("vat {}: {error}", options.name))?;
        let (notices, notices_rx) = mpsc::unbounded_channel();
        let whereabouts = Arc::new(PeerFinder { view: view.clone(), directory: options.directory.clone() });
        let shipping = Arc::new(ShippingMetrics { name: options.name.clone(), telemetry: options.telemetry.clone() });
        let courier =
            Courier::start(vat, options.network.clone(), whereabouts, shipping, replica.introduction(), notices_rx);
        let install_error = Arc::new(Mutex::new(None));
        let removed = Arc::new(AtomicBool::new(false));
        let event_loop = EventLoop {
            removed: removed.clone(),
            vat,
            name: options.name.clone(),
            replica: replica.clone(),
            view: view.clone(),
            directory: options.directory.clone(),
            telemetry: options.telemetry.clone(),
            console: options.console.and_then(|path| {
                Console::open(&path)
                    .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "console file unusable"))
                    .ok()
            }),
            notices,
        };
        let mut tasks = vec![courier, tokio::spawn(event_loop.run(events))];
        if let Some(install) = options.install {
            let (replica, view, error) = (replica.clone(), view.clone(), install_error.clone());
            tasks.push(tokio::spawn(install_when_leading(options.name.clone(), replica, view, install, error)));
        }
        Ok(VatService {
            vat,
            name: options.name,
            inbox: Inbox::new(vat, replica.clone(), view.clone()),
            replica,
            view,
            directory: options.directory,
            install_error,
            removed,
            tasks,
        })
    }

    /// Has a command ordered and executed.
    pub async fn propose(&self, command: &VatCommand) -> Result<VatResult, String> {
        let proposed =
            self.replica.propose(codec::encode(command), PROPOSE_DEADLINE).await.map_err(|error| error.to_string())?;
        codec::decode(&proposed.result).map_err(|error| error.to_string())
    }

    /// Whether this host was a member of the vat and is no longer.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Stops the replica and all that belongs to it.
    pub async fn shutdown(&self) {
        self.replica.shutdown().await;
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// The vat as it stands, for people.
    pub async fn status(&self) -> VatStatus {
        let status = self.replica.status();
        // None: the replica has stopped.
        let summary = self.replica.inspect(|machine: &mut VatMachine| machine.summary()).await;
        let installed = self.view.lock().installed;
        let name_of = |key: &quorate_consensus::HostKey| {
            status.membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone())
        };
        VatStatus {
            name: self.name.clone(),
            vat: self.vat.to_string(),
            role: if self.is_removed() { "removed" } else { status.role.as_str() }.to_owned(),
            leader: status.leader.as_ref().map(name_of),
            term: status.term,
            committed_block: status.committed,
            applied_block: status.applied,
            certified_block: status.certified_block,
            epoch: status.epoch,
            threshold: status.membership.threshold,
            members: status.membership.members.iter().map(member_status).collect(),
            pending_change: status.pending.as_ref().map(|pending| describe_change(&pending.change)),
            installed,
            install_error: self.install_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            exited: summary.as_ref().and_then(|summary| summary.exit.as_ref()).map(exit_value),
            deliveries: summary.as_ref().map_or(0, |summary| summary.deliveries),
            heap_bytes: summary.as_ref().map_or(0, |summary| summary.heap_bytes),
            checkpoint_block: status.local_checkpoint_block,
            certified_checkpoint_block: status.checkpoint_block,
            state_root: status.checkpoint_root.as_ref().map(ToString::to_string),
            conflicts: status.conflicts,
            streams: summary
                .iter()
                .flat_map(|summary| &summary.peers)
                .map(|peer| (peer, self.directory.name(&peer.vat)))
                .map(|(peer, name)| StreamStatus {
                    named: name.is_some(),
                    peer: name.unwrap_or_else(|| peer.vat.to_string()),
                    unacknowledged: peer.unacked,
                    received: peer.received,
                    broken: peer.broken.is_some(),
                })
                .collect(),
            fault: status.fault.clone(),
        }
    }

    /// Adds the figures that mirror the vat's state to a metrics page.
    pub async fn observe(&self, page: &mut Page) {
        mirror::replica(page, &self.name, &self.replica.status());
        mirror::vat(page, &self.status().await);
    }
}

/// What a vat gave to `exit`, as JSON.
fn exit_value(exit: &Exit) -> serde_json::Value {
    abi::Value::decode(&exit.value.body).map_or(serde_json::Value::Null, |value| value.to_json())
}

/// A membership change in words.
fn describe_change(change: &Change) -> String {
    match change {
        Change::Add(member) => format!("add {}", member.name),
        Change::Remove(key) => format!("remove {key}"),
        Change::Replace { out, in_ } => format!("replace {out} by {}", in_.name),
        Change::Threshold(threshold) => format!("set the threshold to {threshold}"),
        Change::Cancel => "cancel the pending change".to_owned(),
    }
}

fn member_status(member: &Member) -> MemberStatus {
    MemberStatus { name: member.name.clone(), key: member.key.to_string(), addresses: member.addresses.clone() }
}

/// Proposes a vat's first code whenever this member leads and the vat has none yet.
async fn install_when_leading(
    name: String,
    replica: ReplicaHandle,
    view: SharedView,
    install: Install,
    failed: Arc<Mutex<Option<String>>>,
) {
    loop {
        if view.lock().installed {
            return;
        }
        if replica.status().role == Role::Leader {
            let command = codec::encode(&VatCommand::Install(Box::new(install.clone())));
            match replica.propose(command, PROPOSE_DEADLINE).await.map(|done| codec::decode(&done.result)) {
                Ok(Ok(VatResult::InstallFailed { message })) => {
                    tracing::error!(vat = %name, %message, "the vat's code did not start");
                    *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(message);
                    return;
                }
                Ok(Ok(result)) => {
                    tracing::info!(vat = %name, ?result, "the vat has its code");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(vat = %name, %error, "an unreadable result"),
                Err(error) => tracing::debug!(vat = %name, %error, "the code was not ordered yet"),
            }
        }
        tokio::time::sleep(INSTALL_POLL).await;
    }
}

/// Finds a peer's members: what the vat's state has proven first, then the host's directory.
struct PeerFinder {
    view: SharedView,
    directory: Directory,
}

impl Whereabouts for PeerFinder {
    fn members(&self, vat: &VatId) -> Vec<Member> {
        let listed = self.directory.members(vat);
        match self.view.peer(vat) {
            // A client's genesis has no addresses, and needs none: it is connected to us, or gone.
            Some(peer) if listed.is_empty() => peer.known.membership.members,
            None if listed.is_empty() => {
                self.directory.want(*vat);
                listed
            }
            _ => listed,
        }
    }

    fn unreachable(&self, vat: &VatId) {
        // They may have moved; a client, whose members have no addresses, can't be asked for.
        if self.directory.members(vat).iter().any(|member| !member.addresses.is_empty()) {
            self.directory.want(*vat);
        }
    }
}

struct ShippingMetrics {
    name: String,
    telemetry: Arc<Telemetry>,
}

impl CourierMetrics for ShippingMetrics {
    fn shipped(&self, _peer: &VatId, outcome: &'static str, _messages: usize) {
        self.telemetry.slices_shipped.with_label_values(&[self.name.as_str(), outcome]).inc();
    }
}

/// Turns a replica's events into what the rest of the node does with them.
struct EventLoop {
    vat: VatId,
    name: String,
    replica: ReplicaHandle,
    view: SharedView,
    directory: Directory,
    telemetry: Arc<Telemetry>,
    console: Option<Console>,
    removed: Arc<AtomicBool>,
    notices: mpsc::UnboundedSender<Notice>,
}

impl EventLoop {
    async fn run(mut self, mut events: mpsc::Receiver<Event<BlockEffects>>) {
        let mut status = self.replica.status_watch();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let rank = rank(&status.borrow_and_update());
                    self.notify(Notice::Rank(rank));
                }
            }
        }
    }

    fn notify(&self, notice: Notice) {
        // The courier ends only with this loop.
        let _ = self.notices.send(notice);
    }

    fn handle(&mut self, event: Event<BlockEffects>) {
        match event {
            Event::Applied { block, effects, .. } => self.applied(block, effects),
            Event::Certified(certificate) => {
                self.notify(Notice::Certified(certificate));
            }
            Event::Restored { block } => {
                let (outbox, peers) = {
                    let mut view = self.view.lock();
                    let peers: Vec<KnownPeer> = view.peers.values().map(|peer| peer.known.clone()).collect();
                    (view.restored.take().unwrap_or_default(), peers)
                };
                peers.iter().for_each(|known| self.directory.note_membership(&known.membership));
                self.notify(Notice::Restored { block, outbox });
            }
            Event::Reconfigured(certificate) => {
                let membership = certificate.membership;
                tracing::info!(vat = %self.name, epoch = membership.epoch, members = membership.members.len(), "new membership");
                let introduction = self.replica.introduction();
                self.directory.learn(None, &introduction);
                self.directory.note_membership(&membership);
                self.notify(Notice::Introduction(Box::new(introduction)));
            }
            Event::Conflict(report) => {
                let member = report.member.to_string();
                self.telemetry.conflicts.with_label_values(&[self.name.as_str(), &member]).inc();
                tracing::error!(
                    vat = %self.name, code = "Q-CONFLICT", %member, block = report.block,
                    "a member signed a statement that contradicts this replica's own; the evidence is kept"
                );
            }
            Event::Removed => {
                self.removed.store(true, Ordering::Relaxed);
                tracing::info!(vat = %self.name, "this host is no longer a member of the vat");
            }
            Event::Fault(message) => {
                tracing::error!(vat = %self.name, code = "Q-REPLICA-FAULT", %message, "the replica has stopped");
            }
        }
    }

    fn applied(&mut self, block: u64, effects: BlockEffects) {
        let output = effects.output;
        let label = [self.name.as_str()];
        let cranks = output.cranks.len();
        self.telemetry.block_seconds.with_label_values(&label).observe(effects.seconds);
        self.telemetry.deliveries.with_label_values(&label).inc_by(cranks as u64);
        if cranks > 0 {
            self.telemetry.block_deliveries.with_label_values(&label).observe(cranks as f64);
        }
        for crank in &output.cranks {
            self.telemetry.crank_seconds.with_label_values(&label).observe(effects.seconds / cranks as f64);
            self.telemetry.crank_fuel.with_label_values(&label).observe(crank.fuel as f64);
            if let Some(limit) = crank.rolled_back {
                self.telemetry.rolled_back.with_label_values(&[self.name.as_str(), limit.as_str()]).inc();
                tracing::warn!(vat = %self.name, block, limit = limit.as_str(), "a delivery reached a limit and was rolled back");
            }
        }
        for message in &effects.refused {
            self.telemetry.refused_commands.with_label_values(&label).inc();
            tracing::warn!(vat = %self.name, block, %message, "a command in the log was refused");
        }
        self.print(block, &output.logs);
        let membership_news: Vec<KnownPeer> = {
            let view = self.view.lock();
            output.heads.iter().filter_map(|head| view.peers.get(&head.peer)).map(|peer| peer.known.clone()).collect()
        };
        membership_news
            .iter()
            .filter(|known| known.membership.epoch > 0)
            .for_each(|known| self.directory.note_membership(&known.membership));
        self.notify(Notice::Applied { block, heads: output.heads, queued: output.queued, pruned: output.pruned });
    }

    fn print(&mut self, block: u64, lines: &[quorate_engine::heap::LogLine]) {
        for line in lines {
            let level = console::level_name(line.level);
            self.telemetry.console_lines.with_label_values(&[self.name.as_str(), level]).inc();
        }
        let Some(console) = &mut self.console else { return };
        match console.write(block, lines) {
            Ok(true) => {
                for line in lines {
                    tracing::info!(target: "console", vat = %self.name, vat_id = %self.vat, block, level = console::level_name(line.level), "{}", line.text);
                }
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(vat = %self.name, %error, "the console file could not be written"),
        }
    }
}

/// This member's place behind the leader: 0 leads; a member that is no voter never ships.
fn rank(status: &ReplicaStatus) -> usize {
    let members = &status.membership.members;
    let Some(own) = members.iter().position(|member| member.key == status.key) else { return usize::MAX };
    if status.role == Role::Leader {
        return 0;
    }
    let leader = status.leader.and_then(|key| members.iter().position(|member| member.key == key)).unwrap_or(0);
    1 + (own + members.len() - leader) % members.len()
}
