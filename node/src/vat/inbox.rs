//! The inbox: takes slices from other vats, checks them against what this vat's state knows, gathers signatures of those that
//! have too few (the scoreboard), and has the good ones ordered.
//!
//! It only saves work: every replica checks the same evidence again when it applies the log, so nothing that gets past here
//! by mistake or malice is believed.

use super::{
    command::{VatCommand, VatResult},
    view::SharedView,
    wire::SliceReply,
};
use crate::{
    codec,
    evidence::{EvidenceError, Slice},
};
use quorate_consensus::{HostKey, MemberSignature, Membership, ReplicaHandle, Statement};
use quorate_engine::VatId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How long the vat may take to order a slice; below the shipper's deadline, so that it gets an answer.
const PROPOSE_DEADLINE: Duration = Duration::from_millis(4_500);
/// Statements that wait for more signatures, for each sender; older ones are forgotten first.
const WAITING_STATEMENTS: usize = 16;
/// Senders that the scoreboard follows at once.
const WAITING_SENDERS: usize = 1_024;

/// A statement with the good signatures seen so far.
type Gathered = (Statement, Vec<MemberSignature>);

/// The inbox of one replica.
pub struct Inbox {
    vat: VatId,
    replica: ReplicaHandle,
    view: SharedView,
    waiting: Mutex<BTreeMap<VatId, Vec<Gathered>>>,
    /// One proposal at a time for each sender: what several members ship at once is mostly the same.
    senders: Mutex<BTreeMap<VatId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Inbox {
    /// An inbox that proposes to `replica`.
    pub fn new(vat: VatId, replica: ReplicaHandle, view: SharedView) -> Self {
        Inbox { vat, replica, view, waiting: Mutex::default(), senders: Mutex::default() }
    }

    /// Takes a slice, however it came, and says what became of it.
    pub async fn take(&self, mut slice: Slice) -> SliceReply {
        let sender = slice.sender();
        if let Some(reply) = self.nothing_new(&slice) {
            return reply;
        }
        let known = self.view.peer(&sender).map(|peer| peer.known);
        let membership = match slice.verify_statement_epoch(known.as_ref(), &self.vat) {
            Ok(membership) => membership,
            Err(EvidenceError::Unknown) => return SliceReply::Introduce,
            Err(error) => return SliceReply::Refused { message: error.to_string() },
        };
        if let Err(message) = self.gather(&mut slice, &membership) {
            return SliceReply::Refused { message };
        }
        if slice.certificate.signatures.len() < usize::from(membership.threshold) {
            return SliceReply::NotYet { next: self.next_from(&sender), leader: self.leader() };
        }
        let gate = self.gate(sender);
        let _turn = gate.lock().await;
        if let Some(reply) = self.nothing_new(&slice) {
            return reply;
        }
        slice.trim(self.view.peer(&sender).map(|peer| peer.known).as_ref());
        let command = codec::encode(&VatCommand::Deliver(Box::new(slice)));
        match self.replica.propose(command, PROPOSE_DEADLINE).await {
            Ok(proposed) => match codec::decode::<VatResult>(&proposed.result) {
                Ok(VatResult::Delivered { next }) => SliceReply::Taken { next, leader: self.leader() },
                Ok(VatResult::NotYet { next }) => SliceReply::NotYet { next, leader: self.leader() },
                Ok(VatResult::Refused { message }) => SliceReply::Refused { message },
                Ok(other) => SliceReply::Refused { message: format!("unexpected result: {other:?}") },
                Err(error) => SliceReply::Refused { message: error.to_string() },
            },
            Err(error) => {
                tracing::debug!(vat = %self.vat, %sender, %error, "a slice was not ordered");
                SliceReply::NotYet { next: self.next_from(&sender), leader: self.leader() }
            }
        }
    }

    /// The answer for a slice whose messages and acknowledgement the state has already.
    fn nothing_new(&self, slice: &Slice) -> Option<SliceReply> {
        let peer = self.view.peer(&slice.sender())?;
        // A slice whose numbers don't add up is refused when its shape is checked.
        let carried_through = slice.begin.checked_add(slice.messages.len() as u64)?.checked_sub(1)?;
        (carried_through < peer.next_inbound && slice.head.ack <= peer.acknowledged)
            .then(|| SliceReply::Taken { next: peer.next_inbound, leader: self.leader() })
    }

    /// Merges a slice's good signatures with those seen before for the same statement. Bad ones are left out.
    fn gather(&self, slice: &mut Slice, membership: &Membership) -> Result<(), String> {
        let sender = slice.sender();
        let statement = &slice.certificate.statement;
        let payload = statement.payload();
        let mut good: Vec<MemberSignature> = Vec::new();
        for signature in slice.certificate.signatures.drain(..) {
            let fresh = good.iter().all(|other| other.key != signature.key);
            let member = membership.contains(&signature.key) && signature.verify(&payload).is_ok();
            if fresh && member {
                good.push(signature);
            }
        }
        if good.is_empty() {
            return Err("none of the slice's signatures is a member's".into());
        }
        if good.len() < usize::from(membership.threshold) {
            let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if waiting.len() >= WAITING_SENDERS {
                waiting.pop_first();
            }
            let statements = waiting.entry(sender).or_default();
            let at = statements.iter().position(|(other, _)| other == statement).unwrap_or_else(|| {
                if statements.len() >= WAITING_STATEMENTS {
                    statements.remove(0);
                }
                statements.push((statement.clone(), Vec::new()));
                statements.len() - 1
            });
            let gathered = &mut statements[at].1;
            for signature in good.drain(..) {
                if gathered.iter().all(|other| other.key != signature.key) {
                    gathered.push(signature);
                }
            }
            good.clone_from(gathered);
        }
        slice.certificate.signatures = good;
        Ok(())
    }

    fn gate(&self, sender: VatId) -> Arc<tokio::sync::Mutex<()>> {
        let mut senders = self.senders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if senders.len() >= WAITING_SENDERS {
            senders.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        senders.entry(sender).or_default().clone()
    }

    fn next_from(&self, sender: &VatId) -> u64 {
        self.view.peer(sender).map_or(1, |peer| peer.next_inbound)
    }

    fn leader(&self) -> Option<HostKey> {
        self.replica.status().leader
    }
}
