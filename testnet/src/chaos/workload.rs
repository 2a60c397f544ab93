//! Clients that never stop: what they ask, and what they saw.

use super::history::{Answer, Call, Operation};
use super::hosts::Hosts;
use anyhow::{Context, ensure};
use quorate_client::{Client, ClientError};
use quorate_consensus::Member;
use quorate_engine::{
    abi::{Method, Value},
    comms::client::{ClientRef, Completion},
};
use quorate_protocol::sturdyref::Sturdyref;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Clients of `ledger`, and of `tally`.
const CLIENTS: [(&str, usize); 2] = [("ledger", 4), ("tally", 2)];
/// Cells that are used at the same time, of each vat.
const CELLS: u64 = 2;
/// How long a client waits for an answer before it gives up.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two operations of a client, at most.
const PAUSE_MS: u64 = 60;
/// One operation in so many is of a client that is gone before the answer comes.
const GIVES_UP: u32 = 80;
/// Messages that the sending vat is asked for at a time, and how often.
const BATCH: f64 = 5.0;
const BATCH_EVERY: Duration = Duration::from_millis(700);

/// What the clients saw.
#[derive(Default)]
pub struct Seen {
    pub cells: BTreeMap<String, Vec<Operation>>,
    /// Ids that were to be noted, by vat, and whether that was answered.
    pub noted: BTreeMap<String, Vec<(String, bool)>>,
    pub answered: u64,
    pub given_up: u64,
    /// What no client should see.
    pub wrong: Vec<String>,
}

/// The clients.
pub struct Workload {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    begun: Instant,
    round: AtomicU64,
    values: AtomicU64,
    stop: AtomicBool,
    seen: Mutex<Seen>,
    members: Vec<Member>,
    references: BTreeMap<String, Sturdyref>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    async fn connect(&self, vat: &str) -> Result<Client, ClientError> {
        Client::connect(&self.references[vat], &self.members).await
    }
}

fn call(name: &str) -> Method {
    Method::Call(name.to_owned())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn number(value: u64) -> Value {
    Value::Number(value as f64)
}

impl Workload {
    /// Starts all clients.
    pub fn start(hosts: &Hosts, seed: u64) -> anyhow::Result<Workload> {
        let mut references = BTreeMap::new();
        for vat in ["ledger", "tally", "driver"] {
            references.insert(vat.to_owned(), hosts.reference(vat)?.parse()?);
        }
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            round: AtomicU64::new(0),
            values: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
            members: hosts.members_for_clients()?,
            references,
        });
        let mut tasks = vec![tokio::spawn(drive(shared.clone()))];
        for (vat, count) in CLIENTS {
            for client in 0..count {
                let chance = ChaCha8Rng::seed_from_u64(seed.wrapping_add((tasks.len() + client) as u64));
                tasks.push(tokio::spawn(clients(shared.clone(), vat, chance)));
            }
        }
        Ok(Workload { shared, tasks })
    }

    /// From now on other cells are used: what is open on those before does not grow with time.
    pub fn next_round(&self) {
        self.shared.round.fetch_add(1, Ordering::SeqCst);
    }

    /// How many operations were answered so far, and not.
    pub fn counts(&self) -> (u64, u64) {
        let seen = self.shared.seen();
        (seen.answered, seen.given_up)
    }

    /// An id is noted in each of the clusters: returns when both have answered.
    pub async fn probe(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        for vat in ["ledger", "tally"] {
            loop {
                ensure!(Instant::now() < deadline, "{vat} has not answered for {} s", patience.as_secs());
                let Ok(client) = self.shared.connect(vat).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (done, _) = add(&self.shared, &client, vat, "probe", deadline - Instant::now()).await;
                client.close().await;
                if done {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Stops the clients, and returns what they saw.
    pub async fn end(self) -> (Seen, Auditor) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            if let Err(error) = task.await {
                self.shared.seen().wrong.push(format!("a client died: {error}"));
            }
        }
        let seen = std::mem::take(&mut *self.shared.seen());
        (seen, Auditor(self.shared))
    }
}

/// Notes an id, once. Returns whether that was answered, and with what.
async fn add(
    shared: &Shared,
    client: &Client,
    vat: &str,
    cell: &str,
    patience: Duration,
) -> (bool, Option<Completion>) {
    let id = format!("id{}", shared.values.fetch_add(1, Ordering::SeqCst));
    let place = {
        let mut seen = shared.seen();
        let noted = seen.noted.entry(vat.to_owned()).or_default();
        noted.push((id.clone(), false));
        noted.len() - 1
    };
    let done = client.call(ClientRef::Object(0), call("add"), vec![text(cell), text(&id)], patience).await.ok();
    if let (Some(_), Some(noted)) = (&done, shared.seen().noted.get_mut(vat)) {
        noted[place].1 = true;
    }
    (done.is_some(), done)
}

/// One client after the other: each does one thing at a time, until it gives up.
async fn clients(shared: Arc<Shared>, vat: &'static str, mut chance: ChaCha8Rng) {
    let mut client: Option<Client> = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let Some(connected) = client.take() else {
            match shared.connect(vat).await {
                Ok(connected) => client = Some(connected),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            continue;
        };
        let patience = if chance.random_ratio(1, GIVES_UP) { Duration::from_millis(5) } else { PATIENCE };
        if operate(&shared, &connected, vat, &mut chance, patience).await {
            client = Some(connected);
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..PAUSE_MS))).await;
    }
    if let Some(client) = client {
        client.close().await;
    }
}

/// Does one thing. Returns whether it was answered.
async fn operate(shared: &Shared, client: &Client, vat: &str, chance: &mut ChaCha8Rng, patience: Duration) -> bool {
    let round = shared.round.load(Ordering::SeqCst);
    let counts = chance.random_ratio(1, 4);
    let kind = if counts { "count" } else { "cell" };
    let cell = format!("{vat} {kind} {round}.{}", chance.random_range(0..CELLS));
    let fresh = shared.values.fetch_add(1, Ordering::SeqCst) + 1;
    let asked = match chance.random_range(0..5) {
        _ if counts => Call::Add,
        0 | 1 => Call::Read,
        2 | 3 => Call::Write(fresh),
        _ => {
            // Of a value that may well be there.
            let seen = shared.seen();
            let operations = seen.cells.get(&cell).map(Vec::as_slice).unwrap_or_default();
            let last = operations.iter().rev().find_map(|operation| match operation.call {
                Call::Write(value) => Some(value),
                _ => None,
            });
            Call::Swap(last.unwrap_or(0), fresh)
        }
    };
    let place = {
        let operation = Operation { call: asked, called_us: shared.now_us(), answer: None };
        let mut seen = shared.seen();
        let operations = seen.cells.entry(cell.clone()).or_default();
        operations.push(operation);
        operations.len() - 1
    };
    let simply =
        async |name: &str, args: Vec<Value>| client.call(ClientRef::Object(0), call(name), args, patience).await.ok();
    let answered = match asked {
        Call::Read => simply("read", vec![text(&cell)]).await,
        Call::Write(value) => simply("write", vec![text(&cell), number(value)]).await,
        Call::Swap(from, to) => simply("swap", vec![text(&cell), number(from), number(to)]).await,
        Call::Add => add(shared, client, vat, &cell, patience).await.1,
    };
    let at = shared.now_us();
    let mut seen = shared.seen();
    let Some(answered) = answered else {
        seen.given_up += 1;
        return false;
    };
    seen.answered += 1;
    let answer = match (&answered.value, answered.fulfilled) {
        (Value::Number(value), true) => Answer::Value(*value as u64),
        (Value::Undefined, true) => Answer::Written,
        (Value::Bool(swapped), true) => Answer::Swapped(*swapped),
        other => {
            seen.wrong.push(format!("{asked:?} of {cell} was answered by {other:?}"));
            return false;
        }
    };
    if let Some(operation) = seen.cells.get_mut(&cell).and_then(|operations| operations.get_mut(place)) {
        operation.answer = Some((at, answer));
    }
    true
}

/// Has the solo vat send messages.
async fn drive(shared: Arc<Shared>) {
    let mut client: Option<Client> = None;
    while !shared.stop.load(Ordering::SeqCst) {
        if client.is_none() {
            client = shared.connect("driver").await.ok();
        }
        if let Some(connected) = client.take() {
            let asked = connected.call(ClientRef::Object(0), call("send"), vec![Value::Number(BATCH)], PATIENCE).await;
            client = asked.is_ok().then_some(connected);
        }
        tokio::time::sleep(BATCH_EVERY).await;
    }
    if let Some(client) = client {
        client.close().await;
    }
}

/// Asks the vats what came of it all, when nothing is wrong any more.
pub struct Auditor(Arc<Shared>);

/// What came of it.
#[derive(Debug, Default)]
pub struct Audit {
    pub ids: u64,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    /// Messages of the solo vat, to both clusters together.
    pub messages: u64,
    pub messages_lost: u64,
    pub messages_misplaced: u64,
    pub answers_wrong: u64,
}

impl Auditor {
    async fn ask(&self, vat: &str, method: &str, args: Vec<Value>) -> anyhow::Result<Vec<u64>> {
        let client = self.0.connect(vat).await?;
        let answer = client.call(ClientRef::Object(0), call(method), args, Duration::from_secs(120)).await?;
        client.close().await;
        let Value::Array(items) = &answer.value else { anyhow::bail!("{vat} answered {method} by {:?}", answer.value) };
        let numbers =
            items.iter().map(|item| if let Value::Number(number) = item { Some(*number as u64) } else { None });
        numbers.collect::<Option<_>>().with_context(|| format!("{vat} answered {method} by {items:?}"))
    }

    /// Compares what the vats have with what the clients saw.
    pub async fn audit(&self, seen: &Seen) -> anyhow::Result<Audit> {
        let mut audit = Audit::default();
        for (vat, noted) in &seen.noted {
            for part in noted.chunks(1_000) {
                let ids = part.iter().map(|(id, _)| text(id)).collect();
                let times = self.ask(vat, "times", vec![Value::Array(ids)]).await?;
                ensure!(times.len() == part.len(), "{vat} answered for {} ids of {}", times.len(), part.len());
                for ((id, answered), times) in part.iter().zip(times) {
                    audit.ids += 1;
                    if *answered && times == 0 {
                        audit.lost.push(format!("{vat} {id}"));
                    }
                    if times > 1 {
                        audit.doubled.push(format!("{vat} {id}"));
                    }
                }
            }
        }
        // What is on its way arrives.
        let deadline = Instant::now() + Duration::from_secs(180);
        let (sent, answered, wrong) = loop {
            let [sent, answered, wrong] = self.ask("driver", "audit", vec![]).await?[..] else { continue };
            if answered + wrong >= 2 * sent || Instant::now() > deadline {
                break (sent, answered, wrong);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        audit.messages = 2 * sent;
        audit.answers_wrong = wrong + (2 * sent).saturating_sub(answered);
        for vat in ["ledger", "tally"] {
            let numbers = self.ask(vat, "audit", vec![]).await?;
            audit.messages_lost += sent.abs_diff(numbers[0]);
            audit.messages_misplaced += numbers[1];
        }
        Ok(audit)
    }
}
