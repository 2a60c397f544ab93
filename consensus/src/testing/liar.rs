//! See [`Liar`].

use ed25519_dalek::SigningKey;
use std::collections::{BTreeSet, VecDeque};

use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireVote};
use crate::proof::certificate::{Certificate, MemberSignature, Statement};
use crate::proof::membership::Membership;
use crate::proof::shares::Share;
use crate::replica::wire::propose::{Payload, ProposeFrame};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::state::block::{Activation, Admission, Block, Control};
use crate::state::change::Change;
use crate::transport::Channel;
use quorate_ids::{Hash, HostId, VatId};

/// Frames of others that are kept to be sent again.
const KEPT_FRAMES: usize = 64;

/// A way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Signs one statement for some members and another for the rest.
    Equivocate,
    /// Signs statements and memberships that no replica ever made.
    SignAnything,
    /// Keeps its shares to itself.
    Withhold,
    /// Sends shares, certificates and signatures that others never gave.
    Forge,
    /// Sends again, in its own name, what it got from others, also of past epochs.
    Replay,
    /// Answers questions for shares, certificates and memberships with what is false.
    FalseSource,
    /// Acknowledges entries that it has not got.
    FalseAcks,
    /// Votes for every candidate.
    FalseVotes,
    /// Orders changes of the membership that nobody approved of.
    Order,
    /// As leader, sends the members other entries under the same name. With any other lie it never leads.
    TwoFaced,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 10] = [
        Lie::Equivocate,
        Lie::SignAnything,
        Lie::Withhold,
        Lie::Forge,
        Lie::Replay,
        Lie::FalseSource,
        Lie::FalseAcks,
        Lie::FalseVotes,
        Lie::Order,
        Lie::TwoFaced,
    ];
}

/// Throws dice: a number below the one given.
pub type Throw<'a> = &'a mut dyn FnMut(u64) -> u64;

/// A frame that the liar makes up, and the channel it goes on.
pub type Fabrication = (Channel, Vec<u8>);

/// One lying member. It lies in one way after the other, or in several at once.
pub struct Liar {
    key: SigningKey,
    vat: VatId,
    /// Its lies at present.
    pub lies: BTreeSet<Lie>,
    heard: VecDeque<Fabrication>,
    /// A statement of the present, to make false ones from.
    latest: Option<Statement>,
    latest_membership: Option<Membership>,
}

impl Liar {
    /// A member of `vat` with this key, which does not lie yet. `genesis`: the first membership.
    pub fn new(key: SigningKey, vat: VatId, genesis: Membership) -> Liar {
        let (lies, heard) = (BTreeSet::new(), VecDeque::new());
        Liar { key, vat, lies, heard, latest: None, latest_membership: Some(genesis) }
    }

    fn tells(&self, lie: Lie) -> bool {
        self.lies.contains(&lie)
    }

    fn key(&self) -> HostId {
        HostId(self.key.verifying_key().to_bytes())
    }

    fn sign(&self, payload: &[u8]) -> MemberSignature {
        MemberSignature::sign(&self.key, payload)
    }

    /// A request that its replica sends to a member. `None`: it does not leave.
    pub fn request(&mut self, to: &HostId, channel: Channel, frame: Vec<u8>, throw: Throw<'_>) -> Option<Vec<u8>> {
        match channel {
            Channel::Share => match codec::decode(&frame) {
                Ok(ShareFrame::Push(shares)) => self.push(to, shares, throw),
                _ => Some(frame),
            },
            Channel::Vote | Channel::Append => match codec::decode::<RaftFrame>(&frame) {
                Ok(RaftFrame { message: RaftMessage::Vote { .. }, .. }) if !self.tells(Lie::TwoFaced) => None,
                Ok(RaftFrame { target, message }) if self.tells(Lie::TwoFaced) => {
                    Some(codec::encode(&RaftFrame { target, message: two_faced(to, message) }))
                }
                _ => Some(frame),
            },
            _ => Some(frame),
        }
    }

    fn push(&mut self, to: &HostId, shares: Vec<Share>, throw: Throw<'_>) -> Option<Vec<u8>> {
        if self.tells(Lie::Withhold) && throw(4) > 0 {
            return None;
        }
        let other = self.tells(Lie::Equivocate) && to.0[0] & 1 == 0;
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
                        sent.push(Share::Statement(statement, signature));
                    }
                }
                Share::Membership(membership, signature) => {
                    self.latest_membership = Some(membership.clone());
                    sent.push(Share::Membership(membership, signature));
                }
            }
        }
        Some(codec::encode(&ShareFrame::Push(sent)))
    }

    /// Its replica's answer to a request of another member.
    pub fn answer(&mut self, from: &HostId, channel: Channel, request: &[u8], answer: Vec<u8>) -> Vec<u8> {
        if self.tells(Lie::Replay) {
            self.heard.push_back((channel, request.to_vec()));
            if self.heard.len() > KEPT_FRAMES {
                self.heard.pop_front();
            }
        }
        match channel {
            Channel::Vote | Channel::Append => {
                let asked: Option<RaftFrame> = codec::decode(request).ok();
                match asked.map(|frame| frame.message) {
                    Some(RaftMessage::Append { .. }) if self.tells(Lie::FalseAcks) => {
                        codec::encode(&RaftReply::AppendSuccess)
                    }
                    Some(RaftMessage::Vote { vote, last, .. }) if self.tells(Lie::FalseVotes) => {
                        codec::encode(&RaftReply::Vote { vote, granted: true, last })
                    }
                    _ => answer,
                }
            }
            Channel::Share if self.tells(Lie::FalseSource) => match codec::decode(&answer) {
                Ok(reply) => codec::encode(&self.false_reply(from, reply)),
                Err(_) => answer,
            },
            _ => answer,
        }
    }

    fn false_reply(&self, asker: &HostId, mut reply: ShareReply) -> ShareReply {
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
            let statement = Statement { block: statement.block + 1_000, ..statement.clone() };
            let signature = MemberSignature { key: *asker, ..self.sign(&statement.payload()) };
            reply.signed = Some(Share::Statement(statement, signature));
        }
        reply.retired = true;
        reply
    }

    /// A frame that its replica never sent, to a member whose raft id is about `raft_id`.
    pub fn fabricate(&mut self, to: &HostId, raft_id: u64, throw: Throw<'_>) -> Option<Fabrication> {
        let lies: Vec<Lie> = self.lies.iter().copied().collect();
        let lie = *lies.get(usize::try_from(throw(lies.len() as u64)).ok()?)?;
        match lie {
            Lie::SignAnything => self.sign_anything(throw),
            Lie::Forge => self.forge(to),
            Lie::Replay => {
                let place = usize::try_from(throw(self.heard.len() as u64)).ok()?;
                self.heard.get(place).cloned()
            }
            Lie::Order => {
                let control = self.order(throw)?;
                Some((Channel::Propose, codec::encode(&ProposeFrame(vec![Payload::Control(control)]))))
            }
            Lie::FalseVotes => {
                // A vote of the past, in its own name.
                let vote = WireVote { term: throw(3), node: throw(5), committed: throw(2) == 0 };
                let message = RaftMessage::Vote { vote, last: None, transfer: false, pre: throw(2) == 0 };
                Some((Channel::Vote, codec::encode(&RaftFrame { target: raft_id, message })))
            }
            _ => None,
        }
    }

    /// A change of the membership that no owner approved of, or the beginning of an epoch without its evidence.
    fn order(&self, throw: Throw<'_>) -> Option<Control> {
        let (statement, membership) = (self.latest.clone()?, self.latest_membership.as_ref()?);
        let own = self.sign(&statement.payload());
        if throw(2) == 0 {
            let change = Change::Threshold(1);
            return Some(Control::Admit(Admission { change, threshold: 1, approvals: vec![own], newcomer: None }));
        }
        let (epoch, admitted) = (membership.epoch + 1, statement.block);
        let certificate = Certificate { statement, signatures: vec![own] };
        Some(Control::Activate(Activation { epoch, admitted, certificate, present: vec![own] }))
    }

    fn sign_anything(&mut self, throw: Throw<'_>) -> Option<Fabrication> {
        let latest = self.latest.clone()?;
        let block = (latest.block + throw(8)).saturating_sub(throw(8));
        let epoch = (latest.epoch + throw(3)).saturating_sub(throw(3));
        let state_root = (throw(3) == 0).then_some(Hash([5; 32]));
        let statement = Statement { block, epoch, state_root, outbox_root: Hash([6; 32]), ..latest };
        let signature = self.sign(&statement.payload());
        let mut shares = vec![Share::Statement(statement, signature)];
        if let Some(membership) = &self.latest_membership {
            let mut next = membership.clone();
            next.previous = membership.hash();
            next.epoch += 1;
            next.members.truncate(1);
            next.threshold = 1;
            let signature = self.sign(&next.payload());
            shares.push(Share::Membership(next, signature));
        }
        Some((Channel::Share, codec::encode(&ShareFrame::Push(shares))))
    }

    fn forge(&self, to: &HostId) -> Option<Fabrication> {
        let latest = self.latest.clone()?;
        let statement = Statement { vat: self.vat, outbox_root: Hash([4; 32]), ..latest };
        let own = self.sign(&statement.payload());
        let others = MemberSignature { key: *to, ..own };
        let certificate = Certificate { statement: statement.clone(), signatures: vec![own, others] };
        let in_its_name = Share::Statement(certificate.statement, others);
        let own = Share::Statement(statement, MemberSignature { key: self.key(), signature: [1; 64] });
        Some((Channel::Share, codec::encode(&ShareFrame::Push(vec![own, in_its_name]))))
    }
}

/// The entries for some members are other ones, under the same names.
fn two_faced(to: &HostId, message: RaftMessage) -> RaftMessage {
    match message {
        RaftMessage::Append { vote, prev, mut entries, commit } if to.0[0] & 1 == 0 => {
            for entry in &mut entries {
                entry.alter_block(|block: &mut Block| match block.commands.len() {
                    1 => block.commands.clear(),
                    _ => block.commands.reverse(),
                });
            }
            RaftMessage::Append { vote, prev, entries, commit }
        }
        other => other,
    }
}
