//! What members sign to agree on an order. Every content names its epoch; the vat is in the signed bytes.

use crate::signing::Signable;
use quorate_ids::{Canonical, Hash, HostId};
use serde::{Deserialize, Serialize};

/// How far an order is proven: proofs of a later epoch, then term, then index go before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the proof.
    pub epoch: u64,
    /// The term in which it was proven; 0 for the root of the epoch.
    pub term: u64,
    /// Up to which index.
    pub index: u64,
}

/// HEADER: the leader of a term says up to where its log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lead {
    /// The epoch.
    pub epoch: u64,
    /// The leader's term.
    pub term: u64,
    /// Index of the last entry that it sends.
    pub last: u64,
    /// The chain up to it.
    pub chain: Hash,
}

/// ACK: an entry of the present term is on the signer's disk, and so is the base of the term before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ack {
    /// The epoch.
    pub epoch: u64,
    /// The leader's present term, which is the entry's own.
    pub term: u64,
    /// Index of the entry.
    pub index: u64,
    /// The chain up to it.
    pub chain: Hash,
}

/// SHARE: the second phase, a member's vote for the result of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    /// The epoch.
    pub epoch: u64,
    /// The leader's term in which it is given.
    pub term: u64,
    /// Index of the block's entry.
    pub block: u64,
    /// The chain up to it.
    pub chain: Hash,
    /// Hash of the statement: of what the block did.
    pub statement: Hash,
}

/// GRANT: a vote for the leader of a term, with how far the voter knows the order to be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// The epoch.
    pub epoch: u64,
    /// The term.
    pub term: u64,
    /// The member that shall lead it.
    pub candidate: HostId,
    /// The voter's highest proof of an order.
    pub position: Position,
    /// The latest term by whose proof the voter gave up a higher position; 0 if none. Without it an honest member that was overruled
    /// would look as if it had forgotten what it shared.
    pub since: u64,
}

/// Why a member wants another leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// It does not order the command with this hash.
    Starved(Hash),
    /// It showed two logs.
    Equivocated,
    /// Entries came, and no order certificate.
    NoOrder,
    /// Its log lacks the base that its election is bound to.
    BaseMissing,
    /// A change of members is due, and it does not take the next step.
    NoChange,
}

/// COMPLAIN: a member wants another leader than that of this term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Complaint {
    /// The epoch.
    pub epoch: u64,
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub leader: HostId,
    /// Why.
    pub reason: Reason,
}

/// EPOCH: the members of an epoch hand over to those of the next one, from its certified last block on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Handover {
    /// The epoch that ends.
    pub epoch: u64,
    /// Its last block.
    pub last: u64,
    /// The chain up to it.
    pub chain: Hash,
    /// Hash of the next membership.
    pub membership: Hash,
}

fn write_position(writer: &mut Canonical, position: &Position) {
    writer.number(position.epoch).number(position.term).number(position.index);
}

impl Signable for Lead {
    const DOMAIN: &'static str = "quorate/lead/1";

    fn write(&self, writer: &mut Canonical) {
        writer.number(self.epoch).number(self.term).number(self.last).fixed(&self.chain.0);
    }
}

impl Signable for Ack {
    const DOMAIN: &'static str = "quorate/ack/1";

    fn write(&self, writer: &mut Canonical) {
        if !planted!(EpochNotSigned) {
            writer.number(self.epoch);
        }
        writer.number(self.term).number(self.index).fixed(&self.chain.0);
    }
}

impl Signable for Share {
    const DOMAIN: &'static str = "quorate/share/1";

    fn write(&self, writer: &mut Canonical) {
        writer.number(self.epoch).number(self.block).fixed(&self.chain.0).fixed(&self.statement.0);
        writer.number(self.term);
    }
}

impl Signable for Grant {
    const DOMAIN: &'static str = "quorate/grant/1";

    fn write(&self, writer: &mut Canonical) {
        if !planted!(EpochNotSigned) {
            writer.number(self.epoch);
        }
        writer.number(self.term).fixed(&self.candidate.0);
        write_position(writer, &self.position);
        writer.number(self.since);
    }
}

impl Signable for Complaint {
    const DOMAIN: &'static str = "quorate/complaint/1";

    fn write(&self, writer: &mut Canonical) {
        writer.number(self.epoch).number(self.term).fixed(&self.leader.0);
        match &self.reason {
            Reason::Starved(command) => writer.number(0).fixed(&command.0),
            Reason::Equivocated => writer.number(1),
            Reason::NoOrder => writer.number(2),
            Reason::BaseMissing => writer.number(3),
            Reason::NoChange => writer.number(4),
        };
    }
}

impl Signable for Handover {
    const DOMAIN: &'static str = "quorate/handover/1";

    fn write(&self, writer: &mut Canonical) {
        writer.number(self.epoch).number(self.last).fixed(&self.chain.0).fixed(&self.membership.0);
    }
}
