//! The machine that a vat's replicas run: `engine`'s, behind the evidence checks.
//!
//! Invariants: a pure function of the log; a slice is believed only by what this state knows of its sender; peers' epochs only
//! grow; whoever is in no table of the engine's and brings no bearer reference leaves nothing here; a client is forgotten when it has
//! said its farewell, or its time is over, and never heard again; the state root covers the engine's tables and heap and what is known of peers. A bad command is a result, never an error: errors stop the replica and
//! mean that this host is at fault.

use super::{
    clients::Clients,
    command::{VatCommand, VatResult},
    stopwatch::{CrankTimes, TimedHeap},
    tables::{Manifest, Tables},
    view::{PeerView, RestoredOutbox, SharedView},
};
use crate::{
    codec,
    evidence::{Outbox, Proven, Slice, is_farewell, refuses_lifetime},
};
use quorate_consensus::{
    AppliedBlock, BlockContext, CheckpointParts, FetchChunk, Genesis, Hash, Machine, MachineFault, ManifestInfo,
    Member, MembershipCertificate, Signers,
};
use quorate_engine::{
    EngineError, VatId,
    comms::stream::{self, SliceError, StreamHead},
    heap::{Heap, Limits},
    image::Image,
    machine::{BlockOutput, Command, CommandResult, Deliver, Summary},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

type EngineMachine = quorate_engine::machine::Machine<TimedHeap>;

/// Why nothing of a vat is taken that nobody here has named.
pub const STRANGER: &str = "this vat gave the sender no reference, and its stream does not begin with the use of one";

/// What a block brought about, for the parts of the node that act on it.
#[derive(Debug)]
pub struct BlockEffects {
    /// What the engine says of the block; its heads are in `outbox`.
    pub output: BlockOutput,
    /// What is to be certified of it.
    pub outbox: Arc<Outbox>,
    /// What was proven of the members of other vats: for whoever looks for them.
    pub introductions: Vec<Evidence>,
    /// Vats whose time was over.
    pub forgotten: Vec<VatId>,
    /// Wall time that applying took, in seconds. For the histogram only.
    pub seconds: f64,
    /// Wall time of each of the output's cranks. For the histogram only.
    pub crank_times: Vec<Duration>,
    /// Slices that were refused when they were applied, with the reason.
    pub refused: Vec<String>,
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
}

/// A vat's machine.
pub struct VatMachine {
    vat: VatId,
    image: Arc<Image>,
    limits: Limits,
    engine: EngineMachine,
    crank_times: CrankTimes,
    known: BTreeMap<VatId, Signers>,
    /// Those of them that are clients, and clients that have ended.
    clients: Clients,
    /// What the newest block said: a checkpoint keeps it, so that its certificate can be used after a restart.
    outbox: Arc<Outbox>,
    /// The newest block's epoch; unknown right after a restore.
    epoch: Option<u64>,
    /// Kept apart from the engine's summary, which costs more with every peer.
    installed: bool,
    /// Why the code did not start when that was last tried: for people only.
    install_failure: Option<String>,
    view: SharedView,
}

impl VatMachine {
    /// The machine of a vat in which nothing has happened. `view` is kept up to date from here on.
    pub fn new(vat: VatId, image: Arc<Image>, limits: Limits, view: SharedView) -> Result<Self, EngineError> {
        let crank_times = CrankTimes::default();
        let guest = TimedHeap { guest: Heap::new(image.clone(), limits)?, times: crank_times.clone() };
        let engine = EngineMachine::new(vat, guest);
        let machine = VatMachine {
            vat,
            image,
            limits,
            engine,
            crank_times,
            known: BTreeMap::new(),
            clients: Clients::default(),
            outbox: Arc::default(),
            epoch: None,
            installed: false,
            install_failure: None,
            view,
        };
        machine.publish_all(0);
        Ok(machine)
    }

    fn apply_one(&mut self, block: u64, bytes: &[u8], side: &mut SideEffects) -> Result<VatResult, EngineError> {
        let command = match codec::decode::<VatCommand>(bytes) {
            Ok(command) => command,
            Err(error) => return Ok(VatResult::Refused { message: format!("the command does not decode: {error}") }),
        };
        let command = match command {
            VatCommand::Install(install) => Command::Install(*install),
            VatCommand::Deliver(slice) => {
                side.touched.insert(slice.sender());
                return self.deliver(block, *slice, side);
            }
        };
        Ok(match self.engine.apply(command)? {
            CommandResult::Installed => {
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
        slice.trim(self.known.get(&from));
        let StreamHead { end, ack, .. } = slice.head;
        let deliver = Deliver { from, begin: slice.begin, messages: slice.messages, end, ack };
        let result = self.engine.apply(Command::Deliver(deliver))?;
        // Only now: a stranger whom the engine has no room for leaves nothing behind.
        if self.engine.comms().peer(&from).is_some() {
            self.note(proven, Evidence { genesis: slice.genesis, chain: slice.chain }, side);
            if expires != 0 {
                self.clients.hear(from, expires, block);
            }
            if says_farewell && let Some(expires) = self.clients.end(&from) {
                self.forget(from, Some(expires), side);
            }
        }
        Ok(match result {
            CommandResult::Delivered { next } => VatResult::Delivered { next },
            CommandResult::Gap { next } => VatResult::NotYet { next },
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

    /// Forgets a client. If that is before the end of its lifetime, which then is given, it is remembered as ended.
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
        let comms = self.engine.comms();
        if *view.bearers != *comms.bearers() {
            view.bearers = Arc::new(comms.bearers().clone());
        }
        for vat in touched {
            let Some(peer) = comms.peer(vat) else {
                view.peers.remove(vat);
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

    /// What the courier starts from after this state was restored.
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
        let (mut results, mut refused) = (Vec::with_capacity(commands.len()), Vec::new());
        self.forget_due(context.block, &mut side);
        for command in commands {
            let result = self.apply_one(context.block, command, &mut side).map_err(fault)?;
            if let VatResult::Refused { message } = &result {
                refused.push(message.clone());
            }
            results.push(codec::encode(&result));
        }
        let mut output = self.engine.end_block(rehead);
        side.touched.extend(output.heads.iter().map(|head| head.peer));
        self.outbox = Arc::new(Outbox::new(std::mem::take(&mut output.heads)));
        self.epoch = Some(context.epoch);
        for vat in &side.touched {
            self.clients.note_bytes(vat, Self::bytes_waiting_for(&self.engine, vat));
        }
        self.publish(context.block, &side.touched, &side.ended);
        let outbox_root = self.outbox.root();
        let work = output.cranks.iter().map(|crank| crank.fuel).sum();
        let crank_times = self.crank_times.take();
        let effects = BlockEffects {
            output,
            outbox: self.outbox.clone(),
            introductions: side.introductions,
            forgotten: side.forgotten,
            seconds: started.elapsed().as_secs_f64(),
            crank_times,
            refused,
        };
        Ok(AppliedBlock { results, outbox_root, work, effects })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let engine = self.engine.checkpoint().map_err(fault)?;
        let pages = EngineMachine::describe(&engine.manifest).map_err(fault)?.chunks;
        let heads = self.outbox.heads().to_vec();
        let (known, clients) = (self.known.clone(), self.clients.clone());
        let pieces = Tables { engine: engine.manifest, known, heads, clients }.pieces();
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
        let (image, limits, times) = (self.image.clone(), self.limits, self.crank_times.clone());
        self.engine = EngineMachine::restore_with(self.vat, &tables.engine, |manifest| {
            Ok(TimedHeap { guest: Heap::restore(image, limits, manifest, &mut fetch)?, times })
        })
        .map_err(fault)?;
        self.known = tables.known;
        self.clients = tables.clients;
        let engine = &self.engine;
        self.clients.rebuild(|vat| Self::bytes_waiting_for(engine, vat));
        self.outbox = Arc::new(Outbox::new(tables.heads));
        self.epoch = None;
        self.installed = self.engine.summary().installed;
        {
            let restored = self.restored_outbox();
            let mut view = self.view.lock();
            view.peers.clear();
            view.ended = self.clients.ended().clone();
            view.restored.push_back(restored);
        }
        self.publish_all(0);
        Ok(())
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
mod tests {
    use super::*;
    use crate::{evidence::farewell_mark, run::engine_cache, sturdyref::Sturdyref};
    use ed25519_dalek::SigningKey;
    use quorate_consensus::{Certificate, HostId, MemberSignature, Parameters, Statement};
    use quorate_engine::{
        abi::{Bundle, Method, Value},
        comms::client::{ClientRef, ClientSession},
        machine::Install,
    };

    #[test]
    fn each_restored_state_tells_the_courier_where_to_start() {
        let image = Image::load(&engine_cache().expect("a place")).expect("the image loads");
        let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
        let view = SharedView::default();
        let mut machine = VatMachine::new(VatId([1; 32]), image, limits, view.clone()).expect("it starts");
        let CheckpointParts { manifest, new_chunks, .. } = machine.checkpoint().expect("it can be kept");
        let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
        let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
        // The second may come before the first was heard of: neither may be taken for the other.
        for restored in 1..=2 {
            machine.restore(&manifest, &mut fetch).expect("it can be restored");
            assert_eq!(view.lock().restored.len(), restored);
        }
    }

    /// A client that makes slices as one does.
    struct Caller {
        key: SigningKey,
        genesis: Genesis,
        session: ClientSession,
        block: u64,
    }

    const TARGET: VatId = VatId([1; 32]);

    impl Caller {
        fn new(seed: u8, expires: u64, bearer: &Sturdyref) -> Caller {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let public = key.verifying_key().to_bytes();
            let member = Member { key: HostId(public), name: "client".into(), addresses: vec![] };
            let genesis = Genesis {
                members: vec![member],
                threshold: 1,
                image: Hash([0; 32]),
                creator: public,
                nonce: [0; 32],
                expires,
                parameters: Parameters::default(),
            };
            let vat = genesis.vat_id();
            let mut session = ClientSession::new(vat, TARGET);
            let redemption = bearer.redeem_for(&vat).expect("a bearer");
            let signature = redemption.signature.try_into().expect("64 bytes");
            session.redeem(0, redemption.bearer, signature).expect("room");
            session.call(ClientRef::Object(0), Method::Call("add".into()), &Value::Array(vec![]), &[]).expect("room");
            Caller { key, genesis, session, block: 0 }
        }

        fn vat(&self) -> VatId {
            self.genesis.vat_id()
        }

        /// All messages with the newest head, or the farewell with this acknowledgement.
        fn slice(&mut self, farewell: Option<u64>) -> VatCommand {
            self.block += 1;
            let mut head = self.session.head();
            head.ack = farewell.unwrap_or(0);
            let outbox = Outbox::new(vec![head]);
            let statement = Statement {
                vat: self.genesis.vat_id(),
                epoch: 0,
                block: self.block,
                previous: Hash([0; 32]),
                outbox_root: Hash(outbox.root().expect("a head").0),
                state_root: farewell.map(|_| farewell_mark()),
            };
            let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
            let messages: Vec<Vec<u8>> = match farewell {
                None => self.session.unacked().map(|(_, bytes)| bytes.to_vec()).collect(),
                Some(_) => vec![],
            };
            let begin = head.end + 1 - messages.len() as u64;
            let (genesis, path) = (Some(self.genesis.clone()), outbox.path(0));
            let certificate = Certificate { statement, signatures };
            let (chain, tail) = (vec![], vec![]);
            VatCommand::Deliver(Box::new(Slice { genesis, chain, certificate, head, path, begin, messages, tail }))
        }
    }

    fn apply(machine: &mut VatMachine, block: u64, command: &VatCommand) -> (VatResult, BlockEffects) {
        let members = Caller::new(99, 0, &Sturdyref::bearer(TARGET, 0, [5; 32])).genesis.membership();
        let context = BlockContext { block, epoch: 0, membership: &members };
        let applied = machine.apply(&context, &[codec::encode(command)], false).expect("no fault");
        (codec::decode(&applied.results[0]).expect("a result"), applied.effects)
    }

    #[test]
    fn a_client_that_says_farewell_is_forgotten_at_once_and_never_heard_again() {
        quorate_engine::heap::with_engine_stack(farewells_are_final);
    }

    fn farewells_are_final() {
        let image = Image::load(&engine_cache().expect("a cache")).expect("the image loads");
        let limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 128 << 20 };
        let view = SharedView::default();
        let mut machine = VatMachine::new(TARGET, image, limits, view.clone()).expect("it starts");
        let source =
            "import { Far } from '@endo/far'; let n = 0; export default () => Far('adder', { add: () => (n += 1) });";
        let bearer = Sturdyref::bearer(TARGET, 0, [5; 32]);
        let install = Install {
            bundle: Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), source.into())]) },
            argv: vec![],
            endowments: vec![],
            grants: vec![],
            bearers: bearer.bearer_key().into_iter().collect(),
        };
        assert_eq!(apply(&mut machine, 1, &VatCommand::Install(Box::new(install))).0, VatResult::Installed);
        let mut caller = Caller::new(7, 100_000, &bearer);
        let (call, farewell) = (caller.slice(None), caller.slice(Some(1)));
        // One that gives up without an answer.
        let mut other = Caller::new(8, 100_000, &bearer);
        let (other_call, other_farewell) = (other.slice(None), other.slice(Some(0)));
        assert_eq!(apply(&mut machine, 2, &call).0, VatResult::Delivered { next: 3 });
        assert_eq!(apply(&mut machine, 3, &other_call).0, VatResult::Delivered { next: 3 });
        let before = machine.summary();
        assert_eq!(before.peers.len(), 2);
        let (result, effects) = apply(&mut machine, 4, &farewell);
        assert_eq!((result, effects.forgotten), (VatResult::Delivered { next: 3 }, vec![caller.vat()]));
        assert_eq!(apply(&mut machine, 5, &other_farewell).1.forgotten, [other.vat()]);
        assert!(machine.summary().peers.is_empty() && machine.known.is_empty() && view.lock().peers.is_empty());
        assert!(view.lock().ended.contains(&caller.vat(), 100_000));

        // What it once said is played again, also to a replica that was restored.
        let CheckpointParts { manifest, new_chunks, .. } = machine.checkpoint().expect("it can be kept");
        let chunks: BTreeMap<Hash, Vec<u8>> = new_chunks.into_iter().collect();
        let mut fetch = |hash: &Hash| chunks.get(hash).cloned().ok_or_else(|| MachineFault("a missing chunk".into()));
        for restored in [false, true] {
            if restored {
                machine.restore(&manifest, &mut fetch).expect("it can be restored");
                assert!(view.lock().ended.contains(&caller.vat(), 100_000));
            }
            for (block, old) in [(6, &call), (7, &farewell), (8, &other_call), (99_999, &call)] {
                let (result, effects) = apply(&mut machine, block, old);
                // A farewell alone is a stranger's.
                let skipped = result == VatResult::Delivered { next: 3 };
                assert!(skipped || *old == farewell, "{restored}, at {block}: {result:?}");
                assert!(effects.output.cranks.is_empty() && effects.outbox.heads().is_empty(), "it was done again");
                assert!(machine.summary().peers.is_empty());
            }
        }
        // Its lifetime is over: nothing is kept of it, and its genesis refuses it.
        let (result, _) = apply(&mut machine, 200_000, &call);
        assert!(matches!(result, VatResult::Refused { .. }), "{result:?}");
        assert!(machine.clients.ended().is_empty() && view.lock().ended.is_empty());
    }
}
