//! What the page shows: hosts, and vats with what all their replicas say. Pure.
//!
//! Invariant: what did not change is equal from one look to the next, so that only changes travel. So times that go on (for how long a
//! process runs, a replica rests) are moments here, and a moment that is found again within [`JITTER_MS`] is the same.
//!
//! `web/src/model.ts` has these types for the page; a test holds the two together.

use crate::look::{HostState, Look, MemberState, SeenHost, Standing};
use quorate_protocol::{
    card::fingerprint,
    standstill::standstill,
    status::{DiskStatus, HostStatus, PeerStatus, StreamStatus, VatStatus, WaitingStatus},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Moments that differ by less are the same: hosts tell whole seconds.
const JITTER_MS: u64 = 3_000;
/// Less room than this on a host's disk is said, as by `vat status`.
const LOW_DISK_BYTES: u64 = 1 << 30;

/// All that is known.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Model {
    /// By name.
    pub hosts: BTreeMap<String, HostView>,
    /// By id.
    pub vats: BTreeMap<String, VatView>,
}

/// How something is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Well,
    /// Something is under way, or missing and not missed yet.
    Attention,
    Trouble,
    /// A vat that can neither order nor say anything; a host that does not answer.
    Silent,
}

/// A host.
#[derive(Clone, Debug, Serialize)]
pub struct HostView {
    pub name: String,
    pub key: Option<String>,
    pub fingerprint: Option<String>,
    pub home: String,
    pub state: HostState,
    pub level: Level,
    /// What a person should know.
    pub problems: Vec<String>,
    pub version: Option<String>,
    pub image: Option<String>,
    pub process: Option<u32>,
    pub started_at_ms: Option<u64>,
    pub listen: Vec<String>,
    pub http: Option<String>,
    pub peers: Vec<PeerStatus>,
    /// The replicas that it carries.
    pub vats: Vec<CarriedVat>,
    pub disk: Option<DiskStatus>,
    /// Proofs kept here that members of other vats contradict themselves.
    pub peer_evidence: u64,
    pub muted: Vec<String>,
}

/// A vat on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CarriedVat {
    pub vat: String,
    pub name: String,
    pub role: String,
}

/// A vat, by all replicas that could be asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VatView {
    pub vat: String,
    pub name: String,
    pub level: Level,
    /// What a person should know.
    pub problems: Vec<String>,
    pub image: String,
    pub epoch: u64,
    pub certified_epoch: u64,
    /// How many members must sign.
    pub threshold: u64,
    /// How many can be reached.
    pub reachable: u64,
    pub can_order: bool,
    pub can_speak: bool,
    pub members: Vec<MemberView>,
    pub leader: Option<String>,
    pub term: u64,
    /// The newest block that a replica has executed.
    pub block: u64,
    pub certified_block: u64,
    pub deliveries: u64,
    pub heap_bytes: u64,
    pub heap_limit_bytes: u64,
    /// What a member signed that differs, and what convicts one: since the vat is on these hosts.
    pub equivocations: u64,
    pub disagreements: u64,
    pub pending_change: Option<String>,
    pub approvals: Vec<ApprovalView>,
    pub installed: bool,
    pub setup: Option<String>,
    pub exited: Option<serde_json::Value>,
    pub recovered: Vec<String>,
    pub streams: Vec<StreamView>,
    pub replicas: Vec<ReplicaView>,
}

/// A member of a vat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    pub name: String,
    pub key: String,
    pub fingerprint: String,
    pub addresses: Vec<String>,
    pub state: MemberState,
    pub why: Option<String>,
    /// Whether its signature is in a certificate of [`VatView::certified_block`].
    pub signed: bool,
}

/// A change that waits, at the hosts that were asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApprovalView {
    pub id: String,
    pub change: String,
    pub proposer: String,
    /// Who would go, by name and key.
    pub out: Option<(String, String)>,
    /// Who would come, likewise.
    pub joining: Option<(String, String)>,
    pub fingerprint: Option<String>,
    pub threshold_before: u64,
    pub members_after: Option<u64>,
    pub threshold_after: Option<u64>,
    pub needed: u64,
    pub approved: Vec<String>,
    pub rejected: Vec<String>,
    pub waits_for_newcomer: bool,
    /// Hosts here whose owners have not answered.
    pub unanswered: Vec<String>,
}

/// The streams between a vat and a peer, by the replica that has executed most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamView {
    /// The other vat's id.
    pub peer: String,
    /// Its name on these hosts.
    pub name: Option<String>,
    pub sent: u64,
    pub unacknowledged: u64,
    pub received: u64,
    /// How many of ours the other vat says that it received, if it is here.
    pub arrived: Option<u64>,
    pub kept_bytes: u64,
    pub fuel_ahead: u64,
    pub broken: bool,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaView {
    pub host: String,
    pub role: String,
    pub term: u64,
    pub epoch: u64,
    pub committed_block: u64,
    pub applied_block: u64,
    pub certified_block: u64,
    pub checkpoint_block: u64,
    pub certified_checkpoint_block: u64,
    pub state_root: Option<String>,
    pub heap_bytes: u64,
    pub fault: Option<String>,
    /// Why it does not move, or is of no use.
    pub stuck: Option<String>,
    pub complains: Option<String>,
    /// When it last got on, in milliseconds since 1970.
    pub moved_at_ms: u64,
}

/// Makes the model of a look at `now_ms`; `before` is the last one.
pub fn model(look: &Look, before: &Model, now_ms: u64) -> Model {
    let hosts = look.hosts.iter().map(|host| (host.name.clone(), host_view(host, before, now_ms))).collect();
    let mut replicas: BTreeMap<&str, Vec<(&SeenHost, &VatStatus)>> = BTreeMap::new();
    for host in &look.hosts {
        for vat in host.status.iter().flat_map(|status| &status.vats) {
            replicas.entry(&vat.vat).or_default().push((host, vat));
        }
    }
    let newest: BTreeMap<&str, &VatStatus> =
        replicas.iter().filter_map(|(id, replicas)| Some((*id, newest(replicas)?))).collect();
    let view = |(id, replicas): (&&str, &Vec<(&SeenHost, &VatStatus)>)| {
        let vat = VatContext {
            newest: newest.get(id)?,
            replicas,
            standing: look.standings.iter().find(|standing| standing.vat == **id),
            others: &newest,
            before: before.vats.get(*id),
            now_ms,
        };
        Some(((*id).to_owned(), vat.view()))
    };
    let mut vats: BTreeMap<String, VatView> = replicas.iter().filter_map(view).collect();
    for (name, id) in &look.expected {
        let last = before.vats.get(id);
        vats.entry(id.clone()).or_insert_with(|| absent(name, id, last));
    }
    Model { hosts, vats }
}

/// The replica that speaks for its vat: a member's of the newest epoch that has executed most.
fn newest<'a>(replicas: &[(&'a SeenHost, &'a VatStatus)]) -> Option<&'a VatStatus> {
    let rank = |vat: &VatStatus| (vat.role != "removed", vat.epoch, vat.applied_block);
    replicas.iter().map(|(_, vat)| *vat).max_by_key(|vat| rank(vat))
}

/// A vat that no host here says anything of. What was known of it stays.
fn absent(name: &str, id: &str, last: Option<&VatView>) -> VatView {
    let problems = vec!["none of its hosts runs here".to_owned()];
    if let Some(last) = last {
        let members = last.members.iter().cloned();
        let members = members.map(|member| MemberView { state: MemberState::Down, signed: false, why: None, ..member });
        return VatView {
            level: Level::Silent,
            problems,
            reachable: 0,
            can_order: false,
            can_speak: false,
            leader: None,
            members: members.collect(),
            replicas: Vec::new(),
            approvals: Vec::new(),
            ..last.clone()
        };
    }
    VatView {
        vat: id.to_owned(),
        name: name.to_owned(),
        level: Level::Silent,
        problems,
        image: String::new(),
        epoch: 0,
        certified_epoch: 0,
        threshold: 0,
        reachable: 0,
        can_order: false,
        can_speak: false,
        members: Vec::new(),
        leader: None,
        term: 0,
        block: 0,
        certified_block: 0,
        deliveries: 0,
        heap_bytes: 0,
        heap_limit_bytes: 0,
        equivocations: 0,
        disagreements: 0,
        pending_change: None,
        approvals: Vec::new(),
        installed: false,
        setup: None,
        exited: None,
        recovered: Vec::new(),
        streams: Vec::new(),
        replicas: Vec::new(),
    }
}

fn shown_key(key: &str) -> String {
    key.parse().map_or_else(|_| String::new(), |key| fingerprint(&key))
}

/// A moment `ago` before now, or the one before if that is the same but for what hosts round.
fn moment(now_ms: u64, ago_s: u64, before: Option<u64>) -> u64 {
    let found = now_ms.saturating_sub(ago_s.saturating_mul(1_000));
    before.filter(|before| before.abs_diff(found) < JITTER_MS).unwrap_or(found)
}

fn host_view(host: &SeenHost, before: &Model, now_ms: u64) -> HostView {
    let before = before.hosts.get(&host.name);
    let status = host.status.as_ref();
    let mut problems: Vec<String> = host.problem.iter().cloned().collect();
    problems.extend(status.into_iter().flat_map(host_problems));
    let level = match host.state {
        HostState::Up if problems.is_empty() => Level::Well,
        HostState::Up if status.is_some_and(|status| !status.failed_vats.is_empty() || !status.damage.is_empty()) => {
            Level::Trouble
        }
        HostState::Up | HostState::Exported => Level::Attention,
        HostState::Down | HostState::Hung | HostState::Unusable => Level::Silent,
    };
    let carried = |vat: &VatStatus| CarriedVat { vat: vat.vat.clone(), name: vat.name.clone(), role: vat.role.clone() };
    HostView {
        name: host.name.clone(),
        key: host.key.clone(),
        fingerprint: host.key.as_deref().map(shown_key),
        home: host.home.clone(),
        state: host.state,
        level,
        problems,
        version: status.map(|status| status.version.clone()),
        image: status.map(|status| status.image.clone()),
        process: status.map(|status| status.process),
        started_at_ms: status
            .map(|status| moment(now_ms, status.uptime_s, before.and_then(|before| before.started_at_ms))),
        listen: status.map(|status| status.listen.clone()).unwrap_or_default(),
        http: status.map(|status| status.http.clone()),
        peers: status.map(|status| status.peers.clone()).unwrap_or_default(),
        vats: status.iter().flat_map(|status| &status.vats).map(carried).collect(),
        disk: status.and_then(|status| status.disk).map(|disk| steady(disk, before)),
        peer_evidence: status.map_or(0, |status| status.peer_evidence),
        muted: status.map(|status| status.muted.clone()).unwrap_or_default(),
    }
}

/// The room on a disk, which changes all the time, to a hundredth of the disk.
fn steady(disk: DiskStatus, before: Option<&HostView>) -> DiskStatus {
    let last = before.and_then(|before| before.disk);
    let is_same = |last: &DiskStatus| {
        last.total_bytes == disk.total_bytes && last.free_bytes.abs_diff(disk.free_bytes) < disk.total_bytes / 100
    };
    last.filter(is_same).unwrap_or(disk)
}

fn host_problems(status: &HostStatus) -> Vec<String> {
    let mut problems: Vec<String> =
        status.failed_vats.iter().map(|(vat, why)| format!("could not start {vat}: {why}")).collect();
    problems.extend(status.damage.iter().cloned());
    if let Some(disk) = status.disk.filter(|disk| disk.free_bytes < LOW_DISK_BYTES) {
        let mib = disk.free_bytes >> 20;
        problems
            .push(format!("{mib} MiB are left on its disk; before that is full, its vats take no more work and stop"));
    }
    let muted = |key: &String| format!("does not listen to {key}: `vat member mute`");
    problems.extend(status.muted.iter().map(muted));
    problems
}

/// A vat, and what is needed to show it.
struct VatContext<'a> {
    newest: &'a VatStatus,
    replicas: &'a [(&'a SeenHost, &'a VatStatus)],
    standing: Option<&'a Standing>,
    /// What speaks for each vat here.
    others: &'a BTreeMap<&'a str, &'a VatStatus>,
    before: Option<&'a VatView>,
    now_ms: u64,
}

impl VatContext<'_> {
    fn view(&self) -> VatView {
        let VatContext { newest, replicas, standing, .. } = self;
        let all = || replicas.iter().map(|(_, vat)| *vat);
        let replica_views: Vec<ReplicaView> = replicas.iter().map(|(host, vat)| self.replica(host, vat)).collect();
        let certified_block = all().map(|vat| vat.certified_block).max().unwrap_or_default();
        let signers: BTreeSet<&String> =
            all().filter(|vat| vat.certified_block == certified_block).flat_map(|vat| &vat.certified_by).collect();
        let (level, problems) = self.level(&replica_views);
        VatView {
            vat: newest.vat.clone(),
            name: newest.name.clone(),
            level,
            problems,
            image: newest.image.clone(),
            epoch: newest.epoch,
            certified_epoch: newest.certified_epoch,
            threshold: newest.threshold.into(),
            reachable: standing.map_or(0, |standing| standing.reachable),
            can_order: standing.is_some_and(|standing| standing.can_order),
            can_speak: standing.is_some_and(|standing| standing.can_speak),
            members: newest.members.iter().map(|member| self.member(member, &signers)).collect(),
            leader: self.leader(),
            term: all().map(|vat| vat.term).max().unwrap_or_default(),
            block: all().map(|vat| vat.applied_block).max().unwrap_or_default(),
            certified_block,
            deliveries: newest.deliveries,
            heap_bytes: newest.heap_bytes,
            heap_limit_bytes: newest.heap_limit_bytes,
            equivocations: all().map(|vat| vat.equivocations).max().unwrap_or_default(),
            disagreements: all().map(|vat| vat.disagreements).max().unwrap_or_default(),
            pending_change: newest.pending_change.clone(),
            approvals: self.approvals(),
            installed: newest.installed,
            setup: newest.setup.clone(),
            exited: newest.exited.clone(),
            recovered: newest.recovered.clone(),
            streams: newest.streams.iter().map(|stream| self.stream(stream)).collect(),
            replicas: replica_views,
        }
    }

    /// The leader of the latest term that a replica knows one of. One that can't be reached leads nobody.
    fn leader(&self) -> Option<String> {
        let known =
            self.replicas.iter().map(|(_, vat)| vat).filter(|vat| vat.leader.is_some() && vat.role != "removed");
        let leader = known.max_by_key(|vat| vat.term)?.leader.clone()?;
        let members = self.standing.map(|standing| &standing.members[..]).unwrap_or_default();
        let is_away = members.iter().any(|member| member.name == leader && member.state != MemberState::Up);
        (!is_away).then_some(leader)
    }

    fn member(&self, member: &quorate_protocol::status::MemberStatus, signers: &BTreeSet<&String>) -> MemberView {
        let standing = self.standing.and_then(|standing| standing.members.iter().find(|found| found.key == member.key));
        MemberView {
            name: member.name.clone(),
            key: member.key.clone(),
            fingerprint: shown_key(&member.key),
            addresses: member.addresses.clone(),
            state: standing.map_or(MemberState::Unseen, |standing| standing.state),
            why: standing.and_then(|standing| standing.why.clone()),
            signed: signers.contains(&member.key),
        }
    }

    /// Returns why a replica does not move, as its host says itself or as the others show, which are ahead.
    fn stuck(&self, vat: &VatStatus) -> Option<String> {
        if vat.fault.is_some() || vat.role == "removed" || vat.role == "leaving" {
            return None;
        }
        if vat.standstill.is_some() {
            return vat.standstill.clone();
        }
        let others = || self.replicas.iter().map(|(_, other)| *other).filter(|other| other.fault.is_none());
        let awaited = others().any(|other| other.pending_change.is_some());
        if vat.role == "learner" && !awaited {
            return None;
        }
        let ahead = others().map(|other| other.applied_block).max()?;
        standstill(vat.applied_block, ahead, Duration::from_secs(vat.idle_s))
    }

    fn replica(&self, host: &SeenHost, vat: &VatStatus) -> ReplicaView {
        let before = self.before.and_then(|before| before.replicas.iter().find(|before| before.host == host.name));
        ReplicaView {
            host: host.name.clone(),
            role: vat.role.clone(),
            term: vat.term,
            epoch: vat.epoch,
            committed_block: vat.committed_block,
            applied_block: vat.applied_block,
            certified_block: vat.certified_block,
            checkpoint_block: vat.checkpoint_block,
            certified_checkpoint_block: vat.certified_checkpoint_block,
            state_root: vat.state_root.clone(),
            heap_bytes: vat.heap_bytes,
            fault: vat.fault.clone(),
            stuck: self.stuck(vat),
            complains: vat.complains.clone(),
            moved_at_ms: moment(self.now_ms, vat.idle_s, before.map(|before| before.moved_at_ms)),
        }
    }

    fn stream(&self, stream: &StreamStatus) -> StreamView {
        let own = &self.newest.vat;
        let peer = self.others.get(stream.vat.as_str());
        let back = peer.and_then(|peer| peer.streams.iter().find(|back| back.vat == *own));
        let name = stream.named.then(|| stream.peer.clone()).or_else(|| peer.map(|peer| peer.name.clone()));
        StreamView {
            peer: stream.vat.clone(),
            name,
            sent: stream.sent,
            unacknowledged: stream.unacknowledged,
            received: stream.received,
            arrived: back.map(|back| back.received),
            kept_bytes: stream.kept_bytes,
            fuel_ahead: stream.fuel_ahead,
            broken: stream.broken,
        }
    }

    /// Each change that waits once, though several hosts here were asked.
    fn approvals(&self) -> Vec<ApprovalView> {
        let mut found: BTreeMap<&str, ApprovalView> = BTreeMap::new();
        for (host, vat) in self.replicas {
            for change in &vat.approvals {
                let entry = found.entry(&change.id).or_insert_with(|| approval(change));
                // Its proposer counts the answers.
                if change.is_own {
                    (entry.approved, entry.rejected) = (change.approved.clone(), change.rejected.clone());
                    entry.waits_for_newcomer = change.waits_for_newcomer;
                }
                if change.answer.is_none() {
                    entry.unanswered.push(host.name.clone());
                }
            }
        }
        found.into_values().collect()
    }

    fn level(&self, replicas: &[ReplicaView]) -> (Level, Vec<String>) {
        let (mut attention, mut trouble) = (Vec::new(), Vec::new());
        let newest = self.newest;
        let is_silent = self.standing.is_some_and(|standing| !standing.can_speak || !standing.can_order);
        if let Some(complaint) = self.standing.and_then(|standing| standing.complaint.clone()) {
            if is_silent { trouble.push(complaint) } else { attention.push(complaint) }
        }
        for replica in replicas {
            let on = |text: &str| format!("on {}: {text}", replica.host);
            trouble.extend(replica.fault.as_ref().map(|fault| on(&format!("stopped: {fault}"))));
            trouble.extend(replica.stuck.as_ref().map(|stuck| on(stuck)));
            attention.extend(replica.complains.as_ref().map(|why| on(&format!("wants another leader: {why}"))));
        }
        for (_, vat) in self.replicas {
            trouble.extend(vat.install_error.as_ref().map(|error| format!("its code did not start: {error}")));
        }
        if let Some(error) = &newest.setup_error {
            trouble.push(format!("its setup failed, so all calls of its root are rejected: {error}"));
        } else if newest.setup.as_deref() == Some("waiting") {
            attention.push("its setup waits for something; calls of its root wait as well".to_owned());
        }
        let most = |count: fn(&VatStatus) -> u64| self.replicas.iter().map(|(_, vat)| count(vat)).max().unwrap_or(0);
        let (equivocations, disagreements) = (most(|vat| vat.equivocations), most(|vat| vat.disagreements));
        if equivocations > 0 {
            trouble.push(format!("{equivocations} proofs that a member signed two different things"));
        }
        if disagreements > 0 {
            let what = "signed statements of members differ from what a replica here computed, which accuses nobody";
            trouble.push(format!("{disagreements} {what}"));
        }
        if self.leader().is_none() && !is_silent && newest.role != "removed" {
            trouble.push("no leader".to_owned());
        }
        let broken = newest.streams.iter().filter(|stream| stream.broken);
        trouble
            .extend(broken.map(|stream| format!("the stream from {} broke the protocol and is refused", stream.peer)));
        attention.extend(newest.pending_change.as_ref().map(|change| format!("membership change under way: {change}")));
        let waiting = self.approvals().len();
        if waiting > 0 {
            attention.push(match waiting {
                1 => "a change waits for approvals".to_owned(),
                more => format!("{more} changes wait for approvals"),
            });
        }
        trouble.dedup();
        let level = match (is_silent, trouble.is_empty(), attention.is_empty()) {
            (true, ..) => Level::Silent,
            (false, false, _) => Level::Trouble,
            (false, true, false) => Level::Attention,
            (false, true, true) => Level::Well,
        };
        (level, trouble.into_iter().chain(attention).collect())
    }
}

fn approval(change: &WaitingStatus) -> ApprovalView {
    let shown = |member: &quorate_protocol::status::MemberStatus| (member.name.clone(), member.key.clone());
    ApprovalView {
        id: change.id.clone(),
        change: change.change.clone(),
        proposer: change.proposer.clone(),
        out: change.out.as_ref().map(shown),
        joining: change.joining.as_ref().map(shown),
        fingerprint: change.fingerprint.clone(),
        threshold_before: change.threshold_before.into(),
        members_after: change.after.map(|(members, _)| members as u64),
        threshold_after: change.after.map(|(_, threshold)| threshold.into()),
        needed: change.needed.into(),
        approved: change.approved.clone(),
        rejected: change.rejected.clone(),
        waits_for_newcomer: change.waits_for_newcomer,
        unanswered: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::MemberStanding;
    use quorate_admin::client::Endpoint;
    use serde_json::{Value, json};

    fn key(number: u8) -> String {
        format!("{number:02x}").repeat(32)
    }

    fn vat(id: u8, role: &str, changes: &Value) -> Value {
        let member = |number: u8| json!({ "name": format!("h{number}"), "key": key(number), "addresses": [] });
        let mut vat = json!({
            "name": format!("v{id}"), "vat": key(id), "role": role, "leader": "h1", "term": 1, "committed_block": 9,
            "applied_block": 9, "certified_block": 8, "certified_by": [key(1)], "epoch": 0, "certified_epoch": 0,
            "threshold": 2, "members": [member(1), member(2)], "pending_change": null, "installed": true,
            "install_error": null, "exited": null, "deliveries": 3, "heap_bytes": 1, "checkpoint_block": 0,
            "certified_checkpoint_block": 0, "state_root": null, "equivocations": 0, "disagreements": 0, "streams": [],
            "fault": null, "idle_s": 5,
        });
        for (field, value) in changes.as_object().expect("an object") {
            vat[field] = value.clone();
        }
        vat
    }

    fn host(number: u8, uptime_s: u64, vats: &[Value]) -> SeenHost {
        let status = json!({
            "host": format!("h{number}"), "key": key(number), "version": "", "image": "", "process": 1,
            "uptime_s": uptime_s, "listen": [], "http": "", "peers": [], "vats": vats, "failed_vats": {},
        });
        SeenHost {
            name: format!("h{number}"),
            key: Some(key(number)),
            home: String::new(),
            endpoint: Endpoint::socket(std::path::Path::new("nowhere")),
            state: HostState::Up,
            problem: None,
            status: Some(serde_json::from_value(status).expect("a status")),
        }
    }

    fn standing(id: u8, reachable: u8) -> Standing {
        let member = |number: u8| MemberStanding {
            name: format!("h{number}"),
            key: key(number),
            state: if number > 2 - reachable { MemberState::Up } else { MemberState::Down },
            why: None,
        };
        Standing {
            vat: key(id),
            needed: 2,
            reachable: reachable.into(),
            can_order: reachable == 2,
            can_speak: reachable == 2,
            complaint: (reachable < 2).then(|| "one is missing".to_owned()),
            members: vec![member(1), member(2)],
        }
    }

    fn look(hosts: Vec<SeenHost>, reachable: u8) -> Look {
        Look { hosts, standings: vec![standing(7, reachable)], expected: vec![("v7".to_owned(), key(7))] }
    }

    #[test]
    fn a_quiet_vat_is_the_same_from_one_look_to_the_next() {
        let at = |uptime_s: u64, idle_s: u64| {
            look(vec![host(1, uptime_s, &[vat(7, "leader", &json!({ "idle_s": idle_s }))])], 2)
        };
        let first = model(&at(100, 5), &Model::default(), 1_000_000);
        // Seconds are whole, and looks are not on time.
        let second = model(&at(101, 6), &first, 1_001_900);
        let json = |model: &Model| serde_json::to_string(model).expect("JSON");
        assert_eq!(json(&first), json(&second));
        let moved = model(&at(110, 0), &second, 1_010_000);
        assert_ne!(json(&moved), json(&second), "it got on meanwhile");
    }

    #[test]
    fn a_vat_without_a_quorum_is_silent_and_a_leader_that_is_away_leads_nobody() {
        let well = model(&look(vec![host(1, 1, &[vat(7, "leader", &json!({}))])], 2), &Model::default(), 0);
        let view = &well.vats[&key(7)];
        assert_eq!((view.level, view.leader.as_deref(), view.problems.len()), (Level::Well, Some("h1"), 0));
        assert_eq!(view.members.iter().map(|member| member.signed).collect::<Vec<_>>(), [true, false]);
        let silent = model(&look(vec![host(2, 1, &[vat(7, "follower", &json!({}))])], 1), &well, 0);
        let view = &silent.vats[&key(7)];
        assert_eq!((view.level, view.leader.as_deref()), (Level::Silent, None));
        assert_eq!(view.problems, ["one is missing"]);
        // With nobody left, what was known of it stays.
        let gone = model(&look(Vec::new(), 0), &silent, 0);
        let view = &gone.vats[&key(7)];
        assert_eq!((view.level, view.block, view.members.len(), view.replicas.len()), (Level::Silent, 9, 2, 0));
        assert!(view.members.iter().all(|member| member.state == MemberState::Down && !member.signed));
    }

    #[test]
    fn what_is_wrong_with_a_replica_or_a_member_is_trouble_and_what_is_under_way_is_not() {
        for (changes, level) in [
            (json!({ "fault": "Q-C042" }), Level::Trouble),
            (json!({ "equivocations": 1 }), Level::Trouble),
            (json!({ "setup_error": "no" }), Level::Trouble),
            (json!({ "leader": null }), Level::Trouble),
            (json!({ "standstill": "it stands" }), Level::Trouble),
            (json!({ "pending_change": "add h3" }), Level::Attention),
            (json!({ "complains": "slow" }), Level::Attention),
            (json!({ "setup": "waiting" }), Level::Attention),
            (json!({}), Level::Well),
        ] {
            let seen = model(&look(vec![host(1, 1, &[vat(7, "leader", &changes)])], 2), &Model::default(), 0);
            let view = &seen.vats[&key(7)];
            assert_eq!(view.level, level, "{changes}: {:?}", view.problems);
            assert_eq!(view.problems.is_empty(), level == Level::Well, "{changes}");
        }
    }

    #[test]
    fn a_change_that_several_hosts_were_asked_about_is_there_once_with_its_proposers_count() {
        let change = |is_own: bool, answer: Option<&str>, approved: &[&str]| {
            json!({ "approvals": [{
                "id": "c4", "change": "remove h2", "proposer": "h1", "is_own": is_own, "out": null, "in": null,
                "fingerprint": null, "threshold_before": 2, "after": [1, 1], "answer": answer, "approved": approved,
                "rejected": [], "asked": [], "needed": 2, "waits_for_newcomer": false,
            }] })
        };
        let hosts = vec![
            host(2, 1, &[vat(7, "follower", &change(false, None, &[]))]),
            host(1, 1, &[vat(7, "leader", &change(true, Some("approved"), &["h1"]))]),
        ];
        let seen = model(&look(hosts, 2), &Model::default(), 0);
        let view = &seen.vats[&key(7)];
        let [waiting] = &view.approvals[..] else { panic!("{:?}", view.approvals) };
        assert_eq!(
            (waiting.approved.clone(), waiting.unanswered.clone()),
            (vec!["h1".to_owned()], vec!["h2".to_owned()])
        );
        assert_eq!(view.level, Level::Attention);
    }

    #[test]
    fn a_stream_says_what_arrived_where_the_other_vat_is_here() {
        let stream = |peer: u8, sent: u64, received: u64| {
            json!({ "streams": [{
                "peer": key(peer), "named": false, "vat": key(peer), "sent": sent, "unacknowledged": 1,
                "received": received, "broken": false,
            }] })
        };
        let vats = [vat(7, "leader", &stream(8, 5, 2)), vat(8, "leader", &stream(7, 2, 4))];
        let seen = model(&look(vec![host(1, 1, &vats)], 2), &Model::default(), 0);
        let stream = &seen.vats[&key(7)].streams[0];
        assert_eq!((stream.name.as_deref(), stream.sent, stream.arrived), (Some("v8"), 5, Some(4)));
    }
}
