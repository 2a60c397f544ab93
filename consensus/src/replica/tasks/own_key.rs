//! Learns from the other members what this replica does not know of its own key: its log was rolled back, or another
//! process runs with the same key.
//!
//! Every member keeps the latest statement of each other member. A replica asks for its own at its start and
//! now and then afterwards. An answer matters if it has a statement that this host signed, of a block that is neither in its log nor in its watermark:
//!
//! - In the first answer of a member since the start: the log was rolled back (a disk that lost synced writes, a home that
//!   was copied back). Members have counted entries as safe because this replica had them. It stops (`Q-C045`) and keeps the
//!   statement as its watermark. When it is started again, it neither votes nor leads nor signs until its log has passed that block
//!   and executing it has given the same statement. The leader fills its log again, as a learner's.
//! - In a later answer: another process signs with the key (`Q-C046`).
//!
//! The second case seldom shows in statements, as two processes mostly sign the same. Therefore each life of a replica has a random name,
//! and signs a [`Presence`] for the member that it asks. The presence names the other life of the same key that the member last reported.
//! A presence that names this very life was made after it began, by another process: both run (`Q-C046`).
//!
//! Invariants: only this host's own signature counts, so no member can stop another by a lie. A sound
//! replica is not stopped: a signature from before this host was removed from the vat and admitted again is of a block
//! that is in the log by the time it is a member.
//!
//! Absent: if the only reachable members lack the lost statement, the replica notices nothing until the others are back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::TransportError;
use crate::proof::certificate::{MemberSignature, Statement};
use crate::proof::membership::Member;
use crate::proof::shares::Share;
use crate::raft::log::LogStore;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::status::StatusCell;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use crate::storage::{SignedWatermark, VatStore};
use quorate_ids::{Canonical, HostId, VatId};

/// Times `share_retry`: the pause between two rounds of questions.
const ROUND_PAUSE: u32 = 5;

/// The name of one life of a replica.
pub(crate) type Life = [u8; 16];

/// A new one. Only distinct lives of one key must differ, but nobody else may guess the name before it is shown.
pub(crate) fn new_life() -> Result<Life, String> {
    let mut life = [0; 16];
    getrandom::fill(&mut life).map_err(|error| error.to_string())?;
    Ok(life)
}

/// Signed by a life of a replica for one other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) life: Life,
    /// Another life of this key, of which the member told this one.
    pub(crate) knows: Option<Life>,
    pub(crate) signature: MemberSignature,
}

impl Presence {
    pub(crate) fn payload(vat: &VatId, life: &Life, knows: Option<&Life>) -> Vec<u8> {
        let mut writer = Canonical::new("quorate/presence/1");
        writer.fixed(&vat.0).bytes(life).bytes(knows.map_or(&[][..], |knows| &knows[..]));
        writer.finish()
    }

    /// Returns whether this is the word of another life of the key `key` that was told of `life`.
    pub(crate) fn contradicts(&self, vat: &VatId, key: &HostId, life: &Life) -> bool {
        self.knows.as_ref() == Some(life) && self.is_of_another(vat, key, life)
    }

    fn is_of_another(&self, vat: &VatId, key: &HostId, life: &Life) -> bool {
        let payload = Self::payload(vat, &self.life, self.knows.as_ref());
        self.life != *life && self.signature.key == *key && self.signature.verify(&payload).is_ok()
    }
}

/// The latest words of each other member's key, of two of its lives at most.
#[derive(Default)]
pub(crate) struct Presences(BTreeMap<HostId, [Option<Presence>; 2]>);

impl Presences {
    /// Takes note of one, and returns the latest word of another life of the same key.
    pub(crate) fn exchange(&mut self, presence: Presence) -> Option<Presence> {
        let [latest, before] = self.0.entry(presence.signature.key).or_default();
        if latest.is_some_and(|latest| latest.life != presence.life) {
            *before = *latest;
        }
        *latest = Some(presence);
        before.filter(|before| before.life != presence.life)
    }
}

/// What members have shown of this host's own key in this life, by the member that showed it.
#[derive(Default)]
struct Answers(BTreeMap<HostId, Option<Life>>);

/// What a replica knows of the use of its own key.
pub(crate) struct OwnKey {
    /// Names this life of the replica.
    life: Life,
    /// The highest block that this host is known to have signed, in all its lives. On disk before a share of it leaves.
    signed_through: AtomicU64,
    /// Until the log has this block again this replica neither votes nor leads; 0 as a rule.
    recovering: AtomicU64,
    answers: Mutex<Answers>,
}

impl OwnKey {
    /// `signed_through`: what this host signed in its last lives. `recovering`: the same block, if the log lacks it.
    pub(crate) fn new(life: Life, signed_through: u64, recovering: Option<u64>) -> OwnKey {
        OwnKey {
            life,
            signed_through: AtomicU64::new(signed_through),
            recovering: AtomicU64::new(recovering.unwrap_or(0)),
            answers: Mutex::default(),
        }
    }

    /// This host is about to sign a statement of this block.
    pub(crate) fn signs(&self, block: u64) {
        self.signed_through.fetch_max(block, Ordering::SeqCst);
    }

    fn signed_through(&self) -> u64 {
        self.signed_through.load(Ordering::SeqCst)
    }

    /// Returns whether the log lacks what this host has signed.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::SeqCst) > 0
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the members what they have of this host's key.
#[derive(Clone)]
pub(crate) struct KeyWatch {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) share: ShareClient,
    pub(crate) store: VatStore,
    pub(crate) log: LogStore,
    pub(crate) own_key: Arc<OwnKey>,
}

impl KeyWatch {
    /// Asks all members once, before Raft starts and this replica can vote: for no longer than an election takes, and not at
    /// all those that can't be reached.
    pub(crate) async fn ask_before_start(&self) {
        let asked = self.others().into_iter().map(|member| async move { self.ask(&member).await });
        // `run` asks members again that have not answered.
        let _ = tokio::time::timeout(self.identity.timing.election_min, futures::future::join_all(asked)).await;
    }

    /// Asks all members every now and then.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = self.lifecycle.pause(self.identity.timing.share_retry * ROUND_PAUSE) => {}
            }
            for member in self.others() {
                let watch = self.clone();
                tokio::spawn(async move { watch.ask(&member).await });
            }
        }
    }

    /// Ends the recovery of a replica whose log had lost what it signed, once it is there again.
    pub(crate) async fn recover(self) {
        let block = self.own_key.recovering.load(Ordering::SeqCst);
        let mut flushed = self.log.flushed();
        let mut stopping = self.lifecycle.stopping();
        tokio::select! {
            () = stopping.wait() => return,
            reached = flushed.wait_for(|flushed| *flushed >= block) => if reached.is_err() { return },
        }
        self.own_key.recovering.store(0, Ordering::SeqCst);
        self.status.set(|status| status.recovering = None);
        tracing::info!(vat = %self.identity.vat, block, "the log has again what this host had signed; it votes again");
    }

    fn others(&self) -> Vec<Member> {
        let view = self.members.view();
        view.newest().members.iter().filter(|member| member.key != self.identity.key).cloned().collect()
    }

    async fn ask(&self, member: &Member) {
        let Identity { vat, key, .. } = &*self.identity;
        if !self.members.view().applied.membership.contains(key) {
            return;
        }
        let Ok((first, statement, presence)) = self.exchange(member).await else { return };
        if self.lifecycle.is_stopped() {
            return;
        }
        if let Some(statement) = statement {
            self.unknown_signature(member, &statement, first);
        } else if presence.is_some_and(|presence| presence.contradicts(vat, key, &self.own_key.life)) {
            self.lifecycle.fault(format!(
                "Q-C046 another process runs with this host's key: {} has heard from both. Stop one of the two and never start it \
                 again; a key belongs to one host",
                name(member)
            ));
        }
    }

    /// Asks one member. Returns whether it is its first answer in this life, and what it has that this replica has not.
    async fn exchange(&self, member: &Member) -> Result<(bool, Option<Statement>, Option<Presence>), TransportError> {
        let Identity { vat, key, .. } = &*self.identity;
        let life = self.own_key.life;
        let knows = self.own_key.answers().0.get(&member.key).copied().flatten();
        let signature = self.identity.sign(&Presence::payload(vat, &life, knows.as_ref()));
        let presence = Presence { life, knows, signature };
        let frame = ShareFrame::Inquire { above: self.own_key.signed_through(), presence };
        let reply = self.share.exchange(member, &frame).await?;
        let other = reply.presence.filter(|presence| presence.is_of_another(vat, key, &life));
        let mut answers = self.own_key.answers();
        let first = !answers.0.contains_key(&member.key);
        let shown = answers.0.entry(member.key).or_default();
        *shown = other.map(|other| other.life).or(*shown);
        let own = reply.signed.and_then(|share| self.own_statement(share));
        // Only now, as the replica went on signing meanwhile.
        let (signed, (last, _)) = (self.own_key.signed_through(), self.log.ends());
        Ok((first, own.filter(|statement| statement.block > signed.max(last)), other))
    }

    /// A statement of this vat that this host has signed.
    fn own_statement(&self, share: Share) -> Option<Statement> {
        let Share::Statement(statement, signature) = share else { return None };
        let own = signature.key == self.identity.key && statement.vat == self.identity.vat;
        (own && signature.verify(&statement.payload()).is_ok()).then_some(statement)
    }

    fn unknown_signature(&self, member: &Member, statement: &Statement, first: bool) {
        // On disk before it stops: the next start must know.
        let signed = SignedWatermark::of(statement);
        let marked = self.store.set_mark(|mark| mark.signed = mark.signed.max(Some(signed)), true);
        let noted = marked.and_then(|()| self.store.write_synced(vec![self.store.put_watermark(statement)]));
        if self.lifecycle.check(noted).is_none() {
            return;
        }
        let (block, (last, _)) = (statement.block, self.log.ends());
        let text = if first {
            format!(
                "Q-C045 this host's log was rolled back: {} has this host's signature for block {block}, and the log here ends at \
                 {last}. Find out whether the disk lost writes or an older copy of the home was put back; then start the host \
                 again, or have it repaired (`vat member repair`). It does not vote or sign until its log has passed that block, or replace the member",
                name(member)
            )
        } else {
            format!(
                "Q-C046 another process runs with this host's key: {} has this key's signature for block {block}, which was made \
                 since this replica started and not by it. Stop one of the two and never start it again; a key belongs to one host",
                name(member)
            )
        };
        self.lifecycle.fault(text);
    }
}

fn name(member: &Member) -> String {
    if member.name.is_empty() { format!("member {}", member.key) } else { format!("member {:?}", member.name) }
}
