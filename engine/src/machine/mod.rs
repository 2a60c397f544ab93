//! A vat as its log sees it: commands in, effects out.
//!
//! Pure: no clock, disk, network or randomness. Equal commands on equal machines give equal results, heads and state roots.
//!
//! Invariants: a message is received once and in order. A crank's outputs take effect only if the crank is done. A
//! message's table entries stay even if its crank was rolled back, since the stream has moved on. [`MAX_FOLLOW_UPS`],
//! [`MAX_WAKES`] and one garbage collection bound the work that one command can cause beyond its own deliveries, of which a settlement may take
//! two. A block's fuel bounds the messages that it takes in ([`FuelShares`]). A
//! guest or peer cannot make [`Machine::apply`] fail: an error there is a fault of this host, and the replica must stop.
//!
//! It checks no evidence (its caller has done so), and sends nothing: [`BlockOutput`] lists what to send.

mod checkpoint;
mod collector;
pub mod guest;
#[cfg(test)]
mod handoff_check;
mod heap_guest;
mod host_work;
mod install;
pub mod published;
mod run;
mod timers;
mod turns;
mod upgrade;

pub use crate::comms::Deliver;
pub use crate::heap::{Crank, CrankOutcome, LimitKind, LogLevel, LogLine};
pub use checkpoint::{MachineCheckpoint, ManifestInfo};
pub use guest::{Guest, GuestCheckpoint, GuestManifest};
pub use host_work::{MESSAGE_FUEL, message_fuel};
pub use quorate_streams::command::{self, ArgValue, Command, CommandResult, Install, Upgrade};
pub use run::NOBODY;
pub use timers::MAX_WAKES;
pub use turns::{FuelShares, PATIENCE};
pub use upgrade::Forecast;

use crate::abi::{CapData, Slot};
use crate::comms::{Bearer, Comms, StreamHead};
use crate::error::EngineError;
use collector::Collector;
use host_work::HostWork;
use published::{Publications, Published};
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use timers::Timers;
use turns::Turns;

/// Most cranks per command that tell the guest of refused sends. A guest that answers each with another refused send goes on
/// with the next command.
pub const MAX_FOLLOW_UPS: usize = 64;
/// Most rejections told to a guest in one crank.
const FOLLOW_UP_BATCH: usize = 256;

/// What the guest said when it exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub value: CapData<Slot>,
}

/// What a crank was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrankKind {
    Start,
    /// A step of an upgrade: what the present code hands over, or the start of the new one.
    Upgrade,
    Call,
    Settle,
    /// The machine's own rejections, of sends that it refused.
    Refusals,
    /// The caller of a call wants no answer any more.
    Cancel,
    /// A timer was due.
    Timer,
    /// Garbage was collected.
    Collect,
}

impl CrankKind {
    pub fn as_str(self) -> &'static str {
        match self {
            CrankKind::Start => "start",
            CrankKind::Upgrade => "upgrade",
            CrankKind::Call => "call",
            CrankKind::Settle => "settle",
            CrankKind::Refusals => "refusals",
            CrankKind::Cancel => "cancel",
            CrankKind::Timer => "timer",
            CrankKind::Collect => "collect",
        }
    }
}

/// One crank of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrankReport {
    pub what: CrankKind,
    /// The vat whose message it was.
    pub from: Option<VatId>,
    /// The vat that caused it, and on whose account its fuel is.
    pub account: Option<VatId>,
    pub fuel: u64,
    pub rolled_back: Option<LimitKind>,
}

/// What a block said and did, for effects after the commit.
#[derive(Clone, Debug, Default)]
pub struct BlockOutput {
    /// The streams that this block changed, sorted by peer.
    pub heads: Vec<StreamHead>,
    /// New messages with their numbers, in the order in which they were said.
    pub queued: Vec<(VatId, u64, Arc<[u8]>)>,
    /// Peers that have acknowledged more, and through which number.
    pub pruned: Vec<(VatId, u64)>,
    pub cranks: Vec<CrankReport>,
    /// What the host's own work of the block costs, in fuel, beside the cranks.
    pub host_fuel: u64,
    /// Commands whose messages were not taken in because others were to be served first.
    pub waited: u64,
    pub logs: Vec<LogLine>,
    /// The guest exited in this block.
    pub exit: Option<Exit>,
    /// All that the vat publishes, if the block may have changed that.
    pub published: Option<Publications>,
}

/// All that is said to one peer and not acknowledged.
#[derive(Clone, Debug)]
pub struct OutboxStream {
    pub head: StreamHead,
    pub messages: Vec<(u64, Arc<[u8]>)>,
}

/// Where the stream with one peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSummary {
    pub vat: VatId,
    pub sent: u64,
    pub unacked: u64,
    pub unacked_bytes: u64,
    pub received: u64,
    /// What it makes the vat keep, in bytes: see [`crate::comms::peer::Peer::kept_bytes`].
    pub kept_bytes: u64,
    /// How much more fuel its messages have burnt than those of the least of the other active peers.
    pub fuel_ahead: u64,
    pub granted: bool,
    /// Why nothing more is taken from this peer.
    pub broken: Option<String>,
}

/// What became of the promise that an asynchronous setup gave; of no meaning before the vat has its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    /// It has not settled: calls of the root wait.
    #[default]
    Waiting,
    /// The root is there.
    Ready,
    /// It was rejected: every call of the root is rejected with the reason, of which this is the text.
    Failed(String),
}

impl Setup {
    /// The word for it in status pages.
    pub fn as_str(&self) -> &'static str {
        match self {
            Setup::Waiting => "waiting",
            Setup::Ready => "ready",
            Setup::Failed(_) => "failed",
        }
    }

    /// Returns why there will be no root, if so.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Setup::Failed(reason) => Some(reason),
            Setup::Waiting | Setup::Ready => None,
        }
    }
}

/// Counts for a status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub installed: bool,
    pub setup: Setup,
    pub exit: Option<Exit>,
    pub deliveries: u64,
    pub rolled_back: u64,
    pub now_ms: u64,
    pub heap_bytes: u64,
    pub promises: u64,
    /// Refused sends that the guest has yet to hear of.
    pub pending_refusals: u64,
    /// Timers that have not fired.
    pub timers: u64,
    pub peers: Vec<PeerSummary>,
}

/// What is replicated beside tables and heap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Status {
    installed: bool,
    setup: Setup,
    exit: Option<Exit>,
    deliveries: u64,
    rolled_back: u64,
    now_ms: u64,
    /// How many upgrades were carried out.
    upgrades: u64,
}

fn granted(entered: Result<(), &'static str>) -> CommandResult {
    entered.map_or_else(refused, |()| CommandResult::Granted)
}

fn refused(message: &str) -> CommandResult {
    CommandResult::Refused { message: message.to_owned() }
}

/// One replica's copy of a vat.
#[derive(Clone, Debug)]
pub struct Machine<G> {
    vat: VatId,
    guest: G,
    comms: Comms,
    status: Status,
    timers: Timers,
    collector: Collector,
    turns: Turns,
    published: Published,
    fuel: FuelShares,
    /// On whose account cranks are now.
    account: Option<VatId>,
    /// Fuel that this block has burnt so far, the host's work included, and whether it has taken in a message.
    burnt: u64,
    /// The number of messages that this block has sent on some account.
    charged_messages: usize,
    takes_in: bool,
    /// Whether it brought messages.
    brought: bool,
    /// What this block has done so far.
    block: BlockOutput,
    /// How many follow-up cranks the current command has left.
    follow_ups_left: usize,
    /// How many timers it may still fire.
    wakes_left: usize,
}

impl<G: Guest> Machine<G> {
    /// A vat without code, over a guest that nothing was delivered to.
    pub fn new(vat: VatId, mut guest: G) -> Machine<G> {
        guest.set_vat(&vat);
        let mut comms = Comms::new(vat);
        comms.set_memory(guest.memory_limit());
        Machine {
            vat,
            guest,
            comms,
            status: Status::default(),
            timers: Timers::default(),
            collector: Collector::default(),
            turns: Turns::default(),
            published: Published::default(),
            fuel: FuelShares::UNLIMITED,
            account: None,
            burnt: 0,
            charged_messages: 0,
            takes_in: false,
            brought: false,
            block: BlockOutput::default(),
            follow_ups_left: 0,
            wakes_left: 0,
        }
    }

    /// The same machine with these shares of fuel: parameters of the vat, not of its state.
    pub fn with_fuel(self, fuel: FuelShares) -> Machine<G> {
        Machine { fuel, ..self }
    }

    pub fn vat(&self) -> VatId {
        self.vat
    }

    /// By what the commands of one block are ordered that bring messages: the least first. See [`Turns::rank`].
    pub fn rank(&self, sender: &VatId) -> (u64, u64) {
        self.turns.rank(sender)
    }

    /// The peers whose messages are not taken in now, since they have burnt more than others that are active.
    pub fn waiting(&self) -> Vec<VatId> {
        self.turns.waiting(self.fuel.per_turn).collect()
    }

    fn has_waiting(&self) -> bool {
        self.turns.has_waiting(self.fuel.per_turn)
    }

    /// Returns how much fuel the messages of one command may cost by what they weigh alone, at most, so that the rest needs not be ordered with
    /// them: a turn's if several peers have work, and a block's if one has.
    pub fn command_fuel(&self) -> u64 {
        if self.turns.is_shared() { self.fuel.per_turn } else { self.fuel.per_block }
    }

    /// Time of the log in ms since the Unix epoch; 0 before the first tick.
    pub fn now_ms(&self) -> u64 {
        self.status.now_ms
    }

    /// Returns when the first timer is due that has not fired, or the first grant or bearer expires; now if the guest has yet to hear of
    /// rejections, which it does with the next command, or if a peer has to wait for others, which it does no longer than they have work.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.has_follow_ups() || self.has_waiting() {
            return Some(self.status.now_ms);
        }
        let moments = [self.timers.next_deadline(), self.comms.next_expiry_ms()];
        moments.into_iter().flatten().min()
    }

    /// Returns whether the guest has exited.
    pub fn has_exited(&self) -> bool {
        self.status.exit.is_some()
    }

    /// Applies one command. An error is a fault of this host: the replica must stop.
    pub fn apply(&mut self, command: Command) -> Result<CommandResult, EngineError> {
        self.follow_ups_left = MAX_FOLLOW_UPS;
        self.wakes_left = MAX_WAKES;
        self.run_follow_ups()?;
        self.run_timers()?;
        let result = match command {
            Command::Install(install) => self.install(install)?,
            Command::Upgrade(upgrade) => self.upgrade(upgrade)?,
            Command::Deliver(deliver) => self.deliver(deliver)?,
            Command::Grant { to, expires_ms } => granted(self.comms.grant(&to, expires_ms)),
            Command::AddBearer { key, object, expires_ms, note } => {
                granted(self.comms.add_bearer(key, Bearer { object, expires_ms, note, kept: None }))
            }
            Command::RevokeBearer { key } => match self.comms.revoke_bearer(&key) {
                0 => refused("no such bearer key is in the table: it was revoked or has expired"),
                _ => CommandResult::Revoked,
            },
            Command::Revoke { from } => {
                self.comms.revoke(&from);
                CommandResult::Revoked
            }
            Command::DropPeer { peer } => match self.comms.drop_peer(&peer) {
                Ok(()) => {
                    self.turns.forget(&peer);
                    CommandResult::Dropped
                }
                Err(refusal) => refused(refusal),
            },
            Command::Tick { now_ms } => {
                let passed_ms = now_ms.saturating_sub(self.status.now_ms);
                self.turns.ease(self.fuel.eased_in(passed_ms));
                self.status.now_ms = self.status.now_ms.max(now_ms);
                self.comms.pass_time(self.status.now_ms);
                self.run_timers()?;
                CommandResult::Ticked
            }
        };
        self.run_follow_ups()?;
        self.collect_if_due()?;
        Ok(result)
    }

    /// Forgets a vat, of which nothing must ever be delivered again: see [`Comms::forget`].
    pub fn forget(&mut self, peer: &VatId) {
        self.turns.forget(peer);
        self.comms.forget(peer);
    }

    /// Ends a block: what it changed, once. With `rehead`, every stream that waits for an acknowledgement has a head here.
    pub fn end_block(&mut self, rehead: bool) -> BlockOutput {
        let (heads, changes) = self.comms.take_changes(rehead);
        let mut output = std::mem::take(&mut self.block);
        if std::mem::take(&mut self.brought) || self.has_follow_ups() || self.has_waiting() {
            self.turns.end_block();
        }
        (self.burnt, self.charged_messages, self.takes_in) = (0, 0, false);
        output.heads = heads;
        output.queued = changes.queued;
        output.pruned = changes.pruned.into_iter().collect();
        output.published = self.published.take_changed();
        output
    }

    /// Every stream that anything was ever said or heard in, with what is not acknowledged: for a courier that starts.
    pub fn outbox(&self) -> Vec<OutboxStream> {
        let said = self.comms.peers().filter(|(_, peer)| peer.outgoing().end() > 0 || peer.incoming().received() > 0);
        said.filter_map(|(vat, peer)| {
            let messages = peer.outgoing().messages().map(|(number, message)| (number, message.clone())).collect();
            Some(OutboxStream { head: self.comms.head(vat)?, messages })
        })
        .collect()
    }

    /// All that the vat publishes.
    pub fn published(&self) -> Publications {
        self.published.all()
    }

    /// Returns what runs the vat's code.
    pub fn guest(&self) -> &G {
        &self.guest
    }

    /// The tables towards all others.
    pub fn comms(&self) -> &Comms {
        &self.comms
    }

    /// Has this block say the head of the stream with `peer` again: for a peer that shows by what it sends that it does not know
    /// what was taken in from it.
    pub fn say_again(&mut self, peer: &VatId) {
        self.comms.say_again(peer);
    }

    /// Returns what is expected next from `peer`: the number, and the chained hash of all before it.
    pub fn next_inbound(&self, peer: &VatId) -> (u64, Hash) {
        match self.comms.peer(peer) {
            Some(peer) => (peer.incoming().received() + 1, peer.incoming().hash()),
            None => (1, crate::comms::stream::start_hash(peer, &self.vat)),
        }
    }

    /// Number of our last message that `peer` acknowledged.
    pub fn acknowledged(&self, peer: &VatId) -> u64 {
        self.comms.peer(peer).map_or(0, |peer| peer.outgoing().acked())
    }

    pub fn summary(&self) -> Summary {
        let peers = self.comms.peers().map(|(vat, peer)| {
            let (unacked, unacked_bytes) = peer.outgoing().unacked();
            PeerSummary {
                vat: *vat,
                sent: peer.outgoing().end(),
                unacked,
                unacked_bytes,
                received: peer.incoming().received(),
                kept_bytes: peer.kept_bytes(),
                fuel_ahead: self.turns.ahead(vat),
                granted: peer.is_granted(),
                broken: peer.incoming().broken().map(str::to_owned),
            }
        });
        Summary {
            installed: self.status.installed,
            setup: self.status.setup.clone(),
            exit: self.status.exit.clone(),
            deliveries: self.status.deliveries,
            rolled_back: self.status.rolled_back,
            now_ms: self.status.now_ms,
            heap_bytes: self.guest.memory_bytes(),
            promises: self.comms.promise_count() as u64,
            pending_refusals: self.comms.pending_count() as u64,
            timers: self.timers.len() as u64,
            peers: peers.collect(),
        }
    }
}
