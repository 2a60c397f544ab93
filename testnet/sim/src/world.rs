//! One world, from its plan to its judgement, in one thread and under virtual time.

use ed25519_dalek::SigningKey;
use quorate_consensus::testing::Liar;
use quorate_consensus::{
    Change, Genesis, Hash, HostId, Membership, MembershipCertificate, Parameters, ReplicaHandle, ReplicaStatus,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

use crate::client::{Client, Doors};
use crate::dice::Dice;
use crate::disk::End;
use crate::host::Host;
use crate::lies::Mask;
use crate::machine::Registers;
use crate::net::{Net, Weather};
use crate::oracles::{authorised, certified, durable, equal_state, exactly_once, leaders, linearizable, progress};
use crate::plan::{Action, FirstStart, Plan, Reform, Setup};
use crate::record::{Record, Violation};
use crate::trace::Trace;

/// How long the vat has, from the end of the faults on, to be at rest: many elections, and what a newcomer needs.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked at then.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Deadline of a change of the membership to be recorded.
const CHANGE_DEADLINE: Duration = Duration::from_secs(2);

/// How a world ended.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    /// Hash over the trace, and its lines.
    pub trace: (Hash, u64),
    /// The last lines of the trace.
    pub tail: Vec<String>,
    /// Virtual milliseconds.
    pub lasted_ms: u64,
    pub figures: BTreeMap<&'static str, u64>,
}

/// Runs a plan. Must be called once in a process (see `entropy`).
///
/// # Errors
/// Why there is no runtime.
pub fn run(seed: u64, plan: &Plan, trace: Option<File>) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        let mut world = World::new(seed, plan.setup.clone(), Trace::new(trace));
        world.live(plan).await;
        world.outcome()
    }))
}

struct Patron {
    done: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// The disk of a host is as good as those of the world are.
fn set_sync_ms(host: &Host, setup: &Setup) {
    let (least, most) = setup.sync_ms;
    host.disk.set_sync_ms(least, most);
}

struct World {
    seed: u64,
    setup: Setup,
    genesis: Genesis,
    hosts: Vec<Host>,
    net: Net,
    record: Record,
    doors: Doors,
    stop: Arc<AtomicBool>,
    clients: Vec<Patron>,
    network_doubled: bool,
}

impl World {
    fn new(seed: u64, setup: Setup, trace: Trace) -> World {
        let record = Record::new(trace.clone());
        let mut hosts: Vec<Host> = (0..setup.members).map(|place| Host::new(seed, place, false, &record)).collect();
        let genesis = Genesis {
            members: hosts.iter().map(Host::member).collect(),
            threshold: setup.threshold,
            image: Hash::ZERO,
            creator: SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes(),
            bundle: None,
            nonce: Hash::of(&seed.to_be_bytes()).0,
            expires: 0,
            parameters: Parameters { checkpoint_commands: setup.checkpoint_commands, ..Parameters::default() },
        };
        hosts.iter().for_each(|host| set_sync_ms(host, &setup));
        for (place, host) in hosts.iter_mut().enumerate().filter(|(place, _)| setup.liars.contains(place)) {
            record.seen().liars.insert(host.id());
            let liar = Liar::new(host.key.clone(), &genesis);
            host.mask = Some(Mask::new(liar, Dice::new(seed, &format!("liar {place}"))));
        }
        let net = Net::new(Dice::new(seed, "network"), trace);
        World {
            seed,
            setup,
            genesis,
            hosts,
            net,
            record,
            doors: Doors::default(),
            stop: Arc::default(),
            clients: Vec::new(),
            network_doubled: false,
        }
    }

    async fn live(&mut self, plan: &Plan) {
        for place in 0..self.hosts.len() {
            self.hosts[place].first = plan.starts.get(place).copied().unwrap_or(FirstStart::Well);
            self.start(place, 100).await;
        }
        self.begin_clients();
        let began = tokio::time::Instant::now();
        for step in &plan.steps {
            tokio::time::sleep_until(began + Duration::from_millis(step.at_ms)).await;
            if self.record.is_violated() {
                return;
            }
            self.record.trace().line(format_args!("step {:?}", step.action));
            self.act(&step.action).await;
            self.open_doors();
        }
        tokio::time::sleep_until(began + Duration::from_millis(self.setup.faults_ms)).await;
        self.heal().await;
        self.come_to_rest().await;
        if self.record.is_violated() {
            return;
        }
        self.judge().await;
    }

    fn begin_clients(&mut self) {
        self.open_doors();
        for name in 0..self.setup.clients {
            let done: Arc<AtomicU64> = Arc::default();
            let client = Client {
                name,
                registers: self.setup.registers,
                think_ms: self.setup.think_ms,
                doors: Arc::clone(&self.doors),
                record: self.record.clone(),
                dice: Dice::new(self.seed, &format!("client {name}")),
                stop: Arc::clone(&self.stop),
                done: Arc::clone(&done),
            };
            self.clients.push(Patron { done, task: tokio::spawn(client.run()) });
        }
    }

    fn open_doors(&self) {
        let open = |host: &Host| host.handle().filter(|_| host.is_honest()).cloned();
        let doors = self.hosts.iter().map(open).collect();
        *self.doors.lock().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Kill(place) => self.end(*place, End::Killed),
            Action::PowerCut(place) => self.end(*place, End::PowerCut),
            Action::PowerCutAfterShare(place) => {
                if let Some(host) = self.hosts.get(*place).filter(|host| host.is_running()) {
                    host.trap.store(true, Ordering::SeqCst);
                }
            }
            Action::PowerCutAll => (0..self.hosts.len()).for_each(|place| self.end(place, End::PowerCut)),
            Action::Start(place, rate) => self.start(*place, *rate).await,
            Action::Split(side) => {
                for one in 0..self.hosts.len() {
                    for other in (0..self.hosts.len()).filter(|other| side.contains(&one) != side.contains(other)) {
                        self.net.cut(one, other);
                    }
                }
            }
            Action::OneWay(from, to) => self.net.cut(*from, *to),
            Action::Mend => self.net.mend(),
            Action::Weather(weather) => {
                self.network_doubled |= weather.doubled > 0;
                self.net.set_weather(*weather);
            }
            Action::SlowDisk(place, ms) => {
                if let Some(host) = self.hosts.get(*place) {
                    host.disk.set_sync_ms(self.setup.sync_ms.0.min(*ms), *ms);
                }
            }
            Action::FailSync(place) => {
                if let Some(host) = self.hosts.get(*place).filter(|host| host.is_running()) {
                    host.disk.fail_next_sync();
                }
            }
            Action::Reform(reform, start) => self.reform(*reform, *start).await,
            Action::Lie(lies) => {
                let masks = self.hosts.iter().filter_map(|host| host.mask.as_ref());
                masks.for_each(|mask| mask.tell(lies));
            }
        }
    }

    fn end(&mut self, place: usize, how: End) {
        if let Some(host) = self.hosts.get_mut(place) {
            host.end(how, &self.net, &self.record);
        }
    }

    /// Starts a host that does not run, or one whose replica has stopped by a fault.
    async fn start(&mut self, place: usize, rate: u32) {
        let chain = self.chain();
        let Some(host) = self.hosts.get_mut(place) else { return };
        let fate = host.fate();
        if fate.removed || (host.is_running() && fate.fault.is_none()) {
            return;
        }
        host.end(End::Killed, &self.net, &self.record);
        let started = host.start(&self.genesis, &chain, &self.net, &self.record, rate).await;
        // What a liar has signed may come back to it, and then it does not start.
        if let Err(error) = started
            && self.hosts[place].is_honest()
        {
            progress::fault(&self.record, place, &error.to_string());
        }
    }

    /// The replica of the honest host that has come farthest.
    fn foremost(&self) -> Option<&ReplicaHandle> {
        let honest = self.hosts.iter().filter(|host| host.is_honest()).filter_map(Host::handle);
        honest.max_by_key(|handle| {
            let status = handle.status();
            (status.epoch, status.applied)
        })
    }

    fn chain(&self) -> Vec<MembershipCertificate> {
        self.foremost().map(|handle| handle.introduction().chain).unwrap_or_default()
    }

    async fn reform(&mut self, reform: Reform, start: FirstStart) {
        let out = |place: usize| self.hosts.get(place).map_or(HostId([0; 32]), Host::id);
        let mut newcomer = Host::new(self.seed, self.hosts.len(), true, &self.record);
        newcomer.first = start;
        set_sync_ms(&newcomer, &self.setup);
        let change = match reform {
            Reform::Replace(place) => Change::Replace { out: out(place), in_: newcomer.member() },
            Reform::Add => Change::Add(newcomer.member()),
            Reform::Remove(place) => Change::Remove(out(place)),
            Reform::Cancel => Change::Cancel,
        };
        if matches!(reform, Reform::Replace(_) | Reform::Add) {
            self.hosts.push(newcomer);
            self.start(self.hosts.len() - 1, 100).await;
        }
        let Some(handle) = self.foremost().cloned() else { return };
        self.record.seen().asked.push(change.clone());
        let record = self.record.clone();
        tokio::spawn(async move {
            let recorded = handle.reconfigure(change, None, CHANGE_DEADLINE).await;
            record.count("changes recorded", u64::from(recorded.is_ok()));
            record.trace().line(format_args!("change {reform:?}: {recorded:?}"));
        });
    }

    /// All faults end.
    async fn heal(&mut self) {
        self.record.trace().line(format_args!("the faults end"));
        self.net.mend();
        self.net.set_weather(Weather::FAIR);
        let masks = self.hosts.iter().filter_map(|host| host.mask.as_ref());
        let ends = !self.setup.lie_to_the_end;
        masks.for_each(|mask| if ends { mask.tell(&BTreeSet::new()) } else { mask.tell_as_a_leader() });
        for place in 0..self.hosts.len() {
            set_sync_ms(&self.hosts[place], &self.setup);
            self.hosts[place].trap.store(false, Ordering::SeqCst);
            self.start(place, 100).await;
        }
        self.open_doors();
    }

    /// The newest membership, and the condition of its members.
    fn members(&self) -> Vec<(HostId, Option<ReplicaStatus>)> {
        let Some(handle) = self.foremost() else { return Vec::new() };
        let membership = Arc::clone(&handle.status().membership);
        let status = |key: &HostId| {
            let host = self.hosts.iter().find(|host| host.id() == *key)?;
            host.handle().map(ReplicaHandle::status)
        };
        let honest = |key: &HostId| self.hosts.iter().any(|host| host.id() == *key && host.is_honest());
        let members = membership.members.iter().filter(|member| honest(&member.key));
        members.map(|member| (member.key, status(&member.key))).collect()
    }

    /// Waits until every client has got on and all members are at rest.
    async fn come_to_rest(&mut self) {
        let left_before = self.leaders_left();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // One command may have been under way.
        let goals: Vec<u64> = self.clients.iter().map(|client| client.done.load(Ordering::SeqCst) + 2).collect();
        let mut goals_met = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.record.is_violated() {
                return;
            }
            // An operator starts again what has stopped.
            for place in 0..self.hosts.len() {
                self.start(place, 100).await;
            }
            self.open_doors();
            let behind =
                self.clients.iter().zip(&goals).filter(|(client, goal)| client.done.load(Ordering::SeqCst) < **goal);
            let behind = behind.count();
            if !goals_met && behind == 0 {
                goals_met = true;
                self.stop.store(true, Ordering::SeqCst);
            }
            let working = self.clients.iter().filter(|client| !client.task.is_finished()).count();
            let missing = match (behind, working) {
                (0, 0) => progress::missing(&self.members(), self.record.last_block()),
                (0, _) => Some(format!("{working} clients have not ended")),
                _ => Some(format!("{behind} clients do not get on")),
            };
            let Some(missing) = missing else {
                leaders::check(&self.record, &self.setup, goals.len(), &left_before, &self.leaders_left());
                return;
            };
            if tokio::time::Instant::now() > deadline {
                let text = format!("{missing}\n{}", self.standing());
                self.record.violation(progress::NAME, text);
                return;
            }
        }
    }

    /// Returns how many leaders each honest host has left in its present life.
    fn leaders_left(&self) -> Vec<u64> {
        let left = |host: &Host| host.handle().map_or(0, |handle| handle.status().stats.leaders_left);
        self.hosts.iter().filter(|host| host.is_honest()).map(left).collect()
    }

    fn standing(&self) -> String {
        let line = |host: &Host| match (&host.running, host.handle()) {
            (_, Some(handle)) => {
                let status = handle.status();
                format!(
                    "host {}: {:?} term {} leader {:?} epoch {} certified epoch {} applied {} of {} certified {} pending {:?}",
                    host.place,
                    status.role,
                    status.term,
                    status.leader.map(|leader| leader.to_string()[..8].to_owned()),
                    status.epoch,
                    status.certified_epoch,
                    status.applied,
                    status.committed,
                    status.certified_block,
                    status.pending.map(|pending| pending.block),
                )
            }
            (Some(_), None) if host.is_running() => format!("host {}: stopped, {:?}", host.place, host.fate()),
            (_, None) => format!("host {}: down, {:?}", host.place, host.fate()),
        };
        self.hosts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    async fn judge(&self) {
        let members = self.members();
        let mut finals: Vec<(usize, Registers)> = Vec::new();
        for host in self.hosts.iter().filter(|host| members.iter().any(|(key, _)| *key == host.id())) {
            if let Some(state) = host.state().await {
                finals.push((host.place, state));
            }
        }
        for (place, state) in &finals {
            // Also at rest a bell may ring, and time pass, between one look and the next.
            if *state != self.record.replayed(state.block) {
                let text = format!("host {place} ends in another state than the executed blocks lead to");
                self.record.violation(equal_state::NAME, text);
            }
        }
        self.record.count(exactly_once::PUT_FIRST, self.hosts.iter().map(Host::put_first).sum());
        let has = |figure: &str| self.record.seen().figures.get(figure).is_some_and(|count| *count > 0);
        let is_told = has("wanted") || has(exactly_once::PUT_FIRST);
        // A liar may tell of it, too.
        let may_double = self.network_doubled || is_told || !self.setup.liars.is_empty();
        exactly_once::check(&self.record, may_double);
        // What a leader answers is its word alone until it is certified, and a liar may answer anything.
        if !self.setup.liars_lead {
            durable::check(&self.record, &finals);
            linearizable::check(&self.record);
        }
        let genesis: Membership = self.genesis.membership();
        authorised::check(&self.record, &genesis);
        certified::check(&self.record, genesis);
    }

    fn outcome(self) -> Outcome {
        let trace = self.record.trace();
        let (lasted_ms, tail, digest) = (trace.now_ms(), trace.tail(), trace.digest());
        let mut seen = self.record.seen();
        let (blocks, operations) = (seen.blocks.len() as u64, seen.operations.len() as u64);
        let epochs = seen.memberships.len() as u64;
        seen.figures.extend([("blocks", blocks), ("operations", operations), ("epochs", epochs)]);
        let violations = seen.violations.clone();
        Outcome { violations, trace: digest, tail, lasted_ms, figures: seen.figures.clone() }
    }
}
