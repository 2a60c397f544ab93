//! The signatures of a leader that shows its followers different logs: a chain of its own for each follower.

use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;

use crate::order::chain;
use crate::order::frames::{Header, RaftMessage, WireEntry};
use crate::raft::gate::Keys;
use quorate_ids::{Hash, HostId, VatId};
use quorate_order::signed::Lead;
use quorate_order::signing::Signed;

/// Places of each log that are remembered: a leader begins further back only after an election.
const REMEMBERED: usize = 4_096;

/// The chains of the logs that each member was shown.
#[derive(Default)]
pub(crate) struct Faces(BTreeMap<HostId, BTreeMap<u64, Hash>>);

impl Faces {
    /// Returns what a member is shown instead of what the leader has, signed as if it were all there is.
    pub(crate) fn show(
        &mut self,
        key: &SigningKey,
        vat: &VatId,
        to: &HostId,
        message: RaftMessage,
        alter: impl Fn(WireEntry) -> WireEntry,
    ) -> RaftMessage {
        let RaftMessage::Append { vote, prev, entries, commit, header: Some(header) } = message else { return message };
        let shown = self.0.entry(*to).or_default();
        let before = prev.map(|prev| shown.get(&prev.index).copied().unwrap_or(header.before));
        let mut end = before.unwrap_or_else(|| chain::root(vat));
        let entries: Vec<WireEntry> = entries.into_iter().map(alter).collect();
        for entry in &entries {
            end = chain::next(&end, entry);
            shown.insert(entry.position().index, end);
        }
        while shown.len() > REMEMBERED {
            shown.pop_first();
        }
        let by = HostId(key.verifying_key().to_bytes());
        let sign = |lead: Signed<Lead>| Signed::new(Lead { chain: end, ..lead.content }, by, vat, &Keys(key.clone()));
        let header = Header { lead: header.lead.map(sign), before: before.unwrap_or(Hash::ZERO), ..*header };
        RaftMessage::Append { vote, prev, entries, commit, header: Some(Box::new(header)) }
    }
}
