//! A client's memory of a vat from one call to the next, which saves a lookup.
//!
//! Invariants: the introduction proves itself, so an old, damaged or foreign file costs time at most. The file has no
//! secret.

use quorate_ids::VatId;
use quorate_proof::{HostId, Introduction, Member};
use quorate_protocol::codec;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

/// What is known of a vat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The introduction, which proves its members.
    pub introduction: Introduction,
    /// A block that it has reached, by its hosts' word.
    pub block: u64,
    /// The member to speak to first: the leader, or the one that answered last.
    pub first: Option<HostId>,
    /// A member of which nothing was heard when it was tried: it is not tried first again for being the leader.
    pub silent: Option<HostId>,
    /// How many milliseconds the first one took to answer.
    pub took_ms: Option<u64>,
}

impl Known {
    /// Reads what was remembered of a vat; none if that is nothing of use.
    pub fn read(file: &Path, vat: &VatId) -> Option<Known> {
        let known: Known = codec::decode(&fs::read(file).ok()?).ok()?;
        let is_good = known.introduction.vat_id() == *vat && known.introduction.verify().is_ok();
        is_good.then_some(known)
    }

    /// Remembers it. Several may write at once: one of them stays.
    ///
    /// # Errors
    /// The file can't be written. It is a convenience: the next client asks again.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // The vats that a person calls are nobody else's business.
        let staged = file.with_extension(format!("{}.staged", std::process::id()));
        let mut opened = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        opened.write_all(&codec::encode(self))?;
        fs::rename(&staged, file).inspect_err(|_| drop(fs::remove_file(&staged)))
    }

    /// The vat's members, in the order in which they are tried.
    pub fn members(&self) -> Vec<Member> {
        self.introduction.verify().map(|membership| self.in_order(membership.members)).unwrap_or_default()
    }

    /// Returns what hosts have just said: `by` answered, nothing was heard of `silent`.
    pub(super) fn found(introduction: Introduction, block: u64, by: HostId, silent: &[HostId]) -> Known {
        let silent = silent.first().copied();
        Known { introduction, block, first: Some(by), silent, took_ms: None }
    }

    /// The members, in the order in which they are tried.
    pub(super) fn in_order(&self, mut members: Vec<Member>) -> Vec<Member> {
        members.sort_by_key(|member| (self.silent == Some(member.key), self.first != Some(member.key)));
        members
    }

    /// A member answered after so long, while nothing was heard of others, and says who leads.
    pub(super) fn note_answer(&mut self, by: HostId, silent: &[HostId], leader: Option<HostId>, took: Duration) {
        if let Some(first) = silent.first() {
            self.silent = Some(*first);
        } else if self.silent == Some(by) {
            self.silent = None;
        }
        self.first = leader.filter(|leader| self.silent != Some(*leader)).or(Some(by));
        self.took_ms = Some(took.as_millis().try_into().unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proof::{Genesis, Hash, Parameters};

    fn key(seed: u8) -> HostId {
        HostId(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
    }

    fn known() -> Known {
        let member = |seed| Member { key: key(seed), name: format!("m{seed}"), addresses: vec![] };
        let genesis = Genesis {
            members: vec![member(1), member(2), member(3)],
            threshold: 2,
            image: Hash([0; 32]),
            creator: [0; 32],
            bundle: None,
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let introduction = Introduction { genesis, chain: vec![] };
        Known { introduction, block: 5, first: None, silent: None, took_ms: None }
    }

    #[test]
    fn what_was_remembered_is_read_again_unless_it_is_another_vats_or_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("known").join("vat");
        let known = known();
        let vat = known.introduction.vat_id();
        assert_eq!(Known::read(&file, &vat), None);
        known.write(&file).expect("it can be written");
        assert_eq!(Known::read(&file, &vat), Some(known));
        assert_eq!(Known::read(&file, &VatId([7; 32])), None);
        fs::write(&file, b"garbage").expect("it can be written");
        assert_eq!(Known::read(&file, &vat), None);
    }

    #[test]
    fn who_answered_is_first_and_a_leader_that_was_silent_is_not() {
        let mut known = known();
        let order = |known: &Known| -> Vec<HostId> {
            let members = known.introduction.genesis.members.clone();
            known.in_order(members).into_iter().map(|member| member.key).collect()
        };
        let took = Duration::from_millis(7);
        known.note_answer(key(2), &[], None, took);
        assert_eq!((order(&known), known.took_ms), (vec![key(2), key(1), key(3)], Some(7)));
        known.note_answer(key(2), &[], Some(key(3)), took);
        assert_eq!(order(&known), [key(3), key(1), key(2)], "the leader");
        known.note_answer(key(2), &[key(3)], Some(key(3)), took);
        assert_eq!(order(&known), [key(2), key(1), key(3)], "the leader is not heard from here");
        known.note_answer(key(2), &[], Some(key(3)), took);
        assert_eq!(order(&known), [key(2), key(1), key(3)], "it is not tried again and again");
        known.note_answer(key(2), &[], Some(key(1)), took);
        assert_eq!(order(&known), [key(1), key(2), key(3)], "another leader is");
    }
}
