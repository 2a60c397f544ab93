//! The order protocol around openraft: decides what openraft learns of leaders, terms and entries, and what this member signs of elections.
//!
//! Invariants: openraft learns of a leader only after the leader has shown its election. It gets only entries that match the leader's signed
//! header and contradict nothing that the leader sent in its term. A vote is signed only when it is on disk, and once a term.
//! [`Member`] decides all that. Its log mirrors openraft's log, which is the truth.
//!
//! The epoch in all signatures is 0, since one log goes on over all epochs. Each membership proves the order up to the entry that ends it. The
//! next one proves it from there, once it is certified.

mod complaints;
mod convictions;
mod memberships;
mod ordering;
#[cfg(test)]
mod tests;

use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::watch;

use self::convictions::Denied;
use self::memberships::{Counting, epoch_of, refresh};
pub(super) use self::memberships::{Turning, turn};
use super::log::LogStore;
use super::ports::Voters;
use crate::error::StoreError;
use crate::order::chain;
use crate::order::frames::{Header, WireEntry, WireVote};
use crate::proof::certificate::MemberSignature;
use crate::proof::equivocation::EvidenceRecord;
use crate::proof::order_evidence::{Checks, OrderEvidence};
use crate::state::LogPosition;
use crate::storage::{VatStore, Write};
use quorate_ids::{Hash, HostId};
use quorate_order::chain::{Head, Log, Point};
use quorate_order::member::{Append, Message, Stand, Taken, To, Vote, Write as OrderWrite};
use quorate_order::proofs::{OrderCertificate, Support, TermProof};
use quorate_order::refusal::Refusal;
use quorate_order::signed::{Ack, Complaint, Grant, Lead};
use quorate_order::signing::{Checking, Signature, Signed, Signing};
use quorate_order::{Durable, Member, Output, Step};

/// The record of [`Vote`].
const VOTE: &str = "order-vote";
/// The record of the highest order certificate whose log this one contains.
const ORDER: &str = "order-certificate";

/// This member's key, and how to check others'.
pub(crate) struct Keys(pub(crate) SigningKey);

impl Checking for Keys {
    fn verify(&self, signer: &HostId, payload: &[u8], signature: &Signature) -> bool {
        Checks.verify(signer, payload, signature)
    }
}

impl Signing for Keys {
    fn sign(&self, payload: &[u8]) -> Signature {
        Signature(MemberSignature::sign(&self.0, payload).signature)
    }
}

/// Why openraft does not hear of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// A signer is not known here as a member.
    WhoAreYou,
    /// Nothing shows that the sender was elected.
    WhoElectedYou,
    /// The term is over here; this one is the present one.
    OldTerm(u64),
    /// The log here does not hold what comes before the entries.
    Conflict,
    /// Anything else.
    Refused(String),
}

impl From<Refusal> for Barred {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoProof { .. } | Refusal::BadProof(_) => Barred::WhoElectedYou,
            Refusal::OldTerm { found, present } if found == present => {
                Barred::Refused(format!("Q-C052 a threshold of the members has left the leader of term {found}"))
            }
            Refusal::OldTerm { present, .. } => Barred::OldTerm(present),
            Refusal::Conflict { .. } => Barred::Conflict,
            other => Barred::Refused(format!("Q-C050 {other}")),
        }
    }
}

/// Why a candidate gets no vote.
pub(crate) struct NoVote {
    /// The term here.
    pub(crate) term: u64,
    pub(crate) why: String,
    /// What the candidate should know first.
    pub(crate) better: Option<Box<OrderCertificate>>,
}

/// What a gate is made of.
pub(crate) struct GateParts {
    pub(crate) key: SigningKey,
    pub(crate) store: VatStore,
    pub(crate) voters: Arc<dyn Voters>,
    /// The first entry of the vat's log.
    pub(crate) first: WireEntry,
    /// Told of all that convicts a member, perhaps more than once.
    pub(crate) convictions: Box<dyn Fn(OrderEvidence) + Send + Sync>,
}

struct State {
    member: Member,
    /// Whose votes counted when it was looked last, and from where up to where.
    counting: Counting,
    /// Entries that may change that, as long as they are not executed. Some are of no log here.
    turns: BTreeSet<Turning>,
    /// Up to where entries were executed.
    executed: u64,
    /// What this member shows in the election that it stands in.
    standing: Option<Stand>,
    /// The header that was signed last: heartbeats repeat it.
    header: Option<Signed<Lead>>,
    /// What is to be written with openraft's next write, of which a failure stops Raft. Nothing leaves before: openraft saves its own
    /// vote when it votes, and when it hears of a leader.
    pending: Pending,
    /// Acknowledgements for the leader that go with the next answer to it.
    acks: Vec<Signed<Ack>>,
    /// This member's complaint of the present leader, to be sent.
    complaint: Option<Signed<Complaint>>,
    /// An order certificate for the candidate that was refused last.
    better: Option<Box<OrderCertificate>>,
    /// The index that this member, as the leader, wants acknowledged by all.
    mark: u64,
    /// Members that are convicted, and of each what convicts it of the latest term: up to that one it leads no more.
    convicted: BTreeMap<HostId, OrderEvidence>,
    /// Entries of the present leader that are of another log than this member knows to be right.
    denied: Option<Denied>,
}

/// Records that are to be written.
#[derive(Default)]
struct Pending {
    vote: Option<Write>,
    order: Option<Write>,
}

/// See the head of the module.
pub(crate) struct OrderGate {
    own: HostId,
    keys: Keys,
    store: VatStore,
    voters: Arc<dyn Voters>,
    root: Point,
    raft_id: OnceLock<u64>,
    state: Mutex<State>,
    /// Entries and votes of others are taken one after the other.
    turn: tokio::sync::Mutex<()>,
    /// The last term that this member was elected in.
    elected: watch::Sender<u64>,
    /// Up to where the order is proven here.
    ordered: watch::Sender<u64>,
    /// What this member tells the others that it has acknowledged.
    own_ack: watch::Sender<Option<Signed<Ack>>>,
    convictions: Box<dyn Fn(OrderEvidence) + Send + Sync>,
    /// Leaders that were left since the replica began.
    left: AtomicU64,
}

impl OrderGate {
    /// Reads the log, the vote, and who is convicted.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn open(parts: GateParts, log: &LogStore) -> Result<OrderGate, StoreError> {
        let GateParts { key, store, voters, first, convictions } = parts;
        let vat = store.vat();
        let at = first.position();
        let root = Point { term: at.term, index: at.index, chain: chain::next(&chain::root(&vat), &first) };
        let counting = Counting { counted: voters.counted(), turns: Vec::new() };
        let epoch = Arc::new(epoch_of(&store, root, &counting));
        let own = HostId(key.verifying_key().to_bytes());
        let mut durable = Durable::new(&epoch, log.vote_term());
        durable.log = Log::new(log.purged_point().unwrap_or(root));
        durable.certified = durable.log.root().index;
        let mut turns = BTreeSet::new();
        log.each_entry(durable.log.root().index + 1, |entry| {
            durable.log.push(head(entry));
            let Point { index, chain, .. } = durable.log.last();
            turns.extend(turn(entry).map(|turn| (index, chain, turn)));
        })?;
        if let Some(vote) = store.named::<Vote>(VOTE)?.filter(|vote| vote.term >= durable.vote.term) {
            durable.vote = vote;
        }
        let stored: Option<OrderCertificate> = store.named(ORDER)?;
        let on_the_log = |order: &OrderCertificate| {
            let log = &durable.log;
            log.root().index >= order.position.index || log.holds(order.position.index, &order.chain)
        };
        if let Some(order) = stored.filter(on_the_log) {
            durable.order = order;
        }
        let mut convicted = BTreeMap::new();
        for record in store.evidence()? {
            if let EvidenceRecord::Order(order) = record {
                convictions::note(&mut convicted, order);
            }
        }
        let mut state = State {
            member: Member::new(own, epoch, durable),
            counting,
            turns,
            executed: 0,
            standing: None,
            header: None,
            pending: Pending::default(),
            acks: Vec::new(),
            complaint: None,
            better: None,
            mark: 0,
            convicted,
            denied: None,
        };
        refresh(&mut state, &store, &*voters, root, &[]);
        let ordered = watch::channel(state.member.clamp(u64::MAX)).0;
        Ok(OrderGate {
            own,
            keys: Keys(key),
            store,
            voters,
            root,
            raft_id: OnceLock::new(),
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::default(),
            elected: watch::channel(0).0,
            ordered,
            own_ack: watch::channel(None).0,
            convictions,
            left: AtomicU64::new(0),
        })
    }

    /// Returns up to where the last run knew the order, and the log's chain there.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn promised(store: &VatStore) -> Result<Option<(u64, Hash)>, StoreError> {
        let order: Option<OrderCertificate> = store.named(ORDER)?;
        let proven = order.filter(|order| order.support != Support::Root);
        Ok(proven.map(|order| (order.position.index, order.chain)))
    }

    /// Says under which id Raft runs.
    pub(super) fn runs_as(&self, raft_id: u64) {
        // It is said once: a replica has one id in a life.
        let _ = self.raft_id.set(raft_id);
    }

    /// Waits until no entries or votes of others are being taken.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.lock_for(&[])
    }

    /// `coming`: entries that may change who counts, and may be in the log after the step.
    fn lock_for(&self, coming: &[Turning]) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        refresh(&mut state, &self.store, &*self.voters, self.root, coming);
        state
    }

    /// Returns what the step gives, and a vote for another if it leads to one.
    fn step<T>(&self, run: impl FnOnce(&mut Member, &mut Step<'_>) -> T) -> (T, Option<Signed<Grant>>) {
        self.step_with(Vec::new(), run)
    }

    /// The same. `turns`: entries that may change who counts, and may come into the log.
    fn step_with<T>(
        &self,
        turns: Vec<Turning>,
        run: impl FnOnce(&mut Member, &mut Step<'_>) -> T,
    ) -> (T, Option<Signed<Grant>>) {
        let mut state = self.lock_for(&turns);
        let may_turn = !turns.is_empty();
        state.turns.extend(turns);
        let mut outputs = Vec::new();
        let result = run(&mut state.member, &mut Step { signing: &self.keys, outputs: &mut outputs });
        if may_turn {
            // What was not taken in is forgotten.
            let State { member, turns, .. } = &mut *state;
            turns.retain(|(index, chain, _)| member.durable().log.holds(*index, chain));
        }
        let (mut granted, mut convicted) = (None, Vec::new());
        for output in outputs {
            match output {
                Output::Write(OrderWrite::Vote(vote)) => {
                    state.pending.vote = Some(self.store.put_named(VOTE, &vote));
                }
                Output::Write(OrderWrite::Order(order)) => {
                    state.pending.order = Some(self.store.put_named(ORDER, &order));
                }
                Output::Send { to: To::All, message: Message::Ack(ack), .. } => {
                    self.own_ack.send_replace(Some(ack));
                }
                Output::Send { message: Message::Ack(ack), .. } => state.acks.push(ack),
                Output::Send { message: Message::Complaint(complaint), .. } => state.complaint = Some(complaint),
                Output::Left { term, leader } => self.leave(term, &leader),
                Output::Send { message: Message::Refused(refused), .. } => state.better = refused.order.map(Box::new),
                Output::Send { message: Message::Grant(grant), .. } => granted = Some(grant),
                Output::Send { message: Message::Stand(stand), .. } => state.standing = Some(stand),
                Output::Elected(proof) => {
                    self.elected.send_replace(proof.term);
                }
                Output::Convicted(evidence) => convicted.push(evidence),
                _ => {}
            }
        }
        let upto = state.member.clamp(u64::MAX);
        self.ordered.send_if_modified(|ordered| std::mem::replace(ordered, upto) != upto);
        drop(state);
        convicted.into_iter().for_each(|evidence| self.found(evidence));
        (result, granted)
    }

    /// Returns up to where the order is proven, and what has to be on disk before this member signs anything of a block up to there.
    pub(crate) fn promise(&self) -> (u64, Vec<Write>) {
        let mut state = self.lock();
        let Pending { vote, .. } = std::mem::take(&mut state.pending);
        let durable = state.member.durable();
        // Also what another write has taken along already: that one may come to the disk later than this one.
        let order = self.store.put_named(ORDER, &durable.order);
        (state.member.clamp(u64::MAX), vote.into_iter().chain([order]).collect())
    }

    /// Returns what is to be written with the next write of the log or the vote.
    pub(crate) fn pending(&self) -> Vec<Write> {
        let Pending { vote, order } = std::mem::take(&mut self.lock().pending);
        vote.into_iter().chain(order).collect()
    }

    /// Openraft is about to save a vote. Returns what has to be written with it: of an own election, that this member stands.
    pub(super) fn saves_vote(&self, vote: &WireVote) -> Vec<Write> {
        let own = self.raft_id.get() == Some(&vote.node);
        self.step(|member, step| {
            if own && !vote.committed && vote.term > member.term().0 {
                // It fails only if the member has stopped; then nobody hears that it stands.
                let _ = member.stand(vote.term, step);
            } else {
                member.noticed(vote.term, step);
            }
        });
        self.pending()
    }

    /// Openraft's log has these entries now. Returns what has to be written with them.
    /// `turns`: those that may change who counts.
    pub(super) fn mirrored(&self, entries: &[(Point, Head)], turns: Vec<Turning>) -> Vec<Write> {
        self.step_with(turns, |member, step| {
            entries.iter().for_each(|(point, head)| member.mirrored(point, *head, step))
        });
        self.pending()
    }

    /// Openraft's log was cut there. Returns what has to be written with that.
    pub(super) fn purged(&self, at: Point) -> Vec<Write> {
        self.step(|member, step| member.purged(at, step));
        self.pending()
    }

    /// Openraft's log ends there, and nothing is being taken.
    pub(crate) fn trimmed(&self, last: u64) {
        self.step(|member, step| member.trimmed(last, step));
    }

    /// Returns what this member shows as the candidate of a term; nothing if it does not stand in it.
    pub(super) fn standing(&self, term: u64) -> Option<Stand> {
        self.lock().standing.clone().filter(|stand| stand.term == term)
    }

    /// Takes in a vote for this member. One that does not count changes nothing.
    pub(super) fn granted(&self, by: &HostId, grant: Signed<Grant>) {
        if grant.by == *by {
            self.step(|member, step| {
                let _ = member.granted(grant, step);
            });
        }
    }

    /// Returns when this member is elected in a term.
    pub(super) async fn elected(&self, term: u64) {
        // It fails only if the gate is gone, and then nobody waits.
        let _ = self.elected.subscribe().wait_for(|elected| *elected == term).await;
    }

    /// Votes for `candidate`, or not. The vote leaves when openraft has voted, too, which is when it is on disk.
    pub(crate) fn vote(&self, candidate: &HostId, stand: &Stand) -> Result<Signed<Grant>, NoVote> {
        let (voted, granted) = self.step(|member, step| {
            let voted = member.vote(candidate, stand, false, step);
            voted.map_err(|refusal| (member.term().0, refusal.to_string()))
        });
        if let Err((term, why)) = voted {
            return Err(NoVote { term, why, better: self.lock().better.take() });
        }
        granted.ok_or_else(|| NoVote { term: stand.term, why: "no vote".into(), better: None })
    }

    /// The proof of the present term, and the term.
    pub(crate) fn proof(&self) -> (u64, Option<Box<TermProof>>) {
        let state = self.lock();
        let proof = state.member.proof().cloned().map(Box::new);
        (state.member.term().0, proof)
    }

    /// Returns whether the votes by which this member leads make a proof among those who are members now: those who have not seen it yet
    /// would not follow otherwise.
    pub(super) fn is_still_elected(&self) -> bool {
        let proof = self.lock().member.proof().cloned();
        proof.is_some_and(|proof| self.proves(&proof))
    }

    /// Returns how many of the members are not all liars.
    pub(crate) fn joining(&self) -> usize {
        self.lock().member.epoch().joining()
    }

    /// Returns whether the proof has enough votes.
    pub(super) fn proves(&self, proof: &TermProof) -> bool {
        let state = self.lock();
        self.counted_only(&state, proof.clone()).verify(state.member.epoch(), &self.keys).is_ok()
    }

    /// Without the votes of those who are not members here (yet): they count for nothing, and spoil nothing.
    fn counted_only(&self, state: &State, mut proof: TermProof) -> TermProof {
        proof.grants.retain(|grant| state.member.epoch().contains(&grant.by));
        proof
    }

    /// The header of what this member sends as the leader of a term; nothing if it was not elected in it.
    pub(super) fn header(&self, term: u64, prev: Option<LogPosition>, last: Option<LogPosition>) -> Option<Header> {
        let mut state = self.lock();
        if !state.member.leads() || state.member.term().0 != term {
            return None;
        }
        let log = &state.member.durable().log;
        let before = prev.and_then(|prev| log.point(prev.index)).map_or(quorate_ids::Hash::ZERO, |point| point.chain);
        let point = last.and_then(|last| log.point(last.index));
        let lead = point.and_then(|Point { index, chain, .. }| {
            let same = |known: &Signed<Lead>| {
                (known.content.term, known.content.last, known.content.chain) == (term, index, chain)
            };
            state
                .header
                .filter(|known| same(known))
                .or_else(|| state.member.header(index, &Step { signing: &self.keys, outputs: &mut Vec::new() }).ok())
        });
        state.header = lead.or(state.header);
        let order = &state.member.durable().order;
        let order = (order.support != Support::Root).then(|| Box::new(order.clone()));
        Some(Header { lead, before, proof: None, order, mark: mark(&mut state) })
    }

    /// Follows a leader, if its election was or is shown.
    pub(crate) fn follow(&self, from: &HostId, term: u64, proof: Option<TermProof>) -> Result<(), Barred> {
        let proof = {
            let state = self.lock();
            if state.convicted.get(from).is_some_and(|of| term <= of.term()) {
                return Err(Barred::Refused(format!("Q-C051 {from} is convicted, and leads term {term} no more")));
            }
            proof.map(|proof| self.counted_only(&state, proof))
        };
        Ok(self.step(|member, step| member.follow_leader(from, term, proof, step)).0?)
    }

    /// Takes in what a leader sends, before openraft hears of it. Returns where the log has to be cut first.
    pub(crate) fn append(
        &self,
        from: &HostId,
        prev: Option<LogPosition>,
        entries: &[WireEntry],
        header: &Header,
    ) -> Result<Option<u64>, Barred> {
        if header.order.as_deref().is_some_and(|order| self.is_strange(order)) {
            return Err(Barred::WhoAreYou);
        }
        let (prev, entries) = match (prev, entries.split_first()) {
            (Some(LogPosition { term, index }), _) => (Point { term, index, chain: header.before }, entries),
            (None, None) => {
                let order = header.order.as_deref().cloned();
                self.step(|member, step| member.hear(order, header.mark, step));
                return Ok(None);
            }
            (None, Some((first, rest))) => {
                let at = first.position();
                let chain = chain::next(&chain::root(&self.store.vat()), first);
                if (Point { term: at.term, index: at.index, chain }) != self.root {
                    return Err(Barred::Refused("Q-C050 a log that does not begin as the vat's does".into()));
                }
                (self.root, rest)
            }
        };
        let lead = header.lead.ok_or_else(|| Barred::Refused("Q-C050 entries that nobody signed".into()))?;
        let heads: Vec<Head> = entries.iter().map(head).collect();
        let (mut chain, mut turns) = (prev.chain, Vec::new());
        for (entry, head) in entries.iter().zip(&heads) {
            let index = entry.position().index;
            chain = quorate_order::chain::next_chain(&chain, index, head);
            turns.extend(turn(entry).map(|turn| (index, chain, turn)));
        }
        let mut is_denied = false;
        let (taken, _) = self.step_with(turns, |member, step| {
            // Members whose membership has ended may have acknowledged more than they prove.
            let ordered = member.clamp(u64::MAX);
            if contradicts(&member.durable().log, &prev, &heads, ordered) {
                is_denied = true;
                return Err(Barred::Refused(format!(
                    "Q-C050 entries that contradict what a threshold has acknowledged up to {ordered}"
                )));
            }
            let order = header.order.as_deref().cloned();
            let append = Append { lead, prev, heads, mark: header.mark, order, proof: None };
            match member.append(from, append, step) {
                Ok(Taken::Appended { cut }) => Ok(cut),
                // They are all certified: openraft leaves them be.
                Err(Refusal::BelowRoot { .. }) => Ok(None),
                Ok(Taken::Staged { .. } | Taken::Reopened { .. }) => Err(Barred::Conflict),
                Err(refusal) => {
                    is_denied = is_of_another_log(&refusal);
                    Err(refusal.into())
                }
            }
        });
        if is_denied && lead.by == *from && lead.verifies(&self.store.vat(), &self.keys) {
            let heads = entries.iter().map(head).collect();
            self.lock().denied = Some(Denied { lead, prev, heads });
        }
        taken
    }
}

/// Returns whether an honest leader's entries are never refused for this reason.
fn is_of_another_log(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::CutsCertified { .. } | Refusal::Equivocated { .. } | Refusal::BaseMissing)
}

/// The index that a leader wants acknowledged by all: one until it is proven, then the last one.
fn mark(state: &mut State) -> Option<u64> {
    let (durable, (term, _)) = (state.member.durable(), state.member.term());
    let (ordered, last) = (durable.order.position, durable.log.last());
    let proven = if ordered.term == term { state.member.clamp(u64::MAX) } else { 0 };
    let known = durable.log.point(state.mark).is_some_and(|point| point.term == term);
    if !known || state.mark <= proven {
        state.mark = last.index;
    }
    (last.term == term && state.mark > proven).then_some(state.mark)
}

/// Returns what the chain says of an entry.
pub(super) fn head(entry: &WireEntry) -> Head {
    Head { term: entry.position().term, content: chain::content_hash(&entry.content) }
}

/// Returns whether entries would cut what is ordered.
fn contradicts(log: &Log, prev: &Point, heads: &[Head], ordered: u64) -> bool {
    let differs = log.holds(prev.index, &prev.chain).then(|| prev.index + 1 + log.common(prev, heads) as u64);
    differs.is_some_and(|first| first <= prev.index + heads.len() as u64 && first <= ordered.min(log.last().index))
}
