//! The machine of a vat's replicas: the engine's machine behind the evidence checks.
//!
//! Invariants: a pure function of the log. A slice counts only by this state's knowledge of its sender. Peers' epochs only
//! grow. Senders that are in no table of the engine and bring no bearer reference leave no state. A client is forgotten when it has
//! sent its farewell, or its time is over, and never returns. The state root covers the engine's tables and heap and the known peers. A bad command is a result, never an error: errors stop the replica and
//! mean that this host is at fault.

use super::{
    clients::Clients,
    stopwatch::{CrankTimes, TimedHeap},
    tables::{Manifest, Tables},
    upgrade,
    view::{PeerView, RestoredState, SharedView},
};
use crate::traces::vat::settled;
use quorate_consensus::{
    AppliedBlock, BlockContext, CheckpointParts, FetchChunk, Genesis, Hash, Machine, MachineFault, ManifestInfo,
    Member, Membership, MembershipCertificate, Parameters, Signers, TimeWanted,
};
use quorate_courier::courier::RestoredOutbox;
use quorate_engine::{
    EngineError, VatId,
    comms::{
        Comms, DROPPED,
        stream::{self, SliceError, StreamHead},
    },
    fuel_prices_hash,
    heap::{Heap, Limits},
    image::{Image, ImageSource},
    machine::{BlockOutput, Command, CommandResult, Deliver, FuelShares, Summary, Upgrade},
};
use quorate_protocol::command::{VatCommand, VatResult};
use quorate_protocol::{
    authority::{AccessChange, AccessOrder, Authority, CodeDigest, SignedInstall},
    codec,
    evidence::{Outbox, Proven, Slice, is_farewell, refuses_lifetime},
    proof::file::ProvenSlice,
    published::PublishedTree,
    status::ForecastStatus,
    upgrade::{UpgradeMotion, UpgradeOrder},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

pub use quorate_protocol::evidence::STRANGER;

type Decoded = Result<VatCommand, codec::CodecError>;
type EngineMachine = quorate_engine::machine::Machine<TimedHeap>;

/// What a block brought about, for the parts of the node that act on it.
#[derive(Debug)]
pub struct BlockEffects {
    /// What the engine says of the block; its heads are in `outbox`.
    pub output: BlockOutput,
    /// What is to be certified of it.
    pub outbox: Arc<Outbox>,
    /// All that the vat publishes after it.
    pub published: Arc<PublishedTree>,
    /// Proven members of other vats: for callers that look for them.
    pub introductions: Vec<Evidence>,
    /// Clients whose time was over, and peers that were dropped.
    pub forgotten: Vec<VatId>,
    /// Wall time that applying took, in seconds. For the histogram only.
    pub seconds: f64,
    /// Wall time of each of the output's cranks. For the histogram only.
    pub crank_times: Vec<Duration>,
    /// Slices that were refused when they were applied, with the reason.
    pub refused: Vec<String>,
    /// The code that the vat has got.
    pub upgraded: Option<Box<Upgrade>>,
    /// The messages that were taken in, where they are traced.
    pub taken: Vec<Taken>,
}

/// Messages that a block took in from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: VatId,
    /// Number of the first one.
    pub first: u64,
    /// Of each, the promise of this vat that it settles, if it does.
    pub settles: Vec<Option<u64>>,
}

/// Evidence of a peer's membership that was not known before: its genesis, if that was new, and what followed.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub genesis: Option<Genesis>,
    pub chain: Vec<MembershipCertificate>,
}

/// What a block does beside the engine's output.
#[derive(Default)]
struct SideEffects {
    /// Peers that have to be looked at again for the view.
    touched: BTreeSet<VatId>,
    introductions: Vec<Evidence>,
    forgotten: Vec<VatId>,
    /// Clients that have ended, with the end of their lifetime.
    ended: Vec<(VatId, u64)>,
    upgraded: Option<Box<Upgrade>>,
    taken: Vec<Taken>,
}

/// A vat's machine.
pub struct VatMachine {
    vat: VatId,
    authority: Authority,
    /// The code that this host's owner was given for the vat, if any.
    given: Option<CodeDigest>,
    /// What the vat's code is.
    code: Option<CodeDigest>,
    /// How many changes of who may use what were carried out.
    access_orders: u64,
    /// How many upgrades were ordered, whatever came of them.
    upgrade_orders: u64,
    /// The hash of the last one's motion, and why it failed, if it did.
    last_upgrade: Option<(Hash, Option<String>)>,
    /// The image of the vat's genesis, whose pages all members have.
    image: Arc<Image>,
    /// Where others come from that the vat moves to.
    images: Arc<dyn ImageSource>,
    limits: Limits,
    fuel: FuelShares,
    engine: EngineMachine,
    crank_times: CrankTimes,
    known: BTreeMap<VatId, Signers>,
    /// Those of them that are clients, and clients that have ended.
    clients: Clients,
    /// What the newest block said: a checkpoint keeps it, so that its certificate can be used after a restart.
    outbox: Arc<Outbox>,
    /// All that the vat publishes.
    published: Arc<PublishedTree>,
    /// The newest block's epoch; unknown right after a restore.
    epoch: Option<u64>,
    /// Kept apart from the engine's summary, which costs more with every peer.
    installed: bool,
    /// Why the code did not start when that was last tried: for people only.
    install_failure: Option<String>,
    view: SharedView,
}

impl VatMachine {
    /// The machine of a vat in which nothing has happened. `given` is the code that this host's owner was given for it: with another
    /// one the replica stops before it signs anything. `view` is kept up to date from here on.
    pub fn new(
        genesis: &Genesis,
        given: Option<CodeDigest>,
        image: Arc<Image>,
        images: Arc<dyn ImageSource>,
        limits: Limits,
        view: SharedView,
    ) -> Result<Self, EngineError> {
        let vat = genesis.vat_id();
        let Parameters { fuel_per_turn: per_turn, fuel_per_block: per_block, fuel_prices: wanted, .. } =
            genesis.parameters;
        if wanted != fuel_prices_hash() {
            return Err(EngineError::FuelPrices { wanted, own: fuel_prices_hash() });
        }
        let fuel = FuelShares { per_turn, per_block, host_work: true };
        let crank_times = CrankTimes::default();
        let heap = Heap::new(image.clone(), limits)?.with_images(images.clone());
        let guest = TimedHeap { guest: heap, times: crank_times.clone() };
        let engine = EngineMachine::new(vat, guest).with_fuel(fuel);
        let machine = VatMachine {
            vat,
            authority: Authority::of(genesis),
            given,
            code: None,
            access_orders: 0,
            upgrade_orders: 0,
            last_upgrade: None,
            image,
            images,
            limits,
            fuel,
            engine,
            crank_times,
            known: BTreeMap::new(),
            clients: Clients::default(),
            outbox: Arc::default(),
            published: Arc::default(),
            epoch: None,
            installed: false,
            install_failure: None,
            view,
        };
        machine.publish_all(0);
        machine.view.lock().published_block = Some(0);
        Ok(machine)
    }

    fn apply_one(
        &mut self,
        context: &BlockContext<'_>,
        command: Decoded,
        side: &mut SideEffects,
    ) -> Result<VatResult, EngineError> {
        match command {
            Ok(VatCommand::Install(signed)) => self.install(*signed, side),
            Ok(VatCommand::Deliver(slice)) => {
                side.touched.insert(slice.sender());
                self.deliver(context.block, *slice, side)
            }
            Ok(VatCommand::Access(order)) => self.change_access(context.membership, &order, side),
            Ok(VatCommand::Upgrade(order)) => self.upgrade(context.membership, *order, side),
            Err(error) => Ok(VatResult::Refused { message: format!("the command does not decode: {error}") }),
        }
    }

    /// The commands of a block, and the order in which they are carried out: first those that bring no messages, and then those that do, of
    /// senders whose messages have burnt least first. The leader does not influence it.
    fn in_order(&self, commands: &[Vec<u8>]) -> (Vec<usize>, BTreeMap<usize, Decoded>) {
        let decoded = commands.iter().map(|bytes| codec::decode::<VatCommand>(bytes)).enumerate();
        let decoded: BTreeMap<usize, Decoded> = decoded.collect();
        let mut order: Vec<usize> = decoded.keys().copied().collect();
        order.sort_by_cached_key(|at| match decoded.get(at) {
            Some(Ok(VatCommand::Deliver(slice))) => Some(self.engine.rank(&slice.sender())),
            _ => None,
        });
        (order, decoded)
    }

    /// Tells the engine that time has passed, which fires the timers that are due.
    fn tell_time(&mut self, now_ms: u64) -> Result<(), EngineError> {
        if now_ms > self.engine.now_ms() {
            self.engine.apply(Command::Tick { now_ms })?;
        }
        Ok(())
    }

    /// Changes who may use what, if those want it who may.
    fn change_access(
        &mut self,
        members: &Membership,
        order: &AccessOrder,
        side: &mut SideEffects,
    ) -> Result<VatResult, EngineError> {
        let change = match self.authority.check_access(members, order, self.access_orders) {
            Ok(change) => change,
            Err(error) => return Ok(VatResult::Refused { message: error.to_string() }),
        };
        let peer = match &change {
            AccessChange::Grant { to: peer, .. } | AccessChange::Revoke { from: peer } => Some(*peer),
            AccessChange::DropPeer { peer } => return self.drop_peer(*peer, side),
            AccessChange::NewReference { .. } | AccessChange::RevokeReference { .. } => None,
        };
        let command = match change {
            AccessChange::Grant { to, expires_ms } => Command::Grant { to, expires_ms },
            AccessChange::Revoke { from } => Command::Revoke { from },
            AccessChange::NewReference { key, object, expires_ms, note } => {
                Command::AddBearer { key, object, expires_ms, note }
            }
            AccessChange::RevokeReference { key } => Command::RevokeBearer { key },
            AccessChange::DropPeer { .. } => unreachable!("it is carried out above"),
        };
        let result = match self.engine.apply(command)? {
            CommandResult::Granted => VatResult::Granted,
            CommandResult::Revoked => VatResult::Revoked,
            CommandResult::Refused { message } => return Ok(VatResult::Refused { message }),
            other => return Ok(VatResult::Refused { message: format!("unexpected result of a change: {other:?}") }),
        };
        self.access_orders = self.access_orders.saturating_add(1);
        side.touched.extend(peer);
        Ok(result)
    }

    /// Ends with a peer for good, which those want who may.
    fn drop_peer(&mut self, peer: VatId, side: &mut SideEffects) -> Result<VatResult, EngineError> {
        let is_client = self.known.get(&peer).is_some_and(|signers| signers.expires != 0);
        if is_client {
            // A client is told from a newcomer by the end of its lifetime, which is cheaper than its id.
            let Some(expires) = self.clients.end(&peer) else {
                let message = "this vat remembers as many ended clients as it can; try again later".to_owned();
                return Ok(VatResult::Refused { message });
            };
            self.forget(peer, Some(expires), side);
        } else {
            match self.engine.apply(Command::DropPeer { peer })? {
                CommandResult::Dropped => {}
                CommandResult::Refused { message } => return Ok(VatResult::Refused { message }),
                other => return Ok(VatResult::Refused { message: format!("unexpected result of a drop: {other:?}") }),
            }
            self.forget(peer, None, side);
        }
        self.access_orders = self.access_orders.saturating_add(1);
        Ok(VatResult::Dropped)
    }

    /// Gives the vat other code, if a threshold of the members want that.
    fn upgrade(
        &mut self,
        members: &Membership,
        order: UpgradeOrder,
        side: &mut SideEffects,
    ) -> Result<VatResult, EngineError> {
        let refused = |message: String| Ok(VatResult::Refused { message });
        let Some(present) = &self.code else { return refused("the vat has no code yet".to_owned()) };
        // Several members may have the approvals, and each has it ordered.
        let motion = Hash::of(&order.motion);
        if let Some((_, failure)) = self.last_upgrade.as_ref().filter(|(last, _)| *last == motion) {
            let failed = failure.clone().map(|message| VatResult::UpgradeFailed { message });
            return Ok(failed.unwrap_or(VatResult::Upgraded));
        }
        let code = match order.check(members, present, self.upgrade_orders) {
            Ok(code) => code,
            Err(error) => return refused(error.to_string()),
        };
        if code.has_timer() && self.engine.now_ms() == 0 {
            return refused("too few members have said what time it is, which code with the timer needs".to_owned());
        }
        // Whatever comes of it: what was approved of once is not tried again.
        self.upgrade_orders = self.upgrade_orders.saturating_add(1);
        Ok(match self.engine.apply(Command::Upgrade(order.upgrade.clone()))? {
            CommandResult::Upgraded => {
                self.code = Some(code);
                side.upgraded = Some(Box::new(order.upgrade));
                side.touched.extend(self.engine.comms().peers().map(|(vat, _)| *vat));
                self.last_upgrade = Some((motion, None));
                VatResult::Upgraded
            }
            CommandResult::UpgradeFailed { message } => {
                self.last_upgrade = Some((motion, Some(message.clone())));
                VatResult::UpgradeFailed { message }
            }
            CommandResult::Refused { message } => VatResult::Refused { message },
            other => VatResult::Refused { message: format!("unexpected result of an upgrade: {other:?}") },
        })
    }

    /// Returns what would come of an upgrade of the present state, which stays as it is.
    pub fn foresee(&mut self, upgrade: Upgrade) -> Result<ForecastStatus, EngineError> {
        let changes = self.code.as_ref().map(|code| UpgradeMotion::of(&upgrade, code, 0).changes);
        let forecast = self.engine.foresee(upgrade)?;
        self.crank_times.take();
        Ok(upgrade::shown(forecast, changes.unwrap_or_default()))
    }

    /// Fails where the vat's first code is not the one that this host's owner was given. Later code is what a threshold of the owners want.
    fn check_given(&self) -> Result<(), MachineFault> {
        if self.upgrade_orders > 0 {
            return Ok(());
        }
        let (Some(code), Some(given)) = (&self.code, &self.given) else { return Ok(()) };
        let differences = code.differences(given);
        if differences.is_empty() {
            return Ok(());
        }
        Err(MachineFault(format!(
            "Q-N009 the vat's code is not the one that this host was given: {}; this host has signed nothing of it: ask the partner that sent it to you, and compare with `vat inspect`",
            differences.join("; ")
        )))
    }

    /// Gives the vat its code, if its creator wants that.
    fn install(&mut self, signed: SignedInstall, side: &mut SideEffects) -> Result<VatResult, EngineError> {
        if let Err(error) = self.authority.check_install(&signed) {
            return Ok(VatResult::Refused { message: error.to_string() });
        }
        let code = CodeDigest::of(&signed.install);
        if code.has_timer() && self.engine.now_ms() == 0 {
            // Too few members have said what time it is. What the code waits for would come at once.
            return Ok(VatResult::NotYet { next: 1 });
        }
        Ok(match self.engine.apply(Command::Install(signed.install))? {
            CommandResult::Installed => {
                self.code = Some(code);
                (self.installed, self.install_failure) = (true, None);
                // Grants and references may have named any.
                side.touched.extend(self.engine.comms().peers().map(|(vat, _)| *vat));
                VatResult::Installed
            }
            CommandResult::InstallFailed { message } => {
                self.install_failure = Some(message.clone());
                VatResult::InstallFailed { message }
            }
            CommandResult::Delivered { next } => VatResult::Delivered { next },
            CommandResult::Gap { next } => VatResult::NotYet { next },
            CommandResult::NotReady => VatResult::NotYet { next: 1 },
            CommandResult::Refused { message } => VatResult::Refused { message },
            other => VatResult::Refused { message: format!("unexpected result of a command: {other:?}") },
        })
    }

    /// Checks a slice's evidence again, by this state alone, and hands its new messages to the engine.
    fn deliver(&mut self, block: u64, mut slice: Slice, side: &mut SideEffects) -> Result<VatResult, EngineError> {
        let from = slice.sender();
        if !self.installed {
            return Ok(VatResult::NotYet { next: 1 });
        }
        if self.engine.comms().is_dropped(&from) {
            return Ok(VatResult::Refused { message: DROPPED.to_owned() });
        }
        if !self.engine.comms().admits(&from, slice.first_message()) {
            return Ok(VatResult::Refused { message: STRANGER.to_owned() });
        }
        let proven = match slice.verify(self.known.get(&from), &self.vat) {
            Ok(proven) => proven,
            Err(error) => return Ok(VatResult::Refused { message: error.to_string() }),
        };
        if let Some(refusal) = refuses_lifetime(&proven.signers, !self.known.contains_key(&from), block) {
            return Ok(VatResult::Refused { message: refusal.to_owned() });
        }
        let expires = proven.signers.expires;
        if expires != 0 && self.clients.has_ended(&from, expires) {
            // It was all taken in once. Nobody waits to hear more of it.
            return Ok(VatResult::Delivered { next: slice.head.end.saturating_add(1) });
        }
        if let Some(refusal) = self.clients.refuses_more().filter(|_| expires != 0 && !self.known.contains_key(&from)) {
            return Ok(VatResult::Refused { message: refusal.to_owned() });
        }
        let says_farewell = expires != 0 && is_farewell(&slice.certificate.statement);
        let (next, hash) = self.engine.next_inbound(&from);
        let run = stream::Slice { begin: slice.begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
        match run.verify(next - 1, &hash) {
            Ok(()) => {}
            Err(SliceError::Stale { .. }) => {
                // It would not say this again if it knew that it has been taken in.
                self.engine.say_again(&from);
                return Ok(VatResult::Delivered { next });
            }
            Err(SliceError::Gap { next, .. }) => return Ok(VatResult::NotYet { next }),
            Err(error) => return Ok(VatResult::Refused { message: error.to_string() }),
        }
        if expires == 0 {
            self.view.lock().hear(from, ProvenSlice::of(&slice, next, hash));
        }
        slice.trim(self.known.get(&from));
        let StreamHead { end, ack, .. } = slice.head;
        let trace = self.view.lock().traced.then(|| {
            let settles: Vec<Option<u64>> = slice.messages.iter().map(|message| settled(message)).collect();
            (slice.begin, settles)
        });
        let deliver = Deliver { from, begin: slice.begin, messages: slice.messages, end, ack };
        let result = self.engine.apply(Command::Deliver(deliver))?;
        if let Some((begin, settles)) = trace {
            let first = next.max(begin);
            let count = usize::try_from(self.engine.next_inbound(&from).0.saturating_sub(first)).unwrap_or(usize::MAX);
            let skipped = usize::try_from(first - begin).unwrap_or(usize::MAX);
            let settles = settles.into_iter().skip(skipped).take(count).collect();
            side.taken.push(Taken { from, first, settles });
        }
        // Only now: a stranger without room in the engine leaves no state.
        if self.engine.comms().peer(&from).is_some() {
            self.note(proven, Evidence { genesis: slice.genesis, chain: slice.chain }, side);
            if expires != 0 {
                self.clients.hear(from, expires, block);
            }
            // Not before all that it said is in: a command takes in no more than its fuel allows.
            let is_all = self.engine.next_inbound(&from).0 > end;
            if says_farewell
                && is_all
                && let Some(expires) = self.clients.end(&from)
            {
                self.forget(from, Some(expires), side);
            }
        }
        Ok(match result {
            CommandResult::Delivered { next } => VatResult::Delivered { next },
            CommandResult::Gap { next } | CommandResult::Later { next } => VatResult::NotYet { next },
            CommandResult::NotReady => VatResult::NotYet { next },
            CommandResult::Refused { message } => VatResult::Refused { message },
            other => VatResult::Refused { message: format!("unexpected result of a delivery: {other:?}") },
        })
    }

    /// Remembers who signs for a peer, and passes on where its members are.
    fn note(&mut self, proven: Proven, evidence: Evidence, side: &mut SideEffects) {
        // A client has no addresses, and is found by nobody.
        let can_be_found = |member: &Member| !member.addresses.is_empty();
        if proven.news.is_some_and(|membership| membership.members.iter().any(can_be_found)) {
            side.introductions.push(evidence);
        }
        self.known.insert(proven.signers.vat, proven.signers);
    }

    /// Forgets a client, or a peer that is dropped. If that is before the end of its lifetime, which then is given, it is remembered as ended.
    fn forget(&mut self, vat: VatId, expires: Option<u64>, side: &mut SideEffects) {
        self.known.remove(&vat);
        self.engine.forget(&vat);
        side.touched.insert(vat);
        side.forgotten.push(vat);
        side.ended.extend(expires.map(|expires| (vat, expires)));
    }

    /// Forgets the clients whose time is over at this block, and those that are too many.
    fn forget_due(&mut self, block: u64, side: &mut SideEffects) {
        for (vat, expires) in self.clients.take_due(block) {
            self.forget(vat, expires, side);
        }
    }

    fn bytes_waiting_for(engine: &EngineMachine, vat: &VatId) -> u64 {
        engine.comms().peer(vat).map_or(0, |peer| peer.outgoing().unacked().1)
    }

    /// The engine's tables, to look at.
    pub fn comms(&self) -> &Comms {
        self.engine.comms()
    }

    /// Returns what notes the machine's deliveries.
    pub fn crank_times(&self) -> &CrankTimes {
        &self.crank_times
    }

    /// Counts for people and metrics.
    pub fn summary(&self) -> Summary {
        self.engine.summary()
    }

    /// Brings the shared view up to date for the peers that a block touched, and the clients that ended with it.
    fn publish(&self, block: u64, touched: &BTreeSet<VatId>, ended: &[(VatId, u64)]) {
        let mut view = self.view.lock();
        view.block = block;
        view.installed = self.installed;
        view.install_failure.clone_from(&self.install_failure);
        ended.iter().for_each(|(vat, expires)| view.ended.insert(vat, *expires));
        view.ended.drop_before(block);
        view.epoch = self.epoch;
        let said_now: BTreeSet<VatId> = self.outbox.heads().iter().map(|head| head.peer).collect();
        view.waiting = self.engine.waiting().into_iter().collect();
        view.command_fuel = self.engine.command_fuel();
        let comms = self.engine.comms();
        view.access_orders = self.access_orders;
        if view.dropped.len() != comms.dropped().len() {
            view.dropped = Arc::new(comms.dropped().clone());
        }
        if view.code.is_none() || view.upgrade_orders != self.upgrade_orders {
            view.code.clone_from(&self.code);
        }
        view.upgrade_orders = self.upgrade_orders;
        view.image = Some(self.engine.guest().guest.image().hash());
        if view.bearers_version != Some(comms.bearers_version()) {
            view.bearers = Arc::new(comms.bearer_keys());
            view.bearers_version = Some(comms.bearers_version());
        }
        for vat in touched {
            let Some(peer) = comms.peer(vat) else {
                view.peers.remove(vat);
                view.heard.remove(vat);
                continue;
            };
            let said = view.peers.get(vat).and_then(|before| before.said);
            let said = self.epoch.filter(|_| said_now.contains(vat)).or(said);
            let before = view.peers.get(vat).and_then(|before| before.known.clone());
            let known = match self.known.get(vat) {
                Some(known) if before.as_ref().is_some_and(|before| before.epoch == known.epoch) => before,
                known => known.cloned().map(Arc::new),
            };
            let next_inbound = peer.incoming().received() + 1;
            let acknowledged = peer.outgoing().acked();
            let broken = peer.incoming().broken().is_some();
            view.peers.insert(*vat, PeerView { known, next_inbound, acknowledged, broken, said });
        }
    }

    fn publish_all(&self, block: u64) {
        self.publish(block, &self.engine.comms().peers().map(|(vat, _)| *vat).collect(), &[]);
    }

    /// Returns what the courier starts from after this state was restored.
    fn restored_outbox(&self) -> RestoredOutbox {
        let mut restored = RestoredOutbox { outbox: self.outbox.clone(), ..RestoredOutbox::default() };
        for stream in self.engine.outbox() {
            let to = stream.head.peer;
            restored.acknowledged.push((to, self.engine.acknowledged(&to)));
            restored.messages.extend(stream.messages.into_iter().map(|(number, bytes)| (to, number, bytes)));
        }
        restored
    }
}

impl Machine for VatMachine {
    type Effects = BlockEffects;

    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<BlockEffects>, MachineFault> {
        let started = Instant::now();
        let mut side = SideEffects::default();
        let mut refused = Vec::new();
        self.forget_due(context.block, &mut side);
        self.tell_time(context.now_ms).map_err(fault)?;
        let (order, mut commands) = self.in_order(commands);
        let mut applied = BTreeMap::new();
        for at in order {
            let Some(command) = commands.remove(&at) else { continue };
            let result = self.apply_one(context, command, &mut side).map_err(fault)?;
            if let VatResult::Refused { message } = &result {
                refused.push(message.clone());
            }
            applied.insert(at, codec::encode(&result));
        }
        let results = applied.into_values().collect();
        self.check_given()?;
        let mut output = self.engine.end_block(rehead);
        side.touched.extend(output.heads.iter().map(|head| head.peer));
        self.outbox = Arc::new(Outbox::new(std::mem::take(&mut output.heads)));
        let published_before = self.published.root();
        if let Some(publications) = output.published.take() {
            self.published = Arc::new(PublishedTree::new(publications));
        }
        let published_root = self.published.root();
        let publishes = published_root != published_before;
        if publishes {
            self.view.lock().published_block = Some(context.block);
        }
        self.epoch = Some(context.epoch);
        for vat in &side.touched {
            self.clients.note_bytes(vat, Self::bytes_waiting_for(&self.engine, vat));
        }
        self.publish(context.block, &side.touched, &side.ended);
        let outbox_root = self.outbox.root();
        let cranks: u64 = output.cranks.iter().map(|crank| crank.fuel).sum();
        let work = cranks.saturating_add(output.host_fuel);
        let crank_times = self.crank_times.take();
        let effects = BlockEffects {
            output,
            outbox: self.outbox.clone(),
            published: self.published.clone(),
            introductions: side.introductions,
            forgotten: side.forgotten,
            seconds: started.elapsed().as_secs_f64(),
            crank_times,
            refused,
            upgraded: side.upgraded,
            taken: side.taken,
        };
        Ok(AppliedBlock { results, outbox_root, published_root, publishes, work, effects })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let engine = self.engine.checkpoint().map_err(fault)?;
        let pages = EngineMachine::describe(&engine.manifest).map_err(fault)?.chunks;
        let heads = self.outbox.heads().to_vec();
        let (known, clients) = (self.known.clone(), self.clients.clone());
        let (code, access_orders, upgrade_orders) = (self.code.clone(), self.access_orders, self.upgrade_orders);
        let last_upgrade = self.last_upgrade.clone();
        let tables = Tables {
            engine: engine.manifest,
            known,
            heads,
            clients,
            code,
            access_orders,
            upgrade_orders,
            last_upgrade,
        };
        let pieces = tables.pieces();
        let manifest = Manifest { tables: pieces.iter().map(|(hash, _)| *hash).collect(), pages };
        let chunks = engine.new_chunks.into_iter().chain(pieces);
        let new_chunks = chunks.collect();
        Ok(CheckpointParts { root: manifest.root(), manifest: codec::encode(&manifest), new_chunks })
    }

    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault> {
        let manifest: Manifest = codec::decode(manifest).map_err(fault)?;
        let mut encoded = Vec::new();
        for hash in &manifest.tables {
            let piece = fetch(hash)?;
            if <[u8; 32]>::from(Sha256::digest(&piece)) != hash.0 {
                return Err(MachineFault(format!(
                    "a piece of the checkpoint's tables is not what its hash {hash} says"
                )));
            }
            encoded.extend(piece);
        }
        let tables: Tables = codec::decode(&encoded).map_err(fault)?;
        let mut fetch = |hash: &Hash| fetch(hash).map_err(|error| EngineError::Checkpoint(error.to_string()));
        let (image, images) = (self.image.clone(), self.images.clone());
        let (limits, times) = (self.limits, self.crank_times.clone());
        let engine = EngineMachine::restore_with(self.vat, &tables.engine, |manifest| {
            Ok(TimedHeap { guest: Heap::restore_moved(image, images, limits, manifest, &mut fetch)?, times })
        })
        .map_err(fault)?;
        self.engine = engine.with_fuel(self.fuel);
        self.known = tables.known;
        self.clients = tables.clients;
        (self.code, self.access_orders) = (tables.code, tables.access_orders);
        (self.upgrade_orders, self.last_upgrade) = (tables.upgrade_orders, tables.last_upgrade);
        self.check_given()?;
        let engine = &self.engine;
        self.clients.rebuild(|vat| Self::bytes_waiting_for(engine, vat));
        self.outbox = Arc::new(Outbox::new(tables.heads));
        self.published = Arc::new(PublishedTree::new(self.engine.published()));
        self.epoch = None;
        self.installed = self.engine.summary().installed;
        {
            let restored = RestoredState { outbox: self.restored_outbox(), published: self.published.clone() };
            let mut view = self.view.lock();
            view.published_block = None;
            view.peers.clear();
            view.bearers_version = None;
            view.dropped = Arc::default();
            view.code = None;
            view.ended = self.clients.ended().clone();
            view.restored.push_back(restored);
        }
        self.publish_all(0);
        Ok(())
    }

    fn rest(&mut self) -> Result<(), MachineFault> {
        self.engine.rest().map_err(fault)
    }

    fn time_wanted(&self) -> TimeWanted {
        // Before there is code it is not known whether it gets a timer, which must not begin at the beginning of all time.
        let has_timer = self.code.as_ref().is_none_or(CodeDigest::has_timer);
        let goes_on = !self.engine.has_exited();
        TimeWanted { with_commands: goes_on && has_timer, at_ms: self.engine.next_deadline() }
    }

    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault> {
        let manifest: Manifest = codec::decode(manifest).map_err(fault)?;
        let root = manifest.root();
        let chunks = manifest.tables.into_iter().chain(manifest.pages).collect();
        Ok(ManifestInfo { root, chunks })
    }

    fn has_chunk(&self, hash: &Hash) -> bool {
        self.image.has_page(hash)
    }
}

fn fault(error: impl std::fmt::Display) -> MachineFault {
    MachineFault(error.to_string())
}

#[cfg(test)]
mod tests;
