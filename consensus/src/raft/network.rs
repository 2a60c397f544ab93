//! Openraft's network over the transport: messages as frames of our own encoding, checkpoints in chunks.

use futures::FutureExt;
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::ballots::Ballots;
use super::gate::OrderGate;
use super::links::{Links, Question, question, stands_for};
use super::node::RaftNode;
use super::ports::{NotSent, Peers, Snapshots};
use super::state_machine::SnapshotData;
use super::terms::NamedTerms;
use super::types::{Snapshot, TypeConfig, Vote, vote as make_vote};
use super::wire::{append_message, append_response, transfer_message, vote_message};
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::proof::membership::Member;
use crate::state::LogPosition;
use crate::timing::Timing;
use crate::transport::{Channel, Transport, TransportError};
use quorate_order::proofs::TermProof;

/// Time that each MiB of log entries adds to the deadline of a request: a slow wide-area link.
const MIB_PATIENCE: Duration = Duration::from_secs(1);
/// Round trips that a request may take at least: for a lost packet and its repetition, and for another stream.
const ROUND_TRIPS_PER_REQUEST: u32 = 4;
/// Times `election_max`: the shortest pause between two elections that one member brings about by naming later terms.
const NAMED_TERM_PAUSE: u32 = 4;

type Failure = RPCError<TypeConfig>;

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) timing: Timing,
    pub(crate) links: Arc<Links>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) named_terms: Mutex<NamedTerms>,
    pub(crate) ballots: Ballots,
    /// Set as soon as Raft runs; until then answers are not checked.
    pub(crate) raft: Arc<OnceLock<RaftNode>>,
}

/// Makes clients.
pub(crate) struct Network(pub(crate) Arc<Shared>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerClient {
        PeerClient {
            shared: Arc::clone(&self.0),
            target,
            member: node.clone(),
            shown: Arc::default(),
            told: Arc::default(),
            answered: Arc::default(),
        }
    }
}

/// How a message is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce(Channel),
    /// It may wait for a moment, to go with those of other vats.
    WithOthers,
}

/// Talks to one replica.
#[derive(Clone)]
pub(crate) struct PeerClient {
    shared: Arc<Shared>,
    target: u64,
    member: Member,
    /// The last term in which the member has answered as one that was shown this member's election.
    shown: Arc<AtomicU64>,
    /// The highest index whose proven commit a message to the member says.
    told: Arc<AtomicU64>,
    /// The last entries that the member has taken, and when.
    answered: Arc<Mutex<Option<(Question, Instant)>>>,
}

fn unreachable(text: impl ToString) -> Failure {
    RPCError::Unreachable(Unreachable::from_string(text))
}

fn lost(text: impl ToString) -> Failure {
    RPCError::Network(NetworkError::from_string(text))
}

fn failure(error: TransportError) -> Failure {
    match error {
        TransportError::Timeout => lost(error),
        // Openraft pauses before it tries again.
        _ => unreachable(error),
    }
}

impl PeerClient {
    async fn call(&self, channel: Channel, message: RaftMessage) -> Result<RaftReply, Failure> {
        self.send(Pace::AtOnce(channel), message).await
    }

    async fn send(&self, pace: Pace, message: RaftMessage) -> Result<RaftReply, Failure> {
        let mut frame = RaftFrame { target: self.target, message };
        self.show_election(&mut frame.message);
        let mut bytes = codec::encode(&frame);
        let mib = u32::try_from(bytes.len() >> 20).unwrap_or(u32::MAX);
        let link = self.shared.links.to(&self.member.key);
        let round_trips = link.timeout() * ROUND_TRIPS_PER_REQUEST;
        let deadline = self.shared.timing.request.max(round_trips) + MIB_PATIENCE.saturating_mul(mib);
        for again in [true, false] {
            let began = Instant::now();
            let transport = &self.shared.transport;
            let answer = match pace {
                Pace::WithOthers => transport.beat(&self.member, bytes.clone(), deadline).await,
                Pace::AtOnce(channel) => transport.request(&self.member, channel, bytes.clone(), deadline).await,
            };
            let reply: RaftReply = codec::decode(&answer.map_err(failure)?).map_err(unreachable)?;
            if pace != Pace::AtOnce(Channel::Append) {
                // Small, and answered at once but for a vote's flush.
                link.sample(began.elapsed());
            }
            if reply == RaftReply::WhoElectedYou {
                self.shown.store(0, Ordering::SeqCst);
                self.show_election(&mut frame.message);
                bytes = codec::encode(&frame);
                if !again && !self.shared.gate.is_still_elected() {
                    // Its voters are too few among the members by now: it stands for election anew.
                    if let RaftMessage::Append { vote, .. } = &frame.message {
                        return Ok(self.steps_down(vote));
                    }
                }
            } else if reply != RaftReply::WhoAreYou {
                if let RaftMessage::Append { vote, entries, .. } = &frame.message {
                    self.shown.store(vote.term, Ordering::SeqCst);
                    if matches!(reply, RaftReply::AppendSuccess(_)) && !entries.is_empty() {
                        let asked = (*vote, entries.last().map(WireEntry::position));
                        *self.answered() = Some((asked, Instant::now()));
                    }
                }
                if let Some(raft) = self.shared.raft.get() {
                    raft.believe(&frame.message, &reply).map_err(unreachable)?;
                    self.count(raft, &reply);
                }
                return Ok(reply);
            }
            self.shared.peers.introduce(&self.member).await.map_err(failure)?;
        }
        Err(unreachable("the other replica does not accept this host's membership, or its election"))
    }

    /// Returns what has openraft lead no more, though no other term has begun yet.
    fn steps_down(&self, vote: &WireVote) -> RaftReply {
        RaftReply::HigherVote(WireVote { term: vote.term + 1, node: self.target, committed: false }, None)
    }

    /// Takes in what the member acknowledges. Where openraft has taken for committed before what is proven only now, it does not tell the
    /// others by itself: they hear it at once.
    fn count(&self, raft: &RaftNode, reply: &RaftReply) {
        let RaftReply::AppendSuccess(acks) = reply else { return };
        let gate = &self.shared.gate;
        let before = gate.ordered();
        gate.acked(&self.member.key, acks);
        let waited = raft.committed().is_some_and(|committed| committed.index > before);
        if waited && gate.ordered() > before {
            raft.beat();
        }
    }

    /// Adds the proof of this member's election, if the other has not answered since.
    fn show_election(&self, message: &mut RaftMessage) {
        let RaftMessage::Append { vote, header: Some(header), .. } = message else { return };
        if self.shown.load(Ordering::SeqCst) != vote.term {
            let (term, proof) = self.shared.gate.proof();
            header.proof = proof.filter(|_| term == vote.term);
        }
    }

    /// Returns whether openraft is told of a later term. See [`super::terms`].
    fn tells_of(&self, vote: &WireVote, proof: Option<&TermProof>) -> bool {
        let Some(raft) = self.shared.raft.get() else { return false };
        if let Some(proof) = proof {
            let leader = raft.view().nodes.get(&vote.node).map(|member| member.key);
            if proof.term == vote.term && leader == Some(proof.leader) && self.shared.gate.proves(proof) {
                return true;
            }
        }
        let pause = self.shared.timing.election_max * NAMED_TERM_PAUSE;
        let mut terms = self.shared.named_terms.lock().unwrap_or_else(PoisonError::into_inner);
        let own = raft.frame_check().term;
        terms.is_told(self.target, (vote.term, own), self.shared.gate.joining(), pause, Instant::now())
    }

    /// Gives the other members the time to answer in an election, too. Returns whether it still goes on.
    async fn others_had_their_say(&self, asked: &WireVote, pre: bool) -> bool {
        let timing = &self.shared.timing;
        let moment = timing.heartbeat.min(timing.election_min / 4);
        // Their questions may not even have been sent yet.
        tokio::time::sleep(moment).await;
        // Late: this member stands again soon, and that may as well be in a later term.
        let _ = timeout(timing.election_min - moment * 2, self.shared.ballots.closed(asked.term, pre)).await;
        // Openraft may not have counted the last answer yet.
        tokio::time::sleep(moment).await;
        let own = self.shared.raft.get().map(|raft| raft.frame_check().term);
        own.is_none_or(|own| if pre { own < asked.term } else { own == asked.term })
    }

    /// The answer to a question for a vote, as openraft is to hear it. A later term that is only named must not end an election that
    /// others decide: they get the time to answer, however fast the one is that names it. What a log would be is only the other's word as
    /// well, and is not told.
    async fn voted(&self, asked: WireVote, pre: bool, reply: RaftReply) -> Result<VoteResponse<TypeConfig>, Failure> {
        let RaftReply::Vote { vote, granted, better, .. } = reply else {
            return Err(unreachable("an answer to something else"));
        };
        if let Some(better) = better {
            self.shared.gate.refused(vote.term, *better);
        }
        if granted {
            return Ok(VoteResponse::new(Vote::from(asked), None, true));
        }
        self.show_conviction(&vote);
        let is_told = vote.term >= asked.term && vote.node != asked.node;
        if !is_told || !self.others_had_their_say(&asked, pre).await {
            return Ok(VoteResponse::new(make_vote(0, 0, false), None, false));
        }
        Ok(VoteResponse::new(Vote::from(vote), None, false))
    }

    /// Shows the member what convicts the leader that it follows: it may have been away when the others were told. As long as it hears
    /// that leader it votes for nobody.
    fn show_conviction(&self, followed: &WireVote) {
        let Some(raft) = self.shared.raft.get().filter(|_| followed.committed) else { return };
        let leader = raft.view().nodes.get(&followed.node).map(|member| member.key);
        let Some(leader) = leader.filter(|leader| *leader != self.member.key) else { return };
        let Some(evidence) = self.shared.gate.convicting(&leader, followed.term) else { return };
        let (shared, member) = (Arc::clone(&self.shared), self.member.clone());
        // It is shown again when it refuses again.
        tokio::spawn(async move { shared.peers.show_conviction(&member, evidence).await });
    }

    /// Returns how a message without entries is sent: with others, unless it is the first to the member that tells of a commit with its proof.
    /// The members execute and sign when they hear that, and a caller waits for what they sign.
    fn pace(&self, commit: Option<LogPosition>) -> Pace {
        let proven = commit.map_or(0, |commit| commit.index).min(self.shared.gate.ordered());
        // If it does not arrive, the next heartbeat tells the same.
        let told = self.told.fetch_max(proven, Ordering::SeqCst);
        if proven > told { Pace::AtOnce(Channel::Vote) } else { Pace::WithOthers }
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Option<(Question, Instant)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether what the member has answered to entries a moment ago answers this, too (see [`super::links`]).
    fn has_answered(&self, asked: &Question) -> bool {
        let answered = *self.answered();
        let success = RaftReply::AppendSuccess(Vec::new());
        answered.is_some_and(|(earlier, at)| {
            at.elapsed() < self.shared.timing.heartbeat && stands_for(&earlier, &success, asked)
        })
    }

    /// Tells the member of a commit, without waiting for the answer: entries that come next would wait for it, too. Nothing is sent if the member
    /// proves the order by itself. Then the next heartbeat tells of it, as it does if this is lost. Returns whether that was possible.
    fn tells_of_commit(&self, message: &RaftMessage, asked: Question, pace: Pace) -> bool {
        if pace == Pace::WithOthers || !self.has_answered(&asked) {
            return false;
        }
        let gate = &self.shared.gate;
        gate.is_told_early(&self.member.key, gate.ordered())
            || self.begin_heartbeat(message.clone(), asked, pace).is_some()
    }

    /// Sends a heartbeat, unless too many are under way. Its answer counts for later ones if nobody waits for it.
    fn begin_heartbeat(
        &self,
        message: RaftMessage,
        asked: Question,
        pace: Pace,
    ) -> Option<oneshot::Receiver<Result<RaftReply, Failure>>> {
        let link = self.shared.links.to(&self.member.key);
        link.begin().then(|| {
            let (sender, receiver) = oneshot::channel();
            let client = self.clone();
            tokio::spawn(async move {
                let result = client.send(pace, message).await;
                let late = sender.send(result).err().and_then(Result::ok);
                link.ended(late.map(|reply| (asked, reply)));
            });
            receiver
        })
    }

    /// A heartbeat. It goes on when openraft gives up waiting for it; see [`super::links`].
    async fn heartbeat(&self, message: RaftMessage, asked: Question, pace: Pace) -> Result<RaftReply, Failure> {
        let link = self.shared.links.to(&self.member.key);
        let until = Instant::now() + self.shared.timing.request;
        let mut own = self.begin_heartbeat(message, asked, pace);
        loop {
            if let Some(reply) = link.take(&asked) {
                return Ok(reply);
            }
            let waits = own.is_none();
            let own_answer = async {
                match &mut own {
                    Some(own) => own.await.unwrap_or_else(|_| Err(lost("the task of a heartbeat has ended"))),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = own_answer => return answer,
                () = link.answered() => {}
                () = tokio::time::sleep_until(until), if waits => {
                    return Err(lost("too many heartbeats are not answered"));
                }
            }
        }
    }

    /// Sends a checkpoint and has it installed.
    async fn send_snapshot(&self, vote: WireVote, record: &SnapshotData) -> Result<WireVote, Failure> {
        let sent = self.shared.snapshots.send(&self.member, self.target, vote, record).await;
        let vote = sent.map_err(|error| match error {
            NotSent::Transport(error) => failure(error),
            NotSent::Refused(text) => unreachable(text),
        })?;
        if let Some(raft) = self.shared.raft.get() {
            raft.frame_check().answered(&vote).map_err(unreachable)?;
        }
        Ok(vote)
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let mut message = append_message(&request);
        let mut pace = Pace::WithOthers;
        if let RaftMessage::Append { vote, prev, entries, header, commit, .. } = &mut message {
            if self.shared.gate.is_left(vote.term) {
                return append_response(self.steps_down(vote)).ok_or_else(|| unreachable("no vote"));
            }
            let last = entries.last().map(WireEntry::position).or(*prev);
            *header = self.shared.gate.header(vote.term, *prev, last).map(Box::new);
            // Openraft tells what was committed under this leader. What it knows to be committed from before is told, too: a member
            // that was away has to execute that before it can judge a membership, and this leader may need it to commit anything.
            *commit = (*commit).max(self.shared.raft.get().and_then(RaftNode::committed));
            pace = self.pace(*commit);
        }
        let reply = match question(&message) {
            Some(asked) if self.tells_of_commit(&message, asked, pace) => RaftReply::AppendSuccess(Vec::new()),
            // Heartbeats must not wait behind large appends.
            Some(asked) => self.heartbeat(message, asked, pace).await?,
            None => self.call(Channel::Append, message).await?,
        };
        if let RaftReply::HigherVote(vote, proof) = &reply
            && self.shared.gate.is_still_elected()
            && !self.tells_of(vote, proof.as_deref())
        {
            return Err(unreachable(format!("it names term {}, and shows nobody who was elected in it", vote.term)));
        }
        append_response(reply).ok_or_else(|| unreachable("an answer to something else"))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let mut message = vote_message(&request, false);
        let asked = WireVote::from(&request.vote);
        if let RaftMessage::Vote { stand, .. } = &mut message {
            *stand = self.shared.gate.standing(asked.term).map(Box::new);
        }
        let open = self.shared.ballots.open(asked.term, false);
        let reply = self.call(Channel::Vote, message).await;
        drop(open);
        let reply = reply?;
        if let RaftReply::Vote { granted: true, grant, .. } = &reply {
            let Some(grant) = grant else { return Err(unreachable("a vote that nobody signed")) };
            self.shared.gate.granted(&self.member.key, **grant);
            // Openraft counts to a majority, which may be fewer than must elect. It also counts the votes of hosts that are no members yet.
            self.shared.gate.elected(asked.term).await;
        }
        self.voted(asked, false, reply).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let mut message = vote_message(&request, true);
        if let RaftMessage::Vote { vote, stand, .. } = &mut message {
            *stand = Some(Box::new(self.shared.gate.would_stand(vote.term)));
        }
        let asked = WireVote::from(&request.vote);
        let open = self.shared.ballots.open(asked.term, true);
        let reply = self.call(Channel::Vote, message).await;
        drop(open);
        let reply = reply?;
        let Shared { ballots, gate, timing, .. } = &*self.shared;
        let would = matches!(reply, RaftReply::Vote { granted: true, .. });
        ballots.said(self.member.key, asked.term, would);
        if would {
            ballots.enough_are_willing(asked.term, timing.election_min, |willing| gate.would_be_elected(willing)).await;
        }
        self.voted(asked, true, reply).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self.send_snapshot(WireVote::from(&vote), &snapshot.snapshot).fuse();
        let cancel = cancel.fuse();
        futures::pin_mut!(sending, cancel);
        futures::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(Vote::from(vote))),
                Err(error) => Err(StreamingError::from(error)),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        match self.call(Channel::Vote, transfer_message(&request)).await? {
            RaftReply::Transfer { accepted: true } => Ok(Ok(())),
            RaftReply::Transfer { accepted: false } => {
                Ok(Err(TransferLeaderError::LogNotFlushed { expected: request.last_log_id().copied(), actual: None }))
            }
            _ => Err(unreachable("an answer to something else")),
        }
    }
}
