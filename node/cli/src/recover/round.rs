//! What has been said and signed in the recovery of a vat so far, and the file that owners pass around with it.
//!
//! Invariant: the file decides nothing. Each host checks what it is asked to sign against its own log, and what it carries out against the
//! signatures.

use crate::{Exit, Failure};
use quorate_consensus::{
    HostId, MemberSignature, Membership, MembershipCertificate, RecoveryOffer, recovery_of, verify_membership,
};
use quorate_protocol::codec;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

/// Bytes of the largest file that is read.
const FILE_BYTES: u64 = 16 << 20;
/// The first line of a file.
const MAGIC: &str = "quorate recovery 1\n";

/// See the head of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// The vat's name or id, as it was given when the round began.
    pub(super) vat: String,
    /// What the members that are left have.
    pub(super) offers: Vec<RecoveryOffer>,
    /// The members that go on, once all that are left have said what they have.
    pub(super) target: Option<Membership>,
    /// The members that have agreed to that.
    signatures: Vec<MemberSignature>,
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

impl Round {
    pub(super) fn new(vat: &str) -> Round {
        Round { vat: vat.to_owned(), offers: Vec::new(), target: None, signatures: Vec::new() }
    }

    /// Reads a file. Nothing if it is not there.
    ///
    /// # Errors
    /// It can't be read, or is of another vat.
    pub(super) fn read(file: &Path, vat: &str) -> Result<Option<Round>, Failure> {
        let shown = file.display();
        let text = match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(usage(format!("{shown}: {error}"))),
            Ok(found) if found.len() > FILE_BYTES => {
                return Err(usage(format!("{shown} is over {FILE_BYTES} bytes: it is no file of `vat recover`")));
            }
            Ok(_) => fs::read_to_string(file).map_err(|error| usage(format!("{shown}: {error}")))?,
        };
        let other = || {
            usage(format!("{shown} is no file of `vat recover`, or is damaged; name one that is not there to begin"))
        };
        let bytes = hex::decode(text.strip_prefix(MAGIC).ok_or_else(other)?.trim()).map_err(|_| other())?;
        let round: Round = codec::decode(&bytes).map_err(|_| other())?;
        // What is shown of the members must be what is signed.
        let present = round.present().map(Membership::hash);
        if round.target.as_ref().is_some_and(|target| Some(target.previous) != present) {
            return Err(other());
        }
        let id = round.present().map(|present| present.vat.to_string());
        if round.vat != vat && id.as_deref() != Some(vat) {
            return Err(usage(format!("{shown} is about vat {}, not {vat}", round.vat.escape_debug())));
        }
        Ok(Some(Round { vat: vat.to_owned(), ..round }))
    }

    /// Writes the file, if there is to be one.
    pub(super) fn write(&self, file: Option<&Path>) -> Result<(), Failure> {
        let Some(file) = file else { return Ok(()) };
        let staged = file.with_extension("staged");
        fs::write(&staged, format!("{MAGIC}{}\n", hex::encode(codec::encode(self))))?;
        Ok(fs::rename(&staged, file)?)
    }

    pub(super) fn add(&mut self, offer: RecoveryOffer) {
        self.offers.retain(|known| known.member != offer.member);
        self.offers.push(offer);
    }

    /// The members of the vat before.
    pub(super) fn present(&self) -> Option<&Membership> {
        self.offers.first().map(|offer| &offer.present)
    }

    /// Makes the membership that goes on. `keys`: owners that can sign beside, who have lost everything but their keys.
    ///
    /// # Errors
    /// So few are left, or so many, that they may not.
    pub(super) fn close(&mut self, keys: usize) -> Result<(), Failure> {
        let target = recovery_of(&self.offers).map_err(|error| usage(error.to_string()))?;
        let Some(present) = self.present() else { return Err(usage("nobody is left".into())) };
        let (vat, left, members) = (&self.vat, self.offers.len(), present.members.len());
        if left >= usize::from(present.threshold) {
            return Err(usage(format!(
                "Q-A020 {vat} is not lost: {} of its {members} members can go on with it, and {left} are left. What is missing is replaced: `vat member replace --vat {vat}`; nothing was changed",
                present.threshold
            )));
        }
        let needed = present.one_is_honest();
        if left + keys < needed {
            return Err(usage(format!(
                "Q-A023 {} of {members} members of {vat} {} left, and it takes {needed} owners to say that the others are lost: fewer are no evidence, for any of them may lie. Find the homes of the others, or at least their `host.key`; else make a new vat (`vat create`). Nothing was changed",
                left + keys,
                if left + keys == 1 { "is" } else { "are" },
            )));
        }
        self.target = Some(target);
        self.signatures.clear();
        Ok(())
    }

    pub(super) fn has_signed(&self, key: &HostId) -> bool {
        self.signatures.iter().any(|signature| signature.key == *key)
    }

    pub(super) fn sign(&mut self, signature: MemberSignature) {
        if !self.has_signed(&signature.key) {
            self.signatures.push(signature);
        }
    }

    /// Returns whether further owners' signatures are needed beside those of the members that go on.
    pub(super) fn lacks_evidence(&self) -> bool {
        let Some((present, target)) = self.present().zip(self.target.as_ref()) else { return false };
        let others = self.signatures.iter().filter(|signature| !target.contains(&signature.key)).count();
        target.members.len() + others < present.one_is_honest()
    }

    /// The members that go on and have not signed.
    pub(super) fn missing(&self) -> Vec<HostId> {
        let members = self.target.iter().flat_map(|target| &target.members);
        members.map(|member| member.key).filter(|key| !self.has_signed(key)).collect()
    }

    /// Returns what everybody believes, once all have signed that must.
    pub(super) fn certificate(&self) -> Option<MembershipCertificate> {
        let membership = self.target.clone()?;
        let certificate = MembershipCertificate { membership, signatures: self.signatures.clone() };
        verify_membership(&certificate, self.present()?).is_ok().then_some(certificate)
    }

    pub(super) fn names(&self, keys: &[HostId]) -> String {
        let name = |key: &HostId| {
            let member = self.present().and_then(|present| present.member(key));
            member.map_or_else(|| key.to_string(), |member| member.name.escape_debug().to_string())
        };
        keys.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// The names of those that do not go on.
    pub(super) fn left_out(&self) -> Vec<String> {
        let Some((present, target)) = self.present().zip(self.target.as_ref()) else { return Vec::new() };
        let out = present.members.iter().filter(|member| !target.contains(&member.key));
        out.map(|member| member.name.escape_debug().to_string()).collect()
    }
}

/// Says what a recovery does, and what may be lost.
pub(super) fn explain(round: &Round) -> Vec<String> {
    let Some((present, target)) = round.present().zip(round.target.as_ref()) else { return Vec::new() };
    let keys: Vec<HostId> = target.members.iter().map(|member| member.key).collect();
    let block = target.recovered.map_or(0, |recovered| recovered.block);
    let (members, threshold) = (present.members.len(), usize::from(present.threshold));
    let mut lines = vec![
        format!(
            "{} goes on after block {block} with {} alone; {} of them must sign. Left out for ever: {}",
            round.vat,
            round.names(&keys),
            target.threshold,
            round.left_out().join(", ")
        ),
        "certified order is broken by hand, and the vat's chain of memberships says so to everybody, for ever"
            .to_owned(),
    ];
    // Every certificate has so many signers that one of them is among the remaining members.
    lines.push(if keys.len() + threshold > members {
        "what the vat has certified is at one of them, and nothing of it is lost, if none of them lies. Calls without an answer may have happened or not".to_owned()
    } else {
        format!("WHAT MAY BE LOST: everything after block {block}. The others may have certified more, and answered calls, without any of those that are left. A peer that has received more than that from the vat refuses less, and breaks with it")
    });
    lines.push(
        "do this only if the others are lost for good: if they are merely out of reach, bring them back instead"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Hash, Member, VatId};

    fn member(seed: u8) -> Member {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        Member { key: HostId(key.verifying_key().to_bytes()), name: format!("h{seed}"), addresses: Vec::new() }
    }

    fn round(members: u8, threshold: u16, left: &[u8]) -> Round {
        let members = (1..=members).map(member).collect();
        let (vat, previous) = (VatId([7; 32]), Hash::ZERO);
        let present = Membership { vat, epoch: 0, members, threshold, previous, recovered: None };
        let offer = |seed: &u8| RecoveryOffer {
            member: member(*seed).key,
            present: present.clone(),
            block: 9,
            block_term: 2,
            chain: Hash([3; 32]),
            term: 4,
            agreed: None,
        };
        Round { offers: left.iter().map(offer).collect(), ..Round::new("two") }
    }

    #[test]
    fn so_many_must_be_left_that_one_of_them_is_honest_and_so_few_that_the_vat_is_lost() {
        for (members, threshold, left, keys, code) in [
            (4, 3, &[1, 2][..], 0, None),
            (4, 3, &[1], 0, Some("Q-A023")),
            (4, 3, &[1], 1, None),
            (4, 3, &[1, 2, 3], 0, Some("Q-A020")),
            (3, 2, &[1], 0, Some("Q-A023")),
            (3, 2, &[1], 1, None),
            (3, 2, &[1, 2], 0, Some("Q-A020")),
            (7, 5, &[1, 2], 0, Some("Q-A023")),
            (7, 5, &[1, 2, 3, 4], 0, None),
        ] {
            let mut round = round(members, threshold, left);
            let failure = round.close(keys).err().map(|failure| failure.error.to_string());
            let told = failure.as_deref().map(|text| text.split(' ').next().unwrap_or_default());
            assert_eq!(told, code, "{left:?} of {members} with {keys} keys: {failure:?}");
        }
    }

    #[test]
    fn what_may_be_lost_is_said_where_something_may() {
        let text = |members, threshold, left: &[u8]| {
            let mut round = round(members, threshold, left);
            round.close(9).expect("so many keys");
            explain(&round).join("\n")
        };
        assert!(!text(4, 3, &[1, 2]).contains("WHAT MAY BE LOST"));
        let of_one = text(3, 2, &[2]);
        assert!(of_one.contains("WHAT MAY BE LOST: everything after block 9"), "{of_one}");
        assert!(of_one.contains("Left out for ever: h1, h3"), "{of_one}");
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_another_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("two.recovery");
        assert!(matches!(Round::read(&file, "two"), Ok(None)));
        let written = round(4, 3, &[1, 2]);
        written.write(Some(&file)).expect("writable");
        assert_eq!(Round::read(&file, "two").ok().flatten(), Some(written));
        assert!(Round::read(&file, "three").is_err());
        // The prompt would describe other members than those that are signed.
        let mut lie = round(4, 3, &[1, 2]);
        lie.close(0).expect("so few that they may");
        lie.offers[0].present.threshold = 4;
        lie.write(Some(&file)).expect("writable");
        assert!(Round::read(&file, "two").is_err());
        fs::write(&file, "quorate recovery 1\n00ff").expect("writable");
        assert!(Round::read(&file, "two").is_err());
    }
}
