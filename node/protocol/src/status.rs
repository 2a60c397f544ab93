//! A host's status report: the JSON of the status interface, read by `vat status` and by people's scripts.

use serde::{Deserialize, Serialize};

/// A host, as `GET /api/v1/status` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostStatus {
    /// The host's name.
    pub host: String,
    /// Its public key, in hex: its identity.
    pub key: String,
    /// Version of the software.
    pub version: String,
    /// SHA-256 of the engine image, in hex.
    pub image: String,
    /// Process number.
    pub process: u32,
    /// Seconds since the process started.
    pub uptime_s: u64,
    /// Addresses that other hosts reach it at.
    pub listen: Vec<String>,
    /// Where other hosts dial it by its own record: see `addresses` in the reference of the protocol.
    #[serde(default)]
    pub announced: Vec<String>,
    /// Where metrics and status are served.
    pub http: String,
    /// Other hosts it is or wants to be connected to.
    pub peers: Vec<PeerStatus>,
    /// The vats that it carries.
    pub vats: Vec<VatStatus>,
    /// Vats that it should carry and could not start, with the reason.
    pub failed_vats: std::collections::BTreeMap<String, String>,
    /// The file system that the host's data lie on; unset where they lie in memory.
    #[serde(default)]
    pub disk: Option<DiskStatus>,
    /// What is damaged on its disk, and what to do about it.
    #[serde(default)]
    pub damage: Vec<String>,
    /// Proofs kept here that members of other vats contradict themselves.
    #[serde(default)]
    pub peer_evidence: u64,
    /// Keys of members that its owner has muted.
    #[serde(default)]
    pub muted: Vec<String>,
}

/// Says whether a host listens to a member (`POST /api/v1/muted`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MuteRequest {
    /// The member's key.
    pub key: String,
    /// Whether it is not listened to.
    pub muted: bool,
}

/// The room on a host's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Bytes that the host may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Another host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    pub key: String,
    pub connected: bool,
    pub addresses: Vec<String>,
    pub last_error: Option<String>,
    /// The version that it says it runs, since it was last connected.
    #[serde(default)]
    pub version: Option<String>,
}

/// How a member's clock differs from that of the host that answers (`GET /api/v1/clocks`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDifference {
    /// The vat's name.
    pub vat: String,
    /// The member's name,
    pub member: String,
    /// and key.
    pub key: String,
    /// By how much it is ahead, in milliseconds, about; unset if it did not answer.
    pub ahead_ms: Option<i64>,
}

/// A replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VatStatus {
    pub name: String,
    pub vat: String,
    /// SHA-256 of the engine image that it runs in, in hex.
    #[serde(default)]
    pub image: String,
    /// `starting`, `learner`, `follower`, `candidate`, `leader`, `stopped`, `faulted`, `leaving` or `removed`.
    pub role: String,
    /// The leader's name, where one is known.
    pub leader: Option<String>,
    pub term: u64,
    pub committed_block: u64,
    pub applied_block: u64,
    pub certified_block: u64,
    /// Keys of the members whose signatures are in this replica's certificate of that block.
    #[serde(default)]
    pub certified_by: Vec<String>,
    pub epoch: u64,
    /// The newest epoch that is certified: others believe in it from then on.
    pub certified_epoch: u64,
    pub threshold: u16,
    pub members: Vec<MemberStatus>,
    /// What membership change is under way, in words.
    pub pending_change: Option<String>,
    /// Changes of members that wait for approvals, as far as this host knows.
    #[serde(default)]
    pub approvals: Vec<WaitingStatus>,
    pub installed: bool,
    /// Why the code did not start, if it did not.
    pub install_error: Option<String>,
    /// What became of a setup that is asynchronous: `waiting`, `ready` or `failed`. Unset while there is no code, and after an exit.
    #[serde(default)]
    pub setup: Option<String>,
    /// Why it failed, if it did.
    #[serde(default)]
    pub setup_error: Option<String>,
    /// The value the vat gave to `exit`, as JSON.
    pub exited: Option<serde_json::Value>,
    pub deliveries: u64,
    pub heap_bytes: u64,
    /// The most that the vat's parameters let it have.
    #[serde(default)]
    pub heap_limit_bytes: u64,
    pub checkpoint_block: u64,
    pub certified_checkpoint_block: u64,
    /// Root of the state at `certified_checkpoint_block`, in hex.
    pub state_root: Option<String>,
    /// Proofs that members signed two things for one place, since the vat is here.
    pub equivocations: u64,
    /// Statements of members that differ from this replica's own, since the vat is here. They accuse nobody.
    pub disagreements: u64,
    pub streams: Vec<StreamStatus>,
    /// Each epoch that was made by hand since too many members were lost, in words.
    #[serde(default)]
    pub recovered: Vec<String>,
    /// Why the replica stopped, if it did.
    pub fault: Option<String>,
    /// Seconds since this replica last got on: executed a block, or received a part of a checkpoint.
    #[serde(default)]
    pub idle_s: u64,
    /// Why this replica wants another leader, if it does.
    #[serde(default)]
    pub complains: Option<String>,
    /// Why a replica that runs is of no use just now though there is a leader: it does not move, or its log was rolled back.
    #[serde(default)]
    pub standstill: Option<String>,
}

/// A member of a vat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberStatus {
    pub name: String,
    pub key: String,
    pub addresses: Vec<String>,
}

/// What would come of an upgrade of a vat now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastStatus {
    /// The files and arguments that differ.
    pub changes: Vec<String>,
    /// Why it would fail, and change nothing.
    pub failure: Option<String>,
    /// Whether the image that the vat runs in can hand anything over; otherwise only the root outlives the upgrade.
    pub hands_over: bool,
    /// Keys in the baggage.
    pub baggage: u64,
    /// How many instances of each kind outlive it.
    pub kinds: std::collections::BTreeMap<String, u64>,
    /// Objects that other vats hold and that outlive it, the root aside.
    pub kept: u64,
    /// Objects that other vats hold and that do not.
    pub lost: u64,
    /// The first of these, with their interface names.
    pub lost_objects: Vec<(u64, String)>,
    /// Promises that other vats wait for, and that are rejected.
    pub promises: u64,
    /// Calls of the vat whose answers it does not hear.
    pub calls: u64,
    /// Timers that end.
    pub timers: u64,
    /// What is handed over, in bytes.
    pub bytes: u64,
    /// What the upgrade burns.
    pub fuel: u64,
    /// What the new code writes when it starts.
    pub logs: Vec<String>,
}

/// A change of members, or of who may use the vat, or an upgrade, that waits for the approval of owners.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// Names it, at all members alike.
    pub id: String,
    /// What it is, in words.
    pub change: String,
    /// The member that proposes it.
    pub proposer: String,
    /// Whether that is this host.
    pub is_own: bool,
    /// The member that would go.
    pub out: Option<MemberStatus>,
    /// The host that would come,
    #[serde(rename = "in")]
    pub joining: Option<MemberStatus>,
    /// and the fingerprint of its key.
    pub fingerprint: Option<String>,
    /// How many sign now.
    pub threshold_before: u16,
    /// How many members there would be, and how many would sign; unset if that does not change, or a recorded change would be given up.
    pub after: Option<(usize, u16)>,
    /// What this host has answered: `approved` or `rejected`.
    pub answer: Option<String>,
    /// Members that have approved; only the proposer knows.
    pub approved: Vec<String>,
    /// Members that have rejected it, likewise.
    pub rejected: Vec<String>,
    /// Members whose owners were asked and have not answered, likewise.
    pub asked: Vec<String>,
    /// Approvals that are needed.
    pub needed: u16,
    /// The newcomer has not answered its proposer.
    pub waits_for_newcomer: bool,
}

/// An owner's answer to a change that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalAnswer {
    /// The change.
    pub id: String,
    /// Whether the owner wants it.
    pub approve: bool,
}

/// Which part of a vat's tables is wanted (`GET /api/v1/vats/{vat}/objects`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ObjectsQuery {
    /// Only this peer, by its VatId or its name on that host.
    pub peer: Option<String>,
    /// Objects of each peer at most, for each of exports and imports.
    pub limit: Option<usize>,
    /// Of one peer: only objects with a greater number.
    pub after_object: Option<u64>,
    /// Peers at most.
    pub peers: Option<usize>,
    /// Only peers whose VatIds come after this one.
    pub after_peer: Option<String>,
}

/// The holders of a vat's objects, and the objects that it holds of others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectsStatus {
    /// The newest block of this state.
    pub block: u64,
    /// Own objects that some peer holds, without the root.
    pub held: usize,
    /// Promises that are open, or settled and not yet acknowledged.
    pub promises: usize,
    /// Bearer references.
    pub references: usize,
    /// Vats that this one knows.
    pub peers_in_all: usize,
    pub peers: Vec<PeerHoldings>,
    /// Whether there are more peers after these.
    pub more: bool,
}

/// What a peer and a vat hold of one another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerHoldings {
    /// Its name on this host, if it has one.
    pub name: Option<String>,
    pub vat: String,
    /// Whether it may use the root.
    pub granted: bool,
    /// When its grant expires, in milliseconds since 1970, if it does.
    pub grant_expires_ms: Option<u64>,
    /// Whether it broke the protocol.
    pub broken: bool,
    pub exports_in_all: usize,
    /// Objects of this vat that it holds.
    pub exports: Vec<HeldStatus>,
    pub imports_in_all: usize,
    /// Objects of it that this vat holds.
    pub imports: Vec<HeldStatus>,
    /// Open promises that this vat settles, and that the peer does.
    pub decided_here: usize,
    pub decided_there: usize,
    /// Objects that others have deposited for it here and that it has not fetched; and that it fetches and are not deposited yet.
    pub deposits: usize,
    pub withdrawals: usize,
    /// Bearer keys that it has used, and the objects that they open.
    pub redeemed: std::collections::BTreeMap<String, u64>,
}

/// An object that is held across a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldStatus {
    /// Its number between the two vats.
    pub id: u64,
    /// Of an own object: its number in this vat, which `vat ref new` takes.
    pub object: Option<u64>,
    /// Its interface name, as it came or went.
    pub interface: Option<String>,
    /// How often it was sent and not dropped; or received, since it was last dropped.
    pub count: u64,
    /// Of an own object: whether the peer may use it. Of another: whether the program holds it.
    pub live: bool,
    /// Of another: deposits under way that name it.
    pub pins: u64,
}

/// The bearer references of a vat (`GET /api/v1/vats/{vat}/references`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferencesStatus {
    pub references: Vec<BearerStatus>,
}

/// A bearer reference, as the vat knows it: without the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BearerStatus {
    /// The public half of its key pair, in hex.
    pub key: String,
    /// The object that it opens; 0 is the root.
    pub object: u64,
    pub interface: Option<String>,
    /// When it expires, in milliseconds since 1970, if it does.
    pub expires_ms: Option<u64>,
    /// Its purpose, in its maker's words.
    pub note: String,
    /// The reference that it was kept through, if a client keeps it.
    pub kept_through: Option<String>,
}

/// The streams between a vat and a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamStatus {
    /// The peer's name here, or its id.
    pub peer: String,
    /// Whether `peer` is a name.
    pub named: bool,
    /// The peer's id.
    #[serde(default)]
    pub vat: String,
    /// Messages sent to it, in all.
    #[serde(default)]
    pub sent: u64,
    /// Our messages that it has not acknowledged.
    pub unacknowledged: u64,
    /// What it makes the vat keep, in bytes at fixed prices.
    #[serde(default)]
    pub kept_bytes: u64,
    /// How much more fuel its messages have burnt than those of the least of the other active peers.
    #[serde(default)]
    pub fuel_ahead: u64,
    /// Messages received from it.
    pub received: u64,
    /// Whether it broke the protocol.
    pub broken: bool,
}

/// Which certificates of a vat are wanted (`GET /api/v1/vats/{vat}/certificates`).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct CertificatesQuery {
    /// Only those of later blocks; unset: of the newest blocks.
    pub after: Option<u64>,
}

/// Certificates that a replica keeps: those since its last certified checkpoint, as far as the answer has room for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatesStatus {
    /// The newest block that is certified here.
    pub certified_block: u64,
    /// The oldest one first.
    pub certificates: Vec<CertificateStatus>,
}

/// A block's certificate, without the signatures themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    pub block: u64,
    pub epoch: u64,
    /// Hash of what was signed, in hex.
    pub statement: String,
    /// Root of the state after the block, in hex, where a checkpoint was made.
    pub state_root: Option<String>,
    /// Keys of those whose signatures are in it: a threshold, and not all who have signed.
    pub signers: Vec<String>,
}

/// What one of a vat's latest blocks said and did, as the process of a host remembers it (`GET /api/v1/vats/{vat}/blocks`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockStatus {
    pub block: u64,
    /// When this host executed it, in milliseconds since 1970.
    pub at_ms: u64,
    /// The streams that it changed.
    pub heads: Vec<HeadStatus>,
    /// What it did, by account.
    pub work: Vec<WorkStatus>,
}

/// A stream after a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadStatus {
    /// The other vat.
    pub peer: String,
    /// Number of the last message sent to it.
    pub end: u64,
    /// Number of the last message of it that was taken in.
    pub ack: u64,
}

/// What a block did on one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkStatus {
    /// The vat, or the client, that caused it.
    pub account: String,
    pub deliveries: u64,
    pub fuel: u64,
    /// Wall time of these deliveries on this host, in milliseconds.
    pub execution_ms: f64,
    /// The limits that deliveries ran into, which were undone then.
    pub rolled_back: Vec<String>,
}

/// Asks for a change of a vat's members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberChange {
    /// The member that leaves: a host's name or key.
    pub out: Option<String>,
    /// The member that joins.
    #[serde(rename = "in")]
    pub joining: Option<quorate_proof::Member>,
    /// The threshold from then on; unset keeps it (or the least majority, where it would no longer fit).
    pub threshold: Option<u16>,
    /// Instead of all that: gives up the change that is under way.
    #[serde(default)]
    pub cancel: bool,
}

/// An answer that something was done, with a line for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub message: String,
    /// The vat's block that has it, where it took one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// It is not done yet: owners of members were asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

impl Done {
    /// Something that took no block.
    pub fn new(message: impl Into<String>) -> Done {
        Done { message: message.into(), block: None, waits: false }
    }
}

/// An answer that it was not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Stable code, listed in `docs/reference/errors.md`.
    pub code: String,
    pub message: String,
}
