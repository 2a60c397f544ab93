//! The chain over the log's entries: for each entry, one hash that commits to it and to all entries before it.
//!
//! Invariants: the chain is a function of the vat and of each entry's content, Raft's own entries included. So it is equal on all members
//! with the same log, and differs from the first different entry on. Where a log was cut, it continues from the checkpoint's
//! statement.

use crate::order::frames::{WireContent, WireEntry};
use crate::state::RaftMembership;
use quorate_ids::{Canonical, Hash, VatId};

/// The hash before the first entry.
pub(crate) fn root(vat: &VatId) -> Hash {
    let mut writer = Canonical::new("quorate/log-root/1");
    writer.fixed(&vat.0);
    writer.hash()
}

/// The hash after an entry that follows `previous`.
pub(crate) fn next(previous: &Hash, entry: &WireEntry) -> Hash {
    let mut writer = Canonical::new("quorate/log/1");
    let position = entry.position();
    writer.fixed(&previous.0).number(position.term).number(position.index);
    writer.fixed(&content_hash(&entry.content).0);
    writer.hash()
}

/// The hash of what an entry holds.
pub(crate) fn content_hash(content: &WireContent) -> Hash {
    let mut writer = Canonical::new("quorate/entry/1");
    match content {
        WireContent::Blank => {
            writer.number(0);
        }
        // As it came: it is never encoded again.
        WireContent::Block(bytes) => {
            writer.number(1).fixed(&Hash::of(&bytes.0).0);
        }
        WireContent::Membership(membership) => {
            writer.number(2);
            write_membership(&mut writer, membership);
        }
    }
    writer.hash()
}

fn write_membership(writer: &mut Canonical, membership: &RaftMembership) {
    writer.number(membership.configs.len() as u64);
    for config in &membership.configs {
        writer.number(config.len() as u64);
        for id in config {
            writer.number(*id);
        }
    }
    writer.number(membership.nodes.len() as u64);
    for (id, member) in &membership.nodes {
        writer.number(*id);
        member.canonical(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::LogPosition;
    use crate::tests::member;

    fn entries() -> Vec<WireEntry> {
        let nodes = [(1, member(1)), (2, member(2))].into_iter().collect();
        let membership = RaftMembership { configs: vec![[1].into(), [1, 2].into()], nodes };
        WireEntry::examples(membership).to_vec()
    }

    #[test]
    fn whatever_differs_in_an_entry_or_before_it_differs_in_the_chain() {
        let vat = VatId([1; 32]);
        let mut seen = std::collections::BTreeSet::from([root(&vat), root(&VatId([2; 32]))]);
        let first = root(&vat);
        for entry in entries() {
            let LogPosition { term, index } = entry.position();
            let otherwise = [LogPosition { term: term + 1, index }, LogPosition { term, index: index + 1 }];
            assert!(seen.insert(next(&first, &entry)));
            assert_eq!(next(&first, &entry), next(&first, &entry.clone()));
            // The order protocol's chain is this one.
            let head = quorate_order::chain::Head { term, content: content_hash(&entry.content) };
            assert_eq!(next(&first, &entry), quorate_order::chain::next_chain(&first, index, &head));
            assert!(otherwise.iter().all(|position| seen.insert(next(&first, &entry.at(*position)))));
            assert!(seen.insert(next(&Hash([9; 32]), &entry)));
        }
        let log = LogPosition { term: 3, index: 500 };
        let mut more = vec![WireContent::Block(vec![1, 2].into()), WireContent::Block(Vec::new().into())];
        for entry in entries() {
            let WireContent::Membership(membership) = entry.content else { continue };
            let mut changed = vec![membership.clone(); 4];
            changed[0].configs.pop();
            changed[1].configs[1] = [1, 3].into();
            changed[2].nodes.remove(&2);
            changed[3].nodes.insert(2, member(3));
            more.extend(changed.into_iter().map(WireContent::Membership));
        }
        for content in more {
            assert!(seen.insert(next(&first, &WireEntry { log, content })));
        }
    }
}
