//! See [`LyingLeader`].

use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;

use super::faces::Faces;
use super::liar::two_faced;
use crate::codec;
use crate::order::frames::{Header, RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::raft::gate::Keys;
use crate::replica::wire::propose::{ForwardedResult, ProposeFrame, ProposeReply};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::state::LogPosition;
use crate::transport::Channel;
use quorate_ids::{Hash, HostId, VatId};
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, Support, TermProof};
use quorate_order::signed::{Grant, Position};
use quorate_order::signing::Signed;

/// Raft ids that are tried when a member's is not known.
const RAFT_IDS: std::ops::RangeInclusive<u64> = 1..=5;

/// The lies of a leader, or of a member that wants to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderLie {
    /// As the leader, it shows one member other entries than the others, all of them signed.
    TwoFaced,
    /// It says that it leads the next term. Nobody but itself voted for it.
    Unelected,
    /// It names later terms, in answers and as a candidate.
    LaterTerms,
    /// As the leader, it orders nothing of what has [`STARVED`] in it.
    Starves,
}

/// What a leader that starves a sender looks for.
pub const STARVED: &[u8] = b"starve-me";

fn is_of_the_starved(bytes: &[u8]) -> bool {
    bytes.windows(STARVED.len()).any(|window| window == STARVED)
}

/// What it knows of one vat.
#[derive(Default)]
struct Seen {
    faces: Faces,
    own_id: u64,
    term: u64,
    last: Option<LogPosition>,
}

/// A host that lies as, or about, a leader. Its replicas are the product's and know nothing of it.
pub struct LyingLeader {
    key: SigningKey,
    lie: LeaderLie,
    deceived: Option<HostId>,
    vats: BTreeMap<VatId, Seen>,
}

impl LyingLeader {
    /// The host with this key.
    pub fn new(key: SigningKey, lie: LeaderLie) -> LyingLeader {
        LyingLeader { key, lie, deceived: None, vats: BTreeMap::new() }
    }

    fn own(&self) -> HostId {
        HostId(self.key.verifying_key().to_bytes())
    }

    /// Takes in a frame that others send it.
    pub fn hears(&mut self, vat: VatId, channel: Channel, frame: &[u8]) {
        if !matches!(channel, Channel::Append | Channel::Vote) {
            return;
        }
        let Ok(RaftFrame { target, message }) = codec::decode(frame) else { return };
        let seen = self.vats.entry(vat).or_default();
        seen.own_id = target;
        if let RaftMessage::Append { vote, prev, entries, .. } = message {
            seen.term = seen.term.max(vote.term);
            seen.last = entries.last().map(WireEntry::position).or(prev).max(seen.last);
        }
    }

    /// The answer to a frame that its replica never sees; nothing if it does.
    pub fn keeps_from_its_replica(&self, channel: Channel, frame: &[u8]) -> Option<Vec<u8>> {
        if self.lie != LeaderLie::Starves {
            return None;
        }
        match channel {
            Channel::Propose if is_of_the_starved(frame) => {
                let ProposeFrame(payloads) = codec::decode(frame).ok()?;
                Some(codec::encode(&ProposeReply(vec![ForwardedResult::NotProposed; payloads.len()])))
            }
            Channel::Share => match codec::decode(frame).ok()? {
                ShareFrame::Wanted { .. } if is_of_the_starved(frame) => Some(codec::encode(&ShareReply::default())),
                // It would leave itself.
                ShareFrame::Complaint(_) => Some(codec::encode(&ShareReply::default())),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns whether its replica never sees a slice of another vat that comes in this frame.
    pub fn keeps_slice(&self, frame: &[u8]) -> bool {
        self.lie == LeaderLie::Starves && is_of_the_starved(frame)
    }

    /// Returns what leaves instead of a request of its replica; nothing if that is it.
    pub fn request(&mut self, vat: VatId, to: HostId, channel: Channel, frame: &[u8]) -> Option<Vec<u8>> {
        if self.lie != LeaderLie::TwoFaced || !matches!(channel, Channel::Append | Channel::Vote) {
            return None;
        }
        let RaftFrame { target, message } = codec::decode(frame).ok()?;
        let has_entries = matches!(&message, RaftMessage::Append { entries, .. } if !entries.is_empty());
        if has_entries {
            self.deceived.get_or_insert(to);
        }
        if self.deceived != Some(to) {
            return None;
        }
        let faces = &mut self.vats.entry(vat).or_default().faces;
        let message = faces.show(&self.key, &vat, &to, message, two_faced);
        Some(codec::encode(&RaftFrame { target, message }))
    }

    /// Returns what it answers instead of its replica; nothing if that is it.
    pub fn answer(&self, vat: VatId, channel: Channel, request: &[u8]) -> Option<Vec<u8>> {
        if self.lie != LeaderLie::LaterTerms || !matches!(channel, Channel::Append | Channel::Vote) {
            return None;
        }
        let RaftFrame { message, .. } = codec::decode(request).ok()?;
        let node = self.vats.get(&vat)?.own_id;
        let later = |vote: WireVote| WireVote { term: vote.term + 1, node, committed: false };
        let reply = match message {
            RaftMessage::Append { vote, .. } => RaftReply::HigherVote(later(vote), None),
            RaftMessage::Vote { vote, .. } => {
                RaftReply::Vote { vote: later(vote), granted: false, last: None, grant: None, better: None }
            }
            RaftMessage::Transfer { .. } => return None,
        };
        Some(codec::encode(&reply))
    }

    /// Frames on [`Channel::Vote`] that its replica never sent, for whichever member they reach.
    pub fn frames(&self, vat: VatId) -> Vec<Vec<u8>> {
        let Some(seen) = self.vats.get(&vat) else { return Vec::new() };
        let term = seen.term + 1;
        let vote = |committed| WireVote { term, node: seen.own_id, committed };
        let root = OrderCertificate { position: Position::default(), chain: Hash::ZERO, support: Support::Root };
        let message = match self.lie {
            LeaderLie::TwoFaced | LeaderLie::Starves => return Vec::new(),
            LeaderLie::Unelected => {
                let grant = Grant { epoch: 0, term, candidate: self.own(), position: Position::default(), since: 0 };
                let grants = vec![Signed::new(grant, self.own(), &vat, &Keys(self.key.clone()))];
                let proof = Some(Box::new(TermProof { term, leader: self.own(), grants, base: root }));
                let header = Some(Box::new(Header { lead: None, before: Hash::ZERO, proof, order: None, mark: None }));
                RaftMessage::Append { vote: vote(true), prev: None, entries: Vec::new(), commit: None, header }
            }
            LeaderLie::LaterTerms => {
                let last = seen.last.map_or((0, 0), |last| (last.term, last.index));
                let stand = Some(Box::new(Stand { epoch: 0, term, order: root, last }));
                RaftMessage::Vote { vote: vote(false), last: seen.last, transfer: true, pre: false, stand }
            }
        };
        let targets = RAFT_IDS.filter(|target| *target != seen.own_id);
        targets.map(|target| codec::encode(&RaftFrame { target, message: message.clone() })).collect()
    }
}
