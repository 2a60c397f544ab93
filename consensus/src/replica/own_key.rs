//! What the other members know of this host's key and this replica does not: that its log was rolled back, or that another
//! process runs with the same key.
//!
//! Every member keeps the latest statement that it has of each other member, and is asked for it at the start of a replica and
//! every now and then afterwards. A statement that this host signed, of a block that is neither in its log nor in its guard:
//!
//! - in the first answer of a member since the start: the log was rolled back (a disk that lost what it had synced, a home that
//!   was copied back). Members have counted entries as safe because this replica had them. It stops (`Q-C045`) and keeps the
//!   statement as its guard: when it is started again it neither votes nor leads nor signs until its log has passed that block
//!   and executing it has given the same statement. Its log is filled again by the leader, as a learner's is.
//! - later: somebody else signs with the key (`Q-C046`).
//!
//! The second case is seldom seen so, as two processes mostly say the same. Therefore each life of a replica has a random name,
//! and signs a [`Presence`] for the member that it asks. It says which other life of the same key the member last told it of.
//! A presence that names this very life was made after it began, by another one: both run (`Q-C046`).
//!
//! Invariants: nothing is believed but this host's own signature, so no member can stop another by a lie; a replica that has
//! nothing to fear is not stopped: a signature from before this host was taken out of the vat and admitted again is of a block
//! that is in the log by the time it is a member.
//!
//! Absent: if the only members that are reachable have nothing of what was lost, nothing is noticed until the others are back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::exchange::ShareFrame;
use crate::certificate::{MemberSignature, Statement};
use crate::error::TransportError;
use crate::ids::{Canonical, HostKey, VatId};
use crate::membership::Member;
use crate::raft::RaftNode;
use crate::scoreboard::Share;

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

    /// Whether this is the word of another life of the key `key` that was told of `life`.
    pub(crate) fn contradicts(&self, vat: &VatId, key: &HostKey, life: &Life) -> bool {
        self.knows.as_ref() == Some(life) && self.is_of_another(vat, key, life)
    }

    fn is_of_another(&self, vat: &VatId, key: &HostKey, life: &Life) -> bool {
        let payload = Self::payload(vat, &self.life, self.knows.as_ref());
        self.life != *life && self.signature.key == *key && self.signature.verify(&payload).is_ok()
    }
}

/// The latest words of each other member's key, of two of its lives at most.
#[derive(Default)]
pub(crate) struct Presences(BTreeMap<HostKey, [Option<Presence>; 2]>);

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

/// What was heard of this host's own key in this life, by the member that said it.
#[derive(Default)]
pub(crate) struct Heard(BTreeMap<HostKey, Option<Life>>);

/// Asks all members once, before Raft starts and this replica can vote: for no longer than an election takes, and not at all
/// those that can't be reached.
pub(crate) async fn ask_before_start(core: &Arc<Core>) {
    let asked = others(core).into_iter().map(|member| async move { ask(core, &member).await });
    // Whoever has not answered is asked again by `run`.
    let _ = tokio::time::timeout(core.timing.election_min, futures::future::join_all(asked)).await;
}

/// Asks all members every now and then.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping();
    loop {
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(core.timing.share_retry * ROUND_PAUSE) => {}
        }
        for member in others(&core) {
            let core = Arc::clone(&core);
            tokio::spawn(async move { ask(&core, &member).await });
        }
    }
}

/// Ends the recovery of a replica whose log had lost what it signed, once it is there again.
pub(crate) async fn recover(core: Arc<Core>, raft: RaftNode) {
    let block = core.recovering.load(Ordering::SeqCst);
    let mut flushed = core.log.flushed();
    let mut stopping = core.stopping();
    tokio::select! {
        () = stopping.wait() => return,
        reached = flushed.wait_for(|flushed| *flushed >= block) => if reached.is_err() { return },
    }
    core.recovering.store(0, Ordering::SeqCst);
    raft.stand_for_election(true);
    core.set_status(|status| status.recovering = None);
    tracing::info!(vat = %core.vat, block, "the log has again what this host had signed; it votes again");
}

fn others(core: &Core) -> Vec<Member> {
    let known = core.known();
    known.newest().members.iter().filter(|member| member.key != core.key).cloned().collect()
}

async fn ask(core: &Arc<Core>, member: &Member) {
    if !core.known().applied.membership.contains(&core.key) {
        return;
    }
    let Ok((first, statement, presence)) = exchange(core, member).await else { return };
    if core.is_stopped() {
        return;
    }
    if let Some(statement) = statement {
        unknown_signature(core, member, &statement, first);
    } else if presence.is_some_and(|presence| presence.contradicts(&core.vat, &core.key, &core.life)) {
        core.fault(format!(
            "Q-C046 another process runs with this host's key: {} has heard from both. Stop one of the two and never start it \
             again; a key belongs to one host",
            name(member)
        ));
    }
}

/// Asks one member. Returns whether it is its first answer in this life, and what it has that this replica has not.
async fn exchange(
    core: &Arc<Core>,
    member: &Member,
) -> Result<(bool, Option<Statement>, Option<Presence>), TransportError> {
    let lock = || core.heard_of_self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let knows = lock().0.get(&member.key).copied().flatten();
    let payload = Presence::payload(&core.vat, &core.life, knows.as_ref());
    let presence = Presence { life: core.life, knows, signature: MemberSignature::sign(&core.signing, &payload) };
    let frame = ShareFrame::Inquire { above: core.signed_through.load(Ordering::SeqCst), presence };
    let reply = core.exchange(member, &frame).await?;
    let other = reply.presence.filter(|presence| presence.is_of_another(&core.vat, &core.key, &core.life));
    let mut heard = lock();
    let first = !heard.0.contains_key(&member.key);
    let told = heard.0.entry(member.key).or_default();
    *told = other.map(|other| other.life).or(*told);
    let own = reply.signed.and_then(|share| own_statement(core, share));
    // Only now, as the replica went on signing meanwhile.
    let (signed, (last, _)) = (core.signed_through.load(Ordering::SeqCst), core.log.ends());
    Ok((first, own.filter(|statement| statement.block > signed.max(last)), other))
}

/// A statement of this vat that this host has signed.
fn own_statement(core: &Core, share: Share) -> Option<Statement> {
    let Share::Statement(statement, signature) = share else { return None };
    let own = signature.key == core.key && statement.vat == core.vat;
    (own && signature.verify(&statement.payload()).is_ok()).then_some(statement)
}

fn unknown_signature(core: &Arc<Core>, member: &Member, statement: &Statement, first: bool) {
    // On disk before it stops: the next start must know.
    let noted = core.store.write_synced(vec![core.store.put_guard(statement)]);
    if core.check(noted).is_none() {
        return;
    }
    let (block, (last, _)) = (statement.block, core.log.ends());
    let text = if first {
        format!(
            "Q-C045 this host's log was rolled back: {} has this host's signature for block {block}, and the log here ends at \
             {last}. Find out whether the disk lost writes or an older copy of the home was put back; then start the host \
             again. It does not vote or sign until its log has passed that block, or replace the member",
            name(member)
        )
    } else {
        format!(
            "Q-C046 another process runs with this host's key: {} has this key's signature for block {block}, which was made \
             since this replica started and not by it. Stop one of the two and never start it again; a key belongs to one host",
            name(member)
        )
    };
    core.fault(text);
}

fn name(member: &Member) -> String {
    if member.name.is_empty() { format!("member {}", member.key) } else { format!("member {:?}", member.name) }
}
