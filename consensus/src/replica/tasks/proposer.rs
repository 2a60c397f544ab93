//! The task that turns proposals into blocks at the leader, and forwards them to the leader elsewhere.
//!
//! Invariants: while a host leads, its proposals enter the log in the order in which they came. Several blocks are under
//! way at once, but the leader begins a further one only if it is worth its flush and its signatures. Every proposal is answered. Commands
//! that members have waited for go first, and do not wait for blocks under way.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

use crate::codec::{self, MAX_BLOCK_BYTES};
use crate::error::ProposeError;
use crate::proof::membership::Member;
use crate::raft::role::Role;
use crate::raft::{RaftNode, WriteError};
use crate::replica::RaftCell;
use crate::replica::awaited::Awaited;
use crate::replica::clock::Clocks;
use crate::replica::handle::Proposed;
use crate::replica::intake::Intake;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::status::StatusCell;
use crate::replica::wire::propose::{ForwardedResult, Payload, ProposeFrame, ProposeReply};
use crate::state::block::{Block, BlockReply, Control};
use crate::stats::StatsCell;
use crate::transport::{Channel, Transport, TransportError};
use quorate_ids::HostId;

/// Commands in a block at most.
pub(crate) const MAX_BLOCK_COMMANDS: usize = 1_024;
/// Blocks, or forwarded frames, under way at once.
const MAX_IN_FLIGHT: usize = 6;
/// One more is begun for what is urgent.
const MAX_URGENT_IN_FLIGHT: usize = MAX_IN_FLIGHT + 1;
/// Urgent proposals that wait at most; more are given again.
pub(crate) const MAX_URGENT: usize = 64;
/// Commands that make a third (fourth, …) block under way worth while, times the number under way.
const WORTH_A_BLOCK: usize = 32;
/// Proposals that wait at most; more are refused.
pub(crate) const MAX_WAITING: usize = 16_384;
/// Bytes of proposals that wait in the proposer at most.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How long a forwarded proposal may take at the leader.
pub(crate) const FORWARD_PATIENCE: Duration = Duration::from_secs(10);

/// Characters of another member's reason for a refusal that are handed on.
const MAX_REASON_CHARS: usize = 500;

/// One thing to be ordered.
pub(crate) struct Proposal {
    pub(crate) payload: Payload,
    /// It was forwarded by another member: it is not handed on once more.
    pub(crate) forwarded: bool,
    pub(crate) reply: oneshot::Sender<Result<Proposed, ProposeError>>,
}

/// Pause before a proposal that found no leader is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// Has something ordered and executed, at whatever member this is. It is given to one leader after the other, but to no further one as
/// soon as it `is_last`.
pub(crate) async fn order(
    proposer: &mpsc::Sender<Proposal>,
    lifecycle: &Lifecycle,
    payload: Payload,
    deadline: Duration,
    is_last: &AtomicBool,
) -> Result<Proposed, ProposeError> {
    let until = tokio::time::Instant::now() + deadline;
    let mut stopping = lifecycle.stopping();
    loop {
        if lifecycle.is_stopped() {
            return Err(stopped(lifecycle));
        }
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal { payload: payload.clone(), forwarded: false, reply };
        if let Err(error) = proposer.try_send(proposal) {
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => stopped(lifecycle),
            });
        }
        let answer = tokio::select! {
            answer = answer => answer,
            () = tokio::time::sleep_until(until) => return Err(ProposeError::Unknown),
            () = stopping.wait() => return Err(ProposeError::Unknown),
        };
        match answer {
            Ok(Err(ProposeError::NoLeader))
                if tokio::time::Instant::now() + RETRY_PAUSE < until && !is_last.load(Ordering::SeqCst) =>
            {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(result) => return result,
            Err(_) => return Err(ProposeError::Unknown),
        }
    }
}

/// The error of a replica that has stopped.
pub(crate) fn stopped(lifecycle: &Lifecycle) -> ProposeError {
    ProposeError::Stopped(lifecycle.why().unwrap_or_else(|| "it was shut down or removed".into()))
}

type Done = BoxFuture<'static, ()>;

/// What the task uses.
pub(crate) struct Proposer {
    pub(crate) key: HostId,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) awaited: Arc<Awaited>,
    /// See [`ReplicaOptions::max_uncertified`](crate::ReplicaOptions::max_uncertified).
    pub(crate) max_uncertified: u64,
}

impl Proposer {
    /// Returns why no command is taken: so many statements lack certificates that more of them help nobody. Changes of members,
    /// which may end that, are still taken.
    fn overdue(&self) -> Option<String> {
        let status = self.status.read();
        let (uncertified, threshold) = (status.uncertified, status.membership.threshold);
        (uncertified >= self.max_uncertified).then(|| {
            format!(
                "{uncertified} statements of it wait for their signatures, so nobody hears of what it does; {threshold} members must sign: start \
                 or replace those that are missing (`vat status`)"
            )
        })
    }
}

pub(crate) async fn run(
    proposer: Proposer,
    mut proposals: mpsc::Receiver<Proposal>,
    mut urgent: mpsc::Receiver<Proposal>,
) {
    let mut stopping = proposer.lifecycle.stopping();
    let mut waiting: VecDeque<Proposal> = VecDeque::new();
    let mut waiting_bytes = 0;
    let mut under_way: FuturesUnordered<Done> = FuturesUnordered::new();
    let mut received = Vec::new();
    let mut first = VecDeque::new();
    loop {
        let room = waiting_bytes < MAX_WAITING_BYTES;
        tokio::select! {
            () = stopping.wait() => return,
            count = proposals.recv_many(&mut received, MAX_BLOCK_COMMANDS), if room => {
                if count == 0 {
                    return;
                }
                for proposal in received.drain(..) {
                    waiting_bytes += proposal.payload.size();
                    waiting.push_back(proposal);
                }
            }
            Some(proposal) = urgent.recv(), if first.len() < MAX_URGENT => {
                if let Some(known) = take_same(&mut waiting, &proposal) {
                    waiting_bytes -= known.payload.size();
                    // A caller that has gone waits for no answer: the first one has it.
                    first.push_back(known);
                } else {
                    first.push_back(proposal);
                }
            }
            Some(()) = under_way.next() => {}
        }
        while !first.is_empty() && under_way.len() < MAX_URGENT_IN_FLIGHT {
            let done = begin(&proposer, take_batch(&mut first)).await;
            under_way.push(done);
        }
        while worth_beginning(under_way.len(), waiting.len(), waiting_bytes) {
            let batch = take_batch(&mut waiting);
            waiting_bytes -= batch.iter().map(|proposal| proposal.payload.size()).sum::<usize>();
            let done = begin(&proposer, batch).await;
            under_way.push(done);
        }
    }
}

/// Takes out what waits already and is the same.
fn take_same(waiting: &mut VecDeque<Proposal>, proposal: &Proposal) -> Option<Proposal> {
    let place = waiting.iter().position(|known| known.payload == proposal.payload)?;
    waiting.remove(place)
}

fn worth_beginning(under_way: usize, waiting: usize, bytes: usize) -> bool {
    waiting > 0
        && (under_way < 2
            || (under_way < MAX_IN_FLIGHT && (waiting >= WORTH_A_BLOCK * under_way || bytes >= MAX_BLOCK_BYTES)))
}

/// Takes the proposals of one block: commands, or one control alone.
fn take_batch(waiting: &mut VecDeque<Proposal>) -> Vec<Proposal> {
    let mut batch: Vec<Proposal> = Vec::new();
    let mut bytes = 0;
    while let Some(next) = waiting.front() {
        let fits = batch.is_empty() || bytes + next.payload.size() <= MAX_BLOCK_BYTES;
        let command = |proposal: &Proposal| matches!(proposal.payload, Payload::Command(_));
        let same = batch.first().is_none_or(|first| command(first) && command(next));
        if !fits || !same || batch.len() >= MAX_BLOCK_COMMANDS {
            break;
        }
        bytes += next.payload.size();
        batch.extend(waiting.pop_front());
    }
    batch
}

/// Puts a batch on its way; the future answers the proposals.
async fn begin(proposer: &Proposer, batch: Vec<Proposal>) -> Done {
    let Some(raft) = proposer.raft.get() else { return answer_all(batch, ProposeError::NoLeader) };
    let view = raft.view();
    if view.role == Role::Leader {
        let commands = batch.iter().any(|proposal| matches!(proposal.payload, Payload::Command(_)));
        if let Some(why) = proposer.intake.why().or_else(|| proposer.overdue()).filter(|_| commands) {
            return answer_all(batch, ProposeError::Refused(why));
        }
        return begin_block(proposer, raft, batch).await;
    }
    match view.leader_member() {
        Some(leader) if leader.key != proposer.key => {
            // What was handed on by others goes back to them: they may know the leader by now.
            let (forwarded, own): (Vec<_>, Vec<_>) = batch.into_iter().partition(|proposal| proposal.forwarded);
            drop(answer_all(forwarded, ProposeError::NoLeader));
            begin_forward(proposer, raft.clone(), leader.clone(), own)
        }
        _ => answer_all(batch, ProposeError::NoLeader),
    }
}

fn answer_all(batch: Vec<Proposal>, error: ProposeError) -> Done {
    for proposal in batch {
        // The caller may have given up.
        let _ = proposal.reply.send(Err(error.clone()));
    }
    Box::pin(std::future::ready(()))
}

async fn begin_block(proposer: &Proposer, raft: &RaftNode, batch: Vec<Proposal>) -> Done {
    let mut block = Block::default();
    for proposal in &batch {
        match &proposal.payload {
            Payload::Command(bytes) => block.commands.push(bytes.clone()),
            Payload::Control(control) => block.control = Some(control.clone()),
        }
    }
    if block.control.is_none() {
        block.control = proposer.clocks.for_commands().await.map(Control::Tick);
    }
    proposer.stats.update(|stats| stats.blocks_proposed += 1);
    match raft.submit(&block).await {
        Err(error) => answer_all(batch, propose_error(error)),
        Ok(written) => Box::pin(async move {
            match written.await {
                Ok((block, reply)) => answer(batch, block, &reply),
                Err(error) => drop(answer_all(batch, propose_error(error))),
            }
        }),
    }
}

fn propose_error(error: WriteError) -> ProposeError {
    match error {
        WriteError::NotLeader => ProposeError::NoLeader,
        WriteError::Unknown => ProposeError::Unknown,
        WriteError::Stopped(text) => ProposeError::Stopped(text),
    }
}

fn answer(batch: Vec<Proposal>, block: u64, reply: &BlockReply) {
    for (place, proposal) in batch.into_iter().enumerate() {
        let command = matches!(proposal.payload, Payload::Command(_)).then_some(place);
        let result = reply.result_of(command).ok_or(ProposeError::Unknown);
        // The caller may have given up.
        let _ = proposal.reply.send(result.map(|result| Proposed { block, result }));
    }
}

/// Hands proposals on. The leader's answer counts where it says that nothing was done. What was done this member finds out by itself.
fn begin_forward(proposer: &Proposer, raft: RaftNode, leader: Member, batch: Vec<Proposal>) -> Done {
    if batch.is_empty() {
        return Box::pin(std::future::ready(()));
    }
    let transport = Arc::clone(&proposer.transport);
    let payloads: Vec<Payload> = batch.iter().map(|proposal| proposal.payload.clone()).collect();
    let executed = proposer.awaited.expect(&payloads);
    let until = tokio::time::Instant::now() + FORWARD_PATIENCE;
    let frame = codec::encode(&ProposeFrame(payloads));
    Box::pin(async move {
        let answer = tokio::select! {
            answer = transport.request(&leader, Channel::Propose, frame, FORWARD_PATIENCE) => answer,
            // A leader that fell silent must not hold back what comes after.
            () = raft.leader_gone(leader.key) => Err(TransportError::Timeout),
        };
        let results = match answer {
            Ok(bytes) => codec::decode::<ProposeReply>(&bytes).map(|reply| reply.0).unwrap_or_default(),
            Err(TransportError::Unreachable(_) | TransportError::Refused(_) | TransportError::Malformed(_)) => {
                vec![ForwardedResult::NotProposed; batch.len()]
            }
            Err(TransportError::Timeout | TransportError::Lost(_)) => Vec::new(),
        };
        let mut results = results.into_iter();
        let mut ordered = Vec::new();
        for (proposal, executed) in batch.into_iter().zip(executed) {
            let error = match results.next().unwrap_or(ForwardedResult::Unknown) {
                ForwardedResult::Done { .. } => {
                    ordered.push((proposal.reply, executed));
                    continue;
                }
                ForwardedResult::NotProposed => ProposeError::NoLeader,
                ForwardedResult::Unknown => ProposeError::Unknown,
                ForwardedResult::Refused(why) => ProposeError::Refused(why.chars().take(MAX_REASON_CHARS).collect()),
            };
            // The caller may have given up.
            let _ = proposal.reply.send(Err(error));
        }
        if !ordered.is_empty() {
            // Apart: what comes after goes to the leader meanwhile.
            tokio::spawn(when_executed(ordered, until));
        }
    })
}

type Ordered = (oneshot::Sender<Result<Proposed, ProposeError>>, oneshot::Receiver<Proposed>);

/// Answers proposals of which the leader says that they are done, when they are executed here.
async fn when_executed(ordered: Vec<Ordered>, until: tokio::time::Instant) {
    for (reply, executed) in ordered {
        let executed = tokio::time::timeout_at(until, executed).await.ok().and_then(Result::ok);
        // The caller may have given up.
        let _ = reply.send(executed.ok_or(ProposeError::Unknown));
    }
}
