//! One vat on this host: its replica, the handling of the replica's events, and the inbox.

pub mod access;
pub mod approvals;
pub mod clients;
pub mod codes;
pub mod console;
pub mod events;
mod first_install;
pub mod inbox;
mod incomplete;
pub mod machine;
pub mod peer_evidence;
mod places;
pub mod progress;
pub mod readings;
pub mod recent;
mod shipping;
pub mod stopwatch;
pub mod tables;
pub mod trials;
pub mod unacknowledged;
pub mod upgrade;
pub mod view;
pub mod whereabouts;
pub mod window;
mod witness;

use crate::{
    co_members::CoMembers,
    directory::Directory,
    images::wait::ImageWait,
    telemetry::{
        Telemetry,
        members::{self, Sight},
        mirror,
        page::Page,
    },
    traces::{Traces, vat::VatTraces},
};
use access::VatMotions;
use codes::Codes;
use console::Console;
use events::EventLoop;
use first_install::FirstInstall;
use inbox::Inbox;
use machine::VatMachine;
use peer_evidence::PeerEvidence;
use progress::SharedProgress;
use quorate_consensus::{
    Approve, ArchiveOptions, Certificate, Change, CheckpointSummary, Genesis, HostId, Introduction, MAX_UNCERTIFIED,
    Member, Membership, MembershipCertificate, Pace, ProposeError, Replica, ReplicaFigures, ReplicaHandle,
    ReplicaOptions, ReplicaStatus, Role, Store, StoreError, SystemClock, Threads, Timing, Transport,
};
use quorate_courier::courier::Courier;
use quorate_engine::{
    Hash, VatId, abi,
    heap::Limits,
    image::{Image, ImageSource},
    machine::{Exit, Setup, Summary},
};
use quorate_protocol::command::VatCommand;
use quorate_protocol::{
    authority::{Authority, CodeDigest, SignedInstall},
    codec,
    proof::file::{CheckpointProof, Item, ProofFile, VatProof},
    recovered::recovery_words,
    status::{CertificateStatus, CertificatesStatus, MemberStatus, StreamStatus, VatStatus},
    wire::{ReadReply, ReadRequest},
};
use readings::Readings;
use recent::Recent;
use shipping::{FAREWELLS, Shipping, take_farewells};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use trials::Trials;
use unacknowledged::Unacknowledged;
use view::SharedView;
use whereabouts::PeerFinder;

/// Events of a replica that wait for this crate; the replica pauses when it is full.
const EVENT_QUEUE: usize = 1_024;
/// How long a proposal of this host itself may take.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(30);
/// The role of a member that is out and has not gone yet: to Raft it is a learner.
pub const LEAVING: &str = "leaving";
/// The role of a replica whose host was a member of the vat and is no longer: to Raft it is stopped.
pub const REMOVED: &str = "removed";
/// How long the status waits for a replica that is executing before it tells of what was there before.
const INSPECT_PATIENCE: Duration = Duration::from_millis(200);
/// Certificates in one answer.
const CERTIFICATES: usize = 128;

/// What one vat on a host needs.
pub struct VatOptions {
    pub name: String,
    pub genesis: Genesis,
    /// Memberships since the genesis, as far as they are known here.
    pub chain: Vec<MembershipCertificate>,
    /// Waits to be added by the vat's members, instead of starting the vat with them.
    pub joining: bool,
    pub install: Option<SignedInstall>,
    /// How this host answers to changes of members that others propose.
    pub approve: Approve,
    pub key: ed25519_dalek::SigningKey,
    pub image: Arc<Image>,
    /// Where other images come from, if the vat moves to one.
    pub images: Arc<dyn ImageSource>,
    /// How the replica waits for one of those.
    pub image_wait: Arc<ImageWait>,
    pub store: Arc<dyn Store>,
    /// Where what is cut from the log is kept, if anywhere.
    pub archive: Option<ArchiveOptions>,
    pub transport: Arc<dyn Transport>,
    pub co_members: Arc<CoMembers>,
    pub directory: Directory,
    pub peer_evidence: PeerEvidence,
    pub telemetry: Arc<Telemetry>,
    /// Where traces of messages go, if anywhere.
    pub traces: Option<Traces>,
    pub console: Option<PathBuf>,
    pub timing: Timing,
    /// What all replicas of this host share.
    pub pace: Arc<Pace>,
}

/// A vat that runs on this host.
pub struct VatService {
    pub vat: VatId,
    pub name: String,
    pub replica: ReplicaHandle,
    pub inbox: Arc<Inbox>,
    /// What its latest blocks did on whose account.
    pub recent: Recent,
    readings: Readings,
    image: Hash,
    image_wait: Arc<ImageWait>,
    limits: Limits,
    view: SharedView,
    codes: Arc<Codes>,
    trials: Arc<Trials>,
    telemetry: Arc<Telemetry>,
    directory: Directory,
    install_error: Arc<Mutex<Option<String>>>,
    /// What the replica last told of its state.
    summary: Mutex<Option<Arc<Summary>>>,
    /// The host was a member and is no longer.
    removed: Arc<AtomicBool>,
    progress: SharedProgress,
    unacknowledged: Unacknowledged,
    /// The block up to which the console's file has all lines.
    printed: watch::Receiver<u64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl VatService {
    /// Starts a vat's replica and everything around it.
    ///
    /// # Errors
    /// In words for the operator: the store can't be read, the engine can't start, or the genesis isn't for this host.
    pub async fn start(options: VatOptions) -> Result<VatService, String> {
        let vat = options.genesis.vat_id();
        let view = SharedView::default();
        view.lock().traced = options.traces.is_some();
        let limits = Limits {
            fuel_per_delivery: options.genesis.parameters.fuel_per_delivery,
            memory_bytes: options.genesis.parameters.memory_bytes,
        };
        let given = options.install.as_ref().map(|signed| CodeDigest::of(&signed.install));
        let machine =
            VatMachine::new(&options.genesis, given, options.image.clone(), options.images, limits, view.clone())
                .map_err(|error| format!("vat {}: {error}", options.name))?;
        let given = options.install.as_ref().map(|signed| &signed.install);
        let codes =
            Codes::load(vat, options.store.clone(), given).map_err(|error| format!("vat {}: {error}", options.name))?;
        let codes = Arc::new(codes);
        let (events_tx, events) = mpsc::channel(EVENT_QUEUE);
        let replica = Replica::start(ReplicaOptions {
            genesis: options.genesis.clone(),
            chain: options.chain,
            key: options.key,
            machine,
            store: options.store,
            archive: options.archive,
            transport: options.transport,
            execution: Arc::new(Threads),
            events: events_tx,
            pace: options.pace,
            timing: options.timing,
            clock: Arc::new(SystemClock),
            learner: options.joining,
            approve: options.approve,
            max_uncertified: MAX_UNCERTIFIED,
            motions: Arc::new(VatMotions { view: view.clone(), codes: codes.clone() }),
        })
        .await
        .map_err(|error| format!("vat {}: {error}", options.name))?;
        options.telemetry.begin(&options.name);
        let (notices, notices_rx) = mpsc::unbounded_channel();
        let whereabouts = Arc::new(PeerFinder { view: view.clone(), directory: options.directory.clone() });
        let (farewells, farewells_rx) = mpsc::channel(FAREWELLS);
        let (name, telemetry) = (options.name.clone(), options.telemetry.clone());
        let traces = options.traces.clone();
        let shipping = Arc::new(Shipping { vat, name, telemetry, traces, view: view.clone(), farewells });
        let network = options.co_members.network().clone();
        let courier = Courier::start(vat, network, whereabouts, shipping, replica.introduction(), notices_rx);
        let has_code = options.install.is_some();
        let peer_evidence = options.peer_evidence;
        let inbox = Inbox::new(vat, replica.clone(), view.clone(), has_code, peer_evidence, notices.downgrade());
        let inbox = Arc::new(inbox);
        let install_error = Arc::new(Mutex::new(None));
        let removed = Arc::new(AtomicBool::new(false));
        let (progress, recent, readings) = (SharedProgress::default(), Recent::default(), Readings::default());
        let unacknowledged = Unacknowledged::default();
        let (printed_tx, printed) = watch::channel(0);
        let event_loop = EventLoop {
            removed: removed.clone(),
            progress: progress.clone(),
            recent: recent.clone(),
            unacknowledged: unacknowledged.clone(),
            traces: options.traces.map(|traces| VatTraces::new(traces, vat, replica.log_end())),
            readings: readings.clone(),
            vat,
            name: options.name.clone(),
            replica: replica.clone(),
            view: view.clone(),
            directory: options.directory.clone(),
            co_members: options.co_members,
            telemetry: options.telemetry.clone(),
            console: options.console.and_then(|path| {
                Console::open(&path)
                    .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "console file unusable"))
                    .ok()
            }),
            codes: codes.clone(),
            notices,
            printed: printed_tx,
            memory: events::Memory::default(),
        };
        let farewells = tokio::spawn(take_farewells(inbox.clone(), farewells_rx));
        let mut tasks = vec![courier, tokio::spawn(event_loop.run(events)), farewells];
        if let Some(install) = options.install {
            let (replica, view, error) = (replica.clone(), view.clone(), install_error.clone());
            let authority = Authority::of(&options.genesis);
            let first = FirstInstall { name: options.name.clone(), replica, view, install, authority, error };
            tasks.push(tokio::spawn(first.propose()));
        }
        options.image_wait.begin();
        Ok(VatService {
            vat,
            name: options.name,
            image: options.image.hash(),
            image_wait: options.image_wait,
            limits,
            inbox,
            replica,
            view,
            codes,
            trials: Arc::default(),
            directory: options.directory,
            install_error,
            summary: Mutex::default(),
            removed,
            progress,
            unacknowledged,
            recent,
            readings,
            telemetry: options.telemetry,
            printed,
            tasks,
        })
    }

    /// Has a command ordered and executed. Returns the encoded [`VatResult`].
    pub async fn propose(&self, command: &VatCommand) -> Result<Vec<u8>, ProposeError> {
        Ok(self.replica.propose(codec::encode(command), PROPOSE_DEADLINE).await?.result)
    }

    /// Returns why the code that the vat was made with did not start, when this member last proposed it.
    fn install_error(&self) -> Option<String> {
        self.install_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Returns what the vat has certified, for others to check: its members, its newest statement, its newest checkpoint.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn proof(&self) -> Result<ProofFile, StoreError> {
        let checkpoint = self.replica.certified_checkpoint().map(|found| {
            let CheckpointSummary { certificate, state, machine_root } = found;
            Item::Checkpoint(Box::new(CheckpointProof { certificate, state, machine_root }))
        });
        let newest = self.replica.newest_certificate()?.map(Item::Certificate);
        let items = newest.into_iter().chain(checkpoint).collect();
        Ok(ProofFile { vats: vec![VatProof { introduction: self.replica.introduction(), items }] })
    }

    /// Returns what another vat said to this one lately, for others to check. Nothing if it said nothing since this host started, or if it
    /// is not known who its members are.
    pub fn proof_of(&self, peer: &VatId) -> Option<ProofFile> {
        let said = self.view.lock().heard.get(peer).cloned()?;
        let introduction = self.directory.introduction(peer)?;
        let items = vec![Item::Slice(Box::new((*said).clone()))];
        Some(ProofFile { vats: vec![VatProof { introduction, items }] })
    }

    /// Returns what the vat publishes under a name, by the newest certificate that is here, or by a later one if that is asked for: then it is waited
    /// for, but not long.
    pub async fn read(&self, request: &ReadRequest) -> ReadReply {
        let reply = self.readings.read(&self.replica, &self.view, request).await;
        let outcome = match &reply {
            ReadReply::Reading { .. } => "answered",
            ReadReply::NotYet { .. } => "not_yet",
        };
        self.telemetry.reads.with_label_values(&[self.name.as_str(), outcome]).inc();
        reply
    }

    /// Waits until the console's file has what was printed in all blocks that are executed by now: the state is ahead of the file.
    pub async fn console_written(&self) {
        let block = self.view.lock().block;
        let mut printed = self.printed.clone();
        // Where the loop that writes is gone, nothing more comes.
        let _ = printed.wait_for(|printed| *printed >= block).await;
    }

    /// Returns whether this host was a member of the vat and is no longer.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Whether this host is out of the vat's members, and is kept until the next epoch is certified.
    pub fn is_leaving(&self) -> bool {
        self.role(&self.replica.status()) == LEAVING
    }

    /// Returns whether a peer is a vat with hosts, and no client or stranger.
    pub fn is_a_vat(&self, peer: &VatId) -> bool {
        self.view.known(peer).is_some_and(|signers| signers.expires == 0)
    }

    /// Returns whether a vat that has spoken to this one is a client.
    pub fn is_client(&self, peer: &VatId) -> bool {
        self.view.known(peer).is_some_and(|signers| signers.expires != 0)
    }

    /// Returns why a replica that runs is of no use just now though there is a leader: it does not move, its log was rolled back, it waits for an engine
    /// image, or there is too little room on its disk.
    pub fn standstill(&self, status: &ReplicaStatus) -> Option<String> {
        if self.is_removed() || status.fault.is_some() {
            return None;
        }
        self.inbox.limited().or_else(|| self.image_wait.missing().map(waits_for_image)).or_else(|| standstill(status))
    }

    /// Returns whether this host is a member that runs and knows of no leader with a quorum. One that was told to join waits for the
    /// members: it serves nothing of the vat, and nothing is wrong.
    pub fn is_leaderless(&self, status: &ReplicaStatus) -> bool {
        !self.is_removed()
            && status.fault.is_none()
            && status.membership.contains(&status.key)
            && status.leader.is_none()
    }

    /// Returns what the replica is to its vat, in a word.
    fn role(&self, status: &ReplicaStatus) -> &'static str {
        if self.is_removed() {
            REMOVED
        } else if matches!(status.role, Role::Learner | Role::Follower | Role::Candidate)
            && !status.membership.contains(&status.key)
            && self.was_member(&status.key)
        {
            // Out of the membership, and kept until the next one is certified: its signature may be needed. Raft hears of that later.
            LEAVING
        } else {
            status.role.as_str()
        }
    }

    fn was_member(&self, key: &HostId) -> bool {
        let Introduction { genesis, chain } = self.replica.introduction();
        let later = chain.iter().flat_map(|certificate| &certificate.membership.members);
        genesis.members.iter().chain(later).any(|member| member.key == *key)
    }

    /// Takes no new work from now on, for this reason, or takes it again: no messages here, and no commands where the replica leads.
    pub fn limit(&self, why: Option<String>) {
        self.replica.limit(why.clone());
        self.inbox.limit(why);
    }

    /// Stops the replica and all that belongs to it.
    pub async fn shutdown(&self) {
        // The replica first knows that it stops: an execution that is cut off is no fault then. And it waits for what it executes.
        tokio::join!(self.replica.shutdown(), async { self.image_wait.stop() });
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// The vat as it stands, for people.
    pub async fn status(&self) -> VatStatus {
        let status = self.replica.status();
        let summary = self.summary().await;
        let installed = self.view.lock().installed;
        let setup = summary
            .as_ref()
            .filter(|summary| summary.installed && summary.exit.is_none())
            .map(|summary| &summary.setup);
        let name_of = |key: &quorate_consensus::HostId| {
            status.membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone())
        };
        VatStatus {
            name: self.name.clone(),
            vat: self.vat.to_string(),
            image: self.view.lock().image.unwrap_or(self.image).to_string(),
            role: self.role(&status).to_owned(),
            leader: status.leader.as_ref().map(name_of),
            term: status.term,
            committed_block: status.committed,
            applied_block: status.applied,
            certified_block: status.certified_block,
            certified_by: self.certified_by(),
            epoch: status.epoch,
            certified_epoch: status.certified_epoch,
            threshold: status.membership.threshold,
            members: status.membership.members.iter().map(member_status).collect(),
            pending_change: describe_pending(&status).filter(|_| !self.is_removed()),
            approvals: if self.is_removed() {
                Vec::new()
            } else {
                approvals::waiting(&status, self.replica.waiting_changes(), |vat| self.directory.name(vat))
            },
            installed,
            install_error: self.install_error().filter(|_| !installed),
            setup: setup.map(|setup| setup.as_str().to_owned()),
            setup_error: setup.and_then(Setup::failure).map(str::to_owned),
            exited: summary.as_ref().and_then(|summary| summary.exit.as_ref()).map(exit_value),
            deliveries: summary.as_ref().map_or(0, |summary| summary.deliveries),
            heap_bytes: summary.as_ref().map_or(0, |summary| summary.heap_bytes),
            heap_limit_bytes: self.limits.memory_bytes,
            checkpoint_block: status.local_checkpoint_block,
            certified_checkpoint_block: status.checkpoint_block,
            state_root: status.checkpoint_root.as_ref().map(ToString::to_string),
            equivocations: status.equivocations,
            disagreements: status.disagreements,
            streams: summary
                .iter()
                .flat_map(|summary| &summary.peers)
                .map(|peer| (peer, self.directory.name(&peer.vat)))
                .map(|(peer, name)| StreamStatus {
                    named: name.is_some(),
                    vat: peer.vat.to_string(),
                    sent: peer.sent,
                    peer: name.unwrap_or_else(|| peer.vat.to_string()),
                    unacknowledged: peer.unacked,
                    kept_bytes: peer.kept_bytes,
                    fuel_ahead: peer.fuel_ahead,
                    received: peer.received,
                    broken: peer.broken.is_some(),
                })
                .collect(),
            recovered: recovery_words(&self.replica.introduction()),
            fault: status.fault.clone(),
            idle_s: self.progress.note(&status, Instant::now()).as_secs(),
            complains: status.complains.clone().filter(|_| !self.is_removed()),
            standstill: self.standstill(&status),
        }
    }

    /// Who signed the newest certificate. A damaged record is for other parts to tell of.
    fn certified_by(&self) -> Vec<String> {
        let newest = self.replica.newest_certificate().ok().flatten();
        newest.into_iter().flat_map(|newest| newest.signatures).map(|signature| signature.key.to_string()).collect()
    }

    /// Certificates of blocks after `after`, or of the newest ones.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn certificates(&self, after: Option<u64>) -> Result<CertificatesStatus, StoreError> {
        let certified_block = self.replica.status().certified_block;
        let after = after.unwrap_or_else(|| certified_block.saturating_sub(CERTIFICATES as u64));
        let certificates = self.replica.certificates(after, CERTIFICATES)?.iter().map(certificate_status).collect();
        Ok(CertificatesStatus { certified_block, certificates })
    }

    /// The state between two blocks: the newest, if the replica gets to it soon, else the last that it told of. A vat that is busy
    /// for seconds must not make its host look dead.
    async fn summary(&self) -> Option<Arc<Summary>> {
        let inspecting = self.replica.inspect(|machine: &mut VatMachine| machine.summary());
        let newest = tokio::time::timeout(INSPECT_PATIENCE, inspecting).await.ok().flatten();
        let mut last = self.summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(newest) = newest {
            *last = Some(Arc::new(newest));
        }
        last.clone()
    }

    /// The hash of the code that the vat runs, as far as it is known here: of what it got, or of what its genesis binds it to.
    fn bundle(&self) -> String {
        let bundle = self.codes.bundle().or_else(|| self.replica.introduction().genesis.bundle);
        bundle.map(|hash| hash.to_string()).unwrap_or_default()
    }

    /// Adds the figures that mirror the vat's state to a metrics page; `sights` is what the host sees of others.
    pub fn observe(
        &self,
        status: &VatStatus,
        figures: &ReplicaFigures,
        sights: &BTreeMap<HostId, Sight>,
        page: &mut Page,
    ) {
        let replica = self.replica.status();
        let is_leaderless = self.is_leaderless(&replica);
        mirror::vat_info(page, status, &self.bundle());
        mirror::replica(page, &self.name, &replica, &status.role, is_leaderless);
        mirror::figures(page, &self.name, figures);
        mirror::vat(page, status);
        mirror::unacknowledged_ages(page, status, &self.unacknowledged.ages(Instant::now()));
        mirror::limits(page, &self.name, self.limits.fuel_per_delivery);
        mirror::limited(page, &self.name, self.inbox.limited().is_some());
        if !self.is_removed() {
            members::members(page, &self.name, &replica, figures, sights);
        }
    }
}

fn certificate_status(certificate: &Certificate) -> CertificateStatus {
    let statement = &certificate.statement;
    CertificateStatus {
        block: statement.block,
        epoch: statement.epoch,
        statement: statement.hash().to_string(),
        state_root: statement.state_root.map(|root| root.to_string()),
        signers: certificate.signatures.iter().map(|signature| signature.key.to_string()).collect(),
    }
}

fn waits_for_image(image: Hash) -> String {
    format!(
        "it waits for engine image {image}, which the vat has moved to and whose members do not give it yet; `vat image add FILE --home HOME` gives it to this host"
    )
}

/// See [`VatService::standstill`].
fn standstill(status: &ReplicaStatus) -> Option<String> {
    if let Some(block) = status.recovering {
        return Some(format!("its log was rolled back; it has no vote until the log has block {block} again"));
    }
    let still = Duration::from_millis(status.stalled_ms);
    quorate_protocol::standstill::standstill(status.applied, status.leader_committed, still)
}

/// Returns what a vat gave to `exit`, as JSON.
fn exit_value(exit: &Exit) -> serde_json::Value {
    abi::Value::decode(&exit.value.body).map_or(serde_json::Value::Null, |value| value.to_json())
}

/// The change that is under way, and what it waits for as far as that shows.
fn describe_pending(status: &ReplicaStatus) -> Option<String> {
    if let Some(pending) = &status.pending {
        let change = describe_change(&pending.change, &status.membership);
        let waits = if status.certified_block < pending.block {
            format!(" (waits until {} of the present members have signed that)", status.membership.threshold)
        } else if pending.raft_id.is_some() {
            " (the newcomer fetches the state)".to_owned()
        } else {
            String::new()
        };
        return Some(change + &waits);
    }
    if status.certified_epoch < status.epoch {
        return Some(format!("epoch {} has begun and waits for the old members' signatures", status.epoch));
    }
    status.voters_change.then(|| format!("epoch {} is certified, and still needs the old members' votes", status.epoch))
}

/// A membership change in words.
pub(crate) fn describe_change(change: &Change, membership: &Membership) -> String {
    let name = |key: &HostId| membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone());
    match change {
        Change::Add(member) => format!("add {}", member.name),
        Change::Remove(key) => format!("remove {}", name(key)),
        Change::Replace { out, in_ } => format!("replace {} by {}", name(out), in_.name),
        Change::Threshold(threshold) => format!("set the threshold to {threshold}"),
        Change::Cancel => "cancel the pending change".to_owned(),
    }
}

fn member_status(member: &Member) -> MemberStatus {
    MemberStatus { name: member.name.clone(), key: member.key.to_string(), addresses: member.addresses.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Hash, PendingChange};

    fn member(seed: u8) -> Member {
        Member { key: HostId([seed; 32]), name: format!("h{seed}"), addresses: Vec::new() }
    }

    fn status() -> ReplicaStatus {
        let members = (1..=3).map(member).collect();
        let vat = quorate_consensus::VatId([7; 32]);
        let membership = Membership { vat, epoch: 0, members, threshold: 2, previous: Hash::ZERO, recovered: None };
        ReplicaStatus::new(vat, HostId([1; 32]), membership)
    }

    #[test]
    fn a_change_is_told_by_the_names_of_its_members() {
        let mut status = status();
        for (change, words) in [
            (Change::Replace { out: HostId([3; 32]), in_: member(4) }, "replace h3 by h4"),
            (Change::Remove(HostId([2; 32])), "remove h2"),
            (Change::Threshold(3), "set the threshold to 3"),
        ] {
            let target = (*status.membership).clone();
            status.pending = Some(PendingChange { change, block: 5, target, raft_id: None });
            let told = describe_pending(&status).expect("under way");
            assert_eq!(told, format!("{words} (waits until 2 of the present members have signed that)"));
        }
    }
}
