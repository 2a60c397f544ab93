//! Decides which members get shares. In a small vat each member sends to all others. In a large one that would be quadratic for each block.
//! There the leader and one deputy gather the shares of statements, and send all others the certificates.
//!
//! Invariant: nothing depends on those two. A member that lacks a certificate for too long asks all members for their shares, so a silent leader
//! and a silent deputy cost a pause.

use std::collections::BTreeMap;

use super::Signer;
use crate::proof::certificate::Certificate;
use crate::proof::membership::Membership;
use crate::proof::shares::Share;
use quorate_ids::HostId;

/// Vats with more members have relays.
pub(crate) const MAX_TOLD_BY_ALL: usize = 7;
/// Certificates that are kept until their blocks are executed here, at most.
const MAX_EARLY: usize = 1_024;

/// What one member is sent.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Share(Share),
    Certificate(Certificate),
}

/// Certificates of blocks that are not executed here yet.
#[derive(Default)]
pub(super) struct Early(BTreeMap<u64, Certificate>);

impl Early {
    /// Keeps one, and forgets the one for the latest block if there are too many. It is checked when its block is executed.
    pub(super) fn keep(&mut self, certificate: Certificate) {
        self.0.entry(certificate.statement.block).or_insert(certificate);
        if self.0.len() > MAX_EARLY {
            self.0.pop_last();
        }
    }

    /// That of a block which is executed now. Earlier ones go.
    pub(super) fn take(&mut self, block: u64) -> Option<Certificate> {
        self.0 = self.0.split_off(&block);
        self.0.remove(&block)
    }
}

/// The leader and its deputy, the member after it; none where each member tells all others, or no leader is known.
fn relays(membership: &Membership, leader: Option<HostId>) -> Option<[HostId; 2]> {
    let members = &membership.members;
    if members.len() <= MAX_TOLD_BY_ALL {
        return None;
    }
    let place = members.iter().position(|member| Some(member.key) == leader)?;
    Some([members[place].key, members[(place + 1) % members.len()].key])
}

impl Signer {
    fn relays(&self, membership: &Membership) -> Option<[HostId; 2]> {
        relays(membership, self.parts.share.gate.term().1)
    }

    /// Sends a share of this member to those who are to have it.
    pub(super) fn broadcast(&mut self, membership: &Membership, share: &Share) {
        let of_statement = matches!(share, Share::Statement(..));
        let relays = self.relays(membership).filter(|_| of_statement);
        for member in &membership.members {
            if relays.is_none_or(|relays| relays.contains(&member.key)) {
                self.send(member, Outgoing::Share(share.clone()));
            }
        }
    }

    /// Sends a new certificate to all others, if this member gathers shares for them.
    pub(super) fn relay(&mut self, certificate: &Certificate) {
        let Some(membership) = self.shares.membership(certificate.statement.epoch).cloned() else { return };
        let relays = self.relays(&membership).is_some_and(|relays| relays.contains(&self.parts.identity.key));
        // What the last life has told is asked for where it is missing.
        if relays && certificate.statement.block > self.stored_through {
            for member in &membership.members {
                self.send(member, Outgoing::Certificate(certificate.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::membership::Member;
    use quorate_ids::{Hash, VatId};

    #[test]
    fn a_large_vat_has_two_relays_while_its_leader_is_known_and_a_small_one_none() {
        let member = |seed| Member { key: HostId([seed; 32]), name: String::new(), addresses: Vec::new() };
        let of = |count: u8| Membership {
            vat: VatId([9; 32]),
            epoch: 0,
            members: (0..count).map(member).collect(),
            threshold: 7,
            previous: Hash::ZERO,
            recovered: None,
        };
        let key = |seed| HostId([seed; 32]);
        assert_eq!(relays(&of(9), Some(key(3))), Some([key(3), key(4)]));
        assert_eq!(relays(&of(9), Some(key(8))), Some([key(8), key(0)]));
        assert_eq!(relays(&of(9), Some(key(77))), None);
        assert_eq!(relays(&of(9), None), None);
        assert_eq!(relays(&of(7), Some(key(3))), None);
    }
}
