//! Messages of replicas beside Raft: shares, certificates, introductions.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

use crate::codec;
use crate::proof::certificate::{Certificate, Statement};
use crate::proof::clock::ClockStatement;
use crate::proof::equivocation::Signed;
use crate::proof::membership::{MAX_CHAIN, Member, MembershipCertificate};
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::Share;
use crate::raft::gate::OrderGate;
use crate::raft::ports::Peers;
use crate::replica::approval::Approvals;
use crate::replica::clock::Clocks;
use crate::replica::membership_view::Members;
use crate::replica::rest::Rest;
use crate::replica::tasks::complaints::Complaints;
use crate::replica::tasks::own_key::{Presence, Presences};
use crate::replica::tasks::signer::SignerInput;
use crate::replica::tasks::sleeper::Sleeper;
use crate::replica::wire::complaint::ComplaintFrame;
use crate::replica::wire::propose::Payload;
use crate::state::drafts::{Answer, Draft};
use crate::stats::StatsCell;
use crate::timing::Timing;
use crate::transport::{Channel, Transport, TransportError};
use quorate_ids::HostId;
use quorate_order::proofs::OrderCertificate;
use quorate_order::signed::{Ack, Lead};
use quorate_order::signing::Signed as OrderSigned;

/// Shares in one frame at most.
pub(crate) const MAX_SHARES: usize = 512;
/// Certificates in one frame at most: each has a signature of every member.
pub(crate) const MAX_CERTIFICATES: usize = 128;
/// Blocks asked for at once at most.
pub(crate) const MAX_ASKED: usize = 256;

/// Bytes of memberships in one frame, about; a longer chain goes in several. One membership may have 130 KiB.
const CHAIN_FRAME_BYTES: usize = 512 << 10;
/// Bytes in one answer at most; the caller asks for the rest.
pub(crate) const REPLY_BYTES: usize = 960 << 10;

/// A request on the share channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ShareFrame {
    /// Shares that the sender signed.
    Push(Vec<Share>),
    /// Wanted: shares or certificates of these blocks, and memberships after this epoch.
    Ask { blocks: Vec<u64>, epoch: u64 },
    /// The chain of memberships: proves by itself who is in the vat.
    Introduce(Vec<MembershipCertificate>),
    /// Is the replica with this raft id no longer needed?
    Retired { raft_id: u64 },
    /// Wanted: a statement that the sender signed, of a block after this one; and what another life of it has shown.
    Inquire { above: u64, presence: Presence },
    /// Wanted: the receiver's approval of a change or motion that the sender proposes; or that it comes, of the newcomer.
    Draft(Draft),
    /// The sender has given up its draft of a change of members, or of a motion.
    Withdraw { motion: bool },
    /// What another member signed towards the sender. Wanted: what it signed of the same block towards the receiver, if that is
    /// something else.
    Compare(Signed<Statement>),
    /// Wanted: what the receiver's clock shows.
    Clock,
    /// The header of the present leader that goes farthest here. Wanted: the receiver's, or what both prove together.
    Led(OrderSigned<Lead>),
    /// What convicts a member.
    Convicted(Box<OrderEvidence>),
    /// The leader has not ordered this command of the sender, or one that the sender was told of; the sender has looked at its log up to
    /// before the index `from`. The leader puts it first; the others watch that it does.
    Wanted { payload: Payload, from: u64 },
    /// The sender wants another leader. Wanted: the receiver's order certificate.
    Complaint(Box<ComplaintFrame>),
    /// Certificates that the sender has gathered, for those who have sent it their shares.
    Certified(Vec<Certificate>),
    /// What proves the order here.
    Ordered(Box<OrderCertificate>),
    /// The sender has acknowledged that to the leader; the leader, that it has it on its own disk.
    Acknowledged(OrderSigned<Ack>),
    /// The sender leads in this term, and finds nothing to do up to this end of the log. Wanted: that the receiver sleeps. Refused: it has something to do.
    Rest { term: u64, end: u64 },
    /// The sender has woken, and wants to hear its leader.
    Wake,
}

/// An answer on the share channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShareReply {
    pub(crate) shares: Vec<Share>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) memberships: Vec<MembershipCertificate>,
    pub(crate) retired: bool,
    /// The latest statement of the host that asked.
    pub(crate) signed: Option<Share>,
    /// The latest word of another life of the host that asked.
    pub(crate) presence: Option<Presence>,
    /// What the host says to a draft.
    pub(crate) answer: Option<Answer>,
    /// What a member signed of a block, other than what was shown.
    pub(crate) other: Option<Signed<Statement>>,
    /// What the host's clock shows.
    pub(crate) clock: Option<ClockStatement>,
    /// The header of the present leader that goes farthest there.
    pub(crate) led: Option<OrderSigned<Lead>>,
    /// What that leader is convicted of.
    pub(crate) convicted: Option<Box<OrderEvidence>>,
    /// The order certificate there, if the sender of a complaint lacks it.
    pub(crate) order: Option<Box<OrderCertificate>>,
}

/// Cuts a chain into runs that fit a frame each.
pub(crate) fn in_parts(chain: Vec<MembershipCertificate>) -> Vec<Vec<MembershipCertificate>> {
    let mut parts: Vec<Vec<MembershipCertificate>> = Vec::new();
    let mut bytes = 0;
    for certificate in chain {
        let size = codec::encode(&certificate).len();
        match parts.last_mut() {
            Some(part) if bytes + size <= CHAIN_FRAME_BYTES => {
                part.push(certificate);
                bytes += size;
            }
            _ => {
                parts.push(vec![certificate]);
                bytes = size;
            }
        }
    }
    parts
}

/// Asks other members on the share channel.
#[derive(Clone)]
pub(crate) struct ShareClient {
    pub(crate) timing: Timing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) signer: mpsc::Sender<SignerInput>,
}

impl ShareClient {
    /// Sends the chain of memberships to a host that may not know them.
    pub(crate) async fn introduce_to(&self, member: &Member) -> Result<(), TransportError> {
        for part in in_parts(self.members.chain()) {
            self.exchange(member, &ShareFrame::Introduce(part)).await?;
        }
        Ok(())
    }

    /// One request on the share channel.
    pub(crate) async fn exchange(&self, member: &Member, frame: &ShareFrame) -> Result<ShareReply, TransportError> {
        let bytes = codec::encode(frame);
        let answer = self.transport.request(member, Channel::Share, bytes, self.timing.request).await?;
        codec::decode(&answer).map_err(|error| TransportError::Refused(error.to_string()))
    }

    /// Asks a member for shares and certificates and enters what comes.
    pub(crate) async fn ask(&self, member: &Member, blocks: Vec<u64>, epoch: u64) {
        let Ok(reply) = self.exchange(member, &ShareFrame::Ask { blocks, epoch }).await else { return };
        let from = member.key;
        let shares = reply.shares.into_iter().filter(|share| share.signer() == from).collect();
        let input = SignerInput::Received { shares, certificates: reply.certificates, memberships: reply.memberships };
        // The receiver is gone only if the replica is stopping.
        let _ = self.signer.send(input).await;
    }
}

impl ShareClient {
    /// Shows a member what another one signed, and enters what that one signed there.
    pub(crate) async fn compare(&self, member: &Member, theirs: Signed<Statement>) {
        let signer = theirs.signer();
        let Ok(reply) = self.exchange(member, &ShareFrame::Compare(theirs)).await else { return };
        if let Some(other) = reply.other.filter(|other| other.signer() == signer) {
            // The receiver is gone only if the replica is stopping.
            let _ = self.signer.send(SignerInput::Shown(other)).await;
        }
    }
}

impl ShareClient {
    /// Shows a member what the leader has signed here, and hears what it signed there: both together may be of two logs.
    pub(crate) async fn compare_leader(&self, member: &Member) {
        let Some(own) = self.gate.farthest() else { return };
        let Ok(reply) = self.exchange(member, &ShareFrame::Led(own)).await else { return };
        // What proves nothing changes nothing.
        let _ = reply.convicted.map(|evidence| self.gate.convict(*evidence));
        let _ = reply.led.and_then(|lead| self.gate.shown(&lead));
    }
}

impl Peers for ShareClient {
    fn introduce<'a>(&'a self, to: &'a Member) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.introduce_to(to))
    }

    fn show_conviction<'a>(
        &'a self,
        to: &'a Member,
        evidence: OrderEvidence,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move { self.exchange(to, &ShareFrame::Convicted(Box::new(evidence))).await.map(drop) })
    }
}

/// Answers other members on the share channel.
pub(crate) struct ShareServer {
    pub(crate) members: Arc<Members>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) signer: mpsc::Sender<SignerInput>,
    /// What other members' lives have shown.
    pub(crate) presences: Mutex<Presences>,
    /// Of changes of members.
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) complaints: Arc<Complaints>,
    /// Of motions.
    pub(crate) motions: Arc<Approvals>,
    pub(crate) rest: Arc<Rest>,
    pub(crate) sleeper: Arc<Sleeper>,
}

impl ShareServer {
    fn approvals_of(&self, motion: bool) -> &Approvals {
        if motion { &self.motions } else { &self.approvals }
    }

    /// Returns whether a sleeping replica has to look after something because of this. Others are answered in sleep.
    fn brings_work(&self, frame: &ShareFrame) -> bool {
        match frame {
            ShareFrame::Push(_)
            | ShareFrame::Draft(_)
            | ShareFrame::Withdraw { .. }
            | ShareFrame::Convicted(_)
            | ShareFrame::Wanted { .. }
            | ShareFrame::Complaint(_)
            | ShareFrame::Wake => true,
            ShareFrame::Certified(certificates) => {
                let known = self.rest.certified_block();
                certificates.iter().any(|certificate| certificate.statement.block > known)
            }
            ShareFrame::Ordered(order) => order.position.index > self.gate.ordered(),
            ShareFrame::Ask { .. }
            | ShareFrame::Introduce(_)
            | ShareFrame::Retired { .. }
            | ShareFrame::Inquire { .. }
            | ShareFrame::Compare(_)
            | ShareFrame::Clock
            | ShareFrame::Led(_)
            | ShareFrame::Acknowledged(_)
            | ShareFrame::Rest { .. } => false,
        }
    }

    /// Serves a request on the share channel.
    pub(crate) async fn serve(&self, from: HostId, frame: ShareFrame) -> Result<ShareReply, TransportError> {
        let refused = |text: &str| Err(TransportError::Refused(text.into()));
        if let ShareFrame::Introduce(chain) = frame {
            if chain.len() > MAX_CHAIN {
                return refused("the chain is too long");
            }
            let memberships = self.members.learn(chain);
            let input = SignerInput::Received { shares: Vec::new(), certificates: Vec::new(), memberships };
            // Full or gone: the signer asks for what it lacks by itself.
            let _ = self.signer.try_send(input);
            return Ok(ShareReply::default());
        }
        if !self.members.view().is_acquainted(&from) {
            return refused("not a member");
        }
        if self.brings_work(&frame) {
            self.rest.wake(Some(&from));
        }
        match frame {
            ShareFrame::Rest { term, end } => match self.sleeper.serve(&from, term, end) {
                Ok(()) => Ok(ShareReply::default()),
                Err(text) => refused(&text),
            },
            ShareFrame::Wake => Ok(ShareReply::default()),
            ShareFrame::Push(shares) => {
                if shares.len() > MAX_SHARES || shares.iter().any(|share| share.signer() != from) {
                    return refused("shares of others, or too many");
                }
                self.stats.update(|stats| stats.shares_received += shares.len() as u64);
                let input = SignerInput::Received { shares, certificates: Vec::new(), memberships: Vec::new() };
                // Full: the shares will be asked for.
                let _ = self.signer.try_send(input);
                Ok(ShareReply::default())
            }
            ShareFrame::Certified(certificates) => {
                if certificates.len() > MAX_CERTIFICATES {
                    return refused("too many certificates");
                }
                let input = SignerInput::Received { shares: Vec::new(), certificates, memberships: Vec::new() };
                // Full: they will be asked for.
                let _ = self.signer.try_send(input);
                Ok(ShareReply::default())
            }
            ShareFrame::Ask { blocks, epoch } => {
                if blocks.len() > MAX_ASKED {
                    return refused("too many blocks");
                }
                let (reply, answer) = tokio::sync::oneshot::channel();
                let input = SignerInput::Ask { blocks, epoch, reply };
                if self.signer.send(input).await.is_err() {
                    return refused("stopping");
                }
                answer.await.map_err(|_| TransportError::Refused("stopping".into()))
            }
            ShareFrame::Retired { raft_id } => {
                Ok(ShareReply { retired: self.members.view().is_retired(raft_id), ..ShareReply::default() })
            }
            ShareFrame::Inquire { above, presence } => {
                if presence.signature.key != from {
                    return refused("the presence of another host");
                }
                let presence = self.presences.lock().unwrap_or_else(PoisonError::into_inner).exchange(presence);
                let (reply, answer) = tokio::sync::oneshot::channel();
                if self.signer.send(SignerInput::Inquire { by: from, above, reply }).await.is_err() {
                    return refused("stopping");
                }
                let signed = answer.await.map_err(|_| TransportError::Refused("stopping".into()))?;
                Ok(ShareReply { signed, presence, ..ShareReply::default() })
            }
            ShareFrame::Draft(draft) => {
                let answer = self.approvals_of(draft.is_motion()).serve_draft(from, draft);
                Ok(ShareReply { answer: Some(answer), ..ShareReply::default() })
            }
            ShareFrame::Withdraw { motion } => {
                self.approvals_of(motion).serve_withdrawal(from);
                Ok(ShareReply::default())
            }
            ShareFrame::Compare(theirs) => {
                if theirs.signer() == from {
                    return refused("what the sender signed itself");
                }
                let (reply, answer) = tokio::sync::oneshot::channel();
                if self.signer.send(SignerInput::Compare { theirs, reply }).await.is_err() {
                    return refused("stopping");
                }
                let other = answer.await.map_err(|_| TransportError::Refused("stopping".into()))?;
                Ok(ShareReply { other, ..ShareReply::default() })
            }
            ShareFrame::Clock => Ok(ShareReply { clock: self.clocks.state(), ..ShareReply::default() }),
            ShareFrame::Led(lead) => {
                let convicted = self.gate.shown(&lead).map(Box::new);
                Ok(ShareReply { led: self.gate.farthest(), convicted, ..ShareReply::default() })
            }
            ShareFrame::Convicted(evidence) => match self.gate.convict(*evidence) {
                Ok(_) => Ok(ShareReply::default()),
                Err(error) => Err(TransportError::Refused(error.to_string())),
            },
            ShareFrame::Ordered(order) => {
                self.gate.learn(*order);
                Ok(ShareReply::default())
            }
            ShareFrame::Acknowledged(ack) if ack.by != from => refused("the acknowledgement of another member"),
            ShareFrame::Acknowledged(ack) => {
                self.gate.overheard(ack);
                Ok(ShareReply::default())
            }
            ShareFrame::Wanted { payload, from: looked } => match self.complaints.wanted(from, payload, looked) {
                Ok(()) => Ok(ShareReply::default()),
                Err(text) => refused(&text),
            },
            ShareFrame::Complaint(frame) => match self.complaints.heard(from, *frame).await {
                Ok(order) => Ok(ShareReply { order, ..ShareReply::default() }),
                Err(text) => refused(&text),
            },
            ShareFrame::Introduce(_) => Ok(ShareReply::default()),
        }
    }
}
