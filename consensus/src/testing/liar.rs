//! See [`Liar`].

use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;

use super::fabricated::FAR_AHEAD_MS;
use super::faces::Faces;
use super::heard::Heard;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::proof::certificate::{Certificate, MemberSignature, Statement};
use crate::proof::clock::ClockStatement;
use crate::proof::membership::{Genesis, Membership, MembershipCertificate};
use crate::proof::shares::Share;
use crate::raft::gate::Keys;
use crate::replica::wire::propose::{Payload, ProposeFrame};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::state::block::Block;
use crate::transport::Channel;
use quorate_ids::{Hash, HostId};
use quorate_order::signed::{Grant, Position};
use quorate_order::signing::Signed as OrderSigned;

/// A way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Signs one statement for some members and another for the rest.
    Equivocate,
    /// Signs statements and memberships that no replica ever made.
    SignAnything,
    /// Keeps its shares to itself.
    Withhold,
    /// Sends what it would sign anyway, with signatures that do not verify.
    BadSignatures,
    /// Sends shares, certificates and signatures that others never gave.
    Forge,
    /// Sends again, in its own name, what it got from others, also of past epochs.
    Replay,
    /// Answers questions for shares, certificates and memberships with what is false.
    FalseSource,
    /// Introduces itself with memberships that nobody certified.
    FalseChain,
    /// Offers checkpoints that nobody certified.
    FalseCheckpoint,
    /// Acknowledges entries that it has not got.
    FalseAcks,
    /// Votes for every candidate.
    FalseVotes,
    /// Names terms that no election began: in its own elections, and in answers to leaders and candidates.
    FalseTerms,
    /// Orders changes of the membership that nobody approved of.
    Order,
    /// States times that are far ahead, and has ticks ordered with them.
    FalseTime,
    /// As leader, sends the members other entries under the same name.
    TwoFaced,
    /// As leader, orders nothing of what others hand on that begins with a zero.
    Starve,
    /// As leader, keeps to itself what proves the order of its entries.
    KeepOrder,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 17] = [
        Lie::Equivocate,
        Lie::SignAnything,
        Lie::Withhold,
        Lie::BadSignatures,
        Lie::Forge,
        Lie::Replay,
        Lie::FalseSource,
        Lie::FalseChain,
        Lie::FalseCheckpoint,
        Lie::FalseAcks,
        Lie::FalseVotes,
        Lie::FalseTerms,
        Lie::Order,
        Lie::FalseTime,
        Lie::TwoFaced,
        Lie::Starve,
        Lie::KeepOrder,
    ];
    /// Those of leaders. A member that tells none of them never leads.
    pub const OF_LEADERS: [Lie; 3] = [Lie::TwoFaced, Lie::Starve, Lie::KeepOrder];
}

/// Throws dice: a number below the one given.
pub type Throw<'a> = &'a mut dyn FnMut(u64) -> u64;

/// A frame that the liar makes up, and the channel it goes on.
pub type Fabrication = (Channel, Vec<u8>);

/// One lying member. It lies in one way after the other, or in several at once.
pub struct Liar {
    pub(super) key: SigningKey,
    pub(super) genesis: Genesis,
    /// Its lies at present.
    pub lies: BTreeSet<Lie>,
    pub(super) heard: Heard,
    faces: Faces,
    /// A statement of the present, to make false ones from.
    pub(super) latest: Option<Statement>,
    pub(super) latest_membership: Membership,
}

impl Liar {
    /// A member of the vat of this genesis with this key, which does not lie yet.
    pub fn new(key: SigningKey, genesis: &Genesis) -> Liar {
        Liar {
            key,
            genesis: genesis.clone(),
            lies: BTreeSet::new(),
            heard: Heard::default(),
            faces: Faces::default(),
            latest: None,
            latest_membership: genesis.membership(),
        }
    }

    pub(super) fn tells(&self, lie: Lie) -> bool {
        self.lies.contains(&lie)
    }

    pub(super) fn key(&self) -> HostId {
        HostId(self.key.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, payload: &[u8]) -> MemberSignature {
        MemberSignature::sign(&self.key, payload)
    }

    /// Its own signature, and others' that they never gave: of as many members as sign.
    pub(super) fn forged_signatures(&self, payload: &[u8]) -> Vec<MemberSignature> {
        let others = self.latest_membership.members.iter().map(|member| member.key).filter(|key| *key != self.key());
        let others = others.map(unsigned).take(usize::from(self.latest_membership.threshold).saturating_sub(1));
        std::iter::once(self.sign(payload)).chain(others).collect()
    }

    /// The membership that it would like to follow: itself.
    pub(super) fn wanted_membership(&self) -> Membership {
        let mut next = self.latest_membership.clone();
        next.previous = next.hash();
        next.epoch += 1;
        let own = self.key();
        next.members.retain(|member| member.key == own);
        next.threshold = 1;
        next
    }

    /// A request that its replica sends to a member. `None`: it does not leave.
    pub fn request(&mut self, to: &HostId, channel: Channel, frame: Vec<u8>, throw: Throw<'_>) -> Option<Vec<u8>> {
        match channel {
            Channel::Share => match codec::decode(&frame) {
                Ok(ShareFrame::Push(shares)) => self.push(to, shares, throw),
                _ => Some(frame),
            },
            Channel::Vote | Channel::Append => match codec::decode::<RaftFrame>(&frame) {
                Ok(RaftFrame { message: RaftMessage::Vote { .. }, .. }) if !self.would_lead() => None,
                Ok(RaftFrame { target, message }) if self.would_lead() => {
                    let message = self.led(to, message);
                    Some(codec::encode(&RaftFrame { target, message }))
                }
                _ => Some(frame),
            },
            _ => Some(frame),
        }
    }

    fn would_lead(&self) -> bool {
        Lie::OF_LEADERS.iter().any(|lie| self.tells(*lie))
    }

    /// Returns what a member is sent instead of what its replica sends as the leader.
    fn led(&mut self, to: &HostId, mut message: RaftMessage) -> RaftMessage {
        if self.tells(Lie::KeepOrder)
            && let RaftMessage::Append { header: Some(header), .. } = &mut message
        {
            header.order = None;
        }
        let (key, vat) = (self.key.clone(), self.genesis.vat_id());
        match to.0[0] & 1 {
            0 if self.tells(Lie::TwoFaced) => self.faces.show(&key, &vat, to, message, two_faced),
            _ => message,
        }
    }

    /// Returns whether its replica sees a request of another member. One that leads as it should not listens to no complaints.
    pub fn takes(&self, channel: Channel, frame: &[u8]) -> bool {
        if channel == Channel::Share
            && self.would_lead()
            && matches!(codec::decode(frame), Ok(ShareFrame::Complaint(_)))
        {
            return false;
        }
        let of_the_starved =
            |payload: &Payload| matches!(payload, Payload::Command(bytes) if bytes.0.first() == Some(&0));
        let starves = self.tells(Lie::Starve)
            && match channel {
                Channel::Propose => {
                    codec::decode(frame).is_ok_and(|ProposeFrame(payloads)| payloads.iter().any(of_the_starved))
                }
                Channel::Share => {
                    matches!(codec::decode(frame), Ok(ShareFrame::Wanted { payload, .. }) if of_the_starved(&payload))
                }
                _ => false,
            };
        !starves
    }

    fn push(&mut self, to: &HostId, shares: Vec<Share>, throw: Throw<'_>) -> Option<Vec<u8>> {
        if self.tells(Lie::Withhold) && throw(4) > 0 {
            return None;
        }
        let other = self.tells(Lie::Equivocate) && to.0[0] & 1 == 0;
        let bad = self.tells(Lie::BadSignatures);
        let mut sent = Vec::new();
        for share in shares {
            match share {
                Share::Statement(statement, signature) => {
                    self.latest = Some(statement.clone());
                    if other {
                        let false_one = Statement { outbox_root: Hash([9; 32]), ..statement };
                        let signature = self.sign(&false_one.payload());
                        sent.push(Share::Statement(false_one, signature));
                    } else {
                        sent.push(Share::Statement(statement, if bad { unsigned(signature.key) } else { signature }));
                    }
                }
                Share::Membership(membership, signature) => {
                    self.latest_membership = membership.clone();
                    sent.push(Share::Membership(membership, if bad { unsigned(signature.key) } else { signature }));
                }
            }
        }
        Some(codec::encode(&ShareFrame::Push(sent)))
    }

    /// Its replica's answer to a request of another member.
    pub fn answer(
        &mut self,
        from: &HostId,
        channel: Channel,
        request: &[u8],
        answer: Vec<u8>,
        throw: Throw<'_>,
    ) -> Vec<u8> {
        self.heard.note(channel, request);
        match channel {
            Channel::Vote | Channel::Append => match codec::decode::<RaftFrame>(request) {
                Ok(asked) => self.raft_answer(from, &asked.message, throw).unwrap_or(answer),
                Err(_) => answer,
            },
            Channel::Share => match codec::decode(&answer) {
                Ok(reply) if self.tells(Lie::FalseSource) => {
                    let asked = codec::decode(request).ok();
                    codec::encode(&self.false_reply(from, asked, reply))
                }
                Ok(reply) if self.tells(Lie::BadSignatures) => codec::encode(&unsigned_reply(reply)),
                Ok(ShareReply { clock: Some(_), .. }) if self.tells(Lie::FalseTime) => {
                    let far = ClockStatement::sign(&self.key, &self.latest_membership, FAR_AHEAD_MS + throw(1_000));
                    codec::encode(&ShareReply { clock: Some(far), ..ShareReply::default() })
                }
                _ => answer,
            },
            _ => answer,
        }
    }

    /// Returns what it says to Raft instead of its replica's answer.
    fn raft_answer(&self, from: &HostId, asked: &RaftMessage, throw: Throw<'_>) -> Option<Vec<u8>> {
        let (vote, is_append) = match asked {
            RaftMessage::Append { vote, .. } => (vote, true),
            RaftMessage::Vote { vote, .. } => (vote, false),
            RaftMessage::Transfer { .. } => return None,
        };
        let reply = match asked {
            _ if self.tells(Lie::FalseTerms) && throw(3) == 0 => {
                // A later election that it took part in, or says that it did.
                let vote = WireVote { term: vote.term + 1 + throw(50), node: self.heard.own_raft_id, committed: false };
                if is_append {
                    RaftReply::HigherVote(vote, None)
                } else {
                    RaftReply::Vote { vote, granted: false, last: None, grant: None, better: None }
                }
            }
            RaftMessage::Append { .. } if self.tells(Lie::FalseAcks) => RaftReply::AppendSuccess(Vec::new()),
            RaftMessage::Vote { vote, last, .. } if self.tells(Lie::FalseVotes) => {
                let term = vote.term;
                let position = Position::default();
                let grant = Grant { epoch: 0, term, candidate: *from, position, since: 0 };
                let grant = OrderSigned::new(grant, self.key(), &self.genesis.vat_id(), &Keys(self.key.clone()));
                RaftReply::Vote { vote: *vote, granted: true, last: *last, grant: Some(Box::new(grant)), better: None }
            }
            _ => return None,
        };
        Some(codec::encode(&reply))
    }

    fn false_reply(&self, asker: &HostId, asked: Option<ShareFrame>, mut reply: ShareReply) -> ShareReply {
        for certificate in &mut reply.certificates {
            certificate.statement.outbox_root = Hash([8; 32]);
        }
        for membership in &mut reply.memberships {
            membership.membership.threshold = 1;
        }
        for share in &mut reply.shares {
            if let Share::Statement(statement, signature) = share {
                statement.outbox_root = Hash([7; 32]);
                *signature = self.sign(&statement.payload());
            }
        }
        if let Some(statement) = &self.latest {
            let ahead = Statement { block: statement.block + 1_000, ..statement.clone() };
            let signature = MemberSignature { key: *asker, ..self.sign(&ahead.payload()) };
            reply.signed = Some(Share::Statement(ahead, signature));
            if let Some(ShareFrame::Ask { blocks, .. }) = asked {
                let of = |block| self.forged_certificate(Statement { block, ..statement.clone() });
                reply.certificates.extend(blocks.into_iter().map(of));
                let membership = self.wanted_membership();
                let signatures = self.forged_signatures(&membership.payload());
                reply.memberships.push(MembershipCertificate { membership, signatures });
            }
        }
        reply.retired = true;
        reply
    }

    /// A certificate of something that nobody computed.
    pub(super) fn forged_certificate(&self, statement: Statement) -> Certificate {
        let statement = Statement { outbox_root: Hash([3; 32]), ..statement };
        let signatures = self.forged_signatures(&statement.payload());
        Certificate { statement, signatures }
    }
}

/// A signature that a member never gave.
pub(super) fn unsigned(key: HostId) -> MemberSignature {
    MemberSignature { key, signature: [1; 64] }
}

fn unsigned_reply(mut reply: ShareReply) -> ShareReply {
    for share in &mut reply.shares {
        match share {
            Share::Statement(_, signature) | Share::Membership(_, signature) => *signature = unsigned(signature.key),
        }
    }
    reply
}

/// The entries for some members are other ones, under the same names.
pub(super) fn two_faced(mut entry: WireEntry) -> WireEntry {
    entry.alter_block(|block: &mut Block| match block.commands.len() {
        1 => block.commands.clear(),
        _ => block.commands.reverse(),
    });
    entry
}
