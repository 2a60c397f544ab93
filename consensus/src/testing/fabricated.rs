//! Frames that a liar makes up: its replica never sent anything like them.

use super::liar::{Fabrication, Liar, Lie, Throw, unsigned};
use crate::codec;
use crate::order::chain;
use crate::order::frames::{RaftFrame, RaftMessage, WireEntry, WireVote};
use crate::proof::certificate::{Certificate, MemberSignature, Statement};
use crate::proof::clock::ClockStatement;
use crate::proof::membership::{Genesis, MembershipCertificate};
use crate::proof::shares::Share;
use crate::replica::wire::propose::{Payload, ProposeFrame};
use crate::replica::wire::share::ShareFrame;
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotStep};
use crate::state::block::{Activation, Admission, Control, Tick};
use crate::state::change::Change;
use crate::state::{LogPosition, RaftMembership, ReplicatedState, state_root};
use crate::storage::checkpoints::CheckpointRecord;
use crate::transport::Channel;
use quorate_ids::{Hash, HostId};
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, Support};
use quorate_order::signed::Position;

/// What a liar says that time it is: far ahead of what any clock shows.
pub(super) const FAR_AHEAD_MS: u64 = 4_000_000_000_000;

impl Liar {
    /// A frame that its replica never sent, to a member whose raft id is about `raft_id`.
    pub fn fabricate(&mut self, to: &HostId, raft_id: u64, throw: Throw<'_>) -> Option<Fabrication> {
        let lies: Vec<Lie> = self.lies.iter().copied().collect();
        let lie = *lies.get(usize::try_from(throw(lies.len() as u64)).ok()?)?;
        match lie {
            Lie::SignAnything => self.sign_anything(throw),
            Lie::Forge => self.forge(to, throw),
            Lie::Replay => self.heard.frame(throw),
            Lie::FalseChain => Some(self.false_chain(throw)),
            Lie::FalseCheckpoint => self.false_checkpoint(raft_id, throw),
            Lie::Order => {
                let control = self.order(throw)?;
                Some((Channel::Propose, codec::encode(&ProposeFrame(vec![Payload::Control(control)]))))
            }
            Lie::FalseTime => {
                let tick = Control::Tick(self.false_tick(throw));
                Some((Channel::Propose, codec::encode(&ProposeFrame(vec![Payload::Control(tick)]))))
            }
            Lie::FalseVotes => {
                // A vote of the past, in its own name.
                let vote = WireVote { term: throw(3), node: throw(5), committed: throw(2) == 0 };
                Some(vote_frame(raft_id, vote, None, &self.genesis, throw))
            }
            Lie::FalseTerms => {
                // An election of its own, with a log that it has not got.
                let term = self.heard.term + 1 + throw(100);
                let vote = WireVote { term, node: self.heard.own_raft_id, committed: false };
                let last = self.heard.last.map(|last| LogPosition { index: last.index + throw(50), ..last });
                Some(vote_frame(raft_id, vote, last, &self.genesis, throw))
            }
            _ => None,
        }
    }

    /// A change of the membership that no owner approved of, or the beginning of an epoch without its evidence.
    fn order(&self, throw: Throw<'_>) -> Option<Control> {
        let statement = self.latest.clone()?;
        let membership = &self.latest_membership;
        let own = self.sign(&statement.payload());
        match throw(4) {
            0 => {
                let change = Change::Threshold(1);
                Some(Control::Admit(Admission { change, threshold: 1, approvals: vec![own], newcomer: None }))
            }
            1 => {
                let other = membership.members.iter().map(|member| member.key).find(|key| *key != self.key())?;
                let (change, threshold) = (Change::Remove(other), membership.threshold.saturating_sub(1).max(1));
                let approvals = self.forged_signatures(&statement.payload());
                Some(Control::Admit(Admission { change, threshold, approvals, newcomer: None }))
            }
            2 => {
                let admitted = self.heard.admitted.unwrap_or(statement.block);
                let certificate = Certificate { statement, signatures: vec![own] };
                let epoch = membership.epoch + 1;
                Some(Control::Activate(Activation { epoch, admitted, certificate, present: vec![own] }))
            }
            _ => self.heard.control(throw),
        }
    }

    /// A tick to a time that is far ahead: its own word, alone, twice, or in others' names; or what others said, with another time.
    fn false_tick(&mut self, throw: Throw<'_>) -> Tick {
        let own = ClockStatement::sign(&self.key, &self.latest_membership, FAR_AHEAD_MS + throw(1_000));
        let other = match throw(3) {
            0 => self.latest_membership.members.iter().map(|member| member.key).find(|key| *key != self.key()),
            1 => Some(self.key()),
            _ => None,
        };
        let named = |key| ClockStatement { signature: MemberSignature { key, ..own.signature }, ..own };
        let heard = self.heard.clock(throw).map(|clock| ClockStatement { ms: own.ms, ..clock });
        Tick { clocks: [Some(own), other.map(named), heard].into_iter().flatten().collect() }
    }

    fn sign_anything(&mut self, throw: Throw<'_>) -> Option<Fabrication> {
        let latest = self.latest.clone()?;
        let block = (latest.block + throw(8)).saturating_sub(throw(8));
        let epoch = (latest.epoch + throw(3)).saturating_sub(throw(3));
        let state_root = (throw(3) == 0).then_some(Hash([5; 32]));
        let statement = Statement { block, epoch, state_root, outbox_root: Hash([6; 32]), ..latest };
        let signature = self.sign(&statement.payload());
        let next = self.wanted_membership();
        let signed = self.sign(&next.payload());
        let shares = vec![Share::Statement(statement, signature), Share::Membership(next, signed)];
        Some((Channel::Share, codec::encode(&ShareFrame::Push(shares))))
    }

    /// Shares in the receiver's name or another member's, or in its own without a signature.
    fn forge(&self, to: &HostId, throw: Throw<'_>) -> Option<Fabrication> {
        let latest = self.latest.clone()?;
        let place = usize::try_from(throw(self.latest_membership.members.len() as u64)).ok()?;
        let other = self.latest_membership.members.get(place).map_or(*to, |member| member.key);
        let statement = Statement { block: latest.block + throw(3), outbox_root: Hash([4; 32]), ..latest };
        let own = self.sign(&statement.payload());
        let shares = match throw(3) {
            0 => vec![Share::Statement(statement.clone(), own), Share::Statement(statement, unsigned(other))],
            1 => vec![Share::Statement(statement, unsigned(other))],
            _ => vec![Share::Statement(statement, unsigned(self.key()))],
        };
        Some((Channel::Share, codec::encode(&ShareFrame::Push(shares))))
    }

    /// Memberships that only it, or nobody, has signed.
    fn false_chain(&self, throw: Throw<'_>) -> Fabrication {
        let membership = self.wanted_membership();
        let payload = membership.payload();
        let signatures = if throw(2) == 0 { vec![self.sign(&payload)] } else { self.forged_signatures(&payload) };
        let chain = vec![MembershipCertificate { membership, signatures }];
        (Channel::Share, codec::encode(&ShareFrame::Introduce(chain)))
    }

    /// A checkpoint that it made up, and then the order to install it.
    fn false_checkpoint(&mut self, target: u64, throw: Throw<'_>) -> Option<Fabrication> {
        let step = match self.heard.offered.take() {
            Some(block) => {
                let vote = WireVote { term: self.heard.term + 1, node: self.heard.own_raft_id, committed: true };
                SnapshotStep::Install { block, vote, proof: None }
            }
            None => {
                let record = self.made_up_record(throw)?;
                self.heard.offered = Some(record.block());
                SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record) }
            }
        };
        Some((Channel::Snapshot, codec::encode(&SnapshotFrame { target, step })))
    }

    fn made_up_record(&self, throw: Throw<'_>) -> Option<CheckpointRecord> {
        let latest = self.latest.clone()?;
        let membership = self.latest_membership.clone();
        // The machine's part is that of a checkpoint of long ago, if one was heard.
        let (machine_root, manifest, chunks) = match &self.heard.checkpoint {
            Some(record) => (record.machine_root, record.manifest.clone(), record.chunks.clone()),
            None => (Hash::of(&[]), Vec::new().into(), Vec::new()),
        };
        let mut state = ReplicatedState::of_genesis(&self.genesis);
        let voters = (1..=membership.members.len() as u64).collect();
        let nodes = membership.members.iter().cloned().zip(1..).map(|(member, id)| (id, member)).collect();
        state.raft_membership = RaftMembership { configs: vec![voters], nodes };
        state.last_log = Some(LogPosition { term: self.heard.term, index: latest.block + 1 + throw(20) });
        state.membership = membership;
        let block = state.last_log.map_or(0, |last| last.index);
        let bytes = state.encode();
        let statement = Statement { block, state_root: Some(state_root(&bytes, &machine_root)), ..latest };
        let certificate = match throw(3) {
            0 => None,
            1 => {
                let signatures = vec![self.sign(&statement.payload())];
                Some(Certificate { statement: statement.clone(), signatures })
            }
            _ => {
                let signatures = self.forged_signatures(&statement.payload());
                Some(Certificate { statement: statement.clone(), signatures })
            }
        };
        Some(CheckpointRecord { state: bytes.into(), machine_root, manifest, chunks, statement, certificate })
    }
}

fn vote_frame(
    target: u64,
    vote: WireVote,
    last: Option<LogPosition>,
    genesis: &Genesis,
    throw: Throw<'_>,
) -> Fabrication {
    let stand = Some(Box::new(stand_of(genesis, vote.term, last)));
    let message = RaftMessage::Vote { vote, last, transfer: throw(2) == 0, pre: throw(2) == 0, stand };
    (Channel::Vote, codec::encode(&RaftFrame { target, message }))
}

/// Returns what a candidate shows that knows of no order certificate.
pub(crate) fn stand_of(genesis: &Genesis, term: u64, last: Option<LogPosition>) -> Stand {
    let last = last.map_or((0, 0), |last| (last.term, last.index));
    Stand { epoch: 0, term, order: root_of(genesis), last }
}

/// Returns what stands for the beginning of a vat's log.
pub(crate) fn root_of(genesis: &Genesis) -> OrderCertificate {
    let first = WireEntry::first(RaftMembership::of_genesis(genesis));
    let chain = chain::next(&chain::root(&genesis.vat_id()), &first);
    OrderCertificate { position: Position::default(), chain, support: Support::Root }
}
